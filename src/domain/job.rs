//! A job: the durable record of one operation on one target.
//!
//! It has three parts with different readers. [`JobSpec`] is what was asked and never changes. [`JobStatus`] is
//! what a caller sees change; every event carries the whole of it, so that a subscriber that merges or misses
//! events is never wrong, only later. [`JobControl`] is Drydock's own memory and is never shown.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::failure::Failure;
use super::finding::Finding;
use super::id::{JobId, RequestId};
use super::operation::Operation;
use super::state::JobState;
use super::target::Target;
use super::texts::Texts;

/// The durable record of one operation on one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// `jobs/{uuid}`
    pub id: JobId,
    /// What was asked.
    pub spec: JobSpec,
    /// What a caller sees change.
    pub status: JobStatus,
    /// Drydock's own memory.
    pub control: JobControl,
    /// Counts writes; each write names the version it saw.
    pub version: u64,
    /// The sequence of the job's newest event; its first event has 1.
    pub sequence: u64,
}

impl Job {
    /// The operation with what a reschedule changed since it was asked.
    pub fn operation_now(&self) -> Operation {
        let mut operation = self.spec.operation.clone();
        if let Operation::ScheduledUpgrade(scheduled) = &mut operation {
            scheduled.start_time = self.status.scheduled_start;
            scheduled.ignore_maintenance_windows = self.control.ignore_maintenance_windows;
        }
        operation
    }

    /// Whether the start was sent and not taken back: from here on the vendor's word counts.
    pub const fn is_with_vendor(&self) -> bool {
        self.status.submit_time.is_some()
    }
}

/// What was asked. Never changes after the job was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What it acts on.
    pub target: Target,
    /// What to do, with its parameters.
    pub operation: Operation,
    /// The caller's own marks, for filters.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub labels: Texts,
    /// The request that made it, and the job's place in that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestRef>,
    /// The caller's trace (`traceparent`), when it sent one or Drydock records one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
    /// When it was accepted.
    pub create_time: Timestamp,
    /// The ended job that it tries again. That job's `status.retried_by` names this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
}

/// Where a job came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRef {
    /// The caller's idempotency key.
    pub id: RequestId,
    /// The target's place in the request, from 0.
    pub index: u32,
}

/// What a caller sees change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Where it stands.
    pub state: JobState,
    /// Where that knowledge comes from.
    pub provenance: Provenance,
    /// When the vendor last said something about it.
    #[serde(default)]
    pub observe_time: Option<Timestamp>,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When the start was (last) sent to the vendor.
    #[serde(default)]
    pub submit_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub end_time: Option<Timestamp>,
    /// The start that is wanted now: first the caller's, later what a reschedule asked for.
    #[serde(default)]
    pub scheduled_start: Option<Timestamp>,
    /// How far it is, when the vendor gave something to compute it from.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Prechecks and vendor messages, newest statement of each.
    #[serde(default, deserialize_with = "snug")]
    pub findings: Vec<Finding>,
    /// What it waits for; empty when it does not wait.
    #[serde(default, deserialize_with = "snug")]
    pub waiting_for: Vec<Waiting>,
    /// Why it ended other than well.
    #[serde(default)]
    pub failure: Option<Box<Failure>>,
    /// Results of its parts (hosts), when the vendor tells them apart.
    #[serde(default, deserialize_with = "snug")]
    pub parts: Vec<Part>,
    /// Whether a cancel can work now.
    pub cancelable: Cancelable,
    /// When a caller asked to cancel it.
    #[serde(default)]
    pub cancel_request_time: Option<Timestamp>,
    /// The vendor's own words.
    #[serde(default)]
    pub vendor: VendorView,
    /// The job that tries this one again. Written once, after the end, in the commit that makes that job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_by: Option<JobId>,
}

/// A list without room for more: it is read from a row once, and then kept for as long as the job lives.
fn snug<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

/// Where a state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Provenance {
    /// Drydock's own doing: nothing was heard from the vendor yet.
    Own,
    /// The vendor said so.
    Reported,
    /// Drydock concluded it from something else that the vendor said.
    Inferred,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// The vendor's text beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Parts done, when the vendor counts parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// Parts in all, when the vendor counts parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// One thing a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What kind of thing.
    pub reason: WaitReason,
    /// For a person: what exactly, and what will end the wait.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When the wait ends by itself, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Kinds of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WaitReason {
    /// Its start time lies ahead.
    StartTime,
    /// The vendor waits for a maintenance window.
    MaintenanceWindow,
    /// Another job holds the target.
    TargetBusy,
    /// The provider does not answer, or its breaker is open.
    VendorUnreachable,
    /// The vendor refuses the provider's credentials, or its account lacks a right: a person must mend it.
    VendorCredentialsRefused,
    /// The provider's request budget is used up, the vendor said "too many requests", or as many of its jobs are being
    /// checked as are checked at once.
    RateBudget,
    /// The answer to the starting call was lost, and the vendor is being asked.
    LostAnswer,
    /// It runs longer than is usual, or the vendor holds it.
    Overdue,
}

/// One part's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The vendor's id of the part (a host's uuid).
    pub id: String,
    /// How it ended.
    pub outcome: PartOutcome,
    /// The vendor's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PartOutcome {
    /// Well.
    Succeeded,
    /// Not well.
    Failed,
    /// The vendor's word for it is not known.
    Unknown,
}

/// Whether a cancel can work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelable {
    /// Whether `CancelJob` is worth calling.
    pub possible: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Cancelable {
    /// A cancel can work.
    pub fn yes(reason: impl Into<String>) -> Self {
        Self { possible: true, reason: reason.into() }
    }

    /// A cancel cannot work.
    pub fn no(reason: impl Into<String>) -> Self {
        Self { possible: false, reason: reason.into() }
    }
}

/// The vendor's own words about a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VendorView {
    /// The vendor's own state, as text; unknown words are kept.
    pub state: Option<String>,
    /// The vendor's ids under the vendor's names (`longJobUuid`, `apiId`, `task`, `identity`).
    pub ids: Texts,
    /// The fields of the vendor's latest answers, under the vendor's own names, as a JSON object. Secrets and
    /// fields that Drydock does not know are not in it; at most 16 KiB.
    pub answer: Option<String>,
    /// The vendor's latest error about this job, as text.
    pub last_error: Option<String>,
}

/// Drydock's own memory of a job. Never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobControl {
    /// The key under which the start is sent (ZStack `X-Job-UUID`): a v4 UUID chosen before the first attempt.
    pub key: Uuid,
    /// The vendor adapter's durable notes: baseline before the start, ids after it. Only the adapter reads them.
    #[serde(default)]
    pub handle: Option<Handle>,
    /// How many times the start was sent. A second time only after the first provably did not arrive.
    #[serde(default)]
    pub attempts: u32,
    /// Since when a sent start is known to be without an answer. Grace and limit of the look-up count from here,
    /// not from the intent: between the two the call may have waited for the request budget.
    #[serde(default)]
    pub lost_time: Option<Timestamp>,
    /// When the first start without an answer was sent. From then on nothing but the vendor's word on the job itself
    /// shows that nothing runs: an operation on the target, and what is refused because of it, may be our own.
    #[serde(default)]
    pub first_lost: Option<Timestamp>,
    /// A start whose answer was lost may be sent again before this moment only; later nobody can say any more
    /// whether the first one arrived.
    #[serde(default)]
    pub resend_before: Option<Timestamp>,
    /// With this a start was refused after an earlier one went without an answer. It is the job's end once the vendor
    /// shows that the earlier one did not arrive.
    #[serde(default)]
    pub refusal: Option<Box<Failure>>,
    /// Whether the vendor ever showed it at work. From then on nothing leads to another start.
    #[serde(default)]
    pub began: bool,
    /// Whether the vendor dropped a start of it before it began. That leads to another start once, never twice.
    #[serde(default)]
    pub lapsed: bool,
    /// Whether the job holds its target; a queued one does not yet.
    pub holds_target: bool,
    /// Whether the vendor's cancel was called already.
    #[serde(default)]
    pub cancel_sent: bool,
    /// Whether a changed start time must still be told to the vendor.
    #[serde(default)]
    pub reschedule_due: bool,
    /// Whether the caller chose to wait for a busy target, also when somebody outside Drydock keeps it busy.
    #[serde(default)]
    pub queues: bool,
    /// The choice that holds now for a scheduled upgrade: first the caller's, later a reschedule's.
    #[serde(default)]
    pub ignore_maintenance_windows: Option<bool>,
    /// What became of the password.
    #[serde(default)]
    pub password: PasswordState,
}

impl JobControl {
    /// Of a job that nothing has happened to: nothing was sent, it holds no target, and it has no password.
    pub const fn new(key: Uuid) -> Self {
        Self {
            key,
            handle: None,
            attempts: 0,
            lost_time: None,
            first_lost: None,
            resend_before: None,
            refusal: None,
            began: false,
            lapsed: false,
            holds_target: false,
            cancel_sent: false,
            reschedule_due: false,
            queues: false,
            ignore_maintenance_windows: None,
            password: PasswordState::None,
        }
    }
}

/// An adapter's durable notes about one job, in a form only that adapter knows (JSON). No secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub String);

/// What became of a job's password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PasswordState {
    /// The operation has none.
    #[default]
    None,
    /// Kept in this process only; gone when it ends.
    InMemory,
    /// Kept sealed in the store.
    Sealed,
    /// Sent, or no longer needed, and erased.
    Erased,
}
