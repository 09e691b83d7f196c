//! IMS: images.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::reply::nested;
use super::world::World;

/// How many images there are. 0 to 4 are private images for bare metal; then one that is still being saved, a
/// public one, and one for virtual machines.
const IMAGES: usize = 8;

const PREFIX: &str = "5d2c8f3a-0000-4b1e-9a77-";

/// The id of image `n`.
pub fn image_id(n: usize) -> String {
    format!("{PREFIX}{n:012x}")
}

/// The number of an image that exists.
pub(super) fn number(id: &str) -> Option<usize> {
    let n = usize::from_str_radix(id.strip_prefix(PREFIX)?, 16).ok()?;
    (n < IMAGES && image_id(n) == id).then_some(n)
}

pub(super) fn name(id: &str) -> String {
    number(id).map_or_else(|| "unknown".to_owned(), |n| format!("metal-image-{n}"))
}

/// `GET /v2/cloudimages`
pub(super) async fn list(
    State(world): State<Arc<World>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    world.count("GET cloudimages");
    let limit = match query.get("limit").map(|l| l.parse::<usize>()) {
        None => 500,
        Some(Ok(limit)) if (1..=1000).contains(&limit) => limit,
        Some(_) => return nested(StatusCode::BAD_REQUEST, "IMG.0024", "Invalid limit."),
    };
    let after = match query.get("marker").map(|m| number(m)) {
        None => None,
        Some(Some(n)) => Some(n),
        Some(None) => return nested(StatusCode::BAD_REQUEST, "IMG.0024", "Invalid marker."),
    };
    let fits = |image: &Value| {
        ["__imagetype", "virtual_env_type", "status", "id", "name"].iter().all(|key| {
            query.get(*key).is_none_or(|want| image.get(*key).and_then(Value::as_str) == Some(want.as_str()))
        })
    };
    let images: Vec<Value> =
        (after.map_or(0, |n| n + 1)..IMAGES).map(image).filter(fits).take(limit).collect();
    Json(json!({ "images": images })).into_response()
}

fn image(n: usize) -> Value {
    let id = image_id(n);
    json!({
        "id": id,
        "name": name(&id),
        "status": if n == 5 { "saving" } else { "active" },
        "__imagetype": if n == 6 { "gold" } else { "private" },
        "__os_type": if n == 4 { "Windows" } else { "Linux" },
        "__platform": "Ubuntu",
        "__os_version": "Ubuntu 24.04 server 64bit",
        "virtual_env_type": if n == 7 { "FusionCompute" } else { "Ironic" },
        "min_disk": 40,
        "min_ram": 0,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "visibility": if n == 6 { "public" } else { "private" },
        "owner": super::iam::PROJECT,
        "tags": [],
    })
}
