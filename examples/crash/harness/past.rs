//! A past for a store that no gateway has seen: jobs that ended long ago and lately, one that is live, and their keys.

use anyhow::Context as _;
use drydock::domain::event::{EventKind, NewEvent};
use drydock::domain::id::{JobId, RequestId};
use drydock::domain::job::{
    Cancelable, Job, JobControl, JobSpec, JobStatus, Provenance, RequestRef, VendorView,
};
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::kit::clock::Clock;
use drydock::store::contract::{Change, NewJob, NewRequest};
use drydock::store::{Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How many requests are old, and of how many jobs each is: together more than one step of a purge.
const OLD: (usize, u32) = (3, 40);
/// Long before anything that is kept.
pub const LONG_AGO: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Within what is kept.
pub const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// What a store was filled with.
pub struct Past {
    /// Jobs that ended too long ago.
    pub old: Vec<JobId>,
    /// Their requests, and one of that time that made no job.
    pub old_keys: Vec<RequestId>,
    /// A job that ended lately, and a live one.
    pub kept: Vec<JobId>,
    /// Their requests.
    pub kept_keys: Vec<RequestId>,
}

impl Past {
    /// Fills a store with jobs, of which the old ones are of so long ago. The live one is an upgrade of `target`, whose
    /// provider the others name, too.
    pub async fn live(store: &dyn Store, target: &str, ago: SignedDuration) -> anyhow::Result<Self> {
        let now = Clock::system().now();
        let live = Target::parse_name(target)?;
        let elsewhere = |n: u32| {
            let name = format!("providers/{}/clusters/{:032x}", live.provider.as_str(), 0xad00_0000_u32 + n);
            Target::parse_name(&name)
        };
        let mut past =
            Self { old: Vec::new(), old_keys: Vec::new(), kept: Vec::new(), kept_keys: Vec::new() };
        for _ in 0..OLD.0 {
            let targets = (0..OLD.1).map(elsewhere).collect::<Result<_, _>>()?;
            let (key, jobs) = accept(store, targets, now - ago).await?;
            cancel(store, jobs.iter().collect(), now - ago).await?;
            past.old.extend(jobs.iter().map(|job| job.id));
            past.old_keys.push(key);
        }
        let (key, jobs) = accept(store, vec![elsewhere(0)?], now - LATELY).await?;
        cancel(store, jobs.iter().collect(), now - LATELY).await?;
        past.kept.extend(jobs.iter().map(|job| job.id));
        past.kept_keys.push(key);
        let (key, jobs) = accept(store, vec![live.clone()], now).await?;
        past.kept.extend(jobs.iter().map(|job| job.id));
        past.kept_keys.push(key);
        // The target is held, so this key stands for no job.
        let (key, jobs) = accept(store, vec![live], now - ago).await?;
        anyhow::ensure!(jobs.is_empty(), "the target is not held");
        past.old_keys.push(key);
        Ok(past)
    }
}

/// One request with a job for each target. Its key, and the jobs that it made.
async fn accept(
    store: &dyn Store,
    targets: Vec<Target>,
    time: Timestamp,
) -> anyhow::Result<(RequestId, Vec<Job>)> {
    let key = RequestId::parse(&Uuid::new_v4().to_string())?;
    let jobs = targets.into_iter().zip(0..).map(|(target, index)| job(target, key, index, time)).collect();
    let request = NewRequest { request: Some((key, [7; 32])), jobs };
    let mut made = Vec::new();
    for accepted in store.create(request).await? {
        match accepted {
            Ok(accepted) => made.push(accepted.job),
            Err(StoreError::TargetBusy { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok((key, made))
}

async fn cancel(store: &dyn Store, jobs: Vec<&Job>, time: Timestamp) -> anyhow::Result<()> {
    let change = |job: &&Job| Change {
        id: job.id,
        version: job.version,
        status: status(JobState::Cancelled, time),
        control: job.control.clone(),
        erase_password: false,
        event: Some(event(EventKind::StateChanged, time)),
    };
    for written in store.write(jobs.iter().map(change).collect(), None).await? {
        written.context("a job of the past")?;
    }
    Ok(())
}

fn job(target: Target, id: RequestId, index: u32, time: Timestamp) -> NewJob {
    NewJob {
        id: JobId::new(Uuid::now_v7()),
        spec: JobSpec {
            target,
            operation: Operation::Upgrade(Upgrade::default()),
            labels: [("team".to_owned(), "harbour".to_owned())].into(),
            request: Some(RequestRef { id, index }),
            trace_parent: None,
            create_time: time,
            retry_of: None,
        },
        status: status(JobState::Pending, time),
        control: JobControl::new(Uuid::now_v7()),
        sealed_password: None,
        queue: None,
        event: event(EventKind::Created, time),
        beside: None,
    }
}

fn status(state: JobState, time: Timestamp) -> JobStatus {
    JobStatus {
        state,
        provenance: Provenance::Own,
        observe_time: None,
        update_time: time,
        submit_time: None,
        end_time: state.is_ended().then_some(time),
        scheduled_start: None,
        progress: None,
        findings: Vec::new(),
        waiting_for: Vec::new(),
        failure: None,
        parts: Vec::new(),
        cancelable: Cancelable::yes("nothing was sent"),
        cancel_request_time: None,
        vendor: VendorView::default(),
        retried_by: None,
    }
}

fn event(kind: EventKind, time: Timestamp) -> NewEvent {
    NewEvent { kind, message: "of the past".to_owned(), time }
}
