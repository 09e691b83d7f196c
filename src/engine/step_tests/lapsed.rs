//! Starts that the vendor took and dropped before they began: looked up like lost ones, and sent again once at most.

use std::time::Duration;

use jiff::Timestamp;

use super::{apply, capabilities, lost, upgrade, write};
use crate::domain::capability::{CancelSupport, Capabilities};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::{Job, Provenance, WaitReason};
use crate::domain::state::JobState;
use crate::engine::plan::{Plan, plan};
use crate::engine::step::{Heard, Step};
use crate::kit::clock;
use crate::vendors::contract::{CheckReport, Found, Observation, Phase, Submitted};

/// When the vendor drops the start.
const DROPPED: Duration = Duration::from_secs(1000);

fn at(after: Duration) -> Timestamp {
    clock::after(Timestamp::UNIX_EPOCH, after)
}

fn seen(phase: Phase) -> Observation {
    Observation::new(phase, Provenance::Reported)
}

fn failure() -> Failure {
    Failure::new(FailureReason::VendorRejected, "the session expired")
}

fn lapsed() -> Heard {
    Heard::Observed(Ok(seen(Phase::Lapsed(failure()))))
}

/// A job that the vendor took and keeps.
fn kept(capabilities: &Capabilities) -> Job {
    let mut job = upgrade();
    start(&mut job, capabilities, at(Duration::ZERO));
    job
}

fn start(job: &mut Job, capabilities: &Capabilities, now: Timestamp) {
    for heard in [
        Heard::CheckBegan,
        Heard::Checked(Ok(CheckReport::default())),
        Heard::Submitted(Submitted::Started(Box::new(seen(Phase::Scheduled)))),
    ] {
        let step = apply(job, &heard, capabilities, now);
        write(job, step);
    }
    assert_eq!(job.status.state, JobState::Scheduled);
}

fn look(job: &Job, found: Found, capabilities: &Capabilities, now: Timestamp) -> Step {
    apply(job, &Heard::Looked(Ok(found)), capabilities, now)
}

#[test]
fn a_start_that_lapsed_is_looked_up_and_sent_again_after_the_grace() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = kept(&capabilities);
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    assert_eq!((step.status.state, step.submit), (JobState::Submitting, false), "the vendor is asked first");
    assert_eq!(step.status.waiting_for[0].reason, WaitReason::LostAnswer);
    assert!(step.status.waiting_for[0].message.contains("the session expired"));
    write(&mut job, step);
    assert_eq!(plan(&job, true, at(DROPPED)), Plan::Find);
    // However old the start is, the grace counts from the moment of the doubt.
    let early =
        look(&job, Found::NotArrived { until: None }, &capabilities, at(DROPPED + Duration::from_secs(9)));
    assert_eq!(early.status.state, JobState::Submitting);
    let late = at(DROPPED + Duration::from_secs(10));
    let step = look(&job, Found::NotArrived { until: None }, &capabilities, late);
    assert_eq!((step.status.state, step.status.submit_time), (JobState::Pending, None));
    write(&mut job, step);
    start(&mut job, &capabilities, late);
    assert_eq!(job.control.attempts, 2);
}

#[test]
fn a_second_lapse_ends_the_job() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = kept(&capabilities);
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    write(&mut job, step);
    let later = at(DROPPED * 2);
    let step = look(&job, Found::NotArrived { until: None }, &capabilities, later);
    write(&mut job, step);
    start(&mut job, &capabilities, later);
    let step = apply(&job, &lapsed(), &capabilities, later);
    assert_eq!(step.status.state, JobState::Rejected);
    let told = step.status.failure.unwrap();
    assert_eq!(told.reason, failure().reason);
    assert!(
        told.message.starts_with("the session expired. A job goes back to its start by itself once"),
        "{told:?}"
    );
}

#[test]
fn a_lapse_that_the_look_up_does_not_confirm_starts_nothing() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = kept(&capabilities);
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    write(&mut job, step);
    let later = at(DROPPED * 2);
    let unsure = look(&job, Found::CannotTell("both fit".into()), &capabilities, later);
    assert_eq!((unsure.status.state, unsure.submit), (JobState::Indeterminate, false));
    let runs = look(&job, Found::Arrived(Box::new(seen(Phase::Running))), &capabilities, later);
    assert_eq!((runs.status.state, runs.submit), (JobState::Running, false));
}

#[test]
fn what_was_seen_at_work_never_lapses() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    for phase in [Phase::Running, Phase::Suspended] {
        let mut job = kept(&capabilities);
        let step = apply(&job, &Heard::Observed(Ok(seen(phase.clone()))), &capabilities, at(DROPPED));
        write(&mut job, step);
        let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
        assert_eq!((step.status.state, step.submit), (JobState::Rejected, false), "{phase:?}");
        let told = step.status.failure.unwrap().message;
        assert!(told.starts_with("the session expired. It is not started again by itself"), "{told}");
        // Also when the vendor says meanwhile that it only keeps it.
        let step = apply(&job, &Heard::Observed(Ok(seen(Phase::Scheduled))), &capabilities, at(DROPPED));
        write(&mut job, step);
        assert_eq!(job.status.state, JobState::Scheduled);
        let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
        assert_eq!((step.status.state, step.submit), (JobState::Rejected, false), "{phase:?}");
    }
}

#[test]
fn a_cancel_while_a_lapsed_start_is_looked_up_prevents_the_next_one() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = kept(&capabilities);
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    write(&mut job, step);
    let (_, step) = crate::engine::wish::cancel(&job, &capabilities, at(DROPPED)).unwrap();
    write(&mut job, step.unwrap());
    let step = look(&job, Found::NotArrived { until: None }, &capabilities, at(DROPPED * 2));
    assert_eq!((step.status.state, step.submit), (JobState::Cancelled, false));
}

#[test]
fn the_lapse_of_an_older_start_says_nothing_of_the_next_one() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = kept(&capabilities);
    assert!(lapsed().still_fits(&job));
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    write(&mut job, step);
    assert!(!lapsed().still_fits(&job), "it is looked up already");
    let step = look(&job, Found::NotArrived { until: None }, &capabilities, at(DROPPED * 2));
    write(&mut job, step);
    assert!(!lapsed().still_fits(&job), "it was taken back");
    let step = apply(&job, &Heard::Submitted(Submitted::Failed(lost())), &capabilities, at(DROPPED * 2));
    assert!(!step.submit);
}

#[test]
fn what_was_never_sent_cannot_lapse() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Scheduled;
    assert!(!lapsed().still_fits(&job));
    let step = apply(&job, &lapsed(), &capabilities, at(DROPPED));
    assert_eq!((step.status.state, step.submit), (JobState::Scheduled, false));
}
