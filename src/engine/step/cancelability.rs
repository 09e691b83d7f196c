//! Whether a cancel can work, said beforehand.

use super::draft::Draft;
use crate::domain::capability::CancelSupport;
use crate::domain::job::Cancelable;
use crate::domain::state::JobState;

impl Draft<'_> {
    pub(super) fn vendor_cancelable(&self) -> Cancelable {
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

    pub(super) fn cancelable(&self) -> Cancelable {
        match self.status.state {
            JobState::Pending | JobState::Checking => Cancelable::yes("nothing was sent to the vendor"),
            JobState::Scheduled if self.status.submit_time.is_none() => {
                Cancelable::yes("nothing was sent to the vendor")
            }
            JobState::Submitting => {
                let support = self.capabilities.of(self.job.spec.target.kind).map(|c| c.cancel);
                Cancelable::yes(match support {
                    Some(CancelSupport::Asked) => {
                        "the start is in flight: it is prevented if it did not arrive, else the vendor is asked"
                    }
                    Some(CancelSupport::Never(_)) | None => {
                        "the start is in flight: it is prevented if it did not arrive, else it goes on, for the vendor \
                         cannot cancel it"
                    }
                })
            }
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

/// How a cancel stands before anything happened to a job.
pub fn cancelable_at_first() -> Cancelable {
    Cancelable::yes("nothing was sent to the vendor")
}
