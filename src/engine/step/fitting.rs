//! Whether something that was heard still means something for a job that was changed meanwhile.

use super::Heard;
use crate::domain::job::Job;
use crate::domain::state::JobState;
use crate::vendors::contract::{Observation, Phase};

impl Heard {
    /// Whether this may be applied to `job`, which is newer than the one it was asked about.
    ///
    /// A plan that was made for an older state never fits. An answer of the vendor fits while its question stands: a
    /// look-up of a start that is no longer looked up, or the answer to a start that was taken back already (its
    /// write was made, and only the word of it was lost), would mark the job with the doubts of an earlier start.
    pub fn still_fits(&self, job: &Job) -> bool {
        match self {
            // Whose start is looked up already, or was taken back: an older start lapsed, not the next one.
            Self::Observed(Ok(Observation { phase: Phase::Lapsed(_), .. })) => {
                was_sent(job) && !is_looked_up(job.status.state)
            }
            Self::Observed(_) | Self::CancelAnswered(_) | Self::Rescheduled(..) => true,
            Self::Submitted(_) => was_sent(job),
            Self::Looked(_) => is_looked_up(job.status.state),
            Self::Checked(_) => job.status.state == JobState::Checking,
            Self::Acquired | Self::StillBusy(_) => !job.control.holds_target,
            Self::Held(_) | Self::CheckBegan | Self::CheckPutOff | Self::PasswordGone | Self::Paused(_) => {
                false
            }
        }
    }
}

/// Whether a start was sent and not taken back.
const fn was_sent(job: &Job) -> bool {
    match job.status.state {
        JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Indeterminate => true,
        JobState::Scheduled => job.is_with_vendor(),
        JobState::Pending
        | JobState::Checking
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => false,
    }
}

/// Whether the vendor is asked if a start arrived.
const fn is_looked_up(state: JobState) -> bool {
    match state {
        JobState::Submitting | JobState::Indeterminate => true,
        JobState::Pending
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
        | JobState::Missed => false,
    }
}
