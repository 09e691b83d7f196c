//! What callers may wish of a job that exists: cancel it, give it another start, settle it, try it again. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::calls::{CancelOutcome, Retrial, Settlement};
use super::step::{Draft, Step, overdue_from};
use crate::domain::capability::Capabilities;
use crate::domain::error::{Error, FieldViolation};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::id::JobId;
use crate::domain::job::{Job, PasswordState, WaitReason};
use crate::domain::operation::{MAX_ACCEPTED_RISKS, Operation, OperationKind};
use crate::domain::state::{JobState, Signal};
use crate::store::contract::Change;

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

/// When a job that is with a vendor may be settled.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may be with the vendor before it is overdue.
    pub overdue_after: Duration,
    /// Its provider is configured no more: nobody follows it.
    pub is_orphan: bool,
}

/// A person's word on a job that nobody can determine, or that is overdue for good. The reason is kept in the event and
/// in the failure.
///
/// # Errors
/// `WrongState` unless the job may be settled, see [`may_settle`].
pub fn settle(
    job: &Job,
    capabilities: &Capabilities,
    settlement: Settlement,
    reason: &str,
    bounds: Bounds,
    now: Timestamp,
) -> Result<Step, Error> {
    may_settle(job, bounds, now)?;
    let mut draft = Draft::new(job, capabilities, now);
    let (signal, failure) = match settlement {
        Settlement::Succeeded => (Signal::SettleSucceeded, None),
        Settlement::Failed => (Signal::SettleFailed, Some(Failure::new(FailureReason::Settled, reason))),
        Settlement::Cancelled => {
            (Signal::SettleCancelled, Some(Failure::new(FailureReason::Settled, reason)))
        }
    };
    // Looked up in vain for so long, it is what nobody can determine.
    if draft.status.state == JobState::Submitting {
        draft.signal(Signal::GiveUp);
    }
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

/// Whether a person may state the outcome: nobody can determine it, or the job is with the vendor and overdue, and nothing
/// will end that by itself. An operation that failed while no gateway looked may leave no trace at the vendor, and its job
/// would hold the target for ever; so would one whose provider is configured no more, and that need not be overdue. A
/// start that is out (SUBMITTING) must be overdue in any case: until then it may still arrive.
fn may_settle(job: &Job, bounds: Bounds, now: Timestamp) -> Result<(), Error> {
    match job.status.state {
        JobState::Indeterminate => return Ok(()),
        JobState::Running | JobState::Scheduled | JobState::Suspended | JobState::Cancelling
            if job.is_with_vendor() =>
        {
            if bounds.is_orphan {
                return Ok(());
            }
        }
        JobState::Submitting => {}
        JobState::Running
        | JobState::Scheduled
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Pending
        | JobState::Checking
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => {
            return Err(wrong_state(
                job,
                "only an INDETERMINATE job can be settled, and one that is with the vendor and OVERDUE",
            ));
        }
    }
    let overdue = job.status.waiting_for.iter().find(|waiting| waiting.reason == WaitReason::Overdue);
    if let Some(until) = overdue.and_then(|waiting| waiting.until).filter(|until| *until > now) {
        return Err(wrong_state(
            job,
            &format!("it is OVERDUE, and what the vendor shows decides at {until}"),
        ));
    }
    let from = overdue_from(&job.status, bounds.overdue_after);
    if overdue.is_some() || from.is_some_and(|from| from <= now) {
        return Ok(());
    }
    let from = from.map_or_else(String::new, |from| format!(", before {from} unless the vendor shows it"));
    let text = format!(
        "it is followed and not OVERDUE{from}; wait for its end, or cancel it. Only what is INDETERMINATE or OVERDUE can \
         be settled"
    );
    Err(wrong_state(job, &text))
}

/// The operation of a new job that tries an ended one again.
///
/// A job is retried once, so that the links make one chain and a repeated call without a key starts nothing twice.
/// With the operation come the faults of what was asked: a start time or password that must be given anew, or makes no
/// sense, and too many accepted risks.
///
/// # Errors
/// `WrongState` while it lives and after it succeeded, `AlreadyRetried`.
pub fn retry(job: &Job, asked: &Retrial, now: Timestamp) -> Result<(Operation, Vec<FieldViolation>), Error> {
    match job.status.state {
        JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => {}
        JobState::Succeeded => {
            return Err(wrong_state(
                job,
                "it succeeded, so there is nothing to try again; to do it once more, start a new job",
            ));
        }
        JobState::Indeterminate => {
            return Err(wrong_state(
                job,
                "nobody can say whether it was started; look at the target and use SettleJob first",
            ));
        }
        JobState::Pending
        | JobState::Scheduled
        | JobState::Checking
        | JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling => return Err(wrong_state(job, "it has not ended; follow it to its end")),
    }
    if let Some(by) = job.status.retried_by {
        return Err(Error::AlreadyRetried { job: job.id, by });
    }
    let mut faults = Vec::new();
    let mut fault = |field: &str, rule: String| faults.push(FieldViolation::new(field, rule));
    let mut operation = job.operation_now().again();
    match (&mut operation, asked.start_time) {
        (Operation::ScheduledUpgrade(scheduled), Some(start)) => scheduled.start_time = Some(start),
        (Operation::ScheduledUpgrade(scheduled), None) => {
            if let Some(passed) = scheduled.start_time.filter(|start| *start <= now) {
                fault("start_time", format!("is required: the old job's start ({passed}) has passed"));
            }
        }
        (Operation::Upgrade(_) | Operation::Reinstall(_), Some(_)) => {
            let kind = job.spec.operation.kind().as_str();
            fault("start_time", format!("must be unset: the job's operation is {kind}, which has none"));
        }
        (Operation::Upgrade(_) | Operation::Reinstall(_), None) => {}
    }
    match (job.control.password, &asked.password) {
        (PasswordState::None, Some(_)) => {
            fault("password", "must be unset: the old job was started without one".to_owned());
        }
        (PasswordState::InMemory | PasswordState::Sealed | PasswordState::Erased, None) => {
            fault("password", "is required again: that of the old job was erased".to_owned());
        }
        (PasswordState::None, None)
        | (PasswordState::InMemory | PasswordState::Sealed | PasswordState::Erased, Some(_)) => {}
    }
    operation.accept_risks(asked.accepted_risks.iter().cloned());
    let risks = operation.accepted_risks().len();
    if risks > MAX_ACCEPTED_RISKS {
        fault(
            "accepted_risks",
            format!(
                "with those of the old job there are {risks}, and at most {MAX_ACCEPTED_RISKS} are taken"
            ),
        );
    }
    Ok((operation, faults))
}

/// The change of an ended job that names the new job which tries it again.
pub fn retried(job: &Job, by: JobId, now: Timestamp) -> Change {
    let mut status = job.status.clone();
    status.retried_by = Some(by);
    status.update_time = now;
    Change {
        id: job.id,
        version: job.version,
        status,
        control: job.control.clone(),
        erase_password: false,
        event: Some(NewEvent {
            kind: EventKind::Retried,
            message: format!("tried again by {by}"),
            time: now,
        }),
    }
}
