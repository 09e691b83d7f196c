//! The error bodies of the services.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// CloudDC refuses.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error_code": code, "error_msg": message}))).into_response()
}

/// The API gateway refuses.
pub(super) fn gateway(status: StatusCode, code: &str, message: &str) -> Response {
    let body =
        json!({"error_code": code, "error_msg": message, "request_id": "00000000000000000000000000000000"});
    (status, Json(body)).into_response()
}

/// IMS refuses: one level deeper.
pub(super) fn nested(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
