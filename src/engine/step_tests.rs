//! Property tests: a model vendor that knows the truth, a job that only hears what the network lets through, and
//! a crash possible at every point. Whatever happens, the vendor sees at most one start.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::calls::{CancelOutcome, Settlement};
use super::plan::{Plan, plan};
use super::step::{Heard, Step, cancelable_at_first};
use super::wish;
use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::error::{Error, VendorFault};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::id::JobId;
use crate::domain::job::{
    Cancelable, Handle, Job, JobControl, JobSpec, JobStatus, PasswordState, Provenance, VendorView,
    WaitReason,
};
use crate::domain::operation::{Operation, OperationKind, ScheduledUpgrade, Upgrade};
use crate::domain::state::JobState;
use crate::domain::target::{Target, TargetKind};
use crate::kit::clock;
use crate::vendors::contract::{CancelAnswer, CheckReport, Found, Observation, Phase, Submitted};
use crate::vendors::error::{Reached, VendorError};

fn capabilities(cancel: CancelSupport) -> Capabilities {
    Capabilities {
        targets: vec![Capability {
            target: TargetKind::Cluster,
            operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel,
            prechecks: true,
            progress: true,
            lists_versions: true,
            lists_images: false,
            batch_size: 1,
            lost_answer: "asked",
            success_proof: "reported",
        }],
        observe_batch: 100,
        lost_answer_grace: Duration::from_secs(10),
        lost_answer_limit: Duration::from_secs(100),
    }
}

fn job(operation: Operation) -> Job {
    let scheduled_start = match &operation {
        Operation::ScheduledUpgrade(scheduled) => scheduled.start_time,
        Operation::Upgrade(_) | Operation::Reinstall(_) => None,
    };
    Job {
        id: JobId::new(Uuid::from_u128(7)),
        spec: JobSpec {
            target: Target::parse_name("providers/p/clusters/c").unwrap(),
            operation,
            labels: std::collections::BTreeMap::new(),
            request: None,
            trace_parent: None,
            create_time: Timestamp::UNIX_EPOCH,
            retry_of: None,
        },
        status: JobStatus {
            state: JobState::Pending,
            provenance: Provenance::Own,
            observe_time: None,
            update_time: Timestamp::UNIX_EPOCH,
            submit_time: None,
            end_time: None,
            scheduled_start,
            progress: None,
            findings: Vec::new(),
            waiting_for: Vec::new(),
            failure: None,
            parts: Vec::new(),
            cancelable: cancelable_at_first(),
            cancel_request_time: None,
            vendor: VendorView::default(),
            retried_by: None,
        },
        control: JobControl {
            key: Uuid::from_u128(9),
            handle: None,
            attempts: 0,
            lost_time: None,
            first_lost: None,
            resend_before: None,
            refusal: None,
            holds_target: true,
            cancel_sent: false,
            reschedule_due: false,
            queues: false,
            ignore_maintenance_windows: None,
            password: PasswordState::None,
        },
        version: 1,
        sequence: 1,
    }
}

fn upgrade() -> Job {
    job(Operation::Upgrade(Upgrade::default()))
}

fn apply(job: &Job, heard: &Heard, capabilities: &Capabilities, now: Timestamp) -> Step {
    super::step::apply(job, heard, capabilities, None, now)
}

fn write(job: &mut Job, step: Step) {
    job.status = step.status;
    job.control = step.control;
    job.version += 1;
}

fn lost() -> VendorError {
    VendorError::new(VendorFault::Unreachable, Reached::Maybe, "connection reset")
}

fn running() -> Observation {
    Observation::new(Phase::Running, Provenance::Reported)
}

/// The vendor's truth.
#[derive(Default)]
struct Truth {
    starts: u32,
    over: Option<bool>,
    /// A request that is still on its way and arrives when the dice say so.
    on_its_way: bool,
    /// When the last start was sent: nothing is on its way for longer than the grace.
    sent: Option<Timestamp>,
}

impl Truth {
    fn start(&mut self) {
        self.starts += 1;
    }

    fn phase(&self) -> Phase {
        match self.over {
            None => Phase::Running,
            Some(true) => Phase::Succeeded,
            Some(false) => Phase::Failed(Failure::new(FailureReason::VendorFailed, "no")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_vendor_never_sees_two_starts(dice in proptest::collection::vec(any::<u8>(), 1..120)) {
        let capabilities = capabilities(CancelSupport::Asked);
        let mut job = upgrade();
        let mut truth = Truth::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut submit = false;
        for die in dice {
            now = clock::after(now, Duration::from_secs(u64::from(die % 16)));
            if truth.on_its_way {
                let late = truth.sent.is_some_and(|s| clock::since(s, now) >= capabilities.lost_answer_grace);
                if die % 3 == 0 || late {
                    truth.on_its_way = false;
                    if !late { truth.start(); }
                }
            }
            // A crash forgets what was to be done and keeps what was written.
            if die % 11 == 0 { submit = false; }
            // A caller cancels at any time.
            if die % 13 == 0
                && let Ok((_, Some(step))) = wish::cancel(&job, &capabilities, now)
            {
                submit = false;
                write(&mut job, step);
            }
            let heard = if std::mem::take(&mut submit) {
                truth.sent = Some(now);
                match die % 6 {
                    0 => { truth.start(); Heard::Submitted(Submitted::Started(Box::new(running()))) }
                    1 => { truth.start(); Heard::Submitted(Submitted::Failed(lost())) }
                    2 => Heard::Submitted(Submitted::Failed(lost())),
                    3 => { truth.on_its_way = true; Heard::Submitted(Submitted::Failed(lost())) }
                    4 => Heard::Submitted(Submitted::Failed(VendorError::new(
                        VendorFault::RateLimited, Reached::No, "429"))),
                    _ => Heard::Submitted(Submitted::Refused(
                        Failure::new(FailureReason::VendorRejected, "no"), Vec::new())),
                }
            } else {
                match plan(&job, true, now) {
                    Plan::Nothing => break,
                    Plan::Acquire | Plan::WaitUntil(_) | Plan::Reschedule => {
                        prop_assert!(false, "not in this model");
                        break;
                    }
                    Plan::Check if die % 5 == 0 => Heard::Checked(Err(lost())),
                    Plan::Check if job.status.state != JobState::Checking => Heard::CheckBegan,
                    Plan::Check => Heard::Checked(Ok(CheckReport::default())),
                    Plan::Find if die % 5 == 0 => Heard::Looked(Err(lost())),
                    Plan::Find if die % 5 == 1 => Heard::Looked(Ok(Found::CannotTell("both fit".into()))),
                    Plan::Find if truth.starts > 0 => Heard::Looked(Ok(Found::Arrived(Box::new(
                        Observation::new(truth.phase(), Provenance::Reported))))),
                    Plan::Find => Heard::Looked(Ok(Found::NotArrived { until: None })),
                    Plan::Cancel if die % 2 == 0 => Heard::CancelAnswered(Ok(CancelAnswer::Refused("no".into()))),
                    Plan::Cancel => Heard::CancelAnswered(Ok(CancelAnswer::Accepted)),
                    Plan::Observe => {
                        if die % 7 == 0 { truth.over = Some(die % 2 == 0); }
                        let mut seen = Observation::new(truth.phase(), Provenance::Reported);
                        seen.cancelable = Some(Cancelable::yes("the vendor says so"));
                        Heard::Observed(Ok(seen))
                    }
                }
            };
            let step = apply(&job, &heard, &capabilities, now);
            submit = step.submit;
            prop_assert_eq!(step.submit, step.status.state == JobState::Submitting && matches!(heard, Heard::Checked(Ok(_))));
            write(&mut job, step);
            prop_assert!(truth.starts <= 1, "{} starts", truth.starts);
            // A job that the caller was told is prevented must not run.
            if job.status.state == JobState::Cancelled { prop_assert!(truth.starts == 0 || job.control.cancel_sent); }
            if job.status.state.is_ended() {
                prop_assert!(job.status.end_time.is_some());
                prop_assert!(job.status.waiting_for.is_empty());
                prop_assert!(!job.control.holds_target);
            }
        }
    }
}

#[test]
fn what_the_vendor_keeps_scheduled_is_never_started_again() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Scheduled;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::Observe);
    for heard in [Heard::CheckBegan, Heard::Held(Timestamp::MAX), Heard::Checked(Ok(CheckReport::default()))]
    {
        let step = apply(&job, &heard, &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!((step.status.state, step.submit), (JobState::Scheduled, false), "{heard:?}");
    }
}

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
    let step = wish::settle(&job, &capabilities, Settlement::Failed, "looked at the console", late).unwrap();
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
fn a_cancel_before_anything_was_sent_prevents() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let job = upgrade();
    let (outcome, step) = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(outcome, CancelOutcome::Prevented);
    assert_eq!(step.unwrap().status.state, JobState::Cancelled);
}

#[test]
fn a_vendor_that_cannot_cancel_says_so_and_the_job_is_followed() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let started = Heard::Submitted(Submitted::Started(Box::new(running())));
    let step = apply(&job, &started, &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert!(!job.status.cancelable.possible);
    let error = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(matches!(error, Error::CancelUnsupported { .. }), "{error}");
}

#[test]
fn a_cancel_while_the_start_is_in_flight_is_asked_once_it_runs() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.status.cancelable = Cancelable::yes("in flight");
    let (outcome, step) = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(outcome, CancelOutcome::Requested);
    write(&mut job, step.unwrap());
    assert_eq!(job.status.state, JobState::Submitting);
    let mut seen = running();
    seen.cancelable = Some(Cancelable::yes("the task is cancelable"));
    let started = Heard::Submitted(Submitted::Started(Box::new(seen)));
    let step = apply(&job, &started, &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert_eq!(job.status.state, JobState::Cancelling);
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::Cancel);
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
        super::round::planned(&job, &crate::kit::permit::Permit::unlimited(), false).submit_time,
        Some(sent),
        "a proof ages from here"
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
fn an_outage_is_a_condition_and_no_state() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Running;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let step = apply(&job, &Heard::Observed(Err(lost())), &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert_eq!(job.status.state, JobState::Running);
    let since = job.status.waiting_for[0].since;
    let later = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
    let step = apply(&job, &Heard::Observed(Err(lost())), &capabilities, later);
    assert!(step.event.is_none(), "the same outage is told once");
    assert_eq!(step.status.waiting_for[0].since, since);
    let step = apply(&job, &Heard::Observed(Ok(running())), &capabilities, later);
    assert!(step.status.waiting_for.is_empty());
}

#[test]
fn what_the_vendor_no_longer_says_is_taken_off_and_what_was_accepted_stays() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Running;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let mut risk = Finding::new("v.risk", Severity::Warning, "risky");
    risk.accepted = true;
    let old = Finding::new("v.old", Severity::Warning, "old");
    let own = Finding::new("drydock.cancel_refused", Severity::Info, "no");
    job.status.findings = vec![risk.clone(), old, own];
    let told = |findings: Vec<Finding>, findings_complete| {
        Heard::Observed(Ok(Observation { findings, findings_complete, ..running() }))
    };
    let ids = |step: &Step| step.status.findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>();
    let new = Finding::new("v.new", Severity::Info, "new");
    let step = apply(&job, &told(vec![new.clone()], false), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(ids(&step), ["v.risk", "v.old", "drydock.cancel_refused", "v.new"]);
    let step = apply(&job, &told(vec![new], true), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(ids(&step), ["v.risk", "drydock.cancel_refused", "v.new"]);
    // The vendor says the accepted warning again: it is still accepted.
    let again = Finding { accepted: false, ..risk };
    let step = apply(&job, &told(vec![again], true), &capabilities, Timestamp::UNIX_EPOCH);
    assert!(step.status.findings[0].accepted);
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
fn a_vendor_that_says_when_to_come_again_is_quoted() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    let wait = Duration::from_secs(3600);
    let error = VendorError::new(VendorFault::RateLimited, Reached::No, "too many requests")
        .with_retry(crate::vendors::error::Retry::After(wait));
    let step = apply(&job, &Heard::Checked(Err(error)), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(step.status.waiting_for[0].until, Some(clock::after(Timestamp::UNIX_EPOCH, wait)));
}

#[test]
fn a_job_that_is_found_after_all_is_no_failure_any_more() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Indeterminate;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.status.failure = Some(Failure::new(FailureReason::SubmissionUnknown, "nobody knows"));
    let found = Heard::Looked(Ok(Found::Arrived(Box::new(running()))));
    let step = apply(&job, &found, &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!((step.status.state, step.status.failure), (JobState::Running, None));
}
