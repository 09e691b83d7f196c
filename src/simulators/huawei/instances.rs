//! CloudDC's instances: list, status, reinstall.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::iam::PROJECT;
use super::instance_number;
use super::reply::refusal;
use super::world::{View, World, repeated};
use crate::simulators::EffectKind;

const MAX_IDS: usize = 100;

/// `GET /v1/{project_id}/instances`
pub(super) async fn list(
    State(world): State<Arc<World>>,
    Path(project): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    world.count("GET instances");
    if let Err(answer) = right_project(&project) {
        return answer;
    }
    let limit = query.get("limit").and_then(|l| l.parse::<usize>().ok()).unwrap_or(10).clamp(10, 1000);
    let after = query.get("marker").and_then(|m| instance_number(m));
    let wanted: Option<Vec<String>> =
        query.get("instance_id").map(|ids| ids.split(',').map(str::to_owned).collect());
    let mut views = Vec::new();
    match wanted {
        Some(ids) if ids.len() > MAX_IDS => {
            return refusal(StatusCode::BAD_REQUEST, "iMetal.0001", "instance_id takes at most 100 ids.");
        }
        Some(ids) => {
            let mut unknown = Vec::new();
            for id in &ids {
                match instance_number(id).and_then(|n| world.view(n)) {
                    Some(view) => views.push(view),
                    None => unknown.push(id.as_str()),
                }
            }
            if world.behaviour().list_refuses_unknown && !unknown.is_empty() {
                return not_found(&unknown, true);
            }
            views.sort_by_key(|v| v.number);
            views.retain(|v| after.is_none_or(|a| v.number > a));
            views.truncate(limit + 1);
        }
        None => views.extend(world.numbers(after).filter_map(|n| world.view(n)).take(limit + 1)),
    }
    let more = views.len() > limit;
    views.truncate(limit);
    let next = views.last().filter(|_| more).map(|v| v.id.clone());
    let mut page = Map::new();
    page.insert("current_count".to_owned(), views.len().into());
    if let Some(next) = next {
        page.insert("next_marker".to_owned(), next.into());
    }
    let items: Vec<Value> = views.iter().map(full).collect();
    Json(json!({"count": world.targets, "instances": items, "page_info": page})).into_response()
}

/// `GET /v1/{project_id}/instances/{id}/status`
pub(super) async fn status(
    State(world): State<Arc<World>>,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    world.count("GET instances/{id}/status");
    if let Err(answer) = right_project(&project) {
        return answer;
    }
    match instance_number(&id).and_then(|n| world.view(n)) {
        Some(view) => Json(Value::Object(brief(&view))).into_response(),
        None => not_found(&[&id], true),
    }
}

/// `PUT /v1/{project_id}/instances/reinstall`
pub(super) async fn reinstall(
    State(world): State<Arc<World>>,
    Path(project): Path<String>,
    body: Bytes,
) -> Response {
    world.count("PUT instances/reinstall");
    if let Err(answer) = right_project(&project) {
        return answer;
    }
    let bad = |message: &str| refusal(StatusCode::BAD_REQUEST, "iMetal.0001", message);
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&body) else {
        return bad("The request body is not a JSON object.");
    };
    if let Some(strange) =
        body.keys().find(|k| !["image_id", "password", "instance_id_set"].contains(&k.as_str()))
    {
        return bad(&format!("Unsupported parameter {strange}."));
    }
    let Some(password) = body.get("password").and_then(Value::as_str).filter(|p| !p.is_empty()) else {
        return refusal(StatusCode::BAD_REQUEST, "iMetal.0002", "Parameter password is missing.");
    };
    let image = match body.get("image_id") {
        None => None,
        Some(Value::String(id)) if id.is_empty() => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return bad("image_id must be a string."),
    };
    if image.is_some_and(|id| super::images::number(id).is_none()) {
        return bad("The image does not exist.");
    }
    let ids: Option<Vec<String>> = body
        .get("instance_id_set")
        .and_then(Value::as_array)
        .and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    let behaviour = world.behaviour();
    if behaviour.quotes_passwords {
        return bad(&format!("Invalid value \"{password}\" for parameter password."));
    }
    let Some(ids) = ids.filter(|ids| !ids.is_empty()) else {
        return refusal(StatusCode::BAD_REQUEST, "iMetal.0002", "Parameter instance_id_set is missing.");
    };
    if ids.len() > behaviour.chunk_limit {
        return bad(&format!("The number of instance IDs exceeds the maximum of {}.", behaviour.chunk_limit));
    }
    if repeated(&ids) {
        return bad("An instance id occurs twice.");
    }
    let mut views = Vec::new();
    let mut unknown = Vec::new();
    for id in &ids {
        match instance_number(id).and_then(|n| world.view(n)) {
            Some(view) => views.push(view),
            None => unknown.push(id.as_str()),
        }
    }
    if !unknown.is_empty() {
        return not_found(&unknown, behaviour.names_culprits);
    }
    if let Some(barred) = views.iter().find(|view| behaviour.forbidden == Some(view.number)) {
        world.effects.record(EffectKind::Refuse, &*barred.id, "iMetal.0004");
        let name = if behaviour.names_culprits { barred.id.as_str() } else { "(some)" };
        let text = format!("You do not have permission to reinstall instance {name}.");
        return refusal(StatusCode::FORBIDDEN, "iMetal.0004", &text);
    }
    let idle: Vec<&str> = views.iter().filter(|v| v.state != "running").map(|v| v.id.as_str()).collect();
    if !idle.is_empty() {
        for id in &idle {
            world.effects.record(EffectKind::Refuse, *id, "iMetal.0201");
        }
        let names = if behaviour.names_culprits { idle.join(", ") } else { "(some)".to_owned() };
        let text = format!("The state of instances {names} does not allow this operation.");
        return refusal(StatusCode::BAD_REQUEST, "iMetal.0201", &text);
    }
    world.start(&views, image, password);
    let echoed: Vec<Value> =
        if behaviour.echoes { views.iter().map(|v| json!({"id": v.id})).collect() } else { Vec::new() };
    (StatusCode::ACCEPTED, Json(json!({"instances": echoed}))).into_response()
}

#[expect(clippy::result_large_err, reason = "the error is the answer to send")]
fn right_project(project: &str) -> Result<(), Response> {
    if project == PROJECT {
        return Ok(());
    }
    Err(refusal(StatusCode::FORBIDDEN, "iMetal.0004", "The project does not belong to the user."))
}

fn not_found(ids: &[&str], named: bool) -> Response {
    let names = if named { ids.join(", ") } else { "(some)".to_owned() };
    refusal(StatusCode::NOT_FOUND, "iMetal.0200", &format!("Instances {names} could not be found."))
}

fn brief(view: &View) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("state".to_owned(), view.state.clone().into());
    if let Some(operation) = &view.operation {
        out.insert("operation_state".to_owned(), operation.clone().into());
    }
    if view.failed {
        let error = json!({
            "error_code": "iMetal.0099",
            "error_msg": "provision timed out",
            "error_type": "reinstall_error",
        });
        out.insert("error".to_owned(), error);
    }
    out
}

fn full(view: &View) -> Value {
    let mut out = brief(view);
    let more = json!({
        "id": view.id,
        "name": format!("metal-{:04}", view.number),
        "vpc_id": "4d5b0c1e-0000-4000-8000-000000000001",
        "network_interfaces": [{"subnet_id": "6e1f0c1e-0000-4000-8000-000000000001", "ipv4_address": "192.0.2.10"}],
        "tags": [{"key": "rack", "value": "7"}],
        "image": {"id": view.image, "name": super::images::name(&view.image), "os_type": "Linux"},
        "description": "",
        "metadata": {"agent_password": "canary-metadata"},
        "user_data": "Y2FuYXJ5LXVzZXItZGF0YQ==",
        "server_id": format!("7a1c0c1e-0000-4000-8000-{:012x}", view.number),
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": view.updated.to_string(),
        "launched_at": view.launched.to_string(),
    });
    if let Value::Object(more) = more {
        out.extend(more);
    }
    Value::Object(out)
}
