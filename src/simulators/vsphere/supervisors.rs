//! `software/supervisors`: one upgrade each, with a task; prechecks and versions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::clusters::{Action, Spec, conditions, details, obstacle, summary, unauthorized};
use super::json::{answer, good, no_such_path, nothing, refuse, text};
use super::script::{Fit, Outcome};
use super::upgrade::{PRECHECKS, Stage};
use super::world::{Kind, Place, World, id_of};
use super::{FIRST_VERSION, LATER_VERSION, NEXT_VERSION, task_id};
use crate::kit::clock::since;
use crate::simulators::effects::EffectKind;

type Shared = State<Arc<World>>;

fn lacks_upgrades(world: &World) -> bool {
    world.switches.no_upgrades.load(Ordering::Relaxed)
}

/// `GET upgrades[?supervisors=..&supervisors=..]`
pub(super) async fn list(State(world): Shared, RawQuery(query): RawQuery) -> Response {
    if lacks_upgrades(&world) {
        return no_such_path();
    }
    let query = query.unwrap_or_default();
    let wanted: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "supervisors")
        .map(|(_, id)| id.into_owned())
        .collect();
    let places: Vec<Place> = if wanted.is_empty() {
        world.places(Kind::Supervisor)
    } else {
        wanted.iter().filter_map(|id| world.find(Kind::Supervisor, id)).collect()
    };
    let entries: Vec<Value> = places
        .into_iter()
        .map(|place| {
            let mut entry = summary(&world.look(place), "INPROGRESS");
            entry["supervisor"] = Value::from(id_of(place));
            entry
        })
        .collect();
    good(&json!({"supervisors": entries}))
}

/// `GET upgrades/{supervisor}`
pub(super) async fn get(State(world): Shared, Path(id): Path<String>) -> Response {
    if lacks_upgrades(&world) {
        return no_such_path();
    }
    let Some(place) = world.find(Kind::Supervisor, &id) else { return not_found() };
    let view = world.look(place);
    let mut info = details(&view, "INPROGRESS");
    if let (Some(Stage::Working(done)), Some(status)) = (view.stage, info.get_mut("upgrade_status")) {
        // `total` counts nodes, and `completed` is a percentage: so say the documents.
        status["progress"] = json!({
            "total": 3, "completed": percent(done), "message": text("vcenter.wcp.upgrade.progress", "Upgrading")
        });
    }
    good(&info)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
pub(super) fn percent(done: f64) -> u64 {
    (done.clamp(0.0, 1.0) * 100.0) as u64
}

/// `POST upgrades/jobs/{supervisor}`
pub(super) async fn create(State(world): Shared, Path(id): Path<String>, body: Bytes) -> Response {
    if lacks_upgrades(&world) {
        return no_such_path();
    }
    let Ok(spec) = serde_json::from_slice::<Spec>(&body) else {
        return refuse(400, "INVALID_ARGUMENT", &[("com.vmware.vapi.rest.body", "The body cannot be read.")]);
    };
    let Some(place) = world.find(Kind::Supervisor, &id) else { return not_found() };
    if world.is_forbidden(place) {
        return unauthorized();
    }
    if let Some(fault) = obstacle(&world.look(place), &spec.desired_version) {
        world.effects.record(EffectKind::Refuse, id, spec.desired_version);
        return answer(StatusCode::BAD_REQUEST, &fault);
    }
    if world.outcome(place) == Outcome::Refuse {
        world.effects.record(EffectKind::Refuse, id, spec.desired_version);
        return refuse(
            400,
            "UNSUPPORTED",
            &[
                ("vcenter.wcp.upgrade.unsupported", "The Supervisor cannot be upgraded."),
                ("vcenter.wcp.capability.missing", "Its capabilities do not permit upgrades."),
            ],
        );
    }
    let ignores = spec.ignore_precheck_warnings == Some(true);
    let number = world.begin(place, &spec.desired_version, ignores);
    good(&Value::from(task_id(number)))
}

#[derive(Deserialize)]
struct PrecheckSpec {
    target_version: String,
}

/// `POST {supervisor}/prechecks?action=run`
pub(super) async fn run_prechecks(
    State(world): Shared,
    Path(id): Path<String>,
    Query(Action { action }): Query<Action>,
    body: Bytes,
) -> Response {
    if world.switches.no_prechecks.load(Ordering::Relaxed) || action.as_deref() != Some("run") {
        return no_such_path();
    }
    let Some(place) = world.find(Kind::Supervisor, &id) else { return not_found() };
    let view = world.look(place);
    let version = serde_json::from_slice::<PrecheckSpec>(&body).map(|s| s.target_version).unwrap_or_default();
    match obstacle(&view, &version) {
        Some(fault) => answer(StatusCode::BAD_REQUEST, &fault),
        None => {
            world.begin_prechecks(place, &version);
            nothing()
        }
    }
}

/// `GET {supervisor}/prechecks`
pub(super) async fn prechecks(State(world): Shared, Path(id): Path<String>) -> Response {
    if world.switches.no_prechecks.load(Ordering::Relaxed) {
        return no_such_path();
    }
    let Some(place) = world.find(Kind::Supervisor, &id) else { return not_found() };
    let target = world.look(place).target;
    if target.prechecks.is_empty() {
        return refuse(404, "NOT_FOUND", &[("vcenter.wcp.precheck.none", "There are no results yet.")]);
    }
    let now = world.now();
    let outcome = world.outcome(place);
    let results: Vec<Value> = target
        .prechecks
        .iter()
        .map(|(version, began)| {
            if since(*began, now) < world.pace.scaled(PRECHECKS) {
                return json!({"target_version": version, "conditions": [], "status": "RUNNING"});
            }
            let status = match outcome {
                Outcome::PrecheckError => "ERROR",
                Outcome::PrecheckWarning => "WARNING",
                Outcome::Succeed
                | Outcome::Fail
                | Outcome::FailInResult
                | Outcome::Refuse
                | Outcome::LatePrecheckError
                | Outcome::Block
                | Outcome::GiveUp
                | Outcome::Overtake
                | Outcome::LoseTask
                | Outcome::Uncancelable => "SUCCEEDED",
            };
            json!({"target_version": version, "conditions": conditions(outcome, false), "status": status})
        })
        .collect();
    good(&json!({"precheck_results": results}))
}

/// `GET versions`
pub(super) async fn versions() -> Response {
    let versions = [FIRST_VERSION, NEXT_VERSION, LATER_VERSION].map(|v| json!({"version": v}));
    good(&json!({"supervisor_versions": versions}))
}

/// `GET versions/{version}`
pub(super) async fn version(Path(version): Path<String>) -> Response {
    if ![FIRST_VERSION, NEXT_VERSION, LATER_VERSION].contains(&version.as_str()) {
        return refuse(404, "NOT_FOUND", &[("vcenter.wcp.version.notfound", "There is no such version.")]);
    }
    good(
        &json!({"version": version, "name": format!("Supervisor {version}"), "description": "A Supervisor release",
        "release_date": "2026-01-15T00:00:00.000Z", "release_notes": "https://example.test/notes",
        "image_source_specs": []}),
    )
}

#[derive(Deserialize)]
pub(super) struct CheckQuery {
    action: Option<String>,
    cluster: Option<String>,
    supervisor: Option<String>,
}

/// `POST versions/{version}?action=check-compatibility`
pub(super) async fn compatibility(
    State(world): Shared,
    Path(version): Path<String>,
    Query(query): Query<CheckQuery>,
) -> Response {
    let fit = world.fit();
    if query.action.as_deref() != Some("check-compatibility") || fit == Fit::Unchecked {
        return no_such_path();
    }
    let known = match (&query.cluster, &query.supervisor) {
        (Some(id), None) => world.find(Kind::Cluster, id),
        (None, Some(id)) => world.find(Kind::Supervisor, id),
        _ => {
            return refuse(
                400,
                "INVALID_ARGUMENT",
                &[("vcenter.wcp.compat", "Name one cluster or Supervisor.")],
            );
        }
    };
    if known.is_none() {
        return not_found();
    }
    let capability = |name: &str, status: &str| json!({"name": name, "status": status});
    let mut info = json!({"version": version, "name": format!("Supervisor {version}")});
    match fit {
        Fit::Compatible | Fit::Unchecked => {
            info["compatibility"] = Value::from("COMPATIBLE");
            info["capabilities"] = json!([capability("vm-service", "SUPPORTED")]);
        }
        Fit::Degraded => {
            info["compatibility"] = Value::from("COMPATIBLE_AND_DEGRADED");
            info["capabilities"] = json!([
                capability("vm-service", "SUPPORTED"),
                capability("vm-snapshots", "SUPPORTED_AND_DEGRADED"),
            ]);
        }
        Fit::Incompatible => {
            info["compatibility"] = Value::from("INCOMPATIBLE");
            info["incompatibility_reasons"] = json!([text("vcenter.wcp.nsx.old", "NSX is too old.")]);
        }
    }
    good(&info)
}

/// `GET supervisors/{supervisor}/topology`
pub(super) async fn topology(State(world): Shared, Path(id): Path<String>) -> Response {
    if world.spans().is_none() {
        return no_such_path();
    }
    let Some((_, n)) = world.find(Kind::Supervisor, &id) else { return not_found() };
    let zone = |(at, cluster): (usize, String)| json!({"zone": format!("zone-{at}"), "clusters": [cluster]});
    good(&world.clusters_of(n).into_iter().enumerate().map(zone).collect::<Value>())
}

/// `GET supervisors/summaries`
pub(super) async fn summaries(State(world): Shared) -> Response {
    let items: Vec<Value> = world
        .places(Kind::Supervisor)
        .into_iter()
        .map(|place| {
            json!({"supervisor": id_of(place), "info": {
                "name": format!("supervisor-{}", place.1), "config_status": "RUNNING", "kubernetes_status": "READY",
                "stats": {"cpu_used": 1, "cpu_capacity": 2}
            }})
        })
        .collect();
    good(&json!({"items": items}))
}

fn not_found() -> Response {
    refuse(404, "NOT_FOUND", &[("vcenter.wcp.supervisor.notfound", "The Supervisor could not be located.")])
}
