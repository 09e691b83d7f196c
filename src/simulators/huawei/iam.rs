//! IAM: tokens by user and password, and who may pass.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::reply::gateway;
use super::signature;
use super::world::World;
use crate::simulators::EffectKind;

/// The one user, account, project and key pair of this cloud. None of it is secret: it opens nothing else.
pub(super) const USER: &str = "svc-metal";
pub(super) const PASSWORD: &str = "sim-iam-password-1";
pub(super) const DOMAIN: &str = "acme-account";
pub(super) const PROJECT: &str = "0123456789abcdef0123456789abcdef";
/// All projects by name. Two share one, as they can in different accounts.
const PROJECTS: [(&str, &str); 3] = [
    (PROJECT, "cn-east-3"),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "twin"),
    ("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "twin"),
];
pub(super) const ACCESS_KEY: &str = "AKSIMULATOR000000001";
pub(super) const SECRET_KEY: &str = "sim-secret-key-1";

/// The largest body that is read.
const MAX_BODY: usize = 12 * 1024 * 1024;

/// `POST /v3/auth/tokens`
pub(super) async fn create_token(State(world): State<Arc<World>>, Json(asked): Json<Value>) -> Response {
    world.count("POST /v3/auth/tokens");
    let at = |path: &str| asked.pointer(path).and_then(Value::as_str);
    let user = "/auth/identity/password/user";
    let known = at("/auth/identity/methods/0") == Some("password")
        && at(&format!("{user}/name")) == Some(USER)
        && at(&format!("{user}/password")) == Some(PASSWORD)
        && at(&format!("{user}/domain/name")) == Some(DOMAIN);
    if !known {
        let text = "The username or password is wrong.";
        return problem(StatusCode::UNAUTHORIZED, text, "Unauthorized");
    }
    let by_id = at("/auth/scope/project/id") == Some(PROJECT);
    let name = at("/auth/scope/project/name");
    if !by_id && !PROJECTS.iter().any(|(_, known)| name == Some(known)) {
        return problem(StatusCode::BAD_REQUEST, "The project does not exist.", "Bad Request");
    }
    let now = world.clock.now();
    let end = now.checked_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
    let token = world.make_token(end);
    world.effects.record(EffectKind::Login, "", USER);
    let body = json!({"token": {
        "expires_at": end.to_string(),
        "issued_at": now.to_string(),
        "methods": ["password"],
        "project": {"id": PROJECT, "name": "cn-east-3"},
        "user": {"name": USER, "domain": {"name": DOMAIN}},
    }});
    let mut answer = (StatusCode::CREATED, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(&token) {
        answer.headers_mut().insert("x-subject-token", value);
    }
    answer
}

fn problem(status: StatusCode, message: &str, title: &str) -> Response {
    let body = json!({"error": {"code": status.as_u16(), "message": message, "title": title}});
    (status, Json(body)).into_response()
}

/// `GET /v3/projects`
pub(super) async fn projects(
    State(world): State<Arc<World>>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    world.count("GET /v3/projects");
    if let Err(answer) = admit(&world, request).await {
        return *answer;
    }
    let name = query.get("name");
    let rows: Vec<Value> = PROJECTS
        .iter()
        .filter(|(_, known)| name.is_none_or(|name| name == known))
        .map(|(id, name)| json!({"id": id, "name": name, "domain_id": "d", "enabled": true, "is_domain": false}))
        .collect();
    Json(json!({"projects": rows, "links": {"next": null, "previous": null}})).into_response()
}

/// The gateway in front of CloudDC and IMS: a live token, or a right signature for the project.
pub(super) async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let signed = !request.headers().contains_key("x-auth-token");
    match admit(&world, request).await {
        Ok(request) if signed && request.headers().get("x-project-id").is_none_or(|id| id != PROJECT) => {
            gateway(StatusCode::FORBIDDEN, "APIGW.0302", "No such project for this access key.")
        }
        Ok(request) => next.run(request).await,
        Err(answer) => *answer,
    }
}

/// Whether a request comes with a live token or a right signature.
async fn admit(world: &World, request: Request) -> Result<Request, Box<Response>> {
    let refuse = |status, code, text: &str| Err(Box::new(gateway(status, code, text)));
    let token = request.headers().get("x-auth-token").and_then(|v| v.to_str().ok());
    if let Some(token) = token {
        return match world.knows_token(token) {
            Some(true) => Ok(request),
            Some(false) => refuse(StatusCode::UNAUTHORIZED, "APIGW.0307", "The token must be updated."),
            None => {
                refuse(StatusCode::UNAUTHORIZED, "APIGW.0301", "Incorrect IAM authentication information.")
            }
        };
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "APIGW.0201", "The request body is too large.");
    };
    if let Err(why) = signature::verify(&parts, &body, ACCESS_KEY, SECRET_KEY, world.clock.now()) {
        let text = format!("Incorrect IAM authentication information: {why}.");
        return refuse(StatusCode::UNAUTHORIZED, "APIGW.0301", &text);
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}
