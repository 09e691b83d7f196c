//! `software/clusters`: whole batches of clusters, without tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::{error, good, moment, nothing, refuse, text, text_about};
use super::script::Outcome;
use super::upgrade::{End, Stage};
use super::world::{Kind, Place, View, World, id_of};
use super::{LATER_VERSION, NEXT_VERSION};
use crate::simulators::effects::EffectKind;

type Shared = State<Arc<World>>;

/// How many control plane nodes a cluster has.
pub(super) const NODES: f64 = 3.0;

/// What is said of a cluster that is not there.
const MISSING: (&str, &str) =
    ("vcenter.wcp.cluster.notfound", "The cluster does not exist or has no Supervisor.");

#[derive(Deserialize)]
pub(super) struct Spec {
    pub(super) desired_version: String,
    #[serde(default)]
    pub(super) ignore_precheck_warnings: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Action {
    #[serde(default)]
    pub(super) action: Option<String>,
}

/// `GET software/clusters`
pub(super) async fn list(State(world): Shared) -> Response {
    let clusters: Vec<Value> = world.places(Kind::Cluster).into_iter().map(|p| entry(&world, p)).collect();
    good(&Value::from(clusters))
}

fn entry(world: &World, place: Place) -> Value {
    let mut entry = summary(&world.look(place), "PENDING");
    entry["cluster"] = Value::from(id_of(place));
    entry["cluster_name"] = Value::from(format!("edge-{}", place.1));
    entry
}

/// What lists say about a target. `busy` is the kind's word for an upgrade under way.
pub(super) fn summary(view: &View, busy: &str) -> Value {
    let mut entry = json!({
        "current_version": view.target.version,
        "available_versions": view.available(),
    });
    if let Some(at) = view.target.upgraded {
        entry["last_upgraded_date"] = Value::from(moment(at));
    }
    let state = match view.running() {
        Some(upgrade) => {
            entry["desired_version"] = Value::from(upgrade.to.clone());
            busy
        }
        None if view.target.in_error => "ERROR",
        None => "READY",
    };
    entry["state"] = Value::from(state);
    entry
}

/// `GET software/clusters/{cluster}`
pub(super) async fn get(State(world): Shared, Path(id): Path<String>) -> Response {
    let Some(place) = world.find(Kind::Cluster, &id) else { return not_found() };
    let view = world.look(place);
    let mut info = details(&view, "PENDING");
    if let (Some(progress), Some(Stage::Working(done))) = (progress(&view), view.stage) {
        // Clusters count nodes.
        let completed = nodes(done);
        info["upgrade_status"]["progress"] = json!({
            "total": 3, "completed": completed, "message": progress
        });
    }
    good(&info)
}

fn progress(view: &View) -> Option<Value> {
    view.running().map(|u| text("vcenter.wcp.upgrade.progress", &format!("Upgrading to {}", u.to)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 3")]
pub(super) fn nodes(done: f64) -> u64 {
    (done.clamp(0.0, 1.0) * NODES) as u64
}

/// What is said about one target, without the id.
pub(super) fn details(view: &View, busy: &str) -> Value {
    let mut info = summary(view, busy);
    if let Some(map) = info.as_object_mut() {
        map.remove("desired_version");
    }
    info["messages"] = json!([]);
    let Some(upgrade) = view.upgrade.as_ref().filter(|_| !view.hidden) else { return info };
    let mut messages = Vec::new();
    match view.stage {
        Some(Stage::Ended(End::Failed)) => {
            messages.push(json!({"severity": "ERROR", "details":
                text_about("vcenter.wcp.upgrade.node.failed", "Control plane node cp-2 could not be replaced.", "cp-2")}));
        }
        Some(Stage::Ended(End::PrecheckFailed)) => {
            messages.push(json!({"severity": "ERROR", "details":
                text("vcenter.wcp.upgrade.precheck.failed", "The upgrade stopped at its prechecks.")}));
        }
        Some(Stage::Prechecks | Stage::Working(_) | Stage::Blocked) => {
            messages.push(json!({"severity": "INFO", "details":
                text("vcenter.wcp.upgrade.running", "The upgrade is under way.")}));
        }
        Some(Stage::Ended(End::Succeeded | End::Cancelled | End::GaveUp | End::Overtaken)) | None => {}
    }
    let ended_well = matches!(
        view.stage,
        Some(Stage::Ended(End::Succeeded | End::Cancelled | End::GaveUp | End::Overtaken))
    );
    if !ended_well {
        info["upgrade_status"] = json!({"desired_version": upgrade.to, "messages": messages});
        info["upgrade_prechecks"] = Value::from(conditions(upgrade.outcome, true));
    }
    info
}

/// What prechecks find: beforehand, or once the upgrade was accepted.
pub(super) fn conditions(outcome: Outcome, accepted: bool) -> Vec<Value> {
    let fine = json!({"type": "Storage", "status": "TRUE", "severity": "ERROR", "reason": "Enough",
        "description": text("vcenter.wcp.precheck.storage", "Enough storage"), "messages": []});
    let bad = |kind: &str, severity: &str, reason: &str, words: &str| {
        json!({"type": kind, "status": "FALSE", "severity": severity, "reason": reason,
            "description": text("vcenter.wcp.precheck", kind),
            "messages": [{"severity": severity, "details": text("vcenter.wcp.precheck.message", words)}]})
    };
    let incompatible =
        || bad("TkcCompatibility", "WARNING", "Incompatible", "Workload cluster tkc-1 is too old.");
    let expired = || bad("Certificates", "ERROR", "Expired", "A certificate of cp-1 has expired.");
    match outcome {
        Outcome::PrecheckError => vec![fine, expired()],
        Outcome::LatePrecheckError if accepted => vec![fine, expired()],
        Outcome::PrecheckWarning => vec![fine, incompatible()],
        Outcome::LatePrecheckError
        | Outcome::Succeed
        | Outcome::Fail
        | Outcome::FailInResult
        | Outcome::Refuse
        | Outcome::Block
        | Outcome::GiveUp
        | Outcome::Overtake
        | Outcome::LoseTask
        | Outcome::Uncancelable => vec![fine],
    }
}

/// `POST software/clusters?action=upgradeMultiple`
pub(super) async fn upgrade_multiple(
    State(world): Shared,
    Query(Action { action }): Query<Action>,
    body: Bytes,
) -> Response {
    if action.as_deref() != Some("upgradeMultiple") {
        return super::json::no_such_path();
    }
    let Ok(specs) = serde_json::from_slice::<BTreeMap<String, Spec>>(&body) else {
        return refuse(500, "ERROR", &[("com.vmware.vapi.rest.body", "The body cannot be read.")]);
    };
    let forbidden = |id: &String| world.find(Kind::Cluster, id).is_some_and(|p| world.is_forbidden(p));
    if specs.keys().any(forbidden) {
        return unauthorized();
    }
    let broken = specs.len() > 1 && world.switches.broken_batches.load(Ordering::Relaxed);
    let mut results = serde_json::Map::new();
    for (id, spec) in &specs {
        results.insert(id.clone(), start(&world, id, spec));
        if broken {
            return refuse(400, "INVALID_ARGUMENT", &[("sim.batch", "One of the clusters is not right.")]);
        }
    }
    good(&Value::Object(results))
}

fn start(world: &World, id: &str, spec: &Spec) -> Value {
    match try_start(world, id, spec) {
        Ok(()) => json!({"res": "STARTED"}),
        Err(exception) => {
            world.effects.record(EffectKind::Refuse, id, spec.desired_version.clone());
            json!({"res": "REJECTED", "exception": exception})
        }
    }
}

fn try_start(world: &World, id: &str, spec: &Spec) -> Result<(), Value> {
    let place = world.find(Kind::Cluster, id).ok_or_else(|| error("NOT_FOUND", &[MISSING]))?;
    let view = world.look(place);
    if let Some(fault) = obstacle(&view, &spec.desired_version) {
        return Err(fault);
    }
    let ignores = spec.ignore_precheck_warnings == Some(true);
    let stopped = match world.outcome(place) {
        Outcome::Refuse | Outcome::PrecheckError => true,
        Outcome::PrecheckWarning => !ignores,
        Outcome::Succeed
        | Outcome::Fail
        | Outcome::FailInResult
        | Outcome::LatePrecheckError
        | Outcome::Block
        | Outcome::GiveUp
        | Outcome::Overtake
        | Outcome::LoseTask
        | Outcome::Uncancelable => false,
    };
    if stopped {
        return Err(error(
            "UNSUPPORTED",
            &[
                ("vcenter.wcp.upgrade.precheck.failed", "The pre-check of the cluster failed."),
                ("vcenter.wcp.precheck.certificates", "A certificate of cp-1 has expired."),
            ],
        ));
    }
    world.begin(place, &spec.desired_version, ignores);
    Ok(())
}

/// What keeps any target from an upgrade.
pub(super) fn obstacle(view: &View, version: &str) -> Option<Value> {
    // An upgrade that does not show yet is there all the same.
    let busy = matches!(view.stage, Some(Stage::Prechecks | Stage::Working(_) | Stage::Blocked));
    if busy {
        return Some(error(
            "NOT_ALLOWED_IN_CURRENT_STATE",
            &[("vcenter.wcp.upgrade.running", "An upgrade is already under way.")],
        ));
    }
    if !view.available().contains(&version) {
        return Some(error(
            "INVALID_ARGUMENT",
            &[("vcenter.wcp.upgrade.version", "The desired version is not available.")],
        ));
    }
    None
}

/// `POST software/clusters/{cluster}?action=upgrade`
pub(super) async fn upgrade(
    State(world): Shared,
    Path(id): Path<String>,
    Query(Action { action }): Query<Action>,
    body: Bytes,
) -> Response {
    if action.as_deref() != Some("upgrade") {
        return super::json::no_such_path();
    }
    let Some(place) = world.find(Kind::Cluster, &id) else { return not_found() };
    if world.is_forbidden(place) {
        return unauthorized();
    }
    let Ok(spec) = serde_json::from_slice::<Spec>(&body) else {
        return refuse(400, "INVALID_REQUEST", &[("com.vmware.vapi.rest.body", "The body cannot be read.")]);
    };
    match try_start(&world, &id, &spec) {
        Ok(()) => nothing(),
        Err(exception) => super::json::answer(axum::http::StatusCode::BAD_REQUEST, &exception),
    }
}

/// `GET software/cluster-available-versions`
pub(super) async fn versions() -> Response {
    let notes = |version: &str, name: &str| {
        json!({"version": version, "name": name, "description": format!("Kubernetes {name}"),
            "release_date": "2026-01-15T00:00:00.000Z", "release_notes": "https://example.test/notes"})
    };
    good(&json!([notes(NEXT_VERSION, "1.29"), notes(LATER_VERSION, "1.30")]))
}

fn not_found() -> Response {
    refuse(404, "NOT_FOUND", &[MISSING])
}

pub(super) fn unauthorized() -> Response {
    refuse(
        403,
        "UNAUTHORIZED",
        &[("vapi.security.authorization.permission.denied", "The user lacks Namespaces.Upgrade.")],
    )
}
