//! What callers may wish of a job that exists: cancel it, give it another start, settle it. Pure.

use jiff::Timestamp;

use super::calls::{CancelOutcome, Settlement};
use super::step::{Draft, Step};
use crate::domain::capability::Capabilities;
use crate::domain::error::Error;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::Job;
use crate::domain::operation::OperationKind;
use crate::domain::state::{JobState, Signal};

fn wrong_state(job: &Job, message: &str) -> Error {
    Error::WrongState { job: job.id, state: job.status.state.as_str(), message: message.to_owned() }
}

/// A cancel. `None` for the step: nothing changes, the cancel was asked before.
///
/// # Errors
/// `WrongState` after the end, `CancelUnsupported` where the vendor cannot.
pub fn cancel(
    job: &Job,
    capabilities: &Capabilities,
    now: Timestamp,
) -> Result<(CancelOutcome, Option<Step>), Error> {
    let mut draft = Draft::new(job, capabilities, now);
    let prevented = match job.status.state {
        JobState::Pending | JobState::Checking => true,
        JobState::Scheduled => !job.is_with_vendor(),
        JobState::Submitting | JobState::Running | JobState::Suspended => false,
        JobState::Cancelling => return Ok((CancelOutcome::Requested, None)),
        JobState::Indeterminate => {
            return Err(wrong_state(
                job,
                "nobody can say whether it runs; look at the target and use SettleJob",
            ));
        }
        JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => return Err(wrong_state(job, "it has ended already")),
    };
    if prevented {
        draft.status.cancel_request_time = Some(now);
        draft.end(Signal::Prevent, None);
        return Ok((CancelOutcome::Prevented, Some(draft.finish(false, None))));
    }
    if job.status.cancel_request_time.is_some() {
        return Ok((CancelOutcome::Requested, None));
    }
    if !job.status.cancelable.possible {
        return Err(Error::CancelUnsupported { job: job.id, message: job.status.cancelable.reason.clone() });
    }
    draft.status.cancel_request_time = Some(now);
    draft.signal(Signal::AskCancel);
    Ok((CancelOutcome::Requested, Some(draft.finish(false, None))))
}

/// Another start time for a scheduled upgrade that has not begun.
///
/// # Errors
/// `WrongState` when it is no scheduled upgrade, or has begun.
pub fn reschedule(
    job: &Job,
    capabilities: &Capabilities,
    start: Option<Timestamp>,
    ignore_windows: Option<bool>,
    now: Timestamp,
) -> Result<Step, Error> {
    if job.spec.operation.kind() != OperationKind::ScheduledUpgrade {
        return Err(wrong_state(job, "only a scheduled upgrade can be rescheduled"));
    }
    let at_vendor = match job.status.state {
        JobState::Pending => false,
        JobState::Scheduled => job.is_with_vendor(),
        JobState::Checking
        | JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Indeterminate
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => {
            return Err(wrong_state(job, "it can be rescheduled only while it is PENDING or SCHEDULED"));
        }
    };
    let mut draft = Draft::new(job, capabilities, now);
    draft.status.scheduled_start = start;
    draft.control.ignore_maintenance_windows = ignore_windows;
    draft.control.reschedule_due = at_vendor;
    draft.stop_waiting();
    let mut step = draft.finish(false, None);
    let when = start.map_or_else(|| "the vendor's next window".to_owned(), |t| t.to_string());
    step.event =
        Some(NewEvent { kind: EventKind::Rescheduled, message: format!("start moved to {when}"), time: now });
    step.status.update_time = now;
    Ok(step)
}

/// A person's word on a job that nobody can determine. The reason is kept in the event and in the failure.
///
/// # Errors
/// `WrongState` unless the job is INDETERMINATE.
pub fn settle(
    job: &Job,
    capabilities: &Capabilities,
    settlement: Settlement,
    reason: &str,
    now: Timestamp,
) -> Result<Step, Error> {
    if job.status.state != JobState::Indeterminate {
        return Err(wrong_state(job, "only an INDETERMINATE job can be settled"));
    }
    let mut draft = Draft::new(job, capabilities, now);
    let (signal, failure) = match settlement {
        Settlement::Succeeded => (Signal::SettleSucceeded, None),
        Settlement::Failed => (Signal::SettleFailed, Some(Failure::new(FailureReason::Settled, reason))),
        Settlement::Cancelled => {
            (Signal::SettleCancelled, Some(Failure::new(FailureReason::Settled, reason)))
        }
    };
    draft.status.failure = None;
    draft.end(signal, failure);
    let mut step = draft.finish(false, None);
    step.event = Some(NewEvent {
        kind: EventKind::Settled,
        message: format!("settled by a person: {reason}"),
        time: now,
    });
    step.status.update_time = now;
    Ok(step)
}
