//! The envelopes and small pieces that all answers share.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A JSON answer.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A 200.
pub(super) fn good(body: &Value) -> Response {
    answer(StatusCode::OK, body)
}

/// A 204.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A message without arguments.
pub(super) fn text(id: &str, words: &str) -> Value {
    json!({"id": id, "default_message": words, "args": []})
}

/// A message about something.
pub(super) fn text_about(id: &str, words: &str, about: &str) -> Value {
    json!({"id": id, "default_message": words, "args": [about]})
}

/// An error's body: the outermost message first, its causes after it.
pub(super) fn error(error_type: &str, messages: &[(&str, &str)]) -> Value {
    let messages: Vec<Value> = messages.iter().map(|(id, words)| text(id, words)).collect();
    json!({"error_type": error_type, "messages": messages})
}

/// An error.
pub(super) fn refuse(status: u16, error_type: &str, messages: &[(&str, &str)]) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, &error(error_type, messages))
}

/// What vCenter says of a path that it does not have.
pub(super) fn no_such_path() -> Response {
    refuse(404, "NOT_FOUND", &[("com.vmware.vapi.rest.httpNotFound", "Not found.")])
}

/// A moment as vCenter writes it.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
