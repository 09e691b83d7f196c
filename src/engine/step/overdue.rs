//! Jobs that are with the vendor for longer than any operation should be: a person may then say how they ended.

use std::time::Duration;

use jiff::Timestamp;

use super::Draft;
use crate::domain::job::{JobStatus, WaitReason, Waiting};
use crate::domain::state::JobState;
use crate::kit::clock;

/// How long a job may wait for a window of which the vendor does not tell when it is. Windows come back every week or every
/// month.
const UNTOLD_WINDOW: Duration = Duration::from_secs(35 * 24 * 3600);

/// From when on a job is overdue: `limit` after its start was sent or, where that is later, after the time that is known
/// for it. `None` for a job that is not with the vendor.
pub fn overdue_from(status: &JobStatus, limit: Duration) -> Option<Timestamp> {
    let sent = status.submit_time?;
    match status.state {
        JobState::Submitting
        | JobState::Scheduled
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling => {}
        JobState::Pending
        | JobState::Checking
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed
        | JobState::Indeterminate => return None,
    }
    let windows = || status.waiting_for.iter().filter(|waiting| is_appointment(waiting.reason));
    let untold = status.state == JobState::Scheduled && windows().any(|waiting| waiting.until.is_none());
    let limit = if untold { limit.max(UNTOLD_WINDOW) } else { limit };
    let known = windows().filter_map(|waiting| waiting.until).chain(status.scheduled_start);
    Some(clock::after(known.fold(sent, Timestamp::max), limit))
}

/// Whether the end of such a wait is a time for which the operation was planned.
pub(super) const fn is_appointment(reason: WaitReason) -> bool {
    match reason {
        WaitReason::StartTime | WaitReason::MaintenanceWindow => true,
        WaitReason::TargetBusy
        | WaitReason::VendorUnreachable
        | WaitReason::VendorCredentialsRefused
        | WaitReason::RateBudget
        | WaitReason::LostAnswer
        | WaitReason::Overdue => false,
    }
}

impl Draft<'_> {
    /// Says that the job is overdue, whatever its vendor says or does not say: not every end leaves a trace, and
    /// without an end the target would be held for ever. What an adapter knows better (when the vendor decides) stays.
    pub(super) fn note_overdue(&mut self) {
        let Some(limit) = self.overdue_after else { return };
        let Some(since) = overdue_from(&self.status, limit).filter(|since| *since <= self.now) else {
            return;
        };
        if self.status.waiting_for.iter().any(|waiting| waiting.reason == WaitReason::Overdue) {
            return;
        }
        let message = format!(
            "it has been with the vendor since {} and shows no end; it is followed on. If it is over, settle the job by \
             SettleJob",
            self.status.submit_time.unwrap_or(since)
        );
        self.status.waiting_for.push(Waiting { reason: WaitReason::Overdue, message, since, until: None });
    }
}
