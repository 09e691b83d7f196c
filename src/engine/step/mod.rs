//! One step of a job: what was heard, applied to what is known. Pure.
//!
//! Every rule about when a start may be sent lives here and nowhere else: [`Heard::Checked`] is the only outcome
//! that leads to [`Step::submit`], and a job gets back to a check only through [`Signal::Postpone`], which only
//! proof that nothing arrived may raise.

mod cancelability;
mod draft;
mod fitting;
mod follow;
mod overdue;
mod start;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::capability::Capabilities;
use crate::domain::error::VendorFault;
use crate::domain::event::NewEvent;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Job, JobControl, JobStatus, PasswordState, WaitReason};
use crate::domain::operation::Operation;
use crate::domain::state::Signal;
use crate::engine::health::Pause;
use crate::vendors::contract::{CancelAnswer, CheckReport, Found, Observation, Submitted};
use crate::vendors::error::VendorError;

pub use cancelability::cancelable_at_first;
pub(super) use draft::Draft;
pub use overdue::overdue_from;
pub use start::foreign_finding;

/// Something that was heard about a job.
#[derive(Debug)]
pub enum Heard {
    /// Its target is free now: it holds it.
    Acquired,
    /// Its target is still held by another job.
    StillBusy(String),
    /// Its start lies ahead, and Drydock keeps the time.
    Held(Timestamp),
    /// Prechecks are about to run.
    CheckBegan,
    /// Prechecks are due, and as many of the provider's jobs are being checked as are checked at once.
    CheckPutOff,
    /// What prechecks found.
    Checked(Result<CheckReport, VendorError>),
    /// What became of the start.
    Submitted(Submitted),
    /// Whether a start without an answer arrived.
    Looked(Result<Found, VendorError>),
    /// How it stands.
    Observed(Result<Observation, VendorError>),
    /// What the vendor said to the cancel.
    CancelAnswered(Result<CancelAnswer, VendorError>),
    /// What the vendor said to a new start time: the operation as it was told, which a caller may have changed
    /// again meanwhile.
    Rescheduled(Box<Operation>, Result<Observation, VendorError>),
    /// The password is gone, and nothing was sent.
    PasswordGone,
    /// The provider's breaker is open.
    Paused(Pause),
}

/// What follows from a step.
#[derive(Debug)]
pub struct Step {
    /// The new status.
    pub status: JobStatus,
    /// The new memory.
    pub control: JobControl,
    /// The event that tells of it.
    pub event: Option<NewEvent>,
    /// Send the start, once this step is durable.
    pub submit: bool,
    /// The step met trouble: wait longer before the next one.
    pub trouble: Option<Trouble>,
}

/// Trouble that a back-off should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The vendor's own wish, if it had one.
    pub retry_after: Option<Duration>,
}

impl Step {
    /// Whether the sealed password must be erased with this step.
    pub fn erases_password(&self, before: &Job) -> bool {
        before.control.password == PasswordState::Sealed && self.control.password == PasswordState::Erased
    }
}

/// What a step knows beside the job.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// When the provider's breaker closes, while it is open.
    pub paused: Option<Timestamp>,
    /// How long an operation may be with the vendor before it is called overdue.
    pub overdue_after: Duration,
}

/// Applies what was heard to `job`.
pub fn apply(job: &Job, heard: &Heard, capabilities: &Capabilities, around: Around, now: Timestamp) -> Step {
    let mut draft = Draft::new(job, capabilities, now);
    draft.paused = around.paused;
    draft.overdue_after = Some(around.overdue_after);
    let mut submit = false;
    let mut trouble = None;
    match heard {
        Heard::Acquired => {
            draft.control.holds_target = true;
            draft.stop_waiting();
        }
        Heard::StillBusy(message) => draft.wait(WaitReason::TargetBusy, message.clone(), None),
        Heard::Held(start) => {
            if draft.signal(Signal::Hold) {
                draft.wait(WaitReason::StartTime, format!("starts at {start}"), Some(*start));
            }
        }
        Heard::CheckBegan => {
            if draft.signal(Signal::Check) {
                draft.stop_waiting();
            }
        }
        Heard::CheckPutOff => draft.wait(
            WaitReason::RateBudget,
            "as many jobs of the provider are being checked as are checked at once; this one is checked when one of them \
             is done"
                .to_owned(),
            None,
        ),
        Heard::Checked(Ok(report)) => submit = draft.checked(report),
        Heard::Checked(Err(error)) => trouble = draft.check_failed(error),
        Heard::Submitted(Submitted::Started(observation)) => draft.observed(observation, true),
        Heard::Submitted(Submitted::Refused(failure, findings)) => {
            draft.add_findings(findings.clone());
            draft.refuse(failure.clone());
        }
        Heard::Submitted(Submitted::Failed(error)) => trouble = draft.submit_failed(error),
        Heard::Looked(Ok(found)) => draft.looked(found),
        Heard::Looked(Err(error)) | Heard::Observed(Err(error)) => trouble = Some(draft.unheard(error)),
        Heard::Observed(Ok(observation)) => draft.observed(observation, false),
        Heard::CancelAnswered(Ok(answer)) => draft.cancel_answered(answer),
        Heard::CancelAnswered(Err(error)) => {
            if error.retry == crate::vendors::error::Retry::Never && error.kind != VendorFault::Unauthenticated {
                draft.cancel_answered(&CancelAnswer::Refused(error.message.clone()));
            } else {
                trouble = Some(draft.unheard(error));
            }
        }
        Heard::Rescheduled(told, Ok(observation)) => {
            draft.control.reschedule_due = **told != job.operation_now();
            draft.observed(observation, false);
        }
        Heard::Rescheduled(told, Err(error)) => {
            if error.retry == crate::vendors::error::Retry::Never && error.kind != VendorFault::Unauthenticated {
                draft.control.reschedule_due = **told != job.operation_now();
                let text = format!("the vendor refused the new start time: {}", error.message);
                draft.add_findings(vec![Finding::new("drydock.reschedule_refused", Severity::Info, text)]);
                draft.status.vendor.last_error = Some(error.message.clone());
            } else {
                trouble = Some(draft.unheard(error));
            }
        }
        Heard::PasswordGone => draft.end(
            Signal::Abort,
            Some(Failure::new(
                FailureReason::SecretUnavailable,
                "the password was kept only in the memory of the process that took the request, and is gone or out of \
                 reach; nothing was sent. Send the request again with a new request_id, and set \
                 `secrets.password_key_file` to keep waiting passwords over a restart and for all replicas",
            )),
        ),
        Heard::Paused(pause) => draft.wait_unheard(pause.reason, pause.message.clone(), Some(pause.until)),
    }
    draft.finish(submit, trouble)
}
