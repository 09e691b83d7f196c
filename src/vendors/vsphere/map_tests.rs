//! Observations from golden bodies.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::map::{Scene, observe, started};
use super::notes::{Baseline, Notes};
use super::state::Moment;
use super::wire::{Info, Summary, Task, UpgradeResults};
use crate::domain::failure::FailureReason;
use crate::domain::finding::Severity;
use crate::domain::target::TargetKind;
use crate::vendors::contract::{Observation, Phase, Submitted};

const TASK: &str = "52c1f0aa:svc-a";

fn notes() -> Notes {
    let baseline =
        Baseline { version: Some("v1".into()), state: Some("READY".into()), ..Baseline::default() };
    Notes { baseline: Some(baseline), task: Some(TASK.into()), ..Notes::default() }
}

/// A look this many seconds after a start that settles within 60.
fn seen(kind: TargetKind, notes: &Notes, bodies: [&str; 3], seconds: i64) -> Observation {
    let submitted: Timestamp = "2026-11-29T01:00:00Z".parse().unwrap();
    let now = submitted.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let entry: Option<Summary> = serde_json::from_str(bodies[0]).unwrap();
    let task: Option<Task> = serde_json::from_str(bodies[1]).unwrap();
    let detail: Option<Info> = serde_json::from_str(bodies[2]).unwrap();
    observe(
        kind,
        &Scene {
            wanted: "v2",
            ignores_warnings: false,
            notes,
            moment: Moment { now, submitted: Some(submitted), settle: Duration::from_secs(60) },
            entry: entry.as_ref(),
            task: task.as_ref(),
            detail: detail.as_ref(),
        },
    )
}

fn task(entry: &str, task: &str) -> Observation {
    seen(TargetKind::Supervisor, &notes(), [entry, task, "null"], 600)
}

const READY_OLD: &str = r#"{"supervisor":"s","state":"READY","current_version":"v1"}"#;
const READY_NEW: &str = r#"{"supervisor":"s","state":"READY","current_version":"v2"}"#;

#[test]
fn every_task_word_has_its_phase() {
    assert_eq!(task(READY_OLD, r#"{"status":"PENDING"}"#).phase, Phase::Scheduled);
    assert_eq!(task(READY_OLD, r#"{"status":"RUNNING"}"#).phase, Phase::Running);
    assert_eq!(task(READY_OLD, r#"{"status":"BLOCKED"}"#).phase, Phase::Suspended);
    assert_eq!(task(READY_NEW, r#"{"status":"SUCCEEDED"}"#).phase, Phase::Succeeded);
    let canceled = r#"{"status":"FAILED","error":{"error_type":"CANCELED","messages":[]}}"#;
    assert_eq!(task(READY_OLD, canceled).phase, Phase::Cancelled);
    let class =
        r#"{"status":"FAILED","error":{"@class":"com.vmware.vapi.std.errors.canceled","messages":[]}}"#;
    assert_eq!(task(READY_OLD, class).phase, Phase::Cancelled);
    // A word that nobody has seen before: the list still tells.
    let new = task(READY_NEW, r#"{"status":"BRAND_NEW"}"#);
    assert_eq!((new.phase, new.vendor_state.as_deref()), (Phase::Succeeded, Some("BRAND_NEW")));
    assert_eq!(task("null", r#"{"status":17}"#).phase, Phase::Unclear);
    // Without a reason the failure still says something.
    let Phase::Failed(failure) = task(READY_OLD, r#"{"status":"FAILED"}"#).phase else { panic!() };
    assert_eq!(failure.message, "vCenter's task FAILED: vCenter told no reason");
}

#[test]
fn a_task_that_succeeded_waits_for_the_version_and_no_longer() {
    let done = r#"{"status":"SUCCEEDED"}"#;
    let first = task(READY_OLD, done);
    assert_eq!(first.phase, Phase::Running);
    let kept = Notes::read(first.handle.as_ref());
    assert!(kept.done_since.is_some());
    let later = |entry| seen(TargetKind::Supervisor, &kept, [entry, done, "null"], 661).phase;
    assert!(matches!(later(READY_OLD), Phase::Failed(_)));
    assert_eq!(later(READY_NEW), Phase::Succeeded);
    assert_eq!(later("null"), Phase::Running);
}

#[test]
fn a_failure_before_the_beginning_is_a_rejection() {
    let failed = r#"{"status":"FAILED","error":{"error_type":"UNSUPPORTED","messages":[{"id":"x"}]}}"#;
    let with = |severity: &str, status: &str, version: &str| {
        let detail = format!(
            r#"{{"state":"READY","current_version":"{version}","upgrade_prechecks":[
                {{"type":"A","status":"{status}","severity":"{severity}"}}]}}"#
        );
        seen(TargetKind::Supervisor, &notes(), [READY_OLD, failed, &detail], 600).phase
    };
    let Phase::Rejected(failure) = with("ERROR", "FALSE", "v1") else { panic!() };
    assert_eq!(
        (failure.reason, failure.vendor_code.as_deref()),
        (FailureReason::PrecheckFailed, Some("UNSUPPORTED"))
    );
    assert!(matches!(with("WARNING", "FALSE", "v1"), Phase::Rejected(_)));
    assert!(matches!(with("INFO", "FALSE", "v1"), Phase::Failed(_)));
    assert!(matches!(with("ERROR", "TRUE", "v1"), Phase::Failed(_)));
    assert!(matches!(with("ERROR", "FALSE", "v1.5"), Phase::Failed(_)));
}

#[test]
fn a_percentage_only_when_it_cannot_mean_two_things() {
    let busy = r#"{"state":"PENDING","current_version":"v1","desired_version":"v2"}"#;
    let of = |kind, total: i64, completed: i64| {
        let detail =
            format!(r#"{{"upgrade_status":{{"progress":{{"total":{total},"completed":{completed}}}}}}}"#);
        seen(kind, &notes(), [busy, "null", &detail], 600).progress.map(|p| (p.percent, p.total))
    };
    assert_eq!(of(TargetKind::Cluster, 4, 1), Some((25.0, Some(4))));
    for (total, completed) in [(0, 0), (3, 4), (-1, 1), (3, -1)] {
        assert_eq!(of(TargetKind::Cluster, total, completed), None, "{completed} of {total}");
    }
    assert_eq!(of(TargetKind::Supervisor, 3, 33), Some((33.0, None)));
    assert_eq!(of(TargetKind::Supervisor, 100, 40), Some((40.0, Some(100))));
    assert_eq!(of(TargetKind::Supervisor, 3, 0), Some((0.0, Some(3))));
    // One of three nodes, or one per cent?
    assert_eq!(of(TargetKind::Supervisor, 3, 1), None);
    assert_eq!(of(TargetKind::Supervisor, 3, 101), None);
    let share = task(READY_OLD, r#"{"status":"RUNNING","progress":{"total":100,"completed":40}}"#);
    assert_eq!(share.progress.unwrap().percent, 40.0);
}

#[test]
fn the_answer_holds_what_was_said_and_its_size_is_bounded() {
    let busy = r#"{"cluster":"domain-c9","cluster_name":"edge-a","state":"PENDING","current_version":"v1",
        "available_versions":["v2"],"desired_version":"v2","last_upgraded_date":"2026-02-03T04:05:06.000Z"}"#;
    let detail = r#"{"state":"PENDING","messages":[],"upgrade_status":{"desired_version":"v2","components":[{"type":"C"}],
        "messages":[{"severity":"WARNING","details":{"id":"w","default_message":"Low disk.","args":["a"]}}]}}"#;
    let found = seen(TargetKind::Cluster, &notes(), [busy, "null", detail], 600);
    let answer: Value = serde_json::from_str(&found.answer.unwrap()).unwrap();
    assert_eq!(answer["summary"]["cluster_name"], "edge-a");
    assert_eq!(answer["info"]["upgrade_status"]["components"][0]["type"], "C");
    assert_eq!(
        (found.findings[0].id.as_str(), found.findings[0].severity),
        ("vsphere.message.w", Severity::Warning)
    );

    let long = "x".repeat(1000);
    let many = format!(
        r#"{{"messages":[{}]}}"#,
        vec![format!(r#"{{"severity":"INFO","details":{{"id":"{long}"}}}}"#); 60].join(",")
    );
    let found = seen(TargetKind::Cluster, &notes(), [busy, "null", &many], 600);
    let answer: Value = serde_json::from_str(&found.answer.unwrap()).unwrap();
    assert_eq!((answer["summary"]["cluster"].as_str(), answer.get("info")), (Some("domain-c9"), None));
}

#[test]
fn each_cluster_of_a_batch_has_its_own_result() {
    let body = r#"{"a":{"res":"STARTED","exception":null},"c":{"res":"NEW"},"d":{},
        "b":{"res":"REJECTED","exception":{"@class":"com.vmware.vapi.std.errors.unsupported",
            "messages":[{"id":"m","default_message":"Pre-check failed on b."},{"id":"n","default_message":"Disk."}]}}}"#;
    let all: UpgradeResults = serde_json::from_str(body).unwrap();
    let of = |id: &str| started(id, all.get(id), &notes());
    assert!(matches!(of("a"), Submitted::Started(_)));
    let Submitted::Refused(failure, findings) = of("b") else { panic!() };
    assert_eq!(
        failure.message,
        "vCenter REJECTED the upgrade of `b`: Pre-check failed on b.; caused by: Disk."
    );
    assert_eq!((failure.vendor_code.as_deref(), findings.len()), (Some("UNSUPPORTED"), 2));
    for unclear in ["c", "d", "missing"] {
        assert!(matches!(of(unclear), Submitted::Failed(_)), "{unclear}");
    }
}
