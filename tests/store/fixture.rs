//! Jobs to store, and where to store them.

use std::sync::Arc;

use drydock::domain::event::{EventKind, NewEvent};
use drydock::domain::id::{JobId, ProviderId, RequestId};
use drydock::domain::job::{
    Cancelable, Job, JobControl, JobSpec, JobStatus, Progress, Provenance, RequestRef, VendorView,
};
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::store::contract::{Accepted, Change, NewJob, NewRequest};
use drydock::store::{Store, StoreError};
use jiff::Timestamp;
use uuid::Uuid;

/// A database that can be opened again after its store was closed.
pub trait Backend: Send + Sync {
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// The `n`th job's id. Ids rise with `n`, as those of a running Drydock rise with time.
pub fn id(n: u64) -> JobId {
    JobId::new(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0000 + u128::from(n)))
}

/// `seconds` after the beginning of the tests' time.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + i64::try_from(seconds).unwrap()).unwrap()
}

pub fn provider(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

/// A cluster, as `provider/cluster`.
pub fn target(short: &str) -> Target {
    let (provider, cluster) = short.split_once('/').unwrap();
    Target::parse_name(&format!("providers/{provider}/clusters/{cluster}")).unwrap()
}

pub fn key(n: u128) -> RequestId {
    RequestId::parse(&Uuid::from_u128(n).to_string()).unwrap()
}

pub fn status(state: JobState, seconds: u64) -> JobStatus {
    JobStatus {
        state,
        provenance: Provenance::Own,
        observe_time: None,
        update_time: at(seconds),
        submit_time: None,
        end_time: state.is_ended().then(|| at(seconds)),
        scheduled_start: None,
        progress: Some(Progress { percent: 0.1 + 0.2, message: None, completed: Some(3), total: None }),
        findings: Vec::new(),
        waiting_for: Vec::new(),
        failure: None,
        parts: Vec::new(),
        cancelable: Cancelable::yes("nothing was sent"),
        cancel_request_time: None,
        vendor: VendorView { state: Some("weird \u{1F6A2} \"state\"".to_owned()), ..VendorView::default() },
        retried_by: None,
    }
}

pub fn event(kind: EventKind, seconds: u64) -> NewEvent {
    NewEvent { kind, message: format!("at {seconds}"), time: at(seconds) }
}

/// The `n`th job, an upgrade of `place` (`provider/cluster`), accepted at second `n`.
pub fn new_job(n: u64, place: &str) -> NewJob {
    NewJob {
        id: id(n),
        spec: JobSpec {
            target: target(place),
            operation: Operation::Upgrade(Upgrade { version: Some("9.1".to_owned()), ..Upgrade::default() }),
            labels: [("team".to_owned(), "harbour".to_owned())].into(),
            request: None,
            trace_parent: None,
            create_time: at(n),
            retry_of: None,
        },
        status: status(JobState::Pending, n),
        control: JobControl::new(Uuid::from_u128(n.into())),
        sealed_password: None,
        queue: None,
        event: event(EventKind::Created, n),
        beside: None,
    }
}

/// Several jobs without a key.
pub fn jobs(jobs: Vec<NewJob>) -> NewRequest {
    NewRequest { request: None, jobs }
}

/// Several jobs under a key, with their places.
pub fn keyed(key: RequestId, digest: u8, mut jobs: Vec<NewJob>) -> NewRequest {
    for (job, index) in jobs.iter_mut().zip(0..) {
        job.spec.request = Some(RequestRef { id: key, index });
    }
    NewRequest { request: Some((key, [digest; 32])), jobs }
}

/// Creates jobs that must all be accepted anew.
pub async fn create(store: &Arc<dyn Store>, wanted: Vec<NewJob>) -> Vec<Job> {
    let answers = store.create(jobs(wanted)).await.unwrap();
    answers.into_iter().map(Result::unwrap).inspect(|a| assert!(!a.reused)).map(|a| a.job).collect()
}

pub async fn create_one(store: &Arc<dyn Store>, wanted: NewJob) -> Job {
    create(store, vec![wanted]).await.remove(0)
}

/// The answer about a request's only job.
pub async fn try_one(store: &Arc<dyn Store>, request: NewRequest) -> Result<Accepted, StoreError> {
    store.create(request).await?.remove(0)
}

/// A move of `job` to `state`, a second later.
pub fn change(job: &Job, state: JobState) -> Change {
    Change {
        id: job.id,
        version: job.version,
        status: status(state, 1000 + job.sequence),
        control: job.control.clone(),
        erase_password: false,
        event: Some(event(EventKind::StateChanged, 1000 + job.sequence)),
    }
}

pub async fn write_one(store: &Arc<dyn Store>, change: Change) -> Result<Job, StoreError> {
    store.write(vec![change], None).await.unwrap().remove(0)
}

pub async fn end(store: &Arc<dyn Store>, job: &Job) -> Job {
    write_one(store, change(job, JobState::Succeeded)).await.unwrap()
}

/// All events after `after`, by reads of at most `limit`.
pub async fn all_events(store: &Arc<dyn Store>, limit: u32) -> Vec<drydock::domain::event::Event> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let some = store.events(after, limit).await.unwrap();
        let Some(last) = some.last() else { return found };
        after = last.position;
        found.extend(some);
    }
}
