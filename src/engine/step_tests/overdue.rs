//! No job is with its vendor for ever: in the end a person may say how it went.

use std::time::Duration;

use jiff::Timestamp;

use super::{LIMIT, apply, capabilities, lost, running, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::error::Error;
use crate::domain::job::{Job, Provenance, WaitReason};
use crate::domain::state::JobState;
use crate::engine::calls::Settlement;
use crate::engine::step::{Heard, Step};
use crate::engine::wish::{self, Bounds};
use crate::kit::clock;
use crate::vendors::contract::{Observation, Phase};

const FOLLOWED: Bounds = Bounds { overdue_after: LIMIT, is_orphan: false };
const ORPHANED: Bounds = Bounds { overdue_after: LIMIT, is_orphan: true };

fn after(time: Duration) -> Timestamp {
    clock::after(Timestamp::UNIX_EPOCH, time)
}

fn just_before() -> Timestamp {
    after(LIMIT - Duration::from_secs(1))
}

/// A job whose start was sent at the epoch.
fn sent(state: JobState) -> Job {
    let mut job = upgrade();
    job.status.state = state;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job
}

fn reasons(step: &Step) -> Vec<WaitReason> {
    step.status.waiting_for.iter().map(|w| w.reason).collect()
}

fn settled(job: &Job, bounds: Bounds, now: Timestamp) -> Result<JobState, Error> {
    let capabilities = capabilities(CancelSupport::Asked);
    wish::settle(job, &capabilities, Settlement::Cancelled, "looked", bounds, now)
        .map(|step| step.status.state)
}

#[test]
fn what_is_with_the_vendor_for_too_long_is_overdue_whatever_is_heard() {
    let capabilities = capabilities(CancelSupport::Asked);
    let phase = |phase| Heard::Observed(Ok(Observation::new(phase, Provenance::Reported)));
    let cases = [
        (JobState::Running, phase(Phase::Running), vec![]),
        (JobState::Running, phase(Phase::Unclear), vec![]),
        (JobState::Running, Heard::Observed(Err(lost())), vec![WaitReason::VendorUnreachable]),
        (JobState::Scheduled, phase(Phase::Scheduled), vec![]),
        (JobState::Suspended, phase(Phase::Suspended), vec![]),
        (JobState::Cancelling, phase(Phase::Cancelling), vec![]),
        (JobState::Submitting, Heard::Looked(Err(lost())), vec![WaitReason::VendorUnreachable]),
    ];
    for (state, heard, mut waits) in cases {
        let mut job = sent(state);
        let step = apply(&job, &heard, &capabilities, just_before());
        assert_eq!(reasons(&step), waits, "{state:?} {heard:?}");
        write(&mut job, step);
        assert!(settled(&job, FOLLOWED, just_before()).is_err(), "{state:?}");
        let step = apply(&job, &heard, &capabilities, after(LIMIT));
        waits.push(WaitReason::Overdue);
        assert_eq!(reasons(&step), waits, "{state:?} {heard:?}");
        assert!(step.event.is_some(), "it is told");
        write(&mut job, step);
        let again = apply(&job, &heard, &capabilities, after(LIMIT * 2));
        assert_eq!((reasons(&again), again.event), (waits, None), "it is told once");
        assert_eq!(settled(&job, FOLLOWED, after(LIMIT)).unwrap(), JobState::Cancelled, "{state:?}");
    }
}

#[test]
fn a_time_that_is_known_counts_before_the_limit_does() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = sent(JobState::Scheduled);
    job.status.scheduled_start = Some(after(LIMIT));
    let mut seen = Observation::new(Phase::Scheduled, Provenance::Reported);
    let heard = Heard::Observed(Ok(seen.clone()));
    assert!(reasons(&apply(&job, &heard, &capabilities, after(LIMIT))).is_empty());
    assert_eq!(reasons(&apply(&job, &heard, &capabilities, after(LIMIT * 2))), [WaitReason::Overdue]);
    seen.waiting = Some((WaitReason::MaintenanceWindow, "the next window".into(), Some(after(LIMIT * 3))));
    let heard = Heard::Observed(Ok(seen));
    let step = apply(&job, &heard, &capabilities, after(LIMIT * 3));
    assert_eq!(reasons(&step), [WaitReason::MaintenanceWindow]);
}

#[test]
fn what_the_adapter_knows_better_stays() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut seen = running();
    seen.waiting = Some((WaitReason::Overdue, "believed once it has lasted".into(), Some(after(LIMIT * 3))));
    let mut job = sent(JobState::Running);
    let step = apply(&job, &Heard::Observed(Ok(seen)), &capabilities, after(LIMIT * 2));
    assert_eq!(step.status.waiting_for.len(), 1);
    write(&mut job, step);
    assert!(settled(&job, FOLLOWED, after(LIMIT * 2)).is_err(), "the vendor decides");
    assert!(settled(&job, FOLLOWED, after(LIMIT * 3)).is_ok());
}

#[test]
fn a_job_whose_provider_is_gone_is_settled_at_once_unless_its_start_may_still_arrive() {
    for state in JobState::ALL {
        let job = sent(state);
        let now = after(Duration::from_secs(60));
        let followed = match state {
            JobState::Running
            | JobState::Scheduled
            | JobState::Suspended
            | JobState::Cancelling
            | JobState::Indeterminate => true,
            JobState::Pending
            | JobState::Checking
            | JobState::Submitting
            | JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed => false,
        };
        assert_eq!(settled(&job, ORPHANED, now).is_ok(), followed, "{state:?}");
    }
    assert!(settled(&sent(JobState::Submitting), ORPHANED, after(LIMIT)).is_ok());
}
