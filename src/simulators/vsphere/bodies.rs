//! The stand-in vCenter's JSON, written from its documents.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::NEXT_VERSION;
use super::world::{ENDED, End, Kind, NODES, Outcome, Place, Refusal, Task, World};

/// The service that keeps Supervisors' upgrade tasks.
pub(super) const SERVICE: &str = "com.vmware.vcenter.namespace_management.software.supervisors.upgrades.jobs";

pub(super) fn localizable(id: &str, words: &str) -> Value {
    json!({"id": id, "default_message": words, "args": []})
}

/// An error body.
pub(super) fn error((word, id, words): &Refusal) -> Value {
    json!({"error_type": word, "messages": [localizable(id, words)]})
}

/// An error answer.
pub(super) fn refuse(status: u16, refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(error(refusal))).into_response()
}

/// The state word of a target, in its service's words, and the version it is on its way to.
fn state(kind: Kind, place: &Place) -> (&'static str, Option<&str>) {
    if place.shown_from.is_some_and(|from| Instant::now() < from) {
        return ("READY", None);
    }
    match &place.run {
        Some(run) => match run.end {
            None => {
                let busy = match kind {
                    Kind::Cluster => "PENDING",
                    Kind::Supervisor => "INPROGRESS",
                };
                (busy, Some(&run.desired))
            }
            Some(End::Error) => ("ERROR", Some(&run.desired)),
            Some(End::Reached | End::Reverted | End::Diverted | End::Stopped | End::Cancelled) => {
                ("READY", None)
            }
        },
        None => ("READY", None),
    }
}

fn available(place: &Place) -> Vec<&'static str> {
    if place.version == NEXT_VERSION { vec![] } else { vec![NEXT_VERSION] }
}

/// A target in its list.
pub(super) fn summary(kind: Kind, id: &str, place: &Place) -> Value {
    let (state, desired) = state(kind, place);
    let mut entry = json!({
        "current_version": place.version, "available_versions": available(place), "state": state,
    });
    if let Value::Object(entry) = &mut entry {
        match kind {
            Kind::Cluster => {
                entry.insert("cluster".into(), id.into());
                entry.insert("cluster_name".into(), format!("edge-{id}").into());
            }
            Kind::Supervisor => {
                entry.insert("supervisor".into(), id.into());
            }
        }
        optional(entry, desired, place);
    }
    entry
}

fn optional(entry: &mut Map<String, Value>, desired: Option<&str>, place: &Place) {
    if let Some(desired) = desired {
        entry.insert("desired_version".into(), desired.into());
    }
    if place.upgraded {
        entry.insert("last_upgraded_date".into(), ENDED.into());
    }
}

/// A target by itself.
pub(super) fn info(world: &World, kind: Kind, place: &Place) -> Value {
    let (state, desired) = state(kind, place);
    let mut messages = Vec::new();
    if place.run.as_ref().is_some_and(|run| run.end == Some(End::Error)) {
        let words = "Node 2 did not become ready.";
        messages.push(json!({"severity": "ERROR", "details": localizable("sim.node.failed", words)}));
    }
    let mut body = json!({
        "current_version": place.version, "available_versions": available(place), "messages": messages,
        "state": state,
    });
    let Value::Object(members) = &mut body else {
        return body;
    };
    if place.upgraded {
        members.insert("last_upgraded_date".into(), ENDED.into());
    }
    if let (Some(desired), Some(run)) = (desired, &place.run) {
        let fraction = world.fraction(run);
        let completed = match kind {
            Kind::Cluster => share(fraction, NODES),
            // The documents call this one a percentage, beside a total in nodes.
            Kind::Supervisor => share(fraction, 100),
        };
        let low = json!({"severity": "WARNING", "details": localizable("sim.disk.low", "Low disk.")});
        members.insert(
            "upgrade_status".into(),
            json!({
                "desired_version": desired,
                "messages": [low],
                "progress": {
                    "total": NODES, "completed": completed, "message": localizable("sim.progress", "Upgrading"),
                },
            }),
        );
    }
    if let Some(run) = &place.run {
        members.insert("upgrade_prechecks".into(), conditions(run.outcome).into());
    }
    body
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers, cut on purpose"
)]
fn share(fraction: f64, of: i64) -> i64 {
    (fraction * of as f64) as i64
}

/// What the pre-checks of a target find.
pub(super) fn conditions(outcome: Outcome) -> Vec<Value> {
    let condition = |kind: &str, met: bool, severity: &str, words: &str| {
        json!({
            "type": kind, "status": if met { "TRUE" } else { "FALSE" }, "severity": severity, "reason": "Checked",
            "description": localizable("sim.precheck", words), "messages": [], "last_transition_time": ENDED,
        })
    };
    let fine = condition("HostsReady", true, "ERROR", "All hosts are ready.");
    match outcome {
        Outcome::Warn => {
            vec![fine, condition("GuestClustersCompatible", false, "WARNING", "A guest cluster is too old.")]
        }
        Outcome::Block => vec![fine, condition("StorageReady", false, "ERROR", "The datastore is full.")],
        Outcome::Succeed
        | Outcome::Fail
        | Outcome::Revert
        | Outcome::Divert
        | Outcome::Reject
        | Outcome::Forbid
        | Outcome::Hang => vec![fine],
    }
}

/// The result of a Supervisor's pre-checks.
pub(super) fn prechecks(version: &str, done: bool, outcome: Outcome) -> Value {
    if !done {
        return json!({"precheck_results": [{"target_version": version, "conditions": [], "status": "RUNNING"}]});
    }
    let status = match outcome {
        Outcome::Warn => "WARNING",
        Outcome::Block => "ERROR",
        Outcome::Succeed
        | Outcome::Fail
        | Outcome::Revert
        | Outcome::Divert
        | Outcome::Reject
        | Outcome::Forbid
        | Outcome::Hang => "SUCCEEDED",
    };
    let result = json!({"target_version": version, "conditions": conditions(outcome), "status": status});
    json!({"precheck_results": [result]})
}

/// A task, lenient as real ones are: it stays cancelable and part-way after its end, and has undocumented members.
pub(super) fn task(world: &World, task: &Task) -> Value {
    let run = &task.run;
    let fraction = world.fraction(run);
    let status = match run.end {
        None if run.outcome == Outcome::Hang && fraction >= 0.5 => "BLOCKED",
        None if fraction < 0.01 => "PENDING",
        None => "RUNNING",
        Some(End::Reached) => "SUCCEEDED",
        // The task did what it did; only the version tells the rest.
        Some(End::Reverted | End::Diverted) => "SUCCEEDED",
        Some(End::Error | End::Stopped | End::Cancelled) => "FAILED",
    };
    let mut body = json!({
        "description": localizable("sim.upgrade", "Upgrade Supervisor"), "service": SERVICE,
        "operation": "create$task", "status": status, "cancelable": true, "parent": "",
        "target": {"type": "com.vmware.vcenter.namespace_management.supervisor.Supervisor", "id": task.supervisor},
        "user": super::USERNAME, "notifications": {}, "last_update_time": ENDED,
    });
    let Value::Object(members) = &mut body else {
        return body;
    };
    if status != "PENDING" {
        members.insert("start_time".into(), "2026-02-03T04:05:06.000Z".into());
        let progress = json!({
            "total": 100, "completed": share(fraction, 100), "message": localizable("sim.progress", "Upgrading"),
        });
        members.insert("progress".into(), progress);
    }
    if run.end.is_some() {
        members.insert("end_time".into(), ENDED.into());
    }
    let why = match run.end {
        Some(End::Error) => Some(("ERROR", "sim.node.failed", "Node 2 did not become ready.".to_owned())),
        Some(End::Stopped) => Some(("UNSUPPORTED", "sim.precheck.failed", "Pre-checks failed.".to_owned())),
        Some(End::Cancelled) => Some(("CANCELED", "sim.canceled", "The task was canceled.".to_owned())),
        Some(End::Reached | End::Reverted | End::Diverted) | None => None,
    };
    if let Some(why) = why {
        members.insert("error".into(), error(&why));
    }
    body
}
