//! A simulator's side door, `/_sim`, for people who practise and for tests in other processes.
//!
//! `POST /_sim/faults` with `{"route":"submit","fault":"reset_after","times":1}` arms a fault (`fault` is a word,
//! or `{"delay_ms":500}`); `DELETE /_sim/faults` disarms all; `GET /_sim/effects` lists what took effect.
//! `POST /_sim/foreign` with `{"target":"…"}` lets somebody else start an operation on a target, outside Drydock; with
//! `"over":true` it ends where it does not end by itself (Avisi, Huawei).

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::effects::{Effect, Effects};
use super::faults::{Fault, Faults, Route};

#[derive(Clone)]
struct Door {
    faults: Faults,
    effects: Effects,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    route: Option<Route>,
    fault: Fault,
    #[serde(default = "once")]
    times: u32,
}

/// Somebody else's operation; see the module's text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Foreign {
    pub(super) target: String,
    #[serde(default)]
    pub(super) over: bool,
}

const fn once() -> u32 {
    1
}

/// The side door's routes. Merge it outside the fault layer.
pub fn router(faults: Faults, effects: Effects) -> Router {
    Router::new()
        .route("/_sim/faults", post(arm).delete(disarm))
        .route("/_sim/effects", get(list))
        .with_state(Door { faults, effects })
}

async fn arm(State(door): State<Door>, Json(arm): Json<Arm>) -> StatusCode {
    door.faults.arm(arm.route, arm.fault, arm.times);
    StatusCode::NO_CONTENT
}

async fn disarm(State(door): State<Door>) -> StatusCode {
    door.faults.clear();
    StatusCode::NO_CONTENT
}

async fn list(State(door): State<Door>) -> Json<Vec<Effect>> {
    Json(door.effects.all())
}
