//! Starts whose answer was lost: looked up, repeated only when they provably did not arrive.

use std::time::Duration;

use jiff::Timestamp;

use super::{LIMIT, apply, capabilities, lost, running, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Handle, Provenance, WaitReason};
use crate::domain::state::JobState;
use crate::engine::calls::Settlement;
use crate::engine::plan::{Plan, plan};
use crate::engine::step::Heard;
use crate::engine::wish;
use crate::kit::clock;
use crate::vendors::contract::{CheckReport, Found, Observation, Phase, Submitted};
use crate::vendors::error::{Reached, VendorError};

#[test]
fn a_start_that_was_lost_is_looked_up_until_the_limit_and_then_loudly_unknown() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.control.lost_time = Some(Timestamp::UNIX_EPOCH);
    let unsure = || Heard::Looked(Ok(Found::CannotTell("the instance runs, as it did before".into())));
    let early = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(50));
    let step = apply(&job, &unsure(), &capabilities, early);
    assert_eq!(step.status.state, JobState::Submitting);
    assert_eq!(step.status.waiting_for[0].reason, WaitReason::LostAnswer);
    write(&mut job, step);
    let late = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(101));
    let step = apply(&job, &unsure(), &capabilities, late);
    assert_eq!(step.status.state, JobState::Indeterminate);
    assert_eq!(step.status.failure.as_ref().unwrap().reason, FailureReason::SubmissionUnknown);
    write(&mut job, step);
    assert_eq!(plan(&job, true, late), Plan::Find, "it is watched on");
    let bounds = wish::Bounds { overdue_after: LIMIT, is_orphan: false };
    let step =
        wish::settle(&job, &capabilities, Settlement::Failed, "looked at the console", bounds, late).unwrap();
    assert_eq!(step.status.state, JobState::Failed);
    assert!(step.event.unwrap().message.contains("looked at the console"));
}

#[test]
fn not_arrived_is_believed_only_after_the_grace() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    // However old the intent is: the call may have left only just before its answer was lost.
    let lost_at = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(1000));
    let step = apply(&job, &Heard::Submitted(Submitted::Failed(lost())), &capabilities, lost_at);
    write(&mut job, step);
    let early = clock::after(lost_at, Duration::from_secs(9));
    let step = apply(&job, &Heard::Looked(Ok(Found::NotArrived { until: None })), &capabilities, early);
    assert_eq!(step.status.state, JobState::Submitting);
    write(&mut job, step);
    let late = clock::after(lost_at, Duration::from_secs(10));
    let step = apply(&job, &Heard::Looked(Ok(Found::NotArrived { until: None })), &capabilities, late);
    assert_eq!(step.status.state, JobState::Pending);
    assert_eq!(step.status.submit_time, None);
}

#[test]
fn who_takes_a_lost_start_over_counts_the_grace_from_its_own_first_look() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let not_there = Heard::Looked(Ok(Found::NotArrived { until: None }));
    // The earlier holder noted nothing, and its call may have begun long after it wrote the intent.
    let first = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(1000));
    for passed in [0, 9] {
        let now = clock::after(first, Duration::from_secs(passed));
        let step = apply(&job, &not_there, &capabilities, now);
        assert_eq!(step.status.state, JobState::Submitting, "{passed}");
        write(&mut job, step);
    }
    let step = apply(&job, &not_there, &capabilities, clock::after(first, Duration::from_secs(10)));
    assert_eq!(step.status.state, JobState::Pending);
}

#[test]
fn a_proof_that_grows_old_before_the_repeat_is_no_proof() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.control.lost_time = Some(Timestamp::UNIX_EPOCH);
    let found = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(20));
    let until = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
    let heard = Heard::Looked(Ok(Found::NotArrived { until: Some(until) }));
    let step = apply(&job, &heard, &capabilities, found);
    assert_eq!(step.status.state, JobState::Pending);
    write(&mut job, step);
    let step = apply(&job, &Heard::CheckBegan, &capabilities, found);
    write(&mut job, step);
    let in_time = apply(&job, &Heard::Checked(Ok(CheckReport::default())), &capabilities, found);
    assert!(in_time.submit);
    // An outage came between: the first start may have run and failed meanwhile.
    let late = clock::after(until, Duration::from_secs(1));
    let step = apply(&job, &Heard::Checked(Ok(CheckReport::default())), &capabilities, late);
    assert_eq!((step.status.state, step.submit), (JobState::Indeterminate, false));
    assert_eq!(step.status.failure.unwrap().reason, FailureReason::SubmissionUnknown);
}

#[test]
fn what_may_be_our_own_earlier_start_is_not_called_somebody_elses() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    job.control.first_lost = Some(Timestamp::UNIX_EPOCH);
    let report = CheckReport { foreign: Some("task-7".into()), ..CheckReport::default() };
    let step = apply(&job, &Heard::Checked(Ok(report)), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.status.state, step.submit), (JobState::Submitting, false));
    write(&mut job, step);
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::Find, "the vendor says whose it is");
}

#[test]
fn a_refusal_after_a_lost_answer_does_not_say_that_nothing_runs() {
    let capabilities = capabilities(CancelSupport::Asked);
    let refused = || Failure::new(FailureReason::VendorRejected, "an upgrade is under way");
    let error = || VendorError::new(VendorFault::Rejected, Reached::No, "an upgrade is under way");
    let blocked = || CheckReport {
        findings: vec![Finding::new("v.busy", Severity::Error, "busy")],
        ..CheckReport::default()
    };
    let cases = [
        (JobState::Submitting, Heard::Submitted(Submitted::Refused(refused(), Vec::new()))),
        (JobState::Submitting, Heard::Submitted(Submitted::Failed(error()))),
        (JobState::Checking, Heard::Checked(Ok(blocked()))),
        (JobState::Checking, Heard::Checked(Err(error()))),
    ];
    for (state, heard) in cases {
        let mut job = upgrade();
        job.status.state = state;
        let first = apply(&job, &heard, &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!(first.status.state, JobState::Rejected, "{heard:?}");
        job.control.first_lost = Some(Timestamp::UNIX_EPOCH);
        let step = apply(&job, &heard, &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!((step.status.state, step.submit), (JobState::Submitting, false), "{heard:?}");
        assert!(step.control.holds_target, "what may run keeps its target");
        assert_eq!(step.status.waiting_for[0].reason, WaitReason::LostAnswer);
        write(&mut job, step);
        assert_eq!(
            plan(&job, true, Timestamp::UNIX_EPOCH),
            Plan::Find,
            "the vendor is asked about the first one"
        );

        let later = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(86_400));
        let absent = Heard::Looked(Ok(Found::NotArrived { until: None }));
        let early = apply(&job, &absent, &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!(early.status.state, JobState::Submitting, "it may still be on its way");
        let shown = apply(&job, &absent, &capabilities, later);
        assert_eq!((shown.status.state, shown.submit), (JobState::Rejected, false), "{heard:?}");
        assert_eq!(shown.status.failure, first.status.failure);
        let runs = Observation::new(Phase::Running, Provenance::Reported);
        let found = apply(&job, &Heard::Looked(Ok(Found::Arrived(Box::new(runs)))), &capabilities, later);
        assert_eq!((found.status.state, found.control.refusal), (JobState::Running, None), "{heard:?}");
        let unknown = Heard::Looked(Ok(Found::CannotTell("both".into())));
        assert_eq!(apply(&job, &unknown, &capabilities, later).status.state, JobState::Indeterminate);
    }
}

#[test]
fn a_check_after_a_lost_answer_keeps_the_baseline_from_before_it() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    job.control.first_lost = Some(Timestamp::UNIX_EPOCH);
    job.control.handle = Some(Handle("before".into()));
    let report = |findings| CheckReport { findings, handle: Some(Handle("now".into())), foreign: None };
    let blocked = report(vec![Finding::new("v.busy", Severity::Error, "busy")]);
    let step = apply(&job, &Heard::Checked(Ok(blocked)), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(step.control.handle, Some(Handle("before".into())));
    let step = apply(&job, &Heard::Checked(Ok(report(Vec::new()))), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.submit, step.control.handle), (true, Some(Handle("now".into()))));
}

#[test]
fn an_adapter_is_told_when_a_lost_start_was_sent_also_after_it_was_taken_back() {
    let capabilities = capabilities(CancelSupport::Asked);
    let sent = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(5));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(sent);
    job.control.lost_time = Some(sent);
    let late = clock::after(sent, Duration::from_secs(60));
    let step = apply(&job, &Heard::Looked(Ok(Found::NotArrived { until: None })), &capabilities, late);
    write(&mut job, step);
    assert_eq!((job.status.state, job.status.submit_time), (JobState::Pending, None));
    assert_eq!(
        crate::engine::round::planned(&job, &crate::kit::permit::Permit::unlimited(), false).submit_time,
        Some(sent),
        "a proof ages from here"
    );
}

#[test]
fn a_job_that_is_found_after_all_is_no_failure_any_more() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Indeterminate;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.status.failure = Some(Box::new(Failure::new(FailureReason::SubmissionUnknown, "nobody knows")));
    let found = Heard::Looked(Ok(Found::Arrived(Box::new(running()))));
    let step = apply(&job, &found, &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.status.state, step.status.failure), (JobState::Running, None));
}

#[test]
fn a_new_start_counts_its_grace_anew_whatever_an_earlier_one_left() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    job.control.lost_time = Some(Timestamp::UNIX_EPOCH);
    let sent = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(1000));
    let step = apply(&job, &Heard::Checked(Ok(CheckReport::default())), &capabilities, sent);
    assert!(step.submit);
    write(&mut job, step);
    // The process died here; whoever drives next looks for the first time.
    let absent = Heard::Looked(Ok(Found::NotArrived { until: None }));
    let step = apply(&job, &absent, &capabilities, clock::after(sent, Duration::from_secs(1)));
    assert_eq!(step.status.state, JobState::Submitting, "it may still be on its way");
}

#[test]
fn what_was_heard_of_a_start_fits_no_job_whose_start_was_taken_back() {
    let looked = Heard::Looked(Ok(Found::NotArrived { until: None }));
    let answered = Heard::Submitted(Submitted::Failed(lost()));
    let mut job = upgrade();
    for state in JobState::ALL {
        job.status.state = state;
        job.status.submit_time = None;
        let sent = match state {
            JobState::Submitting
            | JobState::Running
            | JobState::Suspended
            | JobState::Cancelling
            | JobState::Indeterminate => true,
            JobState::Pending
            | JobState::Scheduled
            | JobState::Checking
            | JobState::Succeeded
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Rejected
            | JobState::Superseded
            | JobState::Missed => false,
        };
        assert_eq!(answered.still_fits(&job), sent, "{state:?}");
        let asked = matches!(state, JobState::Submitting | JobState::Indeterminate);
        assert_eq!(looked.still_fits(&job), asked, "{state:?}");
    }
    job.status.state = JobState::Scheduled;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    assert!(answered.still_fits(&job), "the vendor keeps its schedule");
}
