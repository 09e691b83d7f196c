//! Up to the start: prechecks, the starting call, and the look-up after a lost answer.
//!
//! [`Draft::checked`] is the only place that allows a start.

use super::Trouble;
use super::draft::{Draft, MAX_FINDINGS};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity, Verdict, judge};
use crate::domain::job::WaitReason;
use crate::domain::state::{JobState, Signal};
use crate::kit::clock;
use crate::vendors::contract::{CheckReport, Found};
use crate::vendors::error::{Reached, VendorError};

impl Draft<'_> {
    /// Prechecks answered. `true`: the start may be sent once this is durable. They allow one start: a job that is not
    /// CHECKING any more is not started again by them.
    pub(super) fn checked(&mut self, report: &CheckReport) -> bool {
        if self.status.state != JobState::Checking {
            return false;
        }
        // A baseline from before a start without an answer shows better than one of now whether that start arrived.
        let before = self.control.handle.clone().filter(|_| self.control.first_lost.is_some());
        if report.handle.is_some() {
            self.control.handle.clone_from(&report.handle);
        }
        self.status.observe_time = Some(self.now);
        let goes = self.judged(report);
        if !goes && before.is_some() {
            self.control.handle = before;
        }
        goes
    }

    fn judged(&mut self, report: &CheckReport) -> bool {
        if let Some(other) = report.foreign.as_ref().filter(|_| self.control.first_lost.is_some()) {
            let text = foreign_finding(other).message;
            self.refuse(Failure::new(FailureReason::PrecheckFailed, text));
            return false;
        }
        if let Some(other) = &report.foreign {
            if self.control.queues {
                self.wait(
                    WaitReason::TargetBusy,
                    format!("waits for an operation outside Drydock: {other}"),
                    None,
                );
                self.signal(Signal::Postpone);
            } else {
                let finding = foreign_finding(other);
                let text = finding.message.clone();
                self.add_findings(vec![finding]);
                let facts = [("foreign", "true"), ("operation", other.as_str())];
                let metadata = facts.map(|(fact, value)| (fact.to_owned(), value.to_owned())).into();
                self.refuse(Failure { metadata, ..Failure::new(FailureReason::TargetBusy, text) });
            }
            return false;
        }
        // Each check speaks anew: what an earlier one found may be mended by now.
        self.status.findings.clone_from(&report.findings);
        let operation = &self.job.spec.operation;
        let verdict =
            judge(&mut self.status.findings, operation.accepted_risks(), operation.ignores_warnings());
        // All of them are judged; of too many, those that can stop a job are kept first.
        if self.status.findings.len() > MAX_FINDINGS {
            self.status.findings.sort_by_key(|f| std::cmp::Reverse((f.severity, !f.accepted)));
            self.status.findings.truncate(MAX_FINDINGS);
        }
        match verdict {
            Verdict::Clear if self.control.resend_before.is_some_and(|until| self.now >= until) => {
                self.give_up(
                    "an earlier start was sent without an answer, and by now the vendor cannot say any more whether it \
                     arrived",
                );
                false
            }
            Verdict::Clear => {
                if !self.signal(Signal::Submit) {
                    return false;
                }
                self.control.attempts += 1;
                self.status.submit_time = Some(self.now);
                // Of this start nothing is lost yet: its grace counts from its own first doubt, never from an earlier
                // start's.
                self.control.lost_time = None;
                self.stop_waiting();
                true
            }
            Verdict::UnacceptedWarning => {
                let ids = self.listed(|f| f.severity == Severity::Warning && !f.accepted);
                let text = format!(
                    "warnings that nobody accepted: {ids}. List their ids in accepted_risks to go on"
                );
                self.refuse(Failure::new(FailureReason::PrecheckFailed, text));
                false
            }
            Verdict::Blocked => {
                let ids = self.listed(|f| f.severity == Severity::Error);
                self.refuse(Failure::new(FailureReason::PrecheckFailed, format!("prechecks failed: {ids}")));
                false
            }
        }
    }

    /// A precheck or the vendor refuses the start: nothing runs, unless an earlier start went without an answer. That
    /// one may be the very reason of the refusal, so then the vendor is asked about it once more.
    pub(super) fn refuse(&mut self, failure: Failure) {
        let Some(first) = self.control.first_lost else {
            return self.end(Signal::Refuse, Some(failure));
        };
        if self.status.state == JobState::Checking {
            if !self.signal(Signal::Submit) {
                return;
            }
            self.status.submit_time = Some(first);
        }
        self.control.lost_time = Some(self.now);
        let text = format!(
            "a repeat was refused ({}), perhaps because the first start runs; the vendor is asked whether it arrived",
            failure.message
        );
        self.control.refusal = Some(Box::new(failure));
        self.wait(WaitReason::LostAnswer, text, None);
    }

    pub(super) fn note_lost(&mut self) {
        self.control.first_lost = self.control.first_lost.or(self.status.submit_time).or(Some(self.now));
    }

    pub(super) fn listed(&self, which: impl Fn(&&Finding) -> bool) -> String {
        let mut ids: Vec<_> =
            self.status.findings.iter().filter(which).map(|f| format!("{} ({})", f.id, f.message)).collect();
        let more = ids.len().saturating_sub(5);
        ids.truncate(5);
        let mut text = ids.join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }

    pub(super) fn check_failed(&mut self, error: &VendorError) -> Option<Trouble> {
        match refusal(error) {
            Some(failure) => {
                self.refuse(failure);
                None
            }
            None => Some(self.unheard(error)),
        }
    }

    pub(super) fn submit_failed(&mut self, error: &VendorError) -> Option<Trouble> {
        match error.reached {
            Reached::No => match refusal(error) {
                Some(failure) => {
                    self.refuse(failure);
                    None
                }
                None => {
                    self.take_back();
                    Some(self.unheard(error))
                }
            },
            // The vendor may have begun: from here on only its word counts.
            Reached::Maybe | Reached::Yes => {
                self.control.lost_time = Some(self.now);
                self.note_lost();
                self.status.vendor.last_error = Some(error.message.clone());
                self.wait(
                    WaitReason::LostAnswer,
                    format!(
                        "the answer to the start was lost ({}); the vendor is asked whether it arrived",
                        error.message
                    ),
                    None,
                );
                Some(Trouble { retry_after: None })
            }
        }
    }

    pub(super) fn looked(&mut self, found: &Found) {
        // After a crash nobody noted when the answer was lost; it was before this look.
        let sent = *self.control.lost_time.get_or_insert(self.now);
        self.note_lost();
        let passed = clock::since(sent, self.now);
        match found {
            Found::Arrived(observation) => {
                self.control.lost_time = None;
                self.control.refusal = None;
                // Of an INDETERMINATE job: it is known now.
                self.status.failure = None;
                self.stop_waiting();
                self.observed(observation, true);
            }
            Found::NotArrived { .. } if passed < self.capabilities.lost_answer_grace => {
                let until = clock::after(sent, self.capabilities.lost_answer_grace);
                self.wait(
                    WaitReason::LostAnswer,
                    "the vendor does not know of the start yet; it may still be on its way".to_owned(),
                    Some(until),
                );
            }
            Found::NotArrived { until } => match self.status.state {
                JobState::Indeterminate => self.end(
                    Signal::VendorFailed,
                    Some(Failure::new(
                        FailureReason::SubmissionUnknown,
                        "the vendor now shows that the start never arrived; nothing was done. Start a new job",
                    )),
                ),
                JobState::Submitting if self.status.cancel_request_time.is_some() => self.end(Signal::Prevent, None),
                JobState::Submitting if self.control.refusal.is_some() => {
                    let refusal = self.control.refusal.take();
                    self.end(Signal::Refuse, refusal.map(|failure| *failure));
                }
                JobState::Submitting
                | JobState::Pending
                | JobState::Scheduled
                | JobState::Checking
                | JobState::Running
                | JobState::Suspended
                | JobState::Cancelling
                | JobState::Succeeded
                | JobState::Failed
                | JobState::Cancelled
                | JobState::Rejected
                | JobState::Superseded
                | JobState::Missed => {
                    self.take_back();
                    self.control.resend_before = *until;
                }
            },
            Found::CannotTell(why) if passed < self.capabilities.lost_answer_limit => {
                let until = clock::after(sent, self.capabilities.lost_answer_limit);
                self.wait(WaitReason::LostAnswer, why.clone(), Some(until));
            }
            Found::CannotTell(why) => {
                if self.status.state != JobState::Indeterminate {
                    self.give_up(why);
                }
            }
        }
    }
}

/// What is said about an operation that somebody else started on the target.
pub fn foreign_finding(other: &str) -> Finding {
    let text = format!(
        "an operation that Drydock did not start is under way on the target: {other}. Wait for its end, or ask with \
         on_busy = ON_BUSY_QUEUE"
    );
    Finding::new("drydock.foreign_operation", Severity::Error, text)
}

/// The failure with which an error before the start ends a job; `None` when waiting can help.
fn refusal(error: &VendorError) -> Option<Failure> {
    let reason = match error.kind {
        VendorFault::NotFound => FailureReason::TargetNotFound,
        VendorFault::PermissionDenied => FailureReason::PermissionDenied,
        VendorFault::Rejected => FailureReason::VendorRejected,
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => return None,
    };
    Some(Failure {
        reason,
        message: error.message.clone(),
        vendor_code: error.code.clone(),
        metadata: error.metadata(),
    })
}
