//! The contract between engine and vendors.
//!
//! An adapter translates; it decides nothing that the engine must remember. It keeps no job state of its own:
//! what it needs again (a baseline taken before the start, ids learnt after it) goes into the job's
//! [`Handle`], which the engine stores with the job and hands back with every later call.
//!
//! Calls that concern many jobs take batches, so that one list request can answer for hundreds of them. The
//! answer has one entry for each entry asked, in the same order; one entry's failure never spoils the others.
//!
//! Order of calls for one job: `validate` (pure, in the caller's RPC) → `check` → (intent committed) → `submit`
//! → `observe`*, with `find` instead of a second `submit` whenever the first one's answer was lost.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::error::VendorError;
use crate::domain::capability::Capabilities;
use crate::domain::drift::Drift;
use crate::domain::error::FieldViolation;
use crate::domain::failure::Failure;
use crate::domain::finding::Finding;
use crate::domain::id::JobId;
use crate::domain::job::{Cancelable, Handle, Part, Progress, Provenance};
use crate::domain::operation::Operation;
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::permit::Permit;
use crate::kit::secret::Secret;

/// One provider's account at a vendor.
#[async_trait]
pub trait Vendor: Send + Sync + 'static {
    /// The vendor's name, as in the configuration.
    fn name(&self) -> &'static str;

    /// What it can do. Constant over the provider's life.
    fn capabilities(&self) -> &Capabilities;

    /// The configuration keys of a provider's table that prove who it is, for the text of a refusal: what a person has
    /// to look at when the vendor takes the credentials no more.
    fn credential_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks an operation against the vendor's published rules, without asking the vendor. All faults at once;
    /// field paths are relative to the operation's request as the contract writes them: `target`, `version`,
    /// `zstack.exclude_packages[2]`, `start_time`, `image_id`, `password`.
    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation>;

    /// The targets of one kind, in a stable order. The page token is the adapter's own.
    async fn targets(&self, kind: TargetKind, page: &PageRequest) -> Result<Page<TargetInfo>, VendorError>;

    /// The versions that `target` can be brought to.
    async fn versions(&self, target: &Target) -> Result<Vec<AvailableVersion>, VendorError>;

    /// The images that a reinstall can use.
    async fn images(&self, page: &PageRequest) -> Result<Page<Image>, VendorError>;

    /// Jobs whose start was sent before this process drove them, with the adapter's own notes. Called when a driver
    /// begins, before it asks for anything else: for an adapter that remembers its own starts. Asks the vendor nothing.
    fn taken_over(&self, _jobs: &[Planned]) {}

    /// Runs prechecks; starts nothing. Also takes the baseline that `find` and `observe` need later.
    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>>;

    /// Starts operations. Called only after the intent is durable, and for one job a second time only after
    /// `find` answered `NotArrived` or the failure said `Reached::No`.
    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted>;

    /// After a lost answer: did the start arrive?
    async fn find(&self, planned: &Planned) -> Result<Found, VendorError>;

    /// How started operations stand now.
    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>>;

    /// Asks the vendor to cancel a started operation.
    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError>;

    /// Tells the vendor another start time for an operation that it keeps scheduled. `planned.operation` holds
    /// the new time. Only called where `schedules_natively`; repeating it does no harm.
    async fn reschedule(&self, planned: &Planned) -> Result<Observation, VendorError>;

    /// The cheapest call that proves that endpoint and credentials work. Answers with the vendor's version text,
    /// when there is one.
    async fn ping(&self) -> Result<Option<String>, VendorError>;

    /// What it heard from the vendor that the vendor's documents do not have, by field. At most 65 entries.
    fn drift(&self) -> Vec<Drift> {
        Vec::new()
    }

    /// Ends sessions. Called once, at shutdown; bounded by the caller's deadline.
    async fn close(&self);
}

/// An operation as the caller asked for it, before there is a job.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What it acts on.
    pub target: &'a Target,
    /// What to do.
    pub operation: &'a Operation,
    /// The password, when one was given.
    pub password: Option<&'a Secret>,
}

/// One job, as an adapter sees it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The job, for logs.
    pub job: JobId,
    /// What it acts on.
    pub target: Target,
    /// What to do, with the start time that is wanted now.
    pub operation: Operation,
    /// The idempotency key: the same for every attempt of this job, a v4 UUID.
    pub key: uuid::Uuid,
    /// How many times the start was sent, including the present one in `submit` and `find`.
    pub attempts: u32,
    /// When the start was (last) sent; `None` before the first attempt.
    pub submit_time: Option<jiff::Timestamp>,
    /// The adapter's own notes from earlier calls.
    pub handle: Option<Handle>,
    /// Until when a call that changes something may be sent: put it on the call (`http::Call::under`), which asks it at
    /// the last moment. Afterwards another replica may be driving the job.
    pub permit: Permit,
    /// A caller asked to cancel it, and the vendor was asked to or may have been (that answer can be lost, too). An
    /// operation that then ends without success may have been cancelled, or may have failed by itself.
    pub cancel_requested: bool,
    /// Somebody watches it now: in `observe`, details that cost a request for each job are asked for first for such jobs,
    /// within the same bounds.
    pub watched: bool,
}

/// One job to start.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The job.
    pub planned: Planned,
    /// The password, for operations that have one.
    pub password: Option<Secret>,
}

/// What prechecks found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Findings, each with a stable id. The engine decides by them; the adapter only reports.
    pub findings: Vec<Finding>,
    /// Notes to keep (the baseline).
    pub handle: Option<Handle>,
    /// An operation that somebody else started on the same target is under way: its description. The engine
    /// then waits or refuses; it never starts a second one.
    pub foreign: Option<String>,
}

/// What became of one start.
#[derive(Debug)]
pub enum Submitted {
    /// The vendor accepted it. Boxed: an observation is large.
    Started(Box<Observation>),
    /// The vendor understood it and refused it before it started; nothing runs.
    Refused(Failure, Vec<Finding>),
    /// The call failed; `reached` tells whether it may have started.
    Failed(VendorError),
}

/// Whether a start arrived.
#[derive(Debug)]
pub enum Found {
    /// It did; it stands like this. Boxed: an observation is large.
    Arrived(Box<Observation>),
    /// The vendor knows nothing of it, and what the vendor says proves it, or a repeat can do no harm. The engine
    /// believes it only after `Capabilities::lost_answer_grace`.
    NotArrived {
        /// The proof holds for a start that is sent before this moment; `None`: for good. A start that is not
        /// sent by then (an outage came between) is not sent at all.
        until: Option<jiff::Timestamp>,
    },
    /// What the vendor says fits both; the text says why.
    CannotTell(String),
}

/// What a vendor said about a job at one moment, already translated.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Where the operation stands.
    pub phase: Phase,
    /// Whether the vendor said so, or it was concluded.
    pub provenance: Provenance,
    /// The vendor's own state word.
    pub vendor_state: Option<String>,
    /// How far it is; only when there is something to compute it from.
    pub progress: Option<Progress>,
    /// Messages; those with an id seen before replace the earlier ones.
    pub findings: Vec<Finding>,
    /// `findings` is all that the vendor says now: earlier ones of the vendor that are not among them no longer hold and
    /// are taken off the job. Warnings that a caller accepted stay, because they tell why the job was allowed to start.
    pub findings_complete: bool,
    /// Results of parts; empty leaves the earlier ones.
    pub parts: Vec<Part>,
    /// The vendor's ids, under the vendor's names; merged over the earlier ones.
    pub ids: BTreeMap<String, String>,
    /// The vendor's fields as a JSON object (known fields only, no secrets); `None` leaves the earlier ones.
    pub answer: Option<String>,
    /// Whether the vendor can cancel now; `None` when the vendor does not say.
    pub cancelable: Option<Cancelable>,
    /// Notes to keep; `None` leaves the earlier ones.
    pub handle: Option<Handle>,
    /// A hold-up worth telling, such as "waits for its maintenance window"; with when it ends if known.
    pub waiting: Option<(crate::domain::job::WaitReason, String, Option<jiff::Timestamp>)>,
}

impl Observation {
    /// An observation that tells only the phase.
    pub fn new(phase: Phase, provenance: Provenance) -> Self {
        Self {
            phase,
            provenance,
            vendor_state: None,
            progress: None,
            findings: Vec::new(),
            findings_complete: false,
            parts: Vec::new(),
            ids: BTreeMap::new(),
            answer: None,
            cancelable: None,
            handle: None,
            waiting: None,
        }
    }
}

/// Where an operation stands at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Accepted; the vendor keeps its schedule or queue.
    Scheduled,
    /// Under way.
    Running,
    /// Held by the vendor.
    Suspended,
    /// Being cancelled.
    Cancelling,
    /// Finished, every part well.
    Succeeded,
    /// Finished, not every part well.
    Failed(Failure),
    /// Cancelled.
    Cancelled,
    /// Refused by the vendor's own prechecks after it accepted the start; nothing was changed.
    Rejected(Failure),
    /// The vendor took the start and dropped it before the operation began: nothing was changed, and nothing will come
    /// of it. Said only on proof, and only while `find` can still answer `NotArrived` for it: the engine asks that
    /// before it starts the job again, which it does once at most and never for a job that was seen at work. Else the
    /// job ends `REJECTED` with this failure, and the engine adds why it starts nothing more; so the text itself
    /// advises nothing.
    Lapsed(Failure),
    /// Overtaken by another change.
    Superseded,
    /// Its window passed without a start.
    Missed,
    /// The vendor's word is not known, or says nothing new: the job stays where it is.
    Unclear,
}

/// What the vendor said to a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It will try.
    Accepted,
    /// It does not cancel this (now); the operation goes on. The text says why.
    Refused(String),
    /// The operation was over already; the next observation tells how.
    AlreadyOver,
}
