//! One step of a job: what was heard, applied to what is known. Pure.
//!
//! Every rule about when a start may be sent lives here and nowhere else: [`Heard::Checked`] is the only outcome
//! that leads to [`Step::submit`], and a job gets back to a check only through [`Signal::Postpone`], which only
//! proof that nothing arrived may raise.

use std::time::Duration;

use jiff::Timestamp;

use super::describe::describe;
use crate::domain::capability::{CancelSupport, Capabilities};
use crate::domain::error::VendorFault;
use crate::domain::event::NewEvent;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity, Verdict, judge};
use crate::domain::job::{
    Cancelable, Job, JobControl, JobStatus, PasswordState, Provenance, WaitReason, Waiting,
};
use crate::domain::operation::Operation;
use crate::domain::state::{IllegalTransition, JobState, Signal};
use crate::kit::clock;
use crate::vendors::contract::{CancelAnswer, CheckReport, Found, Observation, Phase, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// The most findings and parts that a job keeps; a vendor that sends more is cut off, and a finding says so.
const MAX_FINDINGS: usize = 200;
/// The most parts that a job keeps.
const MAX_PARTS: usize = 1000;

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
    /// The provider's breaker is open until this moment.
    Paused(Timestamp, String),
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

/// Applies what was heard to `job`. `paused` is when the provider's breaker closes, while it is open.
pub fn apply(
    job: &Job,
    heard: &Heard,
    capabilities: &Capabilities,
    paused: Option<Timestamp>,
    now: Timestamp,
) -> Step {
    let mut draft = Draft::new(job, capabilities, now);
    draft.paused = paused;
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
        Heard::Checked(Ok(report)) => submit = draft.checked(report),
        Heard::Checked(Err(error)) => trouble = draft.check_failed(error),
        Heard::Submitted(Submitted::Started(observation)) => draft.observed(observation, true),
        Heard::Submitted(Submitted::Refused(failure, findings)) => {
            draft.add_findings(findings.clone());
            draft.end(Signal::Refuse, Some(failure.clone()));
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
                "the password was kept in memory only and is gone; nothing was sent. Send the request again with a \
                 new request_id, and set `secrets.password_key_file` to keep waiting passwords over a restart",
            )),
        ),
        Heard::Paused(until, message) => {
            draft.wait(WaitReason::VendorUnreachable, message.clone(), Some(*until));
        }
    }
    draft.finish(submit, trouble)
}

/// A job being changed.
pub(super) struct Draft<'a> {
    pub(super) job: &'a Job,
    pub(super) status: JobStatus,
    pub(super) control: JobControl,
    pub(super) capabilities: &'a Capabilities,
    pub(super) now: Timestamp,
    paused: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(job: &'a Job, capabilities: &'a Capabilities, now: Timestamp) -> Self {
        let (status, control) = (job.status.clone(), job.control.clone());
        Self { job, status, control, capabilities, now, paused: None }
    }

    /// Moves the state. A move that the state machine does not know changes nothing and is loud.
    pub(super) fn signal(&mut self, signal: Signal) -> bool {
        let illegal = IllegalTransition { state: self.status.state, signal };
        // SCHEDULED is one state for callers and two for us: what the vendor keeps is not ours to start again.
        let with_vendor = self.status.state == JobState::Scheduled && self.status.submit_time.is_some();
        let ours =
            matches!(signal, Signal::Hold | Signal::Check | Signal::Submit | Signal::Prevent | Signal::Abort);
        let next = if with_vendor && ours { Err(illegal) } else { self.status.state.next(signal) };
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

    pub(super) fn end(&mut self, signal: Signal, failure: Option<Failure>) {
        if self.signal(signal) {
            if failure.is_some() {
                self.status.failure = failure;
            }
            self.stop_waiting();
        }
    }

    fn wait(&mut self, reason: WaitReason, message: String, until: Option<Timestamp>) {
        let since = self.status.waiting_for.iter().find(|w| w.reason == reason).map_or(self.now, |w| w.since);
        self.status.waiting_for = vec![Waiting { reason, message, since, until }];
    }

    pub(super) fn stop_waiting(&mut self) {
        self.status.waiting_for.clear();
    }

    fn add_findings(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let same = |f: &Finding| f.id == finding.id && f.subject == finding.subject;
            let known = self.status.findings.iter().position(same);
            match known {
                Some(at) => self.status.findings[at] = finding,
                None if self.status.findings.len() < MAX_FINDINGS => self.status.findings.push(finding),
                None => {}
            }
        }
    }

    /// Prechecks answered. `true`: the start may be sent once this is durable.
    fn checked(&mut self, report: &CheckReport) -> bool {
        if report.handle.is_some() {
            self.control.handle.clone_from(&report.handle);
        }
        self.status.observe_time = Some(self.now);
        if let Some(other) = report.foreign.as_ref().filter(|_| self.control.answer_was_lost) {
            self.give_up(&format!(
                "an operation is under way that may be this job's own earlier start: {other}"
            ));
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
                self.end(Signal::Refuse, Some(Failure::new(FailureReason::PrecheckFailed, text)));
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
                self.stop_waiting();
                true
            }
            Verdict::UnacceptedWarning => {
                let ids = self.listed(|f| f.severity == Severity::Warning && !f.accepted);
                self.end(
                    Signal::Refuse,
                    Some(Failure::new(
                        FailureReason::PrecheckFailed,
                        format!(
                            "warnings that nobody accepted: {ids}. List their ids in accepted_risks to go on"
                        ),
                    )),
                );
                false
            }
            Verdict::Blocked => {
                let ids = self.listed(|f| f.severity == Severity::Error);
                self.end(
                    Signal::Refuse,
                    Some(Failure::new(FailureReason::PrecheckFailed, format!("prechecks failed: {ids}"))),
                );
                false
            }
        }
    }

    fn listed(&self, which: impl Fn(&&Finding) -> bool) -> String {
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

    fn check_failed(&mut self, error: &VendorError) -> Option<Trouble> {
        match refusal(error) {
            Some(failure) => {
                self.end(Signal::Refuse, Some(failure));
                None
            }
            None => Some(self.unheard(error)),
        }
    }

    fn submit_failed(&mut self, error: &VendorError) -> Option<Trouble> {
        match error.reached {
            Reached::No => match refusal(error) {
                Some(failure) => {
                    self.end(Signal::Refuse, Some(failure));
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
                self.control.answer_was_lost = true;
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

    /// The start provably did not arrive: the job is as it was before, and will be checked again.
    fn take_back(&mut self) {
        if self.signal(Signal::Postpone) {
            self.status.submit_time = None;
            self.control.lost_time = None;
            self.stop_waiting();
        }
    }

    fn looked(&mut self, found: &Found) {
        // After a crash nobody noted when the answer was lost; it was before this look.
        let sent = *self.control.lost_time.get_or_insert(self.now);
        self.control.answer_was_lost = true;
        let passed = clock::since(sent, self.now);
        match found {
            Found::Arrived(observation) => {
                self.control.lost_time = None;
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

    fn give_up(&mut self, why: &str) {
        if self.signal(Signal::GiveUp) {
            self.stop_waiting();
            self.status.failure = Some(Failure::new(
                FailureReason::SubmissionUnknown,
                format!(
                    "the start was sent, its answer was lost, and the vendor cannot say whether it arrived: {why}. Look \
                     at the target, then settle the job by SettleJob"
                ),
            ));
        }
    }

    /// Nothing was heard: the state stays, the reason is shown.
    fn unheard(&mut self, error: &VendorError) -> Trouble {
        self.status.vendor.last_error = Some(error.message.clone());
        let reason = match error.kind {
            VendorFault::RateLimited => WaitReason::RateBudget,
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::Unauthenticated
            | VendorFault::PermissionDenied
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
        self.wait(reason, error.message.clone(), until);
        Trouble { retry_after }
    }

    fn observed(&mut self, observation: &Observation, accepted: bool) {
        let Observation {
            phase,
            provenance,
            vendor_state,
            progress,
            findings,
            parts,
            ids,
            answer,
            cancelable,
            handle,
            waiting,
        } = observation.clone();
        self.status.observe_time = Some(self.now);
        if vendor_state.is_some() {
            self.status.vendor.state = vendor_state;
        }
        self.status.vendor.ids.extend(ids);
        if answer.is_some() {
            self.status.vendor.answer = answer;
        }
        if handle.is_some() {
            self.control.handle = handle;
        }
        if progress.is_some() {
            self.status.progress = progress;
        }
        self.add_findings(findings);
        if !parts.is_empty() {
            self.status.parts = parts;
            self.status.parts.truncate(MAX_PARTS);
        }
        match waiting {
            Some((reason, message, until)) => self.wait(reason, message, until),
            None => self.stop_waiting(),
        }
        if let Some(cancelable) = cancelable {
            self.status.cancelable = cancelable;
        }
        self.follow(phase, provenance, accepted);
    }

    fn follow(&mut self, phase: Phase, provenance: Provenance, accepted: bool) {
        let (signal, failure) = match phase {
            Phase::Scheduled => (Signal::VendorScheduled, None),
            Phase::Running => (Signal::VendorRunning, None),
            Phase::Suspended => (Signal::VendorSuspended, None),
            Phase::Cancelling => (Signal::VendorCancelling, None),
            Phase::Succeeded => (Signal::VendorSucceeded, None),
            Phase::Failed(failure) => (Signal::VendorFailed, Some(failure)),
            Phase::Cancelled => (Signal::VendorCancelled, None),
            Phase::Rejected(failure) => (Signal::Refuse, Some(failure)),
            Phase::Superseded => (Signal::VendorSuperseded, None),
            Phase::Missed => (Signal::VendorMissed, None),
            // The vendor took it, but its word is not known: it is under way as far as we can tell.
            Phase::Unclear if accepted => {
                if self.signal(Signal::VendorRunning) {
                    self.status.provenance = Provenance::Inferred;
                }
                return;
            }
            Phase::Unclear => return,
        };
        if self.signal(signal) {
            self.status.provenance = provenance;
            if failure.is_some() || self.status.state == JobState::Succeeded {
                self.status.failure = failure;
            }
            // Some vendors stop counting before the end; that all is done is then what they say in other words.
            if self.status.state == JobState::Succeeded
                && let Some(progress) = &mut self.status.progress
            {
                progress.percent = 100.0;
                progress.completed = progress.total;
            }
        }
    }

    fn cancel_answered(&mut self, answer: &CancelAnswer) {
        match answer {
            CancelAnswer::Accepted | CancelAnswer::AlreadyOver => self.control.cancel_sent = true,
            CancelAnswer::Refused(why) => {
                if self.signal(Signal::CancelRefused) {
                    self.status.cancel_request_time = None;
                    self.status.cancelable = Cancelable::no(format!("the vendor refused the cancel: {why}"));
                    let text = format!("the cancel was refused, and the job is followed on: {why}");
                    self.add_findings(vec![Finding::new("drydock.cancel_refused", Severity::Info, text)]);
                }
            }
        }
    }

    /// Brings everything that follows from the state up to date.
    pub(super) fn finish(mut self, submit: bool, trouble: Option<Trouble>) -> Step {
        self.honour_cancel_request();
        self.status.cancelable = self.cancelable();
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
    fn honour_cancel_request(&mut self) {
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

    fn vendor_cancelable(&self) -> Cancelable {
        let support = self.capabilities.of(self.job.spec.target.kind).map(|c| c.cancel);
        match support {
            Some(CancelSupport::Asked) => match self.job.status.state {
                // What was said before the start concerns Drydock's own queue, not the vendor.
                JobState::Pending | JobState::Checking | JobState::Submitting
                    if self.status.cancelable == self.job.status.cancelable =>
                {
                    Cancelable::no("the vendor has not said yet whether it can cancel this")
                }
                JobState::Pending
                | JobState::Checking
                | JobState::Submitting
                | JobState::Scheduled
                | JobState::Running
                | JobState::Suspended
                | JobState::Cancelling
                | JobState::Succeeded
                | JobState::Failed
                | JobState::Cancelled
                | JobState::Rejected
                | JobState::Superseded
                | JobState::Missed
                | JobState::Indeterminate => self.status.cancelable.clone(),
            },
            Some(CancelSupport::Never(why)) => Cancelable::no(why),
            None => Cancelable::no("the provider cannot do this kind of target"),
        }
    }

    fn cancelable(&self) -> Cancelable {
        match self.status.state {
            JobState::Pending | JobState::Checking => Cancelable::yes("nothing was sent to the vendor"),
            JobState::Scheduled if self.status.submit_time.is_none() => {
                Cancelable::yes("nothing was sent to the vendor")
            }
            JobState::Submitting => Cancelable::yes(
                "the start is in flight: it is prevented if it did not arrive, else the vendor is asked",
            ),
            JobState::Scheduled | JobState::Running | JobState::Suspended => self.vendor_cancelable(),
            JobState::Cancelling => Cancelable::no("a cancel is under way"),
            JobState::Indeterminate => {
                Cancelable::no("nobody can say whether it runs; settle it by SettleJob")
            }
            JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed => Cancelable::no("the job has ended"),
        }
    }
}

/// What is said about an operation that somebody else started on the target.
pub fn foreign_finding(other: &str) -> Finding {
    let text = format!(
        "an operation that Drydock did not start is under way on the target: {other}. Wait for its end, or ask with \
         on_busy = QUEUE"
    );
    Finding::new("drydock.foreign_operation", Severity::Error, text)
}

/// How a cancel stands before anything happened to a job.
pub fn cancelable_at_first() -> Cancelable {
    Cancelable::yes("nothing was sent to the vendor")
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
