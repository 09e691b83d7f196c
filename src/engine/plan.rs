//! What a job needs next. Pure: the same stored job and moment always give the same plan, so a timer, a nudge
//! and a restart all run the same code on the same truth.

use jiff::Timestamp;

use crate::domain::job::Job;
use crate::domain::state::JobState;

/// The next thing to do for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It has ended.
    Nothing,
    /// Try to take its target.
    Acquire,
    /// Wait; nothing is to be asked before this moment.
    WaitUntil(Timestamp),
    /// Run prechecks, and start it if they pass.
    Check,
    /// A start was sent and not answered: ask whether it arrived.
    Find,
    /// Ask how it stands.
    Observe,
    /// Ask the vendor to cancel it.
    Cancel,
    /// Tell the vendor its new start time.
    Reschedule,
}

/// Decides what `job` needs at `now`.
///
/// `keeps_time` says whether Drydock itself must wait for a scheduled start (the vendor keeps no schedule).
pub fn plan(job: &Job, keeps_time: bool, now: Timestamp) -> Plan {
    match job.status.state {
        JobState::Pending if !job.control.holds_target => Plan::Acquire,
        JobState::Pending => start_or_wait(job, keeps_time, now),
        JobState::Scheduled if job.is_with_vendor() => follow(job),
        JobState::Scheduled => start_or_wait(job, keeps_time, now),
        JobState::Checking => Plan::Check,
        JobState::Submitting | JobState::Indeterminate => Plan::Find,
        JobState::Running | JobState::Suspended | JobState::Cancelling => follow(job),
        JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => Plan::Nothing,
    }
}

fn start_or_wait(job: &Job, keeps_time: bool, now: Timestamp) -> Plan {
    match job.status.scheduled_start {
        Some(start) if keeps_time && start > now => Plan::WaitUntil(start),
        Some(_) | None => Plan::Check,
    }
}

fn follow(job: &Job) -> Plan {
    if job.status.cancel_request_time.is_some() && !job.control.cancel_sent {
        Plan::Cancel
    } else if job.control.reschedule_due {
        Plan::Reschedule
    } else {
        Plan::Observe
    }
}
