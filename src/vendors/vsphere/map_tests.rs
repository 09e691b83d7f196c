//! Every task status and every odd body, and what they make of a job.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::id::JobId;
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::Target;
use crate::vendors::vsphere::notes::Baseline;
use crate::vendors::vsphere::wire::read;

const OLD: &str = "v1.29.7";
const NEW: &str = "v1.30.5";

fn planned(name: &str) -> Planned {
    Planned {
        job: JobId::new(Uuid::nil()),
        target: Target::parse_name(&format!("providers/vc/{name}")).unwrap(),
        operation: Operation::Upgrade(Upgrade { version: Some(NEW.to_owned()), ..Upgrade::default() }),
        key: Uuid::nil(),
        attempts: 1,
        submit_time: None,
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

fn terms(second: i64) -> Terms<'static> {
    Terms {
        desired: NEW,
        now: Timestamp::from_second(1_000_000 + second).unwrap(),
        settle: Duration::from_secs(300),
        cancel_requested: false,
    }
}

fn notes() -> Notes {
    let baseline = Baseline {
        state: Some("READY".to_owned()),
        current_version: Some(OLD.to_owned()),
        ..Baseline::default()
    };
    Notes { baseline: Some(baseline), task: Some("52c1f0aa:svc".to_owned()), ..Notes::default() }
}

fn seen(task: Value, summary: Value, info: Option<Value>, second: i64, notes: &mut Notes) -> Observation {
    let (task, summary): (Option<Task>, Option<Summary>) = (read(&task), read(&summary));
    let info: Option<Info> = info.as_ref().and_then(read);
    let sight = Sight { summary: summary.as_ref(), info: info.as_ref(), task: task.as_ref() };
    let outcome = decide(sight, notes, terms(second));
    observe(&planned("supervisors/s-1"), sight, &outcome, notes, terms(second))
}

fn supervisor(state: &str, current: &str, desired: Option<&str>) -> Value {
    json!({"supervisor": "s-1", "state": state, "current_version": current, "desired_version": desired})
}

fn running() -> Value {
    json!({"description": {"id": "example.d", "default_message": "Upgrade", "args": []}, "service": "svc-a",
        "operation": "create", "status": "RUNNING", "cancelable": true, "start_time": "2026-02-03T04:05:06.000Z",
        "progress": {"total": 100, "completed": 40, "message": {"id": "example.p", "default_message": "40", "args": []}}})
}

#[test]
fn a_running_task_is_running_with_its_progress() {
    let seen = seen(running(), supervisor("INPROGRESS", OLD, Some(NEW)), None, 0, &mut notes());
    assert_eq!((seen.phase, seen.provenance), (Phase::Running, Provenance::Reported));
    let progress = seen.progress.unwrap();
    assert!((progress.percent - 40.0).abs() < f64::EPSILON);
    assert_eq!(progress.message.as_deref(), Some("40"));
    assert!(seen.cancelable.unwrap().possible);
    assert_eq!(seen.ids["task"], "52c1f0aa:svc");
    let answer: Value = serde_json::from_str(&seen.answer.unwrap()).unwrap();
    assert_eq!(answer["task"]["description"]["default_message"], "Upgrade");
    assert_eq!(answer["desired_version"], NEW);
}

fn phase_of(status: Value, summary: Value) -> Phase {
    seen(json!({"status": status}), summary, None, 0, &mut notes()).phase
}

#[test]
fn each_task_status_has_its_phase() {
    let busy = || supervisor("INPROGRESS", OLD, Some(NEW));
    assert_eq!(phase_of(json!("PENDING"), busy()), Phase::Running);
    assert_eq!(phase_of(json!("RUNNING"), busy()), Phase::Running);
    assert_eq!(phase_of(json!("BLOCKED"), busy()), Phase::Suspended);
    assert_eq!(phase_of(json!("SUCCEEDED"), supervisor("READY", NEW, None)), Phase::Succeeded);
    assert!(matches!(phase_of(json!("FAILED"), supervisor("ERROR", OLD, None)), Phase::Failed(_)));
    for odd in [json!("BRAND_NEW"), json!(17), json!(null), json!({})] {
        assert_eq!(phase_of(odd.clone(), busy()), Phase::Unclear, "{odd}");
    }
}

#[test]
fn a_tasks_success_needs_the_version() {
    let task = json!({"status": "SUCCEEDED"});
    let mut notes = notes();
    let late = |notes: &mut Notes, second, current| {
        seen(task.clone(), supervisor("READY", current, None), None, second, notes).phase
    };
    assert_eq!(late(&mut notes, 0, OLD), Phase::Unclear);
    assert_eq!(late(&mut notes.clone(), 10, NEW), Phase::Succeeded);
    let Phase::Failed(failure) = late(&mut notes, 300, OLD) else { panic!("no version, no success") };
    assert!(failure.message.contains(OLD) && failure.message.contains(NEW));
    let busy = seen(task.clone(), supervisor("INPROGRESS", OLD, Some(NEW)), None, 0, &mut notes);
    assert_eq!(busy.phase, Phase::Running);
    // Nobody lists the Supervisor: the task's word stands, with a remark.
    let mut notes = Notes { odd_since: Some(terms(0).now), ..self::notes() };
    let alone = seen(task, Value::Null, None, 300, &mut notes);
    assert_eq!(
        (alone.phase, alone.findings[0].id.as_str()),
        (Phase::Succeeded, "vsphere.version_unconfirmed")
    );
}

#[test]
fn a_cancelled_task_ends_failed_and_is_told_by_its_error() {
    let failed = |error: Value| {
        let task = json!({"status": "FAILED", "error": error});
        seen(task, supervisor("READY", OLD, None), None, 0, &mut notes()).phase
    };
    assert_eq!(failed(json!({"error_type": "CANCELED", "messages": []})), Phase::Cancelled);
    assert_eq!(failed(json!({"messages": [{"id": "cis.task.cancelled"}]})), Phase::Cancelled);
    assert!(matches!(failed(json!({"error_type": "ERROR", "messages": []})), Phase::Failed(_)));
    assert!(matches!(failed(json!(null)), Phase::Failed(_)));
}

#[test]
fn a_failed_body_of_real_life_is_understood() {
    // As seen on vCenter 8.0.3: cancelable after the end, progress left at 40, undocumented members.
    let task = json!({"status": "FAILED", "cancelable": true, "operation": "apply$task", "parent": "",
        "progress": {"total": 100, "completed": 40}, "last_update_time": "x", "notifications": {},
        "error": {"@class": "com.vmware.vapi.std.errors.error", "error_type": "ERROR", "messages": [
            {"id": "a", "default_message": "Apply failed."}, {"id": "b", "default_message": "Host down."}]}});
    let seen = seen(task, supervisor("ERROR", OLD, None), None, 0, &mut notes());
    let Phase::Failed(failure) = seen.phase else { panic!("not failed") };
    assert_eq!(failure.message, "Apply failed.: Host down.");
    assert_eq!(failure.vendor_code.as_deref(), Some("ERROR"));
    assert!(!seen.answer.unwrap().contains("notifications"));
}

fn stopped(condition: Value, ignored: bool, completed: i64) -> Phase {
    let info = json!({"state": "ERROR", "current_version": OLD, "messages": [], "upgrade_prechecks": [condition],
        "upgrade_status": {"desired_version": NEW, "messages": [], "progress": {"total": 3, "completed": completed}}});
    let mut notes = Notes { ignored_warnings: ignored, ..notes() };
    seen(json!({"status": "FAILED"}), supervisor("ERROR", OLD, None), Some(info), 0, &mut notes).phase
}

#[test]
fn what_prechecks_stopped_is_rejected_and_what_began_has_failed() {
    let error = json!({"type": "Cert", "status": "FALSE", "severity": "ERROR"});
    let warning = json!({"type": "Tkc", "status": "FALSE", "severity": "WARNING"});
    let fine = json!({"type": "Disk", "status": "TRUE", "severity": "ERROR"});
    assert!(matches!(stopped(error.clone(), true, 0), Phase::Rejected(_)));
    assert!(matches!(stopped(warning.clone(), false, 0), Phase::Rejected(_)));
    assert!(matches!(stopped(warning, true, 0), Phase::Failed(_)), "ignored warnings stop nothing");
    assert!(matches!(stopped(fine, false, 0), Phase::Failed(_)));
    assert!(matches!(stopped(error, false, 1), Phase::Failed(_)), "something was changed already");
}

#[test]
fn a_task_that_is_gone_leaves_the_word_to_the_supervisor() {
    let gone = |summary| seen(Value::Null, summary, None, 0, &mut Notes { running_seen: true, ..notes() });
    let running = gone(supervisor("INPROGRESS", OLD, Some(NEW)));
    assert_eq!((running.phase, running.provenance), (Phase::Running, Provenance::Inferred));
    assert!(!running.cancelable.unwrap().possible);
    assert_eq!(gone(supervisor("READY", NEW, None)).phase, Phase::Succeeded);
    assert!(matches!(gone(supervisor("ERROR", OLD, None)).phase, Phase::Failed(_)));
    assert_eq!(gone(json!({})).phase, Phase::Unclear);
}

#[test]
fn the_two_readings_of_a_supervisors_progress_never_invent() {
    let percent = |total: i64, completed: i64| {
        let progress = wire::Progress { total: Some(total), completed: Some(completed), message: None };
        of_either_reading(&progress).map(|p| p.percent.round())
    };
    assert_eq!(percent(3, 33), Some(33.0), "more than the nodes: a percentage");
    assert_eq!(percent(3, 0), Some(0.0), "nothing, either way");
    assert_eq!(percent(100, 40), Some(40.0), "both readings agree");
    assert_eq!(percent(3, 1), None, "1 % or 1 of 3");
    assert_eq!(percent(3, 3), None, "3 % or all");
    assert_eq!(percent(3, 400), None);
    assert_eq!(percent(0, 0), None);
    assert_eq!(percent(3, -1), None);
    assert_eq!(of_either_reading(&wire::Progress::default()), None);
}

#[test]
fn a_clusters_progress_counts_nodes_and_nonsense_is_none() {
    let nodes = |total: Value, completed: Value| {
        let progress: wire::Progress = read(&json!({"total": total, "completed": completed})).unwrap();
        of_nodes(&progress)
    };
    let half = nodes(json!(4), json!(2)).unwrap();
    assert_eq!((half.completed, half.total), (Some(2), Some(4)));
    assert!((half.percent - 50.0).abs() < f64::EPSILON);
    for (total, completed) in
        [(json!(0), json!(0)), (json!(3), json!(4)), (json!(3), json!(-1)), (json!(null), json!(1))]
    {
        assert_eq!(nodes(total, completed), None);
    }
}

#[test]
fn an_answer_stays_within_its_bound() {
    let many: Vec<String> = (0..5000).map(|n| format!("v1.{n}")).collect();
    let summary: Summary =
        read(&json!({"cluster": "domain-c9", "state": "PENDING", "available_versions": many})).unwrap();
    let text = answer(Sight { summary: Some(&summary), ..Sight::default() }).unwrap();
    assert_eq!(text, r#"{"cluster":"domain-c9","state":"PENDING"}"#);
    assert_eq!(answer(Sight::default()), None);
}

#[test]
fn a_held_or_odd_target_says_for_what_the_job_waits() {
    let blocked =
        seen(json!({"status": "BLOCKED"}), supervisor("INPROGRESS", OLD, Some(NEW)), None, 0, &mut notes());
    assert!(blocked.waiting.is_some());
    let error = seen(json!({"status": "RUNNING"}), supervisor("ERROR", OLD, None), None, 0, &mut notes());
    assert_eq!(error.phase, Phase::Running, "the task has the word");
    assert!(error.waiting.is_some());
    let mut odd = Notes { task: None, ..notes() };
    let at = |second, notes: &mut Notes| {
        seen(Value::Null, supervisor("READY", OLD, None), None, second, notes).waiting
    };
    assert_eq!(at(0, &mut odd), None, "stale words are usual right after a start");
    let (_, text, until) = at(60, &mut odd).unwrap();
    assert!(text.contains("READY"));
    assert_eq!(until, Some(terms(300).now));
}
