//! The paths of the customer's and the operator's API, who may use them, and the side door.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{self, ENVIRONMENTS, VERSIONS, refuse};
use super::world::{Outcome, Refusal, Upgrade, World};
use super::{CUSTOMER_TOKEN, OPERATOR_TOKEN, ORGANISATION};
use crate::simulators::control::{self, Foreign};
use crate::simulators::faults::{Faults, Layer, Route, Shape, strike};

type Shared = State<Arc<World>>;

pub(super) fn router(world: &Arc<World>, faults: &Faults) -> Router {
    let expiring = Arc::clone(world);
    let shape = Arc::new(Shape {
        route,
        state_members: &["status"],
        optional_members: &[
            "createdAt",
            "modifiedAt",
            "windowStart",
            "windowEnd",
            "reason",
            "fromClusterVersion",
            "clusterSlug",
            "organisationSlug",
            "scheduleRequestDate",
            "ignoreMaintenanceSchedule",
        ],
        expire_sessions: Box::new(move || expiring.refuse_once.store(true, Ordering::Relaxed)),
    });
    let vendor = Router::new()
        .route("/api/v1/memberships", get(memberships))
        .route("/api/v1/cluster-versions", get(versions))
        .route("/api/v1/organisations/{org}", get(organisation))
        .route("/api/v1/organisations/{org}/maintenance-schedule", get(maintenance_schedules))
        .route("/api/v1/orgs/{org}/environments", get(environments))
        .route("/api/v1/orgs/{org}/update-channels", get(update_channels))
        .route("/api/v1/orgs/{org}/clusters", get(clusters))
        .route("/api/v1/orgs/{org}/clusters/{env}", get(clusters_of_environment))
        .route("/api/v1/orgs/{org}/clusters/{env}/{cluster}", get(cluster).patch(patch_cluster))
        .route("/api/v1/orgs/{org}/scheduled-cluster-upgrades", post(schedule))
        .route("/admin/v1/scheduled-cluster-upgrades", get(upgrades))
        .route("/admin/v1/scheduled-cluster-upgrades/{identity}", get(upgrade).delete(unschedule))
        .fallback(async || refuse(not_found()))
        .layer(from_fn_with_state(Arc::clone(world), authenticate))
        .layer(from_fn_with_state(Layer { faults: faults.clone(), shape }, strike))
        .layer(from_fn_with_state(Arc::clone(world), count))
        .with_state(Arc::clone(world));
    let door = control::router(faults.clone(), world.effects.clone(), world.hold.clone())
        .layer(from_fn_with_state(Arc::clone(world), settle))
        .merge(
            Router::new()
                .route("/_sim/avisi/outcomes", post(script))
                .route("/_sim/foreign", post(foreign))
                .with_state(Arc::clone(world)),
        );
    door.merge(vendor)
}

pub(super) fn route(method: &Method, path: &str) -> Route {
    let upgrades = path.contains("/scheduled-cluster-upgrades");
    if *method == Method::DELETE {
        Route::Cancel
    } else if *method != Method::GET {
        Route::Submit
    } else if upgrades || path.contains("/clusters") {
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
    world.settle_all();
    next.run(request).await
}

async fn authenticate(State(world): Shared, request: Request, next: Next) -> Response {
    let told = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // The scheme word is `Token`; a `Bearer` is not looked at.
    let token = told.strip_prefix("Token ").unwrap_or_default();
    let operator = token == OPERATOR_TOKEN;
    if !world.takes_tokens() || !(operator || token == CUSTOMER_TOKEN) {
        return refuse((401, "Unauthorized", vec!["the access token is invalid or expired".to_owned()]));
    }
    if request.uri().path().starts_with("/admin/") && !operator {
        return refuse(forbidden());
    }
    next.run(request).await
}

fn not_found() -> Refusal {
    (404, "The requested resource could not be found", vec![])
}

fn forbidden() -> Refusal {
    (403, "You do not have the necessary permissions to access this resource", vec![])
}

fn invalid(details: Vec<String>) -> Response {
    refuse((400, "Invalid request parameters", details))
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    page: usize,
}

async fn memberships() -> Json<Value> {
    let entry = json!({"email": "ops@acme.example", "id": "1", "name": "Acme", "slug": ORGANISATION});
    Json(bodies::page(1, 0, |_| vec![entry]))
}

async fn versions() -> Json<Value> {
    Json(VERSIONS.iter().map(|v| json!({"version": v})).collect())
}

async fn organisation(Path(org): Path<String>) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    Json(json!({"id": "1", "name": "Acme", "slug": org, "type": "CUSTOMER"})).into_response()
}

async fn maintenance_schedules(Path(org): Path<String>) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    Json(json!([bodies::schedule()])).into_response()
}

async fn environments(Path(org): Path<String>) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    let all = ENVIRONMENTS.map(|slug| json!({"slug": slug, "name": slug}));
    Json(bodies::page(all.len(), 0, |_| all.to_vec())).into_response()
}

async fn update_channels(Path(org): Path<String>) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    let channel =
        json!({"name": "v1.35", "available": true, "kubernetesClusterVersion": bodies::NEXT_VERSION});
    Json(bodies::page(1, 0, |_| vec![channel])).into_response()
}

async fn clusters(State(world): Shared, Path(org): Path<String>, Query(paging): Query<Paging>) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    let show = |n| bodies::cluster(&world, n, &world.look(n));
    Json(bodies::page(world.clusters, paging.page, |range| range.map(show).collect())).into_response()
}

async fn clusters_of_environment(
    State(world): Shared,
    Path((org, env)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    let all: Vec<_> = (0..world.clusters).filter(|n| bodies::environment(*n) == env).collect();
    let show = |n: &usize| bodies::cluster(&world, *n, &world.look(*n));
    let page = bodies::page(all.len(), paging.page, |range| {
        all.get(range).unwrap_or_default().iter().map(show).collect()
    });
    Json(page).into_response()
}

/// The cluster behind two slugs.
fn at(world: &World, org: &str, env: &str, slug: &str) -> Result<usize, Refusal> {
    if org != ORGANISATION {
        return Err(forbidden());
    }
    let n = slug.strip_prefix("cluster-").and_then(|n| n.parse().ok());
    n.filter(|n| *n < world.clusters && bodies::environment(*n) == env).ok_or_else(not_found)
}

async fn cluster(State(world): Shared, Path((org, env, slug)): Path<(String, String, String)>) -> Response {
    match at(&world, &org, &env, &slug) {
        Ok(n) => Json(bodies::cluster(&world, n, &world.look(n))).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn patch_cluster(
    State(world): Shared,
    Path((org, env, slug)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    let n = match at(&world, &org, &env, &slug) {
        Ok(n) => n,
        Err(refusal) => return refuse(refusal),
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return invalid(vec!["the body is not JSON".to_owned()]);
    };
    let Some(version) = body.get("version").and_then(Value::as_str) else {
        return invalid(vec!["this stand-in only changes `version`".to_owned()]);
    };
    if let Some(fault) = version_fault(&world.look(n).version, version) {
        return invalid(vec![fault]);
    }
    match world.upgrade(n, version.to_owned()) {
        Ok(cluster) => Json(bodies::cluster(&world, n, &cluster)).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn schedule(State(world): Shared, Path(org): Path<String>, body: Bytes) -> Response {
    if org != ORGANISATION {
        return refuse(forbidden());
    }
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&body) else {
        return invalid(vec!["the body is not a JSON object".to_owned()]);
    };
    let mut faults = Vec::new();
    let identity = body.get("clusterIdentity").and_then(Value::as_str).unwrap_or_default();
    if uuid::Uuid::try_parse(identity).is_err() {
        faults.push("clusterIdentity: must be a uuid".to_owned());
    }
    let version = body.get("version").and_then(Value::as_str).unwrap_or_default();
    if version.is_empty() {
        faults.push("version: size must be at least 1".to_owned());
    }
    let date = body.get("scheduleRequestDate").map(|d| d.as_str().and_then(|d| d.parse::<Timestamp>().ok()));
    if date == Some(None) {
        faults.push("scheduleRequestDate: must be a date-time".to_owned());
    }
    let ignore = body.get("ignoreMaintenanceSchedule").map(Value::as_bool);
    if ignore == Some(None) {
        faults.push("ignoreMaintenanceSchedule: must be a boolean".to_owned());
    }
    if !faults.is_empty() {
        return invalid(faults);
    }
    let Some(n) = world.index(identity) else {
        return refuse(not_found());
    };
    if let Some(fault) = version_fault(&world.look(n).version, version) {
        return invalid(vec![fault]);
    }
    match world.schedule(n, version.to_owned(), date.flatten(), ignore.flatten()) {
        Ok(upgrade) => Json(bodies::upgrade(&world, n, &upgrade, world.now())).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

/// Why a cluster cannot go from one version to another: it does not exist, or lies more than a minor ahead.
fn version_fault(from: &str, to: &str) -> Option<String> {
    let minor = |version: &str| version.split('.').nth(1).and_then(|m| m.parse::<u32>().ok());
    if !VERSIONS.contains(&to) {
        return Some(format!("version: {to} does not exist"));
    }
    let skips = minor(to) > minor(from).map(|m| m + 1);
    skips.then(|| format!("version: {from} to {to} skips a minor version"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    cluster_identities: Option<String>,
    statuses: Option<String>,
    #[serde(default)]
    page: usize,
}

async fn upgrades(State(world): Shared, Query(filter): Query<Filter>) -> Json<Value> {
    world.settle_all();
    let now = world.now();
    let wanted: Option<Vec<usize>> =
        filter.cluster_identities.map(|ids| ids.split(',').filter_map(|id| world.index(id)).collect());
    let statuses: Option<Vec<String>> = filter.statuses.map(|s| s.split(',').map(str::to_owned).collect());
    let fits = |upgrade: &Upgrade| {
        statuses.as_ref().is_none_or(|all| all.iter().any(|s| s == world.status(upgrade, now)))
    };
    let mut found: Vec<(usize, Upgrade)> = Vec::new();
    for (n, cluster) in &world.lock().touched {
        if wanted.as_ref().is_none_or(|all| all.contains(n)) {
            found.extend(cluster.upgrades.iter().filter(|u| fits(u)).map(|u| (*n, u.clone())));
        }
    }
    let show = |(n, upgrade): &(usize, Upgrade)| bodies::upgrade(&world, *n, upgrade, now);
    Json(bodies::page(found.len(), filter.page, |range| {
        found.get(range).unwrap_or_default().iter().map(show).collect()
    }))
}

async fn upgrade(State(world): Shared, Path(identity): Path<String>) -> Response {
    let found = world
        .holder(&identity)
        .and_then(|n| world.look(n).upgrades.into_iter().find(|u| u.identity == identity).map(|u| (n, u)));
    match found {
        Some((n, upgrade)) => Json(bodies::upgrade(&world, n, &upgrade, world.now())).into_response(),
        None => refuse(not_found()),
    }
}

async fn unschedule(State(world): Shared, Path(identity): Path<String>) -> Response {
    match world.unschedule(&identity) {
        Some((n, upgrade)) => Json(bodies::upgrade(&world, n, &upgrade, world.now())).into_response(),
        None => refuse(not_found()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    target: String,
    outcome: Outcome,
}

async fn foreign(State(world): Shared, Json(asked): Json<Foreign>) -> StatusCode {
    if world.index(&asked.target).is_none() {
        return StatusCode::NOT_FOUND;
    }
    let shown = (!asked.over).then(|| "upgrading".to_owned());
    world.touch(&asked.target, |cluster| cluster.shown_status = shown);
    StatusCode::NO_CONTENT
}

async fn script(State(world): Shared, Json(script): Json<Script>) -> StatusCode {
    if world.index(&script.target).is_none() {
        return StatusCode::NOT_FOUND;
    }
    world.script(&script.target, script.outcome);
    StatusCode::NO_CONTENT
}
