//! Answer bodies, as the vendor's documents show them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::world::{Cluster, Refusal, Upgrade, World};
use super::{ORGANISATION, target_id};

/// The version that every cluster has at first.
pub const FIRST_VERSION: &str = "v1.34.9-u-ame.2";
/// A version that every cluster can be brought to at first.
pub const NEXT_VERSION: &str = "v1.35.6-u-ame.4";
/// Where the update channel brings a cluster that is superseded.
pub const CHANNEL_VERSION: &str = "v1.35.2-u-ame.1";
/// Every version that exists.
pub(super) const VERSIONS: [&str; 6] =
    ["v1.33.8-u-ame.3", "v1.34.5-u-ame.1", FIRST_VERSION, CHANNEL_VERSION, NEXT_VERSION, "v1.36.1-u-ame.1"];
/// The environments, by turns.
pub(super) const ENVIRONMENTS: [&str; 2] = ["production", "staging"];
/// How many entries a page holds.
pub(super) const PAGE: usize = 100;

/// The slug of cluster `n`.
pub(super) fn slug(n: usize) -> String {
    format!("cluster-{n}")
}

/// The environment of cluster `n`.
pub(super) fn environment(n: usize) -> &'static str {
    if n.is_multiple_of(2) { ENVIRONMENTS[0] } else { ENVIRONMENTS[1] }
}

/// A cluster. Of the many members of the real one, those that a client of upgrades could want.
pub(super) fn cluster(world: &World, n: usize, cluster: &Cluster) -> Value {
    json!({
        "identity": target_id(n),
        "slug": slug(n),
        "name": format!("Cluster {n}"),
        "environmentSlug": environment(n),
        "environmentIdentity": format!("a0150000-e4b1-4000-8000-{:012x}", n % 2),
        "customerSlug": ORGANISATION,
        "customerIdentity": "a0150000-0496-4000-8000-000000000000",
        "version": cluster.version,
        "updateChannel": {"name": "v1.35", "available": true, "kubernetesClusterVersion": NEXT_VERSION},
        "autoUpgrade": false,
        "status": world.cluster_status(cluster, world.now()),
        "desiredStatus": "running",
        "provisionStatus": "DONE",
        "maintenanceSchedule": {"identity": schedule()["identity"], "name": schedule()["name"]},
        "highlyAvailable": true,
        "deleteProtection": true,
        "cloudProvider": "aws",
        "region": "eu-west-1",
        "createdAt": world.began(),
        "modifiedAt": cluster.modified,
        "deletedAt": null,
    })
}

/// The one maintenance schedule. Its windows are told in words of a week; the simulator's own come faster.
pub(super) fn schedule() -> Value {
    json!({
        "identity": "a0150000-5c8d-4000-8000-000000000000",
        "name": "every few hours",
        "windows": [{"day": "SUNDAY", "startTime": "02:00", "duration": 120}],
    })
}

/// A scheduled upgrade.
pub(super) fn upgrade(world: &World, n: usize, upgrade: &Upgrade, now: Timestamp) -> Value {
    let status = world.status(upgrade, now);
    let mut body = json!({
        "identity": upgrade.identity,
        "clusterIdentity": target_id(n),
        "createdAt": upgrade.created,
        "modifiedAt": upgrade.modified,
        "fromClusterVersion": upgrade.from,
        "toClusterVersion": upgrade.to,
        "status": status,
        "clusterSlug": slug(n),
        "environmentSlug": environment(n),
        "organisationSlug": ORGANISATION,
        "ignoreMaintenanceSchedule": upgrade.ignore.unwrap_or(false),
    });
    if let Some(members) = body.as_object_mut() {
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        if let Some(date) = upgrade.request_date {
            put("scheduleRequestDate", json!(date));
        }
        if let Some(reason) = &upgrade.reason {
            put("reason", json!(reason));
        }
        if status != "REQUESTED" || world.lock().windows_at_once {
            put("windowStart", json!(upgrade.window_start));
            put("windowEnd", json!(upgrade.window_end));
        }
    }
    body
}

/// A page of `all`, in the envelope of the vendor's lists.
pub(super) fn page(
    all: usize,
    number: usize,
    content: impl FnOnce(std::ops::Range<usize>) -> Vec<Value>,
) -> Value {
    let pages = all.div_ceil(PAGE);
    let first = number.saturating_mul(PAGE).min(all);
    let content = content(first..(first + PAGE).min(all));
    json!({
        "numberOfElements": content.len(),
        "empty": content.is_empty(),
        "content": content,
        "last": number + 1 >= pages,
        "first": number == 0,
        "number": number,
        "size": PAGE,
        "totalPages": pages,
        "totalElements": all,
        "sort": {"sorted": false, "unsorted": true, "empty": true},
    })
}

/// The error envelope.
pub(super) fn refuse((status, message, details): Refusal) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"message": message, "details": details}))).into_response()
}
