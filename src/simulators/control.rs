//! A simulator's side door, `/_sim`, for people who practise and for tests in other processes.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /_sim/faults` | arms a fault; the body is JSON as below |
//! | `DELETE /_sim/faults` | disarms all |
//! | `POST /_sim/hold` | holds operations under way at a fifth: none ends before `DELETE /_sim/hold` |
//! | `POST /_sim/foreign` | with `{"target":"…"}` somebody else starts an operation on a target, outside Drydock; with `"over":true` it ends where it does not end by itself (Avisi, Huawei) |
//! | `GET /_sim/effects` | lists what took effect |
//!
//! A fault is `{"fault":"reset_after"}`, and then strikes the next request. Further members aim it:
//! `"route"` is `login`, `submit`, `observe`, `cancel` or `inventory`; `"when"` is `before_start` or `after_start`;
//! `"times":3` strikes three times, and `"each_path":true` as often for every path by itself. So a start whose answer is
//! lost, and whose look-up meets a proxy's page, is these two:
//!
//! ```json
//! {"route":"submit","fault":"reset_after"}
//! {"route":"observe","when":"after_start","fault":{"html_before":502}}
//! ```
//!
//! | fault | what goes wrong | took effect |
//! |---|---|---|
//! | `"reset_before"` | the connection breaks before the request is looked at | no |
//! | `"reset_after"` | the connection breaks instead of the answer | yes |
//! | `{"delay_ms":5000}` | the answer is late | yes |
//! | `{"too_many_requests":0}` | 429; with a number of seconds, `Retry-After` says them | no |
//! | `{"html_before":502}` | an HTML page with this status from something in between | no |
//! | `{"html_after":502}` | the same instead of the answer | yes |
//! | `"truncated"` | the answer's JSON ends in the middle | yes |
//! | `"wrong_types"` | the answer's state words are numbers | yes |
//! | `"wrong_shape"` | the answer's JSON is wrapped in a list | yes |
//! | `"unknown_enum"` | the answer's state words are `BRAND_NEW_STATE` | yes |
//! | `"unknown_field"` | objects of the answer that have a state word have a member `brandNewField`, too | yes |
//! | `"missing_optional"` | the answer lacks what the vendor calls optional | yes |
//! | `"leaves_one_out"` | the answer's list lacks its last entry, if it has several | yes |
//! | `"expired_session"` | the session dies before the request is looked at | as the vendor has it |

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::effects::{Effect, Effects};
use super::faults::{Aim, Fault, Faults, Route, When};
use super::hold::Hold;

#[derive(Clone)]
struct Door {
    faults: Faults,
    effects: Effects,
    hold: Hold,
}

/// Written out, not flattened: a misspelt member must not arm a fault that is aimed elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    fault: Fault,
    route: Option<Route>,
    #[serde(default)]
    when: When,
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    each_path: bool,
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
pub fn router(faults: Faults, effects: Effects, hold: Hold) -> Router {
    Router::new()
        .route("/_sim/faults", post(arm).delete(disarm))
        .route("/_sim/effects", get(list))
        .route("/_sim/hold", post(hold_on).delete(let_go))
        .with_state(Door { faults, effects, hold })
}

async fn arm(State(door): State<Door>, Json(arm): Json<Arm>) -> StatusCode {
    let Arm { fault, route, when, times, each_path } = arm;
    door.faults.aim(Aim { route, when, times, each_path }, fault);
    StatusCode::NO_CONTENT
}

async fn disarm(State(door): State<Door>) -> StatusCode {
    door.faults.clear();
    StatusCode::NO_CONTENT
}

async fn hold_on(State(door): State<Door>) -> StatusCode {
    door.hold.set(true);
    StatusCode::NO_CONTENT
}

async fn let_go(State(door): State<Door>) -> StatusCode {
    door.hold.set(false);
    StatusCode::NO_CONTENT
}

async fn list(State(door): State<Door>) -> Json<Vec<Effect>> {
    Json(door.effects.all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Aim, String> {
        let Arm { route, when, times, each_path, .. } =
            serde_json::from_str(text).map_err(|e| e.to_string())?;
        Ok(Aim { route, when, times, each_path })
    }

    #[test]
    fn a_fault_alone_strikes_the_next_request() {
        for fault in ["\"reset_after\"", "{\"delay_ms\":500}", "{\"too_many_requests\":0}", "\"wrong_shape\""]
        {
            assert_eq!(read(&format!("{{\"fault\":{fault}}}")), Ok(Aim::default()), "{fault}");
        }
    }

    #[test]
    fn the_other_members_aim_it_and_a_misspelt_one_is_refused() {
        let aimed =
            r#"{"fault":"truncated","route":"observe","when":"after_start","times":3,"each_path":true}"#;
        let aim = Aim { route: Some(Route::Observe), when: When::AfterStart, times: 3, each_path: true };
        assert_eq!(read(aimed), Ok(aim));
        assert!(read(r#"{"fault":"truncated","rout":"observe"}"#).unwrap_err().contains("rout"));
    }
}
