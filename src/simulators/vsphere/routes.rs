//! The stand-in vCenter's paths, who may use them, and the side door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::bodies::{self, refuse};
use super::world::{Kind, Outcome, Refusal, World};
use super::{FIRST_VERSION, NEXT_VERSION, PASSWORD, USERNAME};
use crate::simulators::control;
use crate::simulators::faults::{Faults, Layer, Route, Shape, strike};

type Shared = State<Arc<World>>;

const SOFTWARE: &str = "/api/vcenter/namespace-management/software";

pub(super) fn router(world: &Arc<World>, faults: &Faults) -> Router {
    let expiring = Arc::clone(world);
    let shape = Arc::new(Shape {
        route,
        state_members: &["state", "status", "res"],
        optional_members: &[
            "last_upgraded_date",
            "upgrade_status",
            "upgrade_prechecks",
            "components",
            "progress",
            "result",
            "error",
            "parent",
            "target",
            "user",
            "start_time",
            "end_time",
            "localized",
        ],
        expire_sessions: Box::new(move || expiring.expire_sessions()),
    });
    let at = |rest: &str| format!("{SOFTWARE}{rest}");
    let vendor = Router::new()
        .route("/api/session", get(session).post(login).delete(logout))
        .route(&at("/clusters"), get(clusters).post(upgrade_multiple))
        .route(&at("/clusters/{cluster}"), get(cluster).post(upgrade))
        .route(&at("/cluster-available-versions"), get(cluster_versions))
        .route(&at("/supervisors/upgrades"), get(upgrades))
        .route(&at("/supervisors/upgrades/{supervisor}"), get(supervisor))
        .route(&at("/supervisors/upgrades/jobs/{supervisor}"), post(create_job))
        .route(&at("/supervisors/{supervisor}/prechecks"), get(prechecks).post(run_prechecks))
        .route(&at("/supervisors/versions"), get(versions))
        .route(&at("/supervisors/versions/{version}"), get(version))
        .route("/api/vcenter/namespace-management/supervisors/summaries", get(inventory))
        .route("/api/cis/tasks", post(list_tasks))
        .route("/api/cis/tasks/{task}", get(task).post(cancel_task))
        .fallback(async || no_such_path())
        .layer(from_fn_with_state(Arc::clone(world), authenticate))
        .layer(from_fn_with_state(Layer { faults: faults.clone(), shape }, strike))
        .layer(from_fn_with_state(Arc::clone(world), count))
        .with_state(Arc::clone(world));
    let door = control::router(faults.clone(), world.effects.clone())
        .layer(from_fn_with_state(Arc::clone(world), settle))
        .merge(Router::new().route("/_sim/vsphere/outcomes", post(script)).with_state(Arc::clone(world)));
    door.merge(vendor)
}

fn route(method: &Method, path: &str) -> Route {
    let posts = *method == Method::POST;
    if path == "/api/session" {
        Route::Login
    } else if path.starts_with("/api/cis/tasks/") && posts {
        Route::Cancel
    } else if path.starts_with("/api/cis/tasks") {
        Route::Observe
    } else if posts && (path.contains("/software/clusters") || path.contains("/upgrades/jobs/")) {
        Route::Submit
    } else if path.contains("/software/clusters") || path.contains("/supervisors/upgrades") {
        Route::Observe
    } else {
        Route::Inventory
    }
}

async fn count(State(world): Shared, request: Request, next: Next) -> Response {
    world.requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

/// The side door lists effects that have happened, so let them happen.
async fn settle(State(world): Shared, request: Request, next: Next) -> Response {
    drop(world.lock());
    next.run(request).await
}

/// Every known path but the login wants a session; an unknown one answers 404 without one.
async fn authenticate(State(world): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_login = path == "/api/session" && request.method() == Method::POST;
    let is_gone = path.contains("/software/supervisors") && world.is_without_supervisors();
    if is_gone {
        return no_such_path();
    }
    if !is_login {
        let token = token(request.headers());
        if !world.lock().sessions.contains(token) {
            return unauthenticated();
        }
    }
    next.run(request).await
}

fn token(headers: &HeaderMap) -> &str {
    headers.get("vmware-api-session-id").and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn no_such_path() -> Response {
    refuse(404, &("NOT_FOUND", "com.vmware.vapi.rest.httpNotFound", "Not found.".to_owned()))
}

fn unauthenticated() -> Response {
    let id = "com.vmware.vapi.endpoint.method.authentication.required";
    refuse(401, &("UNAUTHENTICATED", id, "Authentication required.".to_owned()))
}

fn unauthorized() -> Refusal {
    ("UNAUTHORIZED", "sim.unauthorized", "Permission Namespaces.Upgrade is missing.".to_owned())
}

fn not_found(id: &str) -> Response {
    refuse(404, &("NOT_FOUND", "sim.not_found", format!("{id} does not exist.")))
}

fn invalid(words: &str) -> Response {
    refuse(400, &("INVALID_REQUEST", "sim.invalid", words.to_owned()))
}

#[derive(Deserialize)]
struct Action {
    action: Option<String>,
}

impl Action {
    fn is(&self, word: &str) -> bool {
        self.action.as_deref() == Some(word)
    }
}

// ---- session -----------------------------------------------------------------------------------------------

async fn login(State(world): Shared, headers: HeaderMap) -> Response {
    let told = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let told =
        base64::engine::general_purpose::STANDARD.decode(told.strip_prefix("Basic ").unwrap_or_default());
    if !told.is_ok_and(|pair| pair == format!("{USERNAME}:{PASSWORD}").as_bytes()) {
        return unauthenticated();
    }
    if !world.has_sessions_left.load(Ordering::Relaxed) {
        let id = "com.vmware.vapi.endpoint.failedToLoginMaxUserSessionCountReached";
        return refuse(503, &("SERVICE_UNAVAILABLE", id, "Maximum sessions reached.".to_owned()));
    }
    (StatusCode::CREATED, Json(Value::from(world.login()))).into_response()
}

async fn session() -> Json<Value> {
    let time = "2026-02-03T04:05:06.000Z";
    Json(json!({"user": USERNAME, "created_time": time, "last_accessed_time": time}))
}

async fn logout(State(world): Shared, headers: HeaderMap) -> StatusCode {
    world.lock().sessions.remove(token(&headers));
    world.effects.record(crate::simulators::EffectKind::Logout, "", "");
    StatusCode::NO_CONTENT
}

// ---- clusters ----------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Spec {
    desired_version: String,
    #[serde(default)]
    ignore_precheck_warnings: Option<bool>,
}

fn list(world: &World, kind: Kind) -> Vec<Value> {
    let inner = world.lock();
    let of_kind = inner.places.iter().filter(|((k, _), _)| *k == kind);
    of_kind.map(|((_, id), place)| bodies::summary(kind, id, place)).collect()
}

fn detail(world: &World, kind: Kind, id: &str) -> Response {
    match world.lock().places.get(&(kind, id.to_owned())) {
        Some(place) => Json(bodies::info(world, kind, place)).into_response(),
        None => not_found(id),
    }
}

async fn clusters(State(world): Shared) -> Json<Vec<Value>> {
    Json(list(&world, Kind::Cluster))
}

async fn cluster(State(world): Shared, Path(id): Path<String>) -> Response {
    detail(&world, Kind::Cluster, &id)
}

async fn upgrade_multiple(
    State(world): Shared,
    Query(action): Query<Action>,
    Json(specs): Json<BTreeMap<String, Spec>>,
) -> Response {
    if !action.is("upgradeMultiple") {
        return invalid("Unknown action.");
    }
    let mut inner = world.lock();
    let forbidden = |id: &String| {
        inner.places.get(&(Kind::Cluster, id.clone())).is_some_and(|p| p.outcome == Outcome::Forbid)
    };
    if specs.keys().any(forbidden) {
        return refuse(403, &unauthorized());
    }
    let mut results = Map::new();
    for (id, spec) in specs {
        let ignores = spec.ignore_precheck_warnings.unwrap_or(false);
        let result = match world.start(&mut inner, Kind::Cluster, &id, &spec.desired_version, ignores) {
            Ok(_) => json!({"res": "STARTED"}),
            Err(refusal) => json!({"res": "REJECTED", "exception": bodies::error(&refusal)}),
        };
        results.insert(id, result);
    }
    Json(results).into_response()
}

async fn upgrade(
    State(world): Shared,
    Path(id): Path<String>,
    Query(action): Query<Action>,
    Json(spec): Json<Spec>,
) -> Response {
    if !action.is("upgrade") {
        return invalid("Unknown action.");
    }
    let ignores = spec.ignore_precheck_warnings.unwrap_or(false);
    match world.start(&mut world.lock(), Kind::Cluster, &id, &spec.desired_version, ignores) {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refuse(if refusal.0 == "NOT_FOUND" { 404 } else { 400 }, &refusal),
    }
}

fn notes(version: &str) -> Value {
    json!({"version": version, "name": format!("Supervisor {version}"), "description": "For the stand-in.",
        "release_date": "2026-01-15", "release_notes": "https://example.com/notes"})
}

async fn cluster_versions() -> Json<Value> {
    Json([FIRST_VERSION, NEXT_VERSION].iter().map(|v| notes(v)).collect())
}

// ---- supervisors -------------------------------------------------------------------------------------------

async fn upgrades(State(world): Shared) -> Json<Value> {
    Json(json!({"supervisors": list(&world, Kind::Supervisor)}))
}

async fn supervisor(State(world): Shared, Path(id): Path<String>) -> Response {
    detail(&world, Kind::Supervisor, &id)
}

async fn create_job(State(world): Shared, Path(id): Path<String>, Json(spec): Json<Spec>) -> Response {
    let mut inner = world.lock();
    let place = inner.places.get(&(Kind::Supervisor, id.clone()));
    if place.is_some_and(|p| p.outcome == Outcome::Forbid) {
        return refuse(403, &unauthorized());
    }
    let ignores = spec.ignore_precheck_warnings.unwrap_or(false);
    match world.start(&mut inner, Kind::Supervisor, &id, &spec.desired_version, ignores) {
        Ok(run) => Json(Value::from(World::new_task(&mut inner, &id, run))).into_response(),
        Err(refusal) => refuse(if refusal.0 == "NOT_FOUND" { 404 } else { 400 }, &refusal),
    }
}

#[derive(Deserialize)]
struct PrecheckSpec {
    target_version: String,
}

async fn run_prechecks(
    State(world): Shared,
    Path(id): Path<String>,
    Query(action): Query<Action>,
    Json(spec): Json<PrecheckSpec>,
) -> Response {
    if !action.is("run") {
        return invalid("Unknown action.");
    }
    let mut inner = world.lock();
    let Some(place) = inner.places.get_mut(&(Kind::Supervisor, id.clone())) else {
        return not_found(&id);
    };
    if place.active().is_some() {
        let words = format!("{id} is being upgraded.");
        return refuse(400, &("NOT_ALLOWED_IN_CURRENT_STATE", "sim.upgrading", words));
    }
    place.prechecks = Some((spec.target_version, Instant::now()));
    StatusCode::NO_CONTENT.into_response()
}

async fn prechecks(State(world): Shared, Path(id): Path<String>) -> Response {
    let inner = world.lock();
    let place = inner.places.get(&(Kind::Supervisor, id.clone()));
    match place.and_then(|p| Some((p, p.prechecks.as_ref()?))) {
        Some((place, (version, began))) => {
            Json(bodies::prechecks(version, world.are_checked(*began), place.outcome)).into_response()
        }
        None => not_found(&id),
    }
}

async fn versions() -> Json<Value> {
    Json(json!({"supervisor_versions": [{"version": FIRST_VERSION}, {"version": NEXT_VERSION}]}))
}

async fn version(Path(version): Path<String>) -> Response {
    if [FIRST_VERSION, NEXT_VERSION].contains(&version.as_str()) {
        Json(notes(&version)).into_response()
    } else {
        not_found(&version)
    }
}

async fn inventory(State(world): Shared) -> Json<Value> {
    let inner = world.lock();
    let ids = inner.places.keys().filter(|(kind, _)| *kind == Kind::Supervisor);
    let item = |(_, id): &(Kind, String)| {
        json!({"supervisor": id, "info": {"name": format!("supervisor-{id}"), "config_status": "RUNNING",
            "kubernetes_status": "READY", "stats": {}}})
    };
    Json(json!({"items": ids.map(item).collect::<Vec<_>>()}))
}

// ---- tasks -------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct TaskQuery {
    filter_spec: TaskFilter,
}

#[derive(Deserialize)]
struct TaskFilter {
    #[serde(default)]
    tasks: Vec<String>,
    #[serde(default)]
    services: Vec<String>,
}

async fn list_tasks(
    State(world): Shared,
    Query(action): Query<Action>,
    Json(query): Json<TaskQuery>,
) -> Response {
    let filter = query.filter_spec;
    if !action.is("list")
        || (filter.tasks.is_empty() && filter.services.is_empty())
        || filter.tasks.len() > 1000
    {
        let words = "Give `tasks` or `services`, for at most 1000 tasks.".to_owned();
        return refuse(400, &("INVALID_ARGUMENT", "sim.tasks", words));
    }
    let inner = world.lock();
    let asked = |id: &String| filter.tasks.is_empty() || filter.tasks.contains(id);
    let found: Map<String, Value> = inner
        .tasks
        .iter()
        .filter(|(id, _)| asked(id))
        .map(|(id, task)| (id.clone(), bodies::task(&world, task)))
        .collect();
    Json(found).into_response()
}

async fn task(State(world): Shared, Path(id): Path<String>) -> Response {
    match world.lock().tasks.get(&id) {
        Some(task) => Json(bodies::task(&world, task)).into_response(),
        None => not_found(&id),
    }
}

async fn cancel_task(State(world): Shared, Path(id): Path<String>, Query(action): Query<Action>) -> Response {
    if !action.is("cancel") {
        return invalid("Unknown action.");
    }
    match world.cancel(&mut world.lock(), &id) {
        Some(true) => StatusCode::NO_CONTENT.into_response(),
        Some(false) => {
            let words = "The task is over.".to_owned();
            refuse(400, &("NOT_ALLOWED_IN_CURRENT_STATE", "sim.over", words))
        }
        None => not_found(&id),
    }
}

// ---- the side door -----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    target: String,
    outcome: Outcome,
}

/// `POST /_sim/vsphere/outcomes` with `{"target":"domain-c9","outcome":"fail"}`.
async fn script(State(world): Shared, Json(script): Json<Script>) -> StatusCode {
    world.script(&script.target, script.outcome);
    StatusCode::NO_CONTENT
}
