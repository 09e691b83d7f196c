//! `cis/tasks`: the tasks of Supervisors' upgrades.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::clusters::Action;
use super::json::{error, good, moment, no_such_path, nothing, refuse, text};
use super::script::{CancelEnd, Outcome};
use super::supervisors::percent;
use super::upgrade::{End, Stage, Upgrade};
use super::world::{World, id_of};
use super::{USERNAME, task_id};

type Shared = State<Arc<World>>;

/// More matches than this are an error, not cut off.
const MAX_MATCHES: usize = 1000;
const SERVICE: &str = "com.vmware.vcenter.namespace_management.software.supervisors.upgrades.jobs";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    filter_spec: Filter,
    result_spec: ResultSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Filter {
    tasks: Vec<String>,
    services: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResultSpec {
    exclude_result: bool,
}

/// `POST cis/tasks?action=list`
pub(super) async fn list(
    State(world): Shared,
    Query(Action { action }): Query<Action>,
    body: Bytes,
) -> Response {
    if action.as_deref() != Some("list") {
        return no_such_path();
    }
    let invalid = |words: &str| refuse(400, "INVALID_ARGUMENT", &[("cis.task.filter", words)]);
    let Ok(query) = serde_json::from_slice::<Wanted>(&body) else {
        return invalid("The body cannot be read.");
    };
    let Filter { tasks, services } = query.filter_spec;
    if tasks.is_empty() && services.is_empty() {
        return invalid("Either tasks or services must be given.");
    }
    let mut providers: Vec<&str> =
        tasks.iter().map(|id| id.split_once(':').map_or("", |(_, service)| service)).collect();
    providers.sort_unstable();
    providers.dedup();
    if providers.len() > 1 {
        return invalid("All tasks must come from one provider.");
    }
    let found: Vec<(Upgrade, Stage)> = if tasks.is_empty() {
        if services.iter().any(|s| s == SERVICE) { world.tasks() } else { Vec::new() }
    } else {
        tasks.iter().filter_map(|id| world.task(id)).collect()
    };
    if found.len() > MAX_MATCHES {
        return invalid("More than 1000 tasks match.");
    }
    let map: Map<String, Value> = found
        .into_iter()
        .map(|(upgrade, stage)| {
            (task_id(upgrade.number), info(&world, &upgrade, stage, query.result_spec.exclude_result))
        })
        .collect();
    good(&Value::Object(map))
}

/// `GET cis/tasks/{task}`
pub(super) async fn get(State(world): Shared, Path(id): Path<String>) -> Response {
    match world.task(&id) {
        Some((upgrade, stage)) => good(&info(&world, &upgrade, stage, false)),
        None => not_found(),
    }
}

/// `POST cis/tasks/{task}?action=cancel`
pub(super) async fn cancel(
    State(world): Shared,
    Path(id): Path<String>,
    Query(Action { action }): Query<Action>,
) -> Response {
    if action.as_deref() != Some("cancel") {
        return no_such_path();
    }
    let Some((upgrade, _)) = world.task(&id) else { return not_found() };
    if upgrade.outcome == Outcome::Uncancelable {
        return refuse(400, "UNSUPPORTED", &[("cis.task.cancel", "The task cannot be cancelled.")]);
    }
    if !world.cancel(upgrade.number) {
        return refuse(
            400,
            "NOT_ALLOWED_IN_CURRENT_STATE",
            &[("cis.task.over", "The task is over or cancelled already.")],
        );
    }
    nothing()
}

fn info(world: &World, upgrade: &Upgrade, stage: Stage, exclude_result: bool) -> Value {
    let mut task = json!({
        "description": text("vcenter.wcp.upgrade.task", "Upgrade Supervisor"),
        "service": SERVICE,
        "operation": "create$task",
        // Kept true after the end, as was seen in real life.
        "cancelable": upgrade.outcome != Outcome::Uncancelable,
        "parent": "",
        "target": {"type": "com.vmware.vcenter.namespace_management.supervisor.Supervisor", "id": id_of(upgrade.place)},
        "user": USERNAME,
        "last_update_time": moment(upgrade.began),
        "notifications": {},
    });
    let (status, done) = match stage {
        Stage::Prechecks => ("PENDING", None),
        Stage::Working(done) => ("RUNNING", Some(done)),
        Stage::Blocked => ("BLOCKED", Some(0.3)),
        Stage::Ended(End::Succeeded) => ("SUCCEEDED", Some(1.0)),
        Stage::Ended(End::Failed | End::Cancelled | End::GaveUp | End::Overtaken) => ("FAILED", Some(0.5)),
        Stage::Ended(End::PrecheckFailed) => ("FAILED", Some(0.0)),
    };
    task["status"] = Value::from(status);
    if let Some(done) = done {
        task["start_time"] = Value::from(moment(upgrade.began));
        task["progress"] = json!({
            "total": 100, "completed": percent(done), "message": text("vcenter.wcp.upgrade.progress", "Upgrading")
        });
    }
    if let Some((_, at)) = upgrade.ended {
        task["end_time"] = Value::from(moment(at));
    }
    let failure = match stage {
        Stage::Ended(End::Failed | End::GaveUp | End::Overtaken) => Some(error(
            "ERROR",
            &[
                ("vcenter.wcp.upgrade.failed", "The upgrade failed."),
                ("vcenter.wcp.upgrade.node.failed", "Control plane node cp-2 could not be replaced."),
            ],
        )),
        Stage::Ended(End::PrecheckFailed) => Some(error(
            "UNSUPPORTED",
            &[("vcenter.wcp.upgrade.precheck.failed", "The upgrade stopped at its prechecks.")],
        )),
        Stage::Ended(End::Cancelled) => match world.cancel_end() {
            CancelEnd::Told | CancelEnd::Fails => {
                Some(error("CANCELED", &[("cis.task.canceled", "The task was cancelled.")]))
            }
            CancelEnd::Silent => None,
            CancelEnd::Worded => Some(error(
                "ERROR",
                &[("vcenter.wcp.upgrade.stopped", "The upgrade was cancelled by a user.")],
            )),
        },
        Stage::Ended(End::Succeeded) | Stage::Prechecks | Stage::Working(_) | Stage::Blocked => None,
    };
    match failure {
        Some(_) if upgrade.outcome == Outcome::FailInResult && exclude_result => {}
        Some(failure) if upgrade.outcome == Outcome::FailInResult => task["result"] = failure,
        Some(mut failure) => {
            failure["@class"] = Value::from("com.vmware.vapi.std.errors.error");
            task["error"] = failure;
        }
        None => {}
    }
    task
}

fn not_found() -> Response {
    refuse(404, "NOT_FOUND", &[("cis.task.notfound", "The task does not exist.")])
}
