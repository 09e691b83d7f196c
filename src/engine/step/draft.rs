//! A job being changed: every move goes through the state machine, and what follows from a state is brought up to
//! date at the end.

use std::time::Duration;

use jiff::Timestamp;

use super::overdue::is_appointment;
use super::{Step, Trouble};
use crate::domain::capability::Capabilities;
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Job, JobControl, JobStatus, PasswordState, WaitReason, Waiting};
use crate::domain::state::{IllegalTransition, JobState, Signal};
use crate::engine::describe::describe;
use crate::kit::clock;
use crate::vendors::error::VendorError;

/// The most findings that a job keeps; of more, those that can stop a job stay.
pub(super) const MAX_FINDINGS: usize = 200;
/// The most parts that a job keeps.
pub(super) const MAX_PARTS: usize = 1000;

/// A job being changed.
pub(in crate::engine) struct Draft<'a> {
    pub(in crate::engine) job: &'a Job,
    pub(in crate::engine) status: JobStatus,
    pub(in crate::engine) control: JobControl,
    pub(in crate::engine) capabilities: &'a Capabilities,
    pub(in crate::engine) now: Timestamp,
    pub(super) paused: Option<Timestamp>,
    /// `None`: a caller's wish, which says nothing of the time.
    pub(super) overdue_after: Option<Duration>,
}

impl<'a> Draft<'a> {
    pub(in crate::engine) fn new(job: &'a Job, capabilities: &'a Capabilities, now: Timestamp) -> Self {
        let (status, control) = (job.status.clone(), job.control.clone());
        Self { job, status, control, capabilities, now, paused: None, overdue_after: None }
    }

    /// Moves the state. A move that the state machine does not know changes nothing and is loud.
    pub(in crate::engine) fn signal(&mut self, signal: Signal) -> bool {
        let illegal = IllegalTransition { state: self.status.state, signal };
        // SCHEDULED is one state for callers and two for us: what the vendor keeps is not ours to start again.
        let with_vendor = self.status.state == JobState::Scheduled && self.status.submit_time.is_some();
        let ours =
            matches!(signal, Signal::Hold | Signal::Check | Signal::Submit | Signal::Prevent | Signal::Abort);
        // And what was never sent cannot lapse.
        let unsent = signal == Signal::Lapse && self.status.submit_time.is_none();
        let next =
            if (with_vendor && ours) || unsent { Err(illegal) } else { self.status.state.next(signal) };
        match next {
            Ok(next) => {
                self.status.state = next;
                true
            }
            Err(illegal) => {
                tracing::error!(job.id = %self.job.id, error = %illegal, "a step was not possible and was dropped");
                self.status.vendor.last_error = Some(illegal.to_string());
                false
            }
        }
    }

    pub(in crate::engine) fn end(&mut self, signal: Signal, failure: Option<Failure>) {
        if self.signal(signal) {
            if failure.is_some() {
                self.status.failure = failure.map(Box::new);
            }
            self.stop_waiting();
        }
    }

    pub(super) fn wait(&mut self, reason: WaitReason, message: String, until: Option<Timestamp>) {
        let since = self.status.waiting_for.iter().find(|w| w.reason == reason).map_or(self.now, |w| w.since);
        self.status.waiting_for = vec![Waiting { reason, message, since, until }];
    }

    /// Nothing was heard for now. The time for which the vendor planned the operation is known all the same.
    pub(super) fn wait_unheard(&mut self, reason: WaitReason, message: String, until: Option<Timestamp>) {
        let mut planned = self.status.waiting_for.clone();
        self.wait(reason, message, until);
        if self.status.state == JobState::Scheduled && self.status.submit_time.is_some() {
            planned.retain(|waiting| is_appointment(waiting.reason));
            self.status.waiting_for.append(&mut planned);
        }
    }

    pub(in crate::engine) fn stop_waiting(&mut self) {
        self.status.waiting_for.clear();
    }

    pub(super) fn add_findings(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let same = |f: &Finding| f.id == finding.id && f.subject == finding.subject;
            let known = self.status.findings.iter().position(same);
            match known {
                // What a caller accepted stays accepted when the vendor says it again.
                Some(at) => {
                    let accepted = finding.accepted || self.status.findings[at].accepted;
                    self.status.findings[at] = Finding { accepted, ..finding };
                }
                None if self.status.findings.len() < MAX_FINDINGS => self.status.findings.push(finding),
                None => {}
            }
        }
    }

    /// Takes off what the vendor no longer says. Drydock's own findings stay, and so does what a caller accepted.
    pub(super) fn drop_stale(&mut self, current: &[Finding]) {
        let said = |f: &Finding| current.iter().any(|c| c.id == f.id && c.subject == f.subject);
        self.status.findings.retain(|f| f.accepted || f.id.starts_with("drydock.") || said(f));
    }

    /// The start provably did not arrive: the job is as it was before, and will be checked again.
    pub(super) fn take_back(&mut self) {
        if self.signal(Signal::Postpone) {
            self.status.submit_time = None;
            self.control.lost_time = None;
            self.stop_waiting();
        }
    }

    pub(super) fn give_up(&mut self, why: &str) {
        if self.signal(Signal::GiveUp) {
            self.stop_waiting();
            self.status.failure = Some(Box::new(Failure::new(
                FailureReason::SubmissionUnknown,
                format!(
                    "the start was sent, its answer was lost, and the vendor cannot say whether it arrived: {why}. Look \
                     at the target, then settle the job by SettleJob"
                ),
            )));
        }
    }

    /// Nothing was heard: the state stays, the reason is shown.
    pub(super) fn unheard(&mut self, error: &VendorError) -> Trouble {
        self.status.vendor.last_error = Some(error.message.clone());
        let reason = match error.kind {
            VendorFault::RateLimited => WaitReason::RateBudget,
            VendorFault::Unauthenticated | VendorFault::PermissionDenied => {
                WaitReason::VendorCredentialsRefused
            }
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::NotFound
            | VendorFault::Rejected
            | VendorFault::Garbled => WaitReason::VendorUnreachable,
        };
        let retry_after = match error.retry {
            crate::vendors::error::Retry::After(wait) => Some(wait),
            crate::vendors::error::Retry::Never | crate::vendors::error::Retry::Backoff => None,
        };
        // The later of the two ends the wait; the same rule plans the next look.
        let until = retry_after.map(|wait| clock::after(self.now, wait)).max(self.paused);
        self.wait_unheard(reason, error.message.clone(), until);
        Trouble { retry_after }
    }

    /// Brings everything that follows from the state up to date.
    pub(in crate::engine) fn finish(mut self, submit: bool, trouble: Option<Trouble>) -> Step {
        self.honour_cancel_request();
        self.status.cancelable = self.cancelable();
        self.note_overdue();
        if self.status.state.is_ended() {
            self.status.end_time.get_or_insert(self.now);
            self.stop_waiting();
            self.control.holds_target = false;
        }
        let with_vendor = match self.status.state {
            JobState::Pending | JobState::Scheduled | JobState::Checking | JobState::Submitting => false,
            JobState::Running | JobState::Suspended | JobState::Cancelling | JobState::Indeterminate => true,
            JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed => true,
        };
        if with_vendor && matches!(self.control.password, PasswordState::InMemory | PasswordState::Sealed) {
            self.control.password = PasswordState::Erased;
        }
        let event = describe(&self.job.status, &self.status, self.now);
        if event.is_some() {
            self.status.update_time = self.now;
        }
        Step { status: self.status, control: self.control, event, submit, trouble }
    }

    /// A cancel that was asked while the start was in flight: now the vendor can be asked, or it cannot.
    pub(super) fn honour_cancel_request(&mut self) {
        if self.status.cancel_request_time.is_none() || self.control.cancel_sent {
            return;
        }
        match self.status.state {
            JobState::Running | JobState::Suspended | JobState::Scheduled
                if self.status.submit_time.is_some() =>
            {
                if self.vendor_cancelable().possible {
                    self.signal(Signal::AskCancel);
                } else {
                    self.status.cancel_request_time = None;
                    let text = "the cancel came while the start was in flight; the vendor took the start and cannot \
                                cancel it";
                    self.add_findings(vec![Finding::new("drydock.cancel_refused", Severity::Info, text)]);
                }
            }
            JobState::Pending | JobState::Checking => self.end(Signal::Prevent, None),
            JobState::Scheduled
            | JobState::Running
            | JobState::Suspended
            | JobState::Submitting
            | JobState::Cancelling
            | JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed
            | JobState::Indeterminate => {}
        }
    }
}
