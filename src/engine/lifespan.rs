//! The span over a job's whole life, written when the job has ended: one child per state.

use jiff::Timestamp;

use crate::domain::event::Event;
use crate::domain::job::Job;
use crate::domain::state::JobState;
use crate::kit::trace::{self, Stretch, TraceParent};

/// Records the life of an ended job in its caller's trace. `events` are the job's events, oldest first.
pub(super) fn record(job: &Job, events: &[Event]) {
    let parent = job.spec.trace_parent.as_deref().and_then(TraceParent::parse);
    let end = job.status.end_time.unwrap_or(job.status.update_time);
    let failed = match job.status.state {
        JobState::Succeeded | JobState::Cancelled => None,
        JobState::Pending
        | JobState::Scheduled
        | JobState::Checking
        | JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Failed
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed
        | JobState::Indeterminate => Some(
            job.status
                .failure
                .as_ref()
                .map_or_else(|| job.status.state.as_str().to_owned(), |f| f.message.clone()),
        ),
    };
    let mut attributes = vec![
        ("job.id", job.id.to_string()),
        ("drydock.provider", job.spec.target.provider.as_str().to_owned()),
        ("drydock.target", job.spec.target.to_string()),
        ("drydock.operation", job.spec.operation.kind().as_str().to_owned()),
        ("drydock.state", job.status.state.as_str().to_owned()),
        ("drydock.attempts", job.control.attempts.to_string()),
    ];
    attributes.extend(
        job.status.vendor.ids.get("requestId").map(|id| ("drydock.vendor.request_id", id.to_owned())),
    );
    let whole = Stretch {
        name: format!("job {}", job.spec.operation.kind().as_str()),
        start: job.spec.create_time,
        end,
        attributes,
        error: failed,
    };
    trace::record(parent.as_ref(), whole, states(job.spec.create_time, end, events));
}

/// The stretches between changes of state.
fn states(begin: Timestamp, end: Timestamp, events: &[Event]) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    let mut current = (JobState::Pending, begin);
    let close = |(state, start): (JobState, Timestamp), at: Timestamp| Stretch {
        name: state.as_str().to_owned(),
        start,
        end: at.max(start),
        attributes: Vec::new(),
        error: None,
    };
    for event in events {
        if event.status.state != current.0 {
            out.push(close(current, event.time));
            current = (event.status.state, event.time);
        }
    }
    if !current.0.is_ended() {
        out.push(close(current, end));
    }
    out
}
