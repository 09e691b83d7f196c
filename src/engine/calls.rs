//! What the API may ask of the engine, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::commit::Delivery;
use super::token::ResumeToken;
use crate::domain::capability::Capabilities;
use crate::domain::drift::Drift;
use crate::domain::finding::{Finding, Verdict};
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::Job;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::state::JobState;
use crate::domain::target::{Target, TargetInfo};
use crate::kit::secret::Secret;
use crate::kit::trace::TraceParent;

/// A request to start operations: one job for each entry.
#[derive(Debug)]
pub struct StartRequest {
    /// The caller's idempotency key, and the SHA-256 of the canonical request (everything but the key).
    pub request: Option<(RequestId, [u8; 32])>,
    /// What to start, at least one.
    pub entries: Vec<StartEntry>,
    /// What to do when a target already has a live job.
    pub on_busy: OnBusy,
    /// The caller's own marks, put on every job.
    pub labels: BTreeMap<String, String>,
    /// The caller's trace.
    pub trace_parent: Option<TraceParent>,
}

/// One operation to start.
#[derive(Debug)]
pub struct StartEntry {
    /// What it acts on.
    pub target: Target,
    /// What to do.
    pub operation: Operation,
    /// The password, for a reinstall.
    pub password: Option<Secret>,
    /// Put before field paths in faults: empty, or such as `requests[3]`.
    pub field_prefix: String,
}

/// A request to try an ended job again by a new one.
#[derive(Debug)]
pub struct RetryRequest {
    /// The ended job.
    pub job: JobId,
    /// As in [`StartRequest::request`].
    pub request: Option<(RequestId, [u8; 32])>,
    /// What differs from the old job.
    pub asked: Retrial,
    /// What to do when the target already has a live job.
    pub on_busy: OnBusy,
    /// The caller's trace.
    pub trace_parent: Option<TraceParent>,
}

/// In what a retry differs from the job that it tries again.
#[derive(Clone, Debug, Default)]
pub struct Retrial {
    /// Another start of a scheduled upgrade. `None`: the old job's, while it lies ahead.
    pub start_time: Option<Timestamp>,
    /// Warnings that are accepted beside those of the old job.
    pub accepted_risks: Vec<String>,
    /// The password, again: the old job's was erased.
    pub password: Option<Secret>,
}

/// What to do when a target already has a live job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// Refuse, naming the job that holds the target.
    #[default]
    Reject,
    /// Wait for its turn behind the others, oldest first.
    Queue,
}

/// A job that a request stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The job.
    pub job: Job,
    /// Whether an earlier call with the same key made it.
    pub reused: bool,
}

/// What a check or a validation without start found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What it would act on.
    pub target: Target,
    /// What was found; accepted warnings are marked.
    pub findings: Vec<Finding>,
    /// Whether a start would go through now.
    pub verdict: Verdict,
    /// The live job that holds the target, if any.
    pub holder: Option<JobId>,
    /// An operation under way on the target that no job stands for, for a person.
    pub foreign: Option<String>,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Nothing was sent to the vendor, and nothing will be.
    Prevented,
    /// The vendor was or will be asked; follow the job for its answer.
    Requested,
}

/// A person's word on a job that nobody can determine, or that is overdue for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It happened and succeeded.
    Succeeded,
    /// It happened and failed.
    Failed,
    /// It never happened.
    Cancelled,
}

/// A provider as callers see it.
#[derive(Clone, Debug)]
pub struct ProviderView {
    /// Its id.
    pub id: ProviderId,
    /// The vendor's name.
    pub vendor: &'static str,
    /// Its base address.
    pub endpoint: String,
    /// Its marks.
    pub labels: BTreeMap<String, String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How it is.
    pub health: ProviderHealth,
    /// Live jobs by state.
    pub live_jobs: BTreeMap<JobState, u64>,
    /// Who drives its jobs; `None` while nobody does.
    pub driver: Option<DriverView>,
    /// What a person should know of its configuration.
    pub warnings: Vec<String>,
    /// What its vendor sent that the vendor's documents do not have, since start-up.
    pub drift: Vec<Drift>,
}

/// The replica that drives a provider's jobs, as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverView {
    /// What people call it.
    pub replica: String,
    /// The id of one run of it: a restart is another one.
    pub replica_id: String,
    /// Since when it drives; `None` until it has told.
    pub since: Option<Timestamp>,
    /// How often the provider changed hands.
    pub fence: u64,
}

/// How a provider is. Replicas tell it each other, so a field that one does not know yet has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderHealth {
    /// Whether the latest call got an answer that its jobs can use; `None` before the first one.
    pub reachable: Option<bool>,
    /// Not reachable because the vendor refuses the provider's credentials.
    pub credentials_refused: bool,
    /// When it last answered.
    pub last_heard: Option<Timestamp>,
    /// The latest error, as public text.
    pub last_error: Option<String>,
    /// When the latest error happened.
    pub last_error_time: Option<Timestamp>,
    /// While set, the breaker is open: no calls before this moment.
    pub paused_until: Option<Timestamp>,
    /// The vendor's version text, when it told one.
    pub version: Option<String>,
}

/// A target as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    /// What the vendor tells.
    pub info: TargetInfo,
    /// When it told that.
    pub observe_time: Timestamp,
    /// The job that stands for what is under way on it. `None`: nothing is, or somebody outside Drydock started it.
    pub job: Option<JobId>,
}

/// A page of targets over one or all providers.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetsPage {
    /// The targets.
    pub items: Vec<TargetView>,
    /// Continues the list.
    pub next: Option<String>,
    /// Providers that could not be asked, with the public reason.
    pub unreachable: Vec<(ProviderId, String)>,
}

/// Which jobs a watch is about. Like the list filter, without times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// These jobs only.
    pub jobs: Vec<JobId>,
    /// Of these providers.
    pub providers: Vec<ProviderId>,
    /// On these targets.
    pub targets: Vec<Target>,
    /// Entering or standing in these states.
    pub states: Vec<JobState>,
    /// Of these kinds.
    pub operations: Vec<OperationKind>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
}

/// A request to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchRequest {
    /// Which jobs.
    pub filter: WatchFilter,
    /// Send the matching jobs as they stand first. Ignored with a resume token.
    pub snapshot: bool,
    /// Continue exactly after this token.
    pub resume_token: Option<String>,
    /// Merge: of several unread events of a job, only the newest is sent.
    pub latest_only: bool,
    /// How often an idle stream gets a fresh token; `None` for the server's default.
    pub heartbeat: Option<Duration>,
    /// When its caller's own deadline passes: what the stream holds is given back soon after, also when nobody reads it.
    pub deadline: Option<Instant>,
    /// End the stream after the last event of the one job in `filter.jobs`.
    pub until_end: bool,
}

/// One message of a watch.
#[derive(Clone, Debug)]
pub struct WatchItem {
    /// What it says.
    pub body: WatchBody,
    /// Resumes exactly after this message; `None` before `Synced`.
    pub resume_token: Option<ResumeToken>,
}

/// What a message of a watch says.
#[derive(Clone, Debug)]
pub enum WatchBody {
    /// A job as it stands: part of the snapshot.
    Snapshot(Box<Job>),
    /// The snapshot is complete; what follows are events.
    Synced,
    /// Events of one commit, in order; of several, merged, when only the latest state was asked for.
    Events(Delivery),
    /// Nothing happened; here is a fresh token.
    Heartbeat,
}
