//! What the harness saw in one round: plain data for the judge.

use std::collections::BTreeMap;

use drydock::api::pb;
use jiff::Timestamp;
use tonic::Code;

use super::fleet::Kind;
use super::harm::Strike;

/// An event, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its number within the job.
    pub sequence: u64,
    /// What it is about.
    pub kind: pb::EventKind,
    /// The state after it.
    pub state: pb::JobState,
    /// What it said.
    pub message: String,
    /// When it happened, by this machine's clock.
    pub at: Timestamp,
    /// Somebody asked to cancel.
    pub cancel: bool,
    /// The start that is wanted.
    pub start: Option<Timestamp>,
    /// The answer to the start is known to be lost.
    pub lost: bool,
    /// The id under which the start went to a vendor that takes one (ZStack's `apiId`). Empty: none yet.
    pub key: String,
}

impl From<&pb::JobEvent> for Seen {
    fn from(event: &pb::JobEvent) -> Self {
        let none = pb::JobStatus::default();
        let status = event.status.as_ref().unwrap_or(&none);
        let lost = |waiting: &pb::Waiting| waiting.reason() == pb::WaitReason::LostAnswer;
        let key = status.vendor.as_ref().and_then(|vendor| vendor.ids.get("apiId"));
        Self {
            sequence: event.sequence,
            kind: event.kind(),
            state: status.state(),
            message: event.message.clone(),
            at: event.time.as_ref().and_then(moment).unwrap_or_default(),
            cancel: status.cancel_request_time.is_some(),
            start: status.scheduled_start.as_ref().and_then(moment),
            lost: status.waiting_for.iter().any(lost),
            key: key.cloned().unwrap_or_default(),
        }
    }
}

/// A moment of the contract.
pub fn moment(at: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// A job that an RPC answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The request's id.
    pub request: String,
    /// The job's name.
    pub job: String,
    /// Its target's name.
    pub target: String,
}

/// A job as it stands at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// Its target's name.
    pub target: String,
    /// The request's id.
    pub request: String,
    /// Its state, after it was settled if it had to be.
    pub state: pb::JobState,
    /// The version that was asked for; empty when the vendor was to choose.
    pub version: String,
    /// Concluded, because the vendor lets nobody read it.
    pub inferred: bool,
    /// Why it did not succeed.
    pub failure: pb::FailureReason,
    /// A person had to say how it ended.
    pub settled: bool,
}

/// An operation that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// When.
    pub at: Timestamp,
    /// What the vendor wrote down of it: the id that Drydock chose (ZStack), the version (vSphere, Avisi).
    pub detail: String,
}

/// A cancel or a new start time that was answered with OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The cancel's answer said that nothing was sent, and nothing will be.
    Prevented,
    /// The vendor was or will be asked to cancel.
    CancelRequested,
    /// The start was moved to then.
    Moved(Timestamp),
}

/// An answer that says that Drydock, or what stands before it, is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// gRPC's code.
    pub code: Code,
    /// `ErrorInfo.reason`; empty without one.
    pub reason: String,
    /// What it said.
    pub message: String,
    /// The client made it itself, of a connection that broke.
    pub own: bool,
}

/// What a vendor wrote down about one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The target's name.
    pub target: String,
    /// What it is.
    pub kind: Kind,
    /// The vendor calls the whole a success although a part of it fails.
    pub partial: bool,
    /// The operations that started, in order.
    pub starts: Vec<Start>,
    /// The vendor's final words, in order.
    pub ends: Vec<String>,
}

/// What a watch was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every event of every job.
    Everything,
    /// Every event of the jobs of one provider.
    Provider(String),
    /// Where jobs stand, not how they got there.
    LatestState,
}

impl Wanted {
    /// Whether jobs on a target are asked for.
    pub fn matches(&self, target: &str) -> bool {
        match self {
            Self::Everything | Self::LatestState => true,
            Self::Provider(provider) => target.starts_with(&format!("providers/{provider}/")),
        }
    }
}

/// What a watch was told, over all its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it was asked for.
    pub wanted: Wanted,
    /// How often it was resumed.
    pub resumed: u64,
    /// Job and event, as they came.
    pub events: Vec<(String, Seen)>,
}

/// Everything about a round.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Jobs that callers were told of.
    pub promises: Vec<Promise>,
    /// Cancels and moves that were answered with OK, by job.
    pub wishes: Vec<(String, Wish)>,
    /// Answers that nobody should get.
    pub refusals: Vec<Refusal>,
    /// Harm that was done.
    pub strikes: Vec<Strike>,
    /// When the machine stood still.
    pub stalls: Vec<(Timestamp, Timestamp)>,
    /// Every job there is at the end.
    pub jobs: Vec<Ended>,
    /// Every event of every job, as listed at the end.
    pub events: BTreeMap<String, Vec<Seen>>,
    /// What the vendors wrote down.
    pub happened: Vec<Happened>,
    /// What watches were told.
    pub watches: Vec<Watched>,
    /// What the checkers of a watch's seven properties found.
    pub unkept: Vec<String>,
    /// Secrets that were found, and where.
    pub leaks: Vec<String>,
    /// What a gateway says in its log only when Drydock itself is wrong.
    pub bugs: Vec<String>,
}
