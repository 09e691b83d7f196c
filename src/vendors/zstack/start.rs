//! Starting an update, and finding out whether a start arrived.
//!
//! A start goes out under an `X-Job-UUID` that ZStack takes only once. Its API job is over when the long job was
//! *started*, usually within a second; so a start waits for that a moment, and can say "refused" at once. Where it could
//! not be read at all, the start counts as one whose answer was lost. One that dies of an expired session only later,
//! while it is followed, is told to have lapsed; the engine then looks it up like a lost one, and starts the job again
//! under the next id.

use std::time::Duration;

use jiff::Timestamp;

use super::client::Client;
use super::fault;
use super::ids;
use super::map::{self, Context};
use super::notes::{Notes, REMEMBERS};
use super::read::{self, ApiJob, Start, Taken};
use super::wire::{ErrorCode, LongJob, UpdateClusterOs};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::Provenance;
use crate::domain::operation::{VendorOptions, ZstackUpgradeOptions};
use crate::kit::clock::{self, Clock};
use crate::vendors::contract::{Found, Observation, Phase, Planned, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// When a start that was taken is looked at; after the last look the driver's rounds take over.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(500), Duration::from_millis(1000)];
/// All ids of a job met a dead session.
const WORN_OUT: &str =
    "each try to start the update met an expired session, before anything ran. Start a new job";

/// What one API job id turned out to be.
enum Trace {
    /// The start arrived; it stands like this.
    Arrived(Box<Observation>),
    /// It died of an expired session before anything ran: the next id is free to use.
    SessionLost,
    /// ZStack never saw it, or forgot it.
    Unknown,
    /// What ZStack says fits both.
    CannotTell(String),
}

/// Starts one update.
pub(super) async fn submit(client: &Client, clock: &Clock, planned: &Planned) -> Submitted {
    let ids = ids::job_ids(planned.key);
    if planned.attempts > 1 {
        // An earlier start was shown not to have arrived. Should it have arrived since, and ended so long ago that
        // ZStack would take its id once more, then its long job still stands there.
        match started(client, &ids).await {
            Ok(None) => {}
            Ok(Some(job)) => {
                let seen = map::long_job(&job, context(clock, planned, &Notes::of(planned)));
                return Submitted::Started(Box::new(seen));
            }
            Err(error) => return Submitted::Failed(error.with_reached(Reached::No)),
        }
    }
    for (nth, id) in ids.into_iter().enumerate() {
        if let Some(submitted) = send(client, clock, planned, nth, &id).await {
            return submitted;
        }
    }
    Submitted::Refused(Failure::new(FailureReason::VendorRejected, WORN_OUT), Vec::new())
}

/// Whether the start of `planned` arrived.
pub(super) async fn find(client: &Client, clock: &Clock, planned: &Planned) -> Result<Found, VendorError> {
    let ids = ids::job_ids(planned.key);
    let notes = Notes::of(planned);
    // The long job first: its record outlives the API job's by far.
    if let Some(job) = started(client, &ids).await? {
        return Ok(Found::Arrived(Box::new(map::long_job(&job, context(clock, planned, &notes)))));
    }
    let mut unseen = false;
    for id in &ids {
        match trace(client, clock, planned, id).await? {
            Trace::Arrived(observation) => return Ok(Found::Arrived(observation)),
            Trace::CannotTell(why) => return Ok(Found::CannotTell(why)),
            Trace::SessionLost => {}
            // Goes on to the next: the earlier ids may be forgotten while a later one is under way.
            Trace::Unknown => unseen = true,
        }
    }
    if unseen {
        let age = planned.submit_time.map(|sent| clock::since(sent, clock.now()));
        if age.is_some_and(|age| age < REMEMBERS) {
            return Ok(Found::NotArrived { until: None });
        }
        let why = "ZStack knows neither an API job nor a long job of this start, but it has had the time to forget a \
                   finished one";
        return Ok(Found::CannotTell(why.to_owned()));
    }
    let mut worn_out = Observation::new(
        Phase::Rejected(Failure::new(FailureReason::VendorRejected, WORN_OUT)),
        Provenance::Reported,
    );
    worn_out.handle = notes.handle();
    Ok(Found::Arrived(Box::new(worn_out)))
}

/// Sends the start under one id. `None`: it died of an expired session, so the next id may be used.
async fn send(client: &Client, clock: &Clock, planned: &Planned, nth: usize, id: &str) -> Option<Submitted> {
    let none = ZstackUpgradeOptions::default();
    let Some(upgrade) = planned.operation.upgrade() else {
        let text = "ZStack clusters can be upgraded, and nothing else";
        return Some(Submitted::Refused(Failure::new(FailureReason::VendorRejected, text), Vec::new()));
    };
    let options = match &upgrade.options {
        VendorOptions::None => &none,
        VendorOptions::Zstack(options) => &**options,
    };
    let derived = ids::resource_uuid(planned.key, planned.attempts, nth);
    let body = UpdateClusterOs {
        exclude_packages: &options.exclude_packages,
        update_packages: &options.update_packages,
        release_version: upgrade.version.as_deref(),
        resource_uuid: options.resource_uuid.as_deref().unwrap_or(&derived),
        tag_uuids: &options.tag_uuids,
        host_uuid: options.host_uuid.as_deref(),
        force: options.force,
    };
    let sent = client
        .update_cluster_os(
            &planned.target.id,
            id,
            &body,
            &options.system_tags,
            &options.user_tags,
            &planned.permit,
        )
        .await;
    let (reply, stamp) = match sent {
        Ok(sent) => sent,
        Err(error) => return Some(Submitted::Failed(error)),
    };
    let submitted = match read::start(&reply) {
        Start::Duplicate => return known(client, clock, planned, id).await,
        Start::SessionLost => None,
        Start::Refused(failure) => return Some(Submitted::Refused(failure, Vec::new())),
        Start::Failed(error) => return Some(Submitted::Failed(error)),
        Start::Taken(taken) => accepted(client, clock, planned, id, *taken).await,
    };
    if submitted.is_none() {
        client.forget_session(&stamp).await;
    }
    submitted
}

/// ZStack took the start.
async fn accepted(
    client: &Client,
    clock: &Clock,
    planned: &Planned,
    id: &str,
    taken: Taken,
) -> Option<Submitted> {
    let mut notes = Notes::of(planned);
    if let Some(job) = taken.job {
        notes.api_job = Some(id.to_owned());
        return Some(Submitted::Started(Box::new(map::long_job(&job, context(clock, planned, &notes)))));
    }
    let api_job = taken.api_job.unwrap_or_else(|| id.to_owned());
    notes.api_timeout_ms = taken.api_timeout_ms;
    notes.api_job = Some(api_job.clone());
    let mut unread = None;
    for wait in LOOKS {
        tokio::time::sleep(wait).await;
        match client.api_job(&api_job).await {
            Ok(ApiJob::Pending | ApiJob::Unknown) => unread = None,
            Ok(ApiJob::Done(Some(job))) => {
                return Some(Submitted::Started(Box::new(map::long_job(
                    &job,
                    context(clock, planned, &notes),
                ))));
            }
            Ok(ApiJob::Done(None)) => {
                unread = None;
                break;
            }
            Ok(ApiJob::Failed(error)) if error.is(fault::INVALID_SESSION) => return None,
            Ok(ApiJob::Failed(error)) => {
                let failed = failed_start(client, clock, planned, &notes, &api_job, &error).await;
                return Some(match failed {
                    Ok(Trace::Arrived(observation)) => taken_or_refused(planned, observation),
                    Ok(Trace::SessionLost | Trace::Unknown | Trace::CannotTell(_)) => {
                        Submitted::Failed(fault::business(&error).with_reached(Reached::Maybe))
                    }
                    Err(error) => Submitted::Failed(error.with_reached(Reached::Maybe)),
                });
            }
            Err(error) => {
                tracing::debug!(job.id = %planned.job, error = %error, "the API job could not be read yet");
                unread = Some(error);
            }
        }
    }
    if let Some(error) = unread {
        return Some(Submitted::Failed(error.with_reached(Reached::Maybe)));
    }
    Some(Submitted::Started(Box::new(map::api_job_pending(context(clock, planned, &notes)))))
}

/// ZStack has seen this id before: an earlier send arrived after all.
async fn known(client: &Client, clock: &Clock, planned: &Planned, id: &str) -> Option<Submitted> {
    let notes = Notes::of(planned);
    let seen = match started(client, &[id.to_owned()]).await {
        Ok(Some(job)) => Ok(Trace::Arrived(Box::new(map::long_job(&job, context(clock, planned, &notes))))),
        Ok(None) => trace(client, clock, planned, id).await,
        Err(error) => Err(error),
    };
    Some(match seen {
        Ok(Trace::Arrived(observation)) => taken_or_refused(planned, observation),
        Ok(Trace::SessionLost) => return None,
        Ok(Trace::Unknown) => {
            let text = "ZStack says that it has seen this start, but cannot say what became of it";
            Submitted::Failed(VendorError::new(VendorFault::Garbled, Reached::Maybe, text))
        }
        Ok(Trace::CannotTell(why)) => {
            Submitted::Failed(VendorError::new(VendorFault::Garbled, Reached::Maybe, why))
        }
        Err(error) => Submitted::Failed(error.with_reached(Reached::Maybe)),
    })
}

/// What ZStack says of an API job's id is its word on the job: it takes an id once. So of a repeat it also answers for
/// the start before, whose answer was lost, and is handed on as an observation, which says more than a refusal.
fn taken_or_refused(planned: &Planned, observation: Box<Observation>) -> Submitted {
    if planned.attempts > 1 {
        return Submitted::Started(observation);
    }
    match observation.phase {
        Phase::Rejected(failure) => Submitted::Refused(failure, Vec::new()),
        Phase::Scheduled
        | Phase::Running
        | Phase::Suspended
        | Phase::Cancelling
        | Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed
        | Phase::Unclear => Submitted::Started(observation),
    }
}

/// What became of one API job id that has no long job.
async fn trace(client: &Client, clock: &Clock, planned: &Planned, id: &str) -> Result<Trace, VendorError> {
    let mut notes = Notes::of(planned);
    notes.api_job = Some(id.to_owned());
    Ok(match client.api_job(id).await? {
        ApiJob::Pending => Trace::Arrived(Box::new(map::api_job_pending(context(clock, planned, &notes)))),
        ApiJob::Done(Some(job)) => {
            Trace::Arrived(Box::new(map::long_job(&job, context(clock, planned, &notes))))
        }
        ApiJob::Done(None) => {
            Trace::CannotTell("ZStack's API job succeeded without naming a long job".to_owned())
        }
        ApiJob::Failed(error) if error.is(fault::INVALID_SESSION) => Trace::SessionLost,
        ApiJob::Failed(error) => failed_start(client, clock, planned, &notes, id, &error).await?,
        ApiJob::Unknown => Trace::Unknown,
    })
}

/// The API job failed. Only when there is really no long job was the start refused.
async fn failed_start(
    client: &Client,
    clock: &Clock,
    planned: &Planned,
    notes: &Notes,
    id: &str,
    error: &ErrorCode,
) -> Result<Trace, VendorError> {
    let context = context(clock, planned, notes);
    if let Some(job) = started(client, &[id.to_owned()]).await? {
        return Ok(Trace::Arrived(Box::new(map::long_job(&job, context))));
    }
    if fault::is_ambiguous(error) {
        let text = fault::sentence(error);
        return Ok(Trace::CannotTell(format!(
            "ZStack lost sight of the start, and no long job has appeared: {text}"
        )));
    }
    Ok(Trace::Arrived(Box::new(map::api_job_failed(error, context))))
}

/// The long job that one of these API jobs made.
async fn started(client: &Client, ids: &[String]) -> Result<Option<LongJob>, VendorError> {
    for (_, rows) in client.long_jobs("apiId", ids).await {
        if let Some(job) = rows?.into_iter().next() {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// What a start's record is read with.
pub(super) fn context<'a>(clock: &Clock, planned: &'a Planned, notes: &'a Notes) -> Context<'a> {
    let now: Timestamp = clock.now();
    Context { planned, notes, now, hosts_after: None }
}
