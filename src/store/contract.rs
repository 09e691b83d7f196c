//! The contract of every store.
//!
//! Rules that all implementations keep, and that the suite in `tests/store` checks:
//! * What a call answered `Ok` survives any crash that follows (fsync before the answer).
//! * A job's row, its events and its request row change in one commit or not at all.
//! * Every write names the version it saw; a write on another version answers `Stale` and changes nothing.
//! * At most one live job holds a target.
//! * An event's `position` rises in commit order: a reader that has seen position `n` never later finds a new
//!   event at or below `n`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::error::StoreError;
use super::lease::{Guard, Leases};
use super::retention::{Purged, Step, Through};
use crate::domain::event::{Event, NewEvent};
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::{Job, JobControl, JobSpec, JobStatus};
use crate::domain::operation::OperationKind;
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::JobState;
use crate::domain::target::Target;

/// Durable jobs, events and requests.
#[async_trait]
pub trait Store: Leases {
    /// Identifies this database over its life; resume tokens carry it.
    fn id(&self) -> Uuid;

    /// Accepts one request's jobs, in one commit. See [`NewRequest`].
    async fn create(&self, request: NewRequest) -> Result<Vec<Result<Accepted, StoreError>>, StoreError>;

    /// Whether a request with this key was accepted before.
    async fn knows_request(&self, id: RequestId) -> Result<bool, StoreError>;

    /// Reads a job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// A job as callers are shown it: the bytes that `show` makes of it as it stands now. `show` is the same at every
    /// call, so a store that alone knows what is written may keep the bytes until the job is.
    async fn shown(&self, id: JobId, show: Show) -> Result<Option<Bytes>, StoreError> {
        Ok(self.job(id).await?.map(|job| show(&job)))
    }

    /// Lists jobs, newest first unless `filter.oldest_first`, by an index, one page.
    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, StoreError>;

    /// Reads a provider's jobs that have not ended, in id order after `after`: at most `limit`. For start-up.
    /// A job whose row is damaged is left out, loudly; empty means that there are no more.
    async fn live_jobs(
        &self,
        provider: &ProviderId,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError>;

    /// Writes changed jobs with their events, all in one commit. One entry's `Stale`, `Missing` or `TargetBusy`
    /// leaves the others unharmed. Answers the job as it stands after the write.
    ///
    /// A job may have several entries, in order: each names the version that the one before it makes, and tells its own
    /// event. When one is not made, neither are those that follow it.
    ///
    /// A driver's write names its lease: under an old fence nothing at all is written. A caller's write (a cancel) has
    /// no guard; its version alone protects it.
    ///
    /// # Errors
    /// `Fenced` when the guard's lease passed to another holder, or an entry is not of the guard's provider.
    async fn write(
        &self,
        changes: Vec<Change>,
        guard: Option<Guard>,
    ) -> Result<Vec<Result<Job, StoreError>>, StoreError>;

    /// The sealed password of a job, while it is kept.
    async fn sealed_password(&self, id: JobId) -> Result<Option<Vec<u8>>, StoreError>;

    /// A job's events with a sequence above `after`, oldest first, at most `limit`.
    async fn job_events(&self, id: JobId, after: u64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// All jobs' events with a position above `after`, in position order, at most `limit`, but never cutting a
    /// commit in two (so the answer may be longer by one commit's rest).
    ///
    /// # Errors
    /// `PositionGone` when events after `after` were purged. `DamagedEvents` when the commit that follows cannot be
    /// read; one that lies further on only ends the answer.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// The newest committed position; 0 when there is none. Changes wake the receiver; it only hurries what
    /// asking `events` again would find.
    fn newest_position(&self) -> watch::Receiver<u64>;

    /// How many jobs stand in each state, by provider. For metrics; reads an index.
    async fn count_live(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError>;

    /// The latest to end of the ended jobs that are too many when the `keep` latest stay. Walks as many entries of an
    /// index as are kept, so it is asked once before the steps of a purge, not in each.
    async fn too_many(&self, keep: u64) -> Result<Option<Through>, StoreError>;

    /// Removes ended jobs, oldest end first, with their events, labels and request keys, in one short commit: at most what
    /// `step` says. Call it again until it removes nothing. The jobs of one request go together: none does before all of
    /// them may go. Its key goes once all its jobs are gone. Afterwards
    /// `events` answers `PositionGone` for every position before the last event removed.
    async fn purge(&self, through: Through, step: Step) -> Result<Purged, StoreError>;

    /// The present moment by the store's own clock, which all replicas share: what is removed for its age is removed by it.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Removes request keys from before a moment that stand for no job (all their entries were refused), at most
    /// `limit`. Answers how many.
    async fn purge_bare_keys(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Whether the store can be read and written now.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes waiting writes and closes. Called once.
    async fn close(&self);
}

/// Makes of a job what callers are shown of it.
pub type Show = fn(&Job) -> Bytes;

/// One request that asks for jobs.
///
/// With a `request` key, a second call with the same key and digest answers the jobs of the first, also after
/// they ended (`Accepted::reused`); with another digest it fails with `RequestReused`. An entry that made no job
/// the first time (its target was busy) is tried anew under the same key.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// The caller's key, and the digest of what it asked for (SHA-256 of the canonical request).
    pub request: Option<(RequestId, [u8; 32])>,
    /// The jobs, in the request's order.
    pub jobs: Vec<NewJob>,
}

impl NewRequest {
    /// The jobs whose rows the request may write: its own, and those changed beside them.
    pub(super) fn touched(&self) -> impl Iterator<Item = JobId> {
        self.jobs
            .iter()
            .flat_map(|new| std::iter::once(new.id).chain(new.beside.iter().map(|change| change.id)))
    }
}

/// One job to accept.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id, made by the engine.
    pub id: JobId,
    /// What was asked.
    pub spec: JobSpec,
    /// How it starts.
    pub status: JobStatus,
    /// Drydock's memory. `holds_target` is decided by the store.
    pub control: JobControl,
    /// The password, sealed for this job.
    pub sealed_password: Option<Vec<u8>>,
    /// What to do when another live job holds the target, or waits to take it (nobody overtakes the waiting):
    /// `None` refuses; `Some(n)` queues behind at most `n` waiting jobs.
    pub queue: Option<u32>,
    /// Its first event.
    pub event: NewEvent,
    /// A change of another job that is made in the same commit if this job is made anew, and not otherwise: not when
    /// the request is a repeated one, nor when the target is busy. `Stale` or `Missing` refuses this job too.
    pub beside: Option<Change>,
}

/// A job that a request stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// Whether it was there before this call.
    pub reused: bool,
}

/// A change of one job.
#[derive(Clone, Debug)]
pub struct Change {
    /// The job.
    pub id: JobId,
    /// The version that was seen.
    pub version: u64,
    /// The new status.
    pub status: JobStatus,
    /// The new memory. Setting `holds_target` from false to true takes the target, or answers `TargetBusy`.
    /// A job in an ended state holds nothing, whatever is written here.
    pub control: JobControl,
    /// Forget the sealed password.
    pub erase_password: bool,
    /// The event that tells of it; `None` for a change that only Drydock's memory sees.
    pub event: Option<NewEvent>,
}

/// Which jobs are wanted. Empty lists match everything; entries of one list are alternatives; lists combine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// These jobs only.
    pub jobs: Vec<JobId>,
    /// Of these providers.
    pub providers: Vec<ProviderId>,
    /// On these targets.
    pub targets: Vec<Target>,
    /// In these states.
    pub states: Vec<JobState>,
    /// Of these kinds.
    pub operations: Vec<OperationKind>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Accepted at or after this moment.
    pub created_after: Option<Timestamp>,
    /// Accepted before this moment.
    pub created_before: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
}

impl JobFilter {
    /// Whether it leaves out any job by what is asked of it, names and times aside.
    pub fn narrows(&self) -> bool {
        !(self.providers.is_empty()
            && self.targets.is_empty()
            && self.states.is_empty()
            && self.operations.is_empty()
            && self.labels.is_empty())
    }

    /// Whether an event's job matches, by what the event tells. Times are not asked: an event's job was created
    /// at a time that only its row knows.
    pub fn matches(&self, event: &Event) -> bool {
        let about = &event.about;
        (self.jobs.is_empty() || self.jobs.contains(&event.job))
            && (self.providers.is_empty() || self.providers.contains(&about.target.provider))
            && (self.targets.is_empty() || self.targets.contains(&about.target))
            && (self.states.is_empty() || self.states.contains(&event.status.state))
            && (self.operations.is_empty() || self.operations.contains(&about.operation))
            && self.labels.iter().all(|(k, v)| about.labels.get(k) == Some(v.as_str()))
    }
}
