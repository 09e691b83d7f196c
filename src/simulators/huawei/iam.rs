//! IAM: tokens by user and password, and who may pass.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
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
    if at("/auth/scope/project/id") != Some(PROJECT) {
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

/// The gateway in front of CloudDC and IMS: a live token, or a right signature.
pub(super) async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let token = request.headers().get("x-auth-token").and_then(|v| v.to_str().ok());
    if let Some(token) = token {
        return match world.knows_token(token) {
            Some(true) => next.run(request).await,
            Some(false) => gateway(StatusCode::UNAUTHORIZED, "APIGW.0307", "The token must be updated."),
            None => {
                gateway(StatusCode::UNAUTHORIZED, "APIGW.0301", "Incorrect IAM authentication information.")
            }
        };
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return gateway(StatusCode::PAYLOAD_TOO_LARGE, "APIGW.0201", "The request body is too large.");
    };
    if let Err(why) = signature::verify(&parts, &body, ACCESS_KEY, SECRET_KEY, world.clock.now()) {
        let text = format!("Incorrect IAM authentication information: {why}.");
        return gateway(StatusCode::UNAUTHORIZED, "APIGW.0301", &text);
    }
    if parts.headers.get("x-project-id").is_none_or(|id| id != PROJECT) {
        return gateway(StatusCode::FORBIDDEN, "APIGW.0302", "No such project for this access key.");
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}
