//! After the start: what the vendor said about a running operation.

use super::draft::{Draft, MAX_PARTS};
use crate::domain::failure::Failure;
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Cancelable, Provenance, WaitReason};
use crate::domain::state::{JobState, Signal};
use crate::vendors::contract::{CancelAnswer, Observation, Phase};

impl Draft<'_> {
    pub(super) fn observed(&mut self, observation: &Observation, accepted: bool) {
        let Observation {
            phase,
            provenance,
            vendor_state,
            progress,
            findings,
            findings_complete,
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
            self.control.began = true;
            self.status.progress = progress;
        }
        if findings_complete {
            self.drop_stale(&findings);
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

    pub(super) fn follow(&mut self, phase: Phase, provenance: Provenance, accepted: bool) {
        self.control.began |= is_at_work(&phase);
        let (signal, failure) = match phase {
            Phase::Scheduled => (Signal::VendorScheduled, None),
            Phase::Running => (Signal::VendorRunning, None),
            Phase::Suspended => (Signal::VendorSuspended, None),
            Phase::Cancelling => (Signal::VendorCancelling, None),
            Phase::Succeeded => (Signal::VendorSucceeded, None),
            Phase::Failed(failure) => (Signal::VendorFailed, Some(failure)),
            Phase::Cancelled => (Signal::VendorCancelled, None),
            Phase::Rejected(failure) => (Signal::Refuse, Some(failure)),
            Phase::Lapsed(failure) => return self.lapsed(failure, provenance),
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
                self.status.failure = failure.map(Box::new);
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

    /// The vendor dropped what it took before it began. Nothing is sent on that word alone: the job goes back to where
    /// the vendor is asked whether its start arrived, and from there on all rules of a lost answer hold.
    fn lapsed(&mut self, mut failure: Failure, provenance: Provenance) {
        self.status.provenance = provenance;
        match self.status.state {
            JobState::Scheduled | JobState::Submitting if !self.control.began && !self.control.lapsed => {
                if self.signal(Signal::Lapse) {
                    self.control.lapsed = true;
                    self.control.lost_time = Some(self.now);
                    self.note_lost();
                    let text = format!(
                        "the vendor dropped the start before it began ({}); the vendor is asked once more, and then the \
                         job is started again",
                        failure.message
                    );
                    self.status.vendor.last_error = Some(failure.message);
                    self.wait(WaitReason::LostAnswer, text, None);
                }
            }
            // Nothing runs, as the caller wished.
            JobState::Cancelling => self.end(Signal::VendorCancelled, None),
            JobState::Scheduled
            | JobState::Submitting
            | JobState::Pending
            | JobState::Checking
            | JobState::Running
            | JobState::Suspended
            | JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed
            | JobState::Indeterminate => {
                failure.message.push_str(if self.control.lapsed {
                    ". A job goes back to its start by itself once at most, and this one did before; start it again"
                } else {
                    ". It is not started again by itself, since it was taken to be under way; look at the target first"
                });
                self.end(Signal::Refuse, Some(failure));
            }
        }
    }

    pub(super) fn cancel_answered(&mut self, answer: &CancelAnswer) {
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
}

/// Whether a phase shows that the operation began.
const fn is_at_work(phase: &Phase) -> bool {
    match phase {
        Phase::Running
        | Phase::Suspended
        | Phase::Cancelling
        | Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled => true,
        Phase::Scheduled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed
        | Phase::Unclear => false,
    }
}
