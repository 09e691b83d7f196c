//! What comes over a connection, for the record.

use drydock::api::pb;
use pb::watch_jobs_response::Message as Said;
use tonic::Status;
use tonic_types::StatusExt;

use super::{Body, Commits, End, Seen, Truth};
use crate::watch_checks::Fact;

/// A filter, as the client itself reckons it: by the job's name, target and labels, and the state.
pub type Wanted<'a> = &'a dyn Fn(&str, &str, pb::JobState) -> bool;

/// A message of `WatchJobs`; `None` for one that says nothing that this client knows.
pub fn body(message: &pb::WatchJobsResponse, wanted: Wanted<'_>) -> Option<Body> {
    Some(match message.message.as_ref()? {
        Said::Snapshot(job) => {
            let state = job.status.as_ref().map_or(pb::JobState::Unspecified, |s| s.state());
            let matches = wanted(&job.name, &job.target, state);
            Body::Snapshot(Seen { job: job.name.clone(), sequence: job.sequence, matches })
        }
        Said::Synced(_) => Body::Synced,
        Said::Heartbeat(_) => Body::Heartbeat,
        Said::Events(batch) => Body::Events(batch.events.iter().map(|e| seen(e, wanted)).collect()),
    })
}

/// The token of a message.
pub fn token(message: &pb::WatchJobsResponse) -> Option<String> {
    Some(message.resume_token.clone()).filter(|t| !t.is_empty())
}

/// How a stream ended; a broken connection has no reason.
pub fn end(status: &Status) -> End {
    match status.get_details_error_info() {
        Some(info) => End::Status { token: info.metadata.get("resume_token").cloned(), reason: info.reason },
        None => End::Cut,
    }
}

fn seen(event: &pb::JobEvent, wanted: Wanted<'_>) -> Seen {
    let state = event.status.as_ref().map_or(pb::JobState::Unspecified, |s| s.state());
    let matches = wanted(&event.job, &event.target, state);
    Seen { job: event.job.clone(), sequence: event.sequence, matches }
}

/// What `ListJobEvents` tells of each job, as the truth. Which of it was committed together it does not tell.
pub fn truth(events: &[pb::JobEvent], wanted: Wanted<'_>, told_to_the_end: bool, commits: &Commits) -> Truth {
    let fact = |e: &pb::JobEvent| {
        let commit = commits.get(&e.job, e.sequence);
        Fact { event: seen(e, wanted), commit, before: false }
    };
    Truth { facts: events.iter().map(fact).collect(), told_to_the_end }
}
