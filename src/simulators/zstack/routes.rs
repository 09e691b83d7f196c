//! The REST server: paths, headers, and what is said at the door in plain text.

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{self, Caller};
use super::query::Query;
use super::script::Outcome;
use super::world::Poll;
use super::{Hub, error, ids, refused};
use crate::simulators::{EffectKind, Route};

/// The API's routes.
pub(super) fn router(hub: Hub) -> Router {
    let v1 = Router::new()
        .route("/accounts/login", put(login))
        .route("/accounts/users/login", put(login))
        .route("/accounts/sessions/{session}", delete(logout))
        .route("/accounts/sessions/{session}/valid", get(valid))
        .route("/api-jobs/{uuid}", get(api_job))
        .route("/clusters", get(clusters))
        .route("/clusters/{uuid}", get(cluster))
        .route("/clusters/{uuid}/actions", put(cluster_action))
        .route("/hosts", get(hosts))
        .route("/zones", get(zones))
        .route("/longjobs", get(long_jobs))
        .route("/longjobs/{uuid}", get(long_job).delete(delete_long_job))
        .route("/longjobs/{uuid}/actions", put(long_job_action))
        .route("/task-progresses/{api_id}", get(progress))
        .route("/management-nodes/ready", get(ready))
        .route("/management-nodes/platform-timezone", get(time_zone))
        .route("/management-nodes/actions", put(node_action))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(hub);
    Router::new().nest("/zstack/v1", v1)
}

/// This simulator's own side door.
pub(super) fn side_door(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/outcomes", post(set_outcome))
        .route("/_sim/hosts", post(set_host))
        .route("/_sim/foreign", post(foreign))
        .with_state(hub)
}

/// Sorts a request into the classes that faults are aimed at.
pub(super) fn classify(method: &Method, path: &str) -> Route {
    let path = path.strip_prefix("/zstack/v1").unwrap_or(path);
    if path.starts_with("/accounts/") {
        Route::Login
    } else if path.starts_with("/clusters/") && *method == Method::PUT {
        Route::Submit
    } else if path.starts_with("/longjobs/") && *method == Method::PUT {
        Route::Cancel
    } else if ["/longjobs", "/api-jobs", "/task-progresses"].iter().any(|p| path.starts_with(p)) {
        Route::Observe
    } else {
        Route::Inventory
    }
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

async fn nowhere() -> Response {
    plain(StatusCode::NOT_FOUND, "no API bound to the path")
}

async fn wrong_method() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed on the path")
}

/// Who asks; what is wrong with the header itself is answered at once.
fn who(
    hub: &Hub,
    headers: &HeaderMap,
    method: &Method,
    uri: &Uri,
) -> Result<(Caller, String), Box<Response>> {
    let now = hub.server_now();
    access::caller(&hub.world().sessions, headers, method, uri.path(), now)
}

/// A list: the caller must be somebody, and the query readable.
fn list(
    hub: &Hub,
    headers: &HeaderMap,
    uri: &Uri,
    query: Option<&str>,
    rows: impl FnOnce(&Hub, &Query, Timestamp) -> Vec<Value>,
) -> Response {
    let (caller, session) = match who(hub, headers, &Method::GET, uri) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    if let Err(refusal) = hub.world().admit((caller, &session), false) {
        return refused(&refusal);
    }
    match Query::parse(query.unwrap_or_default()) {
        Ok(query) => {
            let rows = rows(hub, &query, hub.clock.now());
            Json(query.answer(rows.into_iter())).into_response()
        }
        Err(text) => plain(StatusCode::BAD_REQUEST, text),
    }
}

async fn login(State(hub): State<Hub>, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "malformed JSON");
    };
    let now = hub.clock.now();
    let made = hub.world().sessions.login(&body, now);
    match made {
        Ok(session) => {
            hub.effects.record(EffectKind::Login, "", "session");
            Json(json!({"inventory": session})).into_response()
        }
        Err((code, details)) => error(code, details),
    }
}

async fn logout(State(hub): State<Hub>, Path(session): Path<String>) -> Response {
    if hub.world().sessions.logout(&session) {
        hub.effects.record(EffectKind::Logout, "", "session");
    }
    Json(json!({})).into_response()
}

async fn valid(State(hub): State<Hub>, Path(session): Path<String>) -> Response {
    let caller = hub.world().sessions.caller(&session);
    Json(json!({"valid": caller != Caller::Nobody})).into_response()
}

async fn api_job(State(hub): State<Hub>, Path(uuid): Path<String>) -> Response {
    let now = hub.clock.now();
    let poll = hub.world().poll(&uuid, now);
    match poll {
        Poll::Unknown => {
            plain(StatusCode::NOT_FOUND, format!("no job[uuid:{uuid}] found, or it has expired"))
        }
        Poll::Pending => (StatusCode::ACCEPTED, Json(json!({}))).into_response(),
        Poll::Done(body) => Json(body).into_response(),
        Poll::Failed(refusal) => refused(&refusal),
    }
}

async fn clusters(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Response {
    list(&hub, &headers, &uri, query.as_deref(), |hub, query, _| {
        hub.world().cluster_rows(query.one_of("uuid").as_deref())
    })
}

async fn cluster(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    Path(uuid): Path<String>,
) -> Response {
    list(&hub, &headers, &uri, None, |hub, _, _| hub.world().cluster_rows(Some(&[uuid])))
}

async fn hosts(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Response {
    list(&hub, &headers, &uri, query.as_deref(), |hub, query, _| {
        hub.world().host_rows(query.one_of("clusterUuid").as_deref(), query.one_of("uuid").as_deref())
    })
}

async fn zones(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Response {
    list(&hub, &headers, &uri, query.as_deref(), |hub, _, _| hub.world().zone_rows())
}

async fn long_jobs(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Response {
    list(&hub, &headers, &uri, query.as_deref(), |hub, query, now| {
        hub.world().long_jobs(query.one_of("uuid").as_deref(), query.one_of("apiId").as_deref(), now)
    })
}

async fn long_job(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    Path(uuid): Path<String>,
) -> Response {
    list(&hub, &headers, &uri, None, |hub, _, now| hub.world().long_jobs(Some(&[uuid]), None, now))
}

async fn progress(
    State(hub): State<Hub>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    Path(api_id): Path<String>,
) -> Response {
    let (caller, session) = match who(&hub, &headers, &Method::GET, &uri) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let now = hub.clock.now();
    let world = hub.world();
    if let Err(refusal) = world.admit((caller, &session), false) {
        return refused(&refusal);
    }
    if api_id.len() != 32 || !api_id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return error("SYS.1007", format!("field[apiId] is not a uuid: {api_id}"));
    }
    Json(world.progress(&api_id, now)).into_response()
}

async fn ready(State(hub): State<Hub>) -> Response {
    if hub.world().ready {
        Json(json!({"managementNodeId": "5a1e0000000040008000000000000001"})).into_response()
    } else {
        error("SYS.1010", "management node is not ready")
    }
}

async fn time_zone(State(hub): State<Hub>, headers: HeaderMap, OriginalUri(uri): OriginalUri) -> Response {
    match who(&hub, &headers, &Method::GET, &uri) {
        Ok((Caller::Nobody, session)) => error("ID.1001", format!("Session[uuid:{session}] expired")),
        Ok(_) => Json(json!({"timezone": "Asia/Shanghai", "offset": "+08:00"})).into_response(),
        Err(answer) => *answer,
    }
}

async fn node_action(State(hub): State<Hub>, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "malformed JSON");
    };
    if body.get("getVersion").is_some() {
        return Json(json!({"version": "5.2.0"})).into_response();
    }
    if body.get("getCurrentTime").is_some() {
        let now = hub.server_now();
        return Json(
            json!({"currentTime": {"MillionSeconds": now.as_millisecond(), "Seconds": now.as_second()}}),
        )
        .into_response();
    }
    plain(StatusCode::BAD_REQUEST, "the body doesn't contain action mapping to the URL")
}

/// What a writing request must bring: a caller, and an `X-Job-UUID` that was not seen before.
fn asynchronous(
    hub: &Hub,
    headers: &HeaderMap,
    method: &Method,
    uri: &Uri,
) -> Result<((Caller, String), String), Box<Response>> {
    let caller = who(hub, headers, method, uri)?;
    let job = match headers.get("x-job-uuid").map(|v| v.to_str().unwrap_or_default().to_owned()) {
        None => ids::fresh(),
        Some(job) if job.len() == 32 => job,
        Some(job) => {
            let text = format!("Invalid header[X-Job-UUID], it must be a UUID with 32 chars: {job}");
            return Err(Box::new(plain(StatusCode::BAD_REQUEST, text)));
        }
    };
    if hub.world().knows_api_job(&job) {
        let text = format!("Duplicate job uuid[{job}]");
        return Err(Box::new(plain(StatusCode::BAD_REQUEST, text)));
    }
    Ok((caller, job))
}

/// 202 with an address that only the management node itself can reach.
fn accepted(hub: &Hub, job: &str) -> Response {
    let body = json!({
        "location": format!("http://172.16.254.254:8080/zstack/v1/api-jobs/{job}"),
        "apiTimeout": hub.world().api_timeout_ms(),
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn cluster_action(
    State(hub): State<Hub>,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    method: Method,
    OriginalUri(uri): OriginalUri,
    body: Bytes,
) -> Response {
    let ((caller, session), job) = match asynchronous(&hub, &headers, &method, &uri) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "malformed JSON");
    };
    let strict = hub.world().strict_body_key;
    let inner = body.get("updateClusterOS").or_else(|| body.get("updateclusteros").filter(|_| !strict));
    let Some(inner) = inner.filter(|inner| inner.is_object()) else {
        return plain(
            StatusCode::BAD_REQUEST,
            format!("the body doesn't contain action mapping to the URL[{uri}]"),
        );
    };
    let now = hub.clock.now();
    hub.world().update_cluster_os(&cluster, &job, inner, (caller, &session), now);
    accepted(&hub, &job)
}

async fn long_job_action(
    State(hub): State<Hub>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
    method: Method,
    OriginalUri(uri): OriginalUri,
    body: Bytes,
) -> Response {
    let ((caller, session), job) = match asynchronous(&hub, &headers, &method, &uri) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let actions = ["cancelLongJob", "resumeLongJob", "cleanLongJob", "rerunLongJob", "updateLongJob"];
    let Some(action) = actions.into_iter().find(|action| body.get(action).is_some()) else {
        return plain(StatusCode::BAD_REQUEST, "the body doesn't contain action mapping to the URL");
    };
    hub.world().act(&uuid, action, &job, (caller, &session));
    accepted(&hub, &job)
}

async fn delete_long_job(
    State(hub): State<Hub>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
    method: Method,
    OriginalUri(uri): OriginalUri,
) -> Response {
    match asynchronous(&hub, &headers, &method, &uri) {
        Ok(((caller, session), job)) => {
            hub.world().act(&uuid, "delete", &job, (caller, &session));
            accepted(&hub, &job)
        }
        Err(answer) => *answer,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetOutcome {
    target: String,
    outcome: Outcome,
}

async fn set_outcome(State(hub): State<Hub>, Json(set): Json<SetOutcome>) -> StatusCode {
    if hub.world().script(&set.target, set.outcome) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetHost {
    host: String,
    state: String,
    status: String,
}

async fn set_host(State(hub): State<Hub>, Json(set): Json<SetHost>) -> StatusCode {
    hub.world().set_host(&set.host, &set.state, &set.status);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Foreign {
    target: String,
}

async fn foreign(State(hub): State<Hub>, Json(asked): Json<Foreign>) -> StatusCode {
    let now = hub.clock.now();
    if hub.world().foreign_update(&asked.target, now) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}
