//! vCenter's paths, who may use them, and the side door.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::json::{good, moment, no_such_path};
use super::sessions::unauthenticated;
use super::world::{Outcome, World};
use super::{LATER_VERSION, USERNAME, clusters, supervisors, tasks};
use crate::simulators::control::{self, Foreign};
use crate::simulators::faults::{Faults, Layer, Route, Shape, strike};

type Shared = State<Arc<World>>;

pub(super) fn router(world: &Arc<World>, faults: &Faults) -> Router {
    let expiring = Arc::clone(world);
    let shape = Arc::new(Shape {
        route,
        state_members: &["state", "status", "res"],
        optional_members: &[
            "last_upgraded_date",
            "desired_version",
            "upgrade_status",
            "upgrade_prechecks",
            "progress",
            "components",
            "error_type",
            "data",
            "result",
            "error",
            "parent",
            "target",
            "user",
            "start_time",
            "end_time",
        ],
        expire_sessions: Box::new(move || expiring.sessions.expire()),
    });
    let software = Router::new()
        .route("/clusters", get(clusters::list).post(clusters::upgrade_multiple))
        .route("/clusters/{cluster}", get(clusters::get).post(clusters::upgrade))
        .route("/cluster-available-versions", get(clusters::versions))
        .route("/supervisors/upgrades", get(supervisors::list))
        .route("/supervisors/upgrades/{supervisor}", get(supervisors::get))
        .route("/supervisors/upgrades/jobs/{supervisor}", post(supervisors::create))
        .route("/supervisors/versions", get(supervisors::versions))
        .route("/supervisors/versions/{version}", get(supervisors::version).post(supervisors::compatibility))
        .route(
            "/supervisors/{supervisor}/prechecks",
            get(supervisors::prechecks).post(supervisors::run_prechecks),
        );
    let software = software.route_layer(from_fn_with_state(Arc::clone(world), without_clusters));
    // Whoever asks without a session learns only which paths exist: an unknown one is 404 even so.
    let guarded = Router::new()
        .nest("/api/vcenter/namespace-management/software", software)
        .route("/api/vcenter/namespace-management/supervisors/summaries", get(supervisors::summaries))
        .route(
            "/api/vcenter/namespace-management/supervisors/{supervisor}/topology",
            get(supervisors::topology),
        )
        .route("/api/cis/tasks", post(tasks::list))
        .route("/api/cis/tasks/{task}", get(tasks::get).post(tasks::cancel))
        .route("/api/session", get(session).delete(end_session))
        .route_layer(from_fn_with_state(Arc::clone(world), authenticate));
    let vendor = guarded
        .merge(Router::new().route("/api/session", post(create_session)))
        .fallback(async || no_such_path())
        .layer(from_fn_with_state(Layer { faults: faults.clone(), shape }, strike))
        .layer(from_fn_with_state(Arc::clone(world), count))
        .with_state(Arc::clone(world));
    let door = control::router(faults.clone(), world.effects.clone(), world.hold.clone())
        .layer(from_fn_with_state(Arc::clone(world), settle))
        .merge(
            Router::new()
                .route("/_sim/vsphere/outcomes", post(script))
                .route("/_sim/foreign", post(foreign))
                .with_state(Arc::clone(world)),
        );
    door.merge(vendor)
}

pub(super) fn route(method: &Method, path: &str) -> Route {
    let read = *method == Method::GET;
    if path == "/api/session" {
        Route::Login
    } else if path.ends_with("/prechecks") || path.contains("/versions") || path.ends_with("-versions") {
        Route::Inventory
    } else if path == "/api/cis/tasks" {
        Route::Observe
    } else if path.starts_with("/api/cis/tasks/") {
        if read { Route::Observe } else { Route::Cancel }
    } else if path.contains("/software/") {
        if read { Route::Observe } else { Route::Submit }
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
    world.settle_all();
    next.run(request).await
}

async fn authenticate(State(world): Shared, request: Request, next: Next) -> Response {
    if world.sessions.knows(request.headers()) {
        next.run(request).await
    } else {
        unauthenticated("com.vmware.vapi.endpoint.method.authentication.required", "Authentication required.")
    }
}

/// A vCenter that has dropped the older service knows none of its paths.
async fn without_clusters(State(world): Shared, request: Request, next: Next) -> Response {
    let older = request.uri().path().starts_with("/clusters");
    if older && world.switches.no_clusters.load(Ordering::Relaxed) {
        return no_such_path();
    }
    next.run(request).await
}

async fn create_session(State(world): Shared, headers: HeaderMap) -> Response {
    world.sessions.create(&headers, &world.effects)
}

async fn session(State(world): Shared) -> Response {
    let now = moment(world.now());
    good(&json!({"user": USERNAME, "created_time": now, "last_accessed_time": now}))
}

async fn end_session(State(world): Shared, headers: HeaderMap) -> Response {
    world.sessions.delete(&headers, &world.effects)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    target: String,
    outcome: Outcome,
}

async fn foreign(State(world): Shared, Json(asked): Json<Foreign>) -> StatusCode {
    if world.version(&asked.target).is_none() {
        return StatusCode::NOT_FOUND;
    }
    if !asked.over {
        world.start_elsewhere(&asked.target, LATER_VERSION);
    }
    StatusCode::NO_CONTENT
}

/// `POST /_sim/vsphere/outcomes` with `{"target":"domain-c9","outcome":"fail"}`.
async fn script(State(world): Shared, Json(script): Json<Script>) -> StatusCode {
    world.script(&script.target, script.outcome);
    StatusCode::NO_CONTENT
}
