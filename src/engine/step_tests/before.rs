//! What comes before a start: findings, operations of others, a start time.

use std::time::Duration;

use jiff::Timestamp;

use super::{apply, capabilities, job, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::failure::FailureReason;
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Handle, WaitReason};
use crate::domain::operation::{Operation, ScheduledUpgrade};
use crate::domain::state::JobState;
use crate::engine::plan::{Plan, plan};
use crate::engine::step::Heard;
use crate::engine::wish;
use crate::kit::clock;
use crate::vendors::contract::CheckReport;

#[test]
fn a_warning_nobody_accepted_rejects_and_names_it() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    let now = Timestamp::UNIX_EPOCH;
    let step = apply(&job, &Heard::CheckBegan, &capabilities, now);
    write(&mut job, step);
    let finding = Finding::new("v.low_disk", Severity::Warning, "disk is low");
    let report = CheckReport { findings: vec![finding], ..CheckReport::default() };
    let step = apply(&job, &Heard::Checked(Ok(report)), &capabilities, now);
    assert_eq!(step.status.state, JobState::Rejected);
    assert!(!step.submit);
    let failure = step.status.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::PrecheckFailed);
    assert!(
        failure.message.contains("v.low_disk") && failure.message.contains("accepted_risks"),
        "{failure:?}"
    );
}

#[test]
fn an_operation_of_somebody_else_is_never_doubled() {
    let capabilities = capabilities(CancelSupport::Asked);
    let report =
        || Heard::Checked(Ok(CheckReport { foreign: Some("task-7".into()), ..CheckReport::default() }));
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    let step = apply(&job, &report(), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.status.state, step.submit), (JobState::Rejected, false));
    let failure = step.status.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::TargetBusy);
    assert_eq!(
        (failure.metadata["foreign"].as_str(), failure.metadata["operation"].as_str()),
        ("true", "task-7")
    );
    job.control.queues = true;
    let step = apply(&job, &report(), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.status.state, step.submit), (JobState::Pending, false));
    assert_eq!(step.status.waiting_for[0].reason, WaitReason::TargetBusy);
    assert!(step.status.waiting_for[0].message.contains("task-7"), "it is named");
}

#[test]
fn a_held_start_waits_and_can_be_moved() {
    let capabilities = capabilities(CancelSupport::Asked);
    let start = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
    let scheduled = ScheduledUpgrade { start_time: Some(start), ..ScheduledUpgrade::default() };
    let mut job = job(Operation::ScheduledUpgrade(scheduled));
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::WaitUntil(start));
    let step = apply(&job, &Heard::Held(start), &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert_eq!(job.status.state, JobState::Scheduled);
    let earlier = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
    let step = wish::reschedule(&job, &capabilities, Some(earlier), None, Timestamp::UNIX_EPOCH).unwrap();
    write(&mut job, step);
    assert_eq!(plan(&job, true, earlier), Plan::Check);
    assert_eq!(
        plan(&job, false, Timestamp::UNIX_EPOCH),
        Plan::Check,
        "a vendor that keeps schedules gets it at once"
    );
}

#[test]
fn an_error_behind_many_findings_still_stops_the_start() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    let mut findings: Vec<_> =
        (0..300).map(|n| Finding::new(format!("v.info{n}"), Severity::Info, "fine")).collect();
    findings.push(Finding::new("v.disk", Severity::Error, "the disk is full"));
    let heard = Heard::Checked(Ok(CheckReport { findings, handle: None, foreign: None }));
    let step = apply(&job, &heard, &capabilities, Timestamp::UNIX_EPOCH);
    assert!(!step.submit, "a start although a precheck found an error");
    assert_eq!(step.status.state, JobState::Rejected);
    assert!(step.status.failure.unwrap().message.contains("v.disk"));
    assert!(step.status.findings.len() <= 200);
    assert!(step.status.findings.iter().any(|f| f.id == "v.disk"), "what stopped it is kept");
}

#[test]
fn a_job_that_waits_for_its_checks_says_so_until_they_begin() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    let step = apply(&job, &Heard::CheckPutOff, &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(step.status.waiting_for[0].reason, WaitReason::RateBudget);
    assert_eq!((step.status.state, step.submit), (JobState::Pending, false));
    assert!(!Heard::CheckPutOff.still_fits(&job));
    write(&mut job, step);
    let step = apply(&job, &Heard::CheckBegan, &capabilities, Timestamp::UNIX_EPOCH);
    assert!(step.status.waiting_for.is_empty());
}

#[test]
fn a_check_starts_a_job_from_checking_only_and_changes_no_other() {
    let capabilities = capabilities(CancelSupport::Asked);
    for state in JobState::ALL {
        let mut job = upgrade();
        job.status.state = state;
        let report =
            CheckReport { handle: Some(Handle("of a later check".into())), ..CheckReport::default() };
        let step = apply(&job, &Heard::Checked(Ok(report)), &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!(step.submit, state == JobState::Checking, "{state:?}");
        assert_eq!(step.control.handle.is_some(), state == JobState::Checking, "{state:?}");
    }
}
