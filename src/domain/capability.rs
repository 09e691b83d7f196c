//! What a vendor can do. Engine and API ask these instead of knowing vendors by name.

use std::time::Duration;

use super::operation::OperationKind;
use super::target::TargetKind;

/// Whether an operation can be cancelled at the vendor once it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelSupport {
    /// The vendor has no way; the text says so to a person.
    Never(&'static str),
    /// The vendor says for each running operation whether it can, see `Observation::cancelable`.
    Asked,
}

/// What a vendor can do with one kind of target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The kind of target.
    pub target: TargetKind,
    /// What can be asked for it.
    pub operations: &'static [OperationKind],
    /// Whether the vendor itself keeps a schedule: a scheduled upgrade is then handed over at once. If not,
    /// Drydock holds the job until its time.
    pub schedules_natively: bool,
    /// Whether a scheduled upgrade can be told to ignore maintenance windows.
    pub has_maintenance_windows: bool,
    /// Whether the vendor can cancel.
    pub cancel: CancelSupport,
    /// Whether `CheckUpgrade` finds out more than that the target exists.
    pub prechecks: bool,
    /// Whether the vendor reports something to compute a percentage from.
    pub progress: bool,
    /// Whether versions can be listed.
    pub lists_versions: bool,
    /// Whether images can be listed.
    pub lists_images: bool,
    /// The most operations that one vendor call can start.
    pub batch_size: u32,
    /// How a lost answer is settled, in one sentence.
    pub lost_answer: &'static str,
    /// How success is proven, in one sentence.
    pub success_proof: &'static str,
    /// What the vendor is asked when an ended job is tried again, and what it is not asked, in one or two sentences.
    pub retry: &'static str,
}

/// What a vendor can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// One entry for each kind of target.
    pub targets: Vec<Capability>,
    /// How many jobs one `check` may be asked for. Its answers are heard together, so a vendor whose prechecks take long
    /// wants few: what the first one found is to be fresh when it starts.
    pub check_batch: usize,
    /// How many jobs one `observe` may be asked for.
    pub observe_batch: usize,
    /// After a lost answer, how long to keep asking before "it did not arrive" is believed: the request may
    /// still be on its way.
    pub lost_answer_grace: Duration,
    /// After a lost answer, how long to keep asking before the job is called indeterminate.
    pub lost_answer_limit: Duration,
}

impl Capabilities {
    /// What the vendor can do with a kind of target, if anything.
    pub fn of(&self, kind: TargetKind) -> Option<&Capability> {
        self.targets.iter().find(|c| c.target == kind)
    }
}
