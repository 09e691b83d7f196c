//! Reads a refusal: (status, body) → [`VendorError`]. Pure.
//!
//! Several of vCenter's errors share one HTTP status (400 stands for more than six), so `error_type` decides, and
//! the status only where there is none. A body is looked at only when it calls itself JSON: proxies answer HTML.

use serde_json::Value;

use super::wire::{self, ErrorBody, Localizable};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// The longest chain of causes that is kept, in characters.
const MAX_CHAIN: usize = 1500;

/// The provider's account may not do this for every cluster of a batch; nothing was started.
pub(super) const UNAUTHORIZED: &str = "UNAUTHORIZED";
/// Not now: an upgrade runs, or a task is over already.
pub(super) const NOT_ALLOWED: &str = "NOT_ALLOWED_IN_CURRENT_STATE";
/// The operation does not apply: prechecks failed, a task cannot be cancelled, a cluster has no Supervisor.
pub(super) const UNSUPPORTED: &str = "UNSUPPORTED";
/// What a cancelled task is expected to end with.
pub(super) const CANCELED: &str = "CANCELED";
/// This vCenter does not know the call at all.
const OPERATION_NOT_FOUND: &str = "OPERATION_NOT_FOUND";
/// The message id with which vCenter answers an unknown path (seen on 9.1.1).
const NO_SUCH_PATH: &str = "com.vmware.vapi.rest.httpNotFound";
/// The message id with which a login fails when no session is left.
const NO_SESSION_LEFT: &str = "failedToLoginMaxUserSessionCountReached";

/// The error in an answer that is no success.
pub(super) fn of(reply: &Reply) -> VendorError {
    let status = reply.status.as_u16();
    let plain = reply.outage();
    let Some(body) = envelope(reply) else { return plain };
    let lacks_call = is_no_such_call(&body);
    let (kind, reached) = if lacks_call {
        (VendorFault::Rejected, Reached::No)
    } else {
        let by_type = body.error_type.as_deref().and_then(meaning);
        by_type.or_else(|| by_status(status)).unwrap_or((plain.kind, plain.reached))
    };
    let text = chain(&body);
    let mut message = match (&body.error_type, text.is_empty()) {
        (Some(code), false) => format!("{code}: {text}"),
        (Some(code), true) => format!("{code} (HTTP {status})"),
        (None, false) => format!("HTTP {status}: {text}"),
        (None, true) => format!("HTTP {status}"),
    };
    if lacks_call {
        message.push_str(" (this vCenter does not have the call; it came with a later version)");
    }
    if body.messages.iter().any(|m| m.id.as_deref().is_some_and(|id| id.ends_with(NO_SESSION_LEFT))) {
        message.push_str(
            " (vCenter has no session left for this account: end unused sessions or raise its session limit)",
        );
    }
    let mut error = VendorError::new(kind, reached, message).with_status(status);
    // A wait that was asked for holds whatever the envelope says.
    if let (Retry::After(_), true) = (plain.retry, error.retry != Retry::Never) {
        error.retry = plain.retry;
    }
    error.code = body.error_type;
    error
}

/// The envelope in a reply: that of `/api`, or that of the older `/rest` one level down.
pub(super) fn envelope(reply: &Reply) -> Option<ErrorBody> {
    if !reply.is_json() {
        return None;
    }
    let value: Value = serde_json::from_slice(&reply.body).ok()?;
    let map = value.as_object()?;
    if let (Some(inner), Some(name)) = (map.get("value"), map.get("type").and_then(Value::as_str)) {
        let mut body: ErrorBody = wire::read(inner)?;
        let name = name.rsplit('.').next().unwrap_or(name);
        let name = name.chars().take(128).collect::<String>().to_ascii_uppercase();
        body.error_type.get_or_insert(name);
        return Some(body);
    }
    if !map.contains_key("error_type") && !map.contains_key("messages") {
        return None;
    }
    let mut body: ErrorBody = wire::read(&value)?;
    body.error_type = body.error_type.filter(|word| !word.is_empty());
    Some(body)
}

/// All texts of an error, the outermost first and its deepest cause last.
pub(super) fn chain(body: &ErrorBody) -> String {
    let mut texts: Vec<&str> = Vec::new();
    for text in body.messages.iter().map(Localizable::text).filter(|text| !text.is_empty()) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(": ").chars().take(MAX_CHAIN).collect()
}

/// Kind and reach by `error_type`. A start that was refused for one of the reasons with `No` did not begin.
fn meaning(error_type: &str) -> Option<(VendorFault, Reached)> {
    Some(match error_type {
        "UNAUTHENTICATED" => (VendorFault::Unauthenticated, Reached::No),
        UNAUTHORIZED => (VendorFault::PermissionDenied, Reached::No),
        "NOT_FOUND" => (VendorFault::NotFound, Reached::No),
        OPERATION_NOT_FOUND
        | "INVALID_ARGUMENT"
        | "INVALID_REQUEST"
        | "INVALID_ELEMENT_CONFIGURATION"
        | "INVALID_ELEMENT_TYPE"
        | "UNEXPECTED_INPUT"
        | UNSUPPORTED
        | NOT_ALLOWED
        | "FEATURE_IN_USE"
        | "RESOURCE_IN_USE"
        | "ALREADY_IN_DESIRED_STATE"
        | "ALREADY_EXISTS"
        | "CONCURRENT_CHANGE" => (VendorFault::Rejected, Reached::No),
        "UNABLE_TO_ALLOCATE_RESOURCE" => (VendorFault::RateLimited, Reached::No),
        "RESOURCE_BUSY" | "RESOURCE_INACCESSIBLE" | "SERVICE_UNAVAILABLE" => {
            (VendorFault::Unreachable, Reached::Maybe)
        }
        "TIMED_OUT" => (VendorFault::TimedOut, Reached::Maybe),
        "INTERNAL_SERVER_ERROR" | "ERROR" | CANCELED | "UNVERIFIED_PEER" => {
            (VendorFault::Unreachable, Reached::Maybe)
        }
        _ => return None,
    })
}

/// What vCenter's own client reads from a status without an `error_type`, where that differs from plain HTTP.
const fn by_status(status: u16) -> Option<(VendorFault, Reached)> {
    match status {
        423 => Some((VendorFault::Unreachable, Reached::Maybe)),
        507 | 509 => Some((VendorFault::RateLimited, Reached::Maybe)),
        _ => None,
    }
}

/// Whether vCenter itself said that it does not have the call at all. A proxy's 404 says nothing.
pub(super) fn lacks_call(error: &VendorError) -> bool {
    error.http_status == Some(404) && is_vcenters(error) && error.kind != VendorFault::Unauthenticated
}

/// Whether the error came in vCenter's own envelope.
pub(super) const fn is_vcenters(error: &VendorError) -> bool {
    error.code.is_some()
}

/// An error of a call that is no job's own: whatever it is, the job waits and the call is made again.
pub(super) fn as_passing(error: VendorError) -> VendorError {
    match error.kind {
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => error,
        VendorFault::PermissionDenied | VendorFault::NotFound | VendorFault::Rejected => {
            VendorError { kind: VendorFault::Unreachable, retry: Retry::Backoff, ..error }
        }
    }
}

fn is_no_such_call(body: &ErrorBody) -> bool {
    body.error_type.as_deref() == Some(OPERATION_NOT_FOUND)
        || body.messages.iter().any(|m| m.id.as_deref() == Some(NO_SUCH_PATH))
}

/// The reason with which a refused start ends, by the refusal's `error_type`.
pub(super) fn reason(error_type: Option<&str>) -> FailureReason {
    match error_type {
        Some("NOT_FOUND") => FailureReason::TargetNotFound,
        Some(UNAUTHORIZED) => FailureReason::PermissionDenied,
        Some(UNSUPPORTED) => FailureReason::PrecheckFailed,
        _ => FailureReason::VendorRejected,
    }
}

/// A failure with the vendor's words and facts.
pub(super) fn failure(reason: FailureReason, body: &ErrorBody, fallback: &str) -> Failure {
    let text = chain(body);
    let mut failure = Failure::new(reason, if text.is_empty() { fallback.to_owned() } else { text });
    failure.vendor_code.clone_from(&body.error_type);
    failure
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn reply(status: u16, content_type: &'static str, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn error(status: u16, error_type: &str) -> VendorError {
        let body = format!(r#"{{"error_type":"{error_type}","messages":[]}}"#);
        of(&reply(status, "application/json", &body))
    }

    #[test]
    fn the_type_decides_and_not_the_status() {
        for (word, kind, reached) in [
            ("UNAUTHENTICATED", VendorFault::Unauthenticated, Reached::No),
            ("UNAUTHORIZED", VendorFault::PermissionDenied, Reached::No),
            ("NOT_FOUND", VendorFault::NotFound, Reached::No),
            ("OPERATION_NOT_FOUND", VendorFault::Rejected, Reached::No),
            ("INVALID_ARGUMENT", VendorFault::Rejected, Reached::No),
            ("UNSUPPORTED", VendorFault::Rejected, Reached::No),
            ("NOT_ALLOWED_IN_CURRENT_STATE", VendorFault::Rejected, Reached::No),
            ("CONCURRENT_CHANGE", VendorFault::Rejected, Reached::No),
            ("UNABLE_TO_ALLOCATE_RESOURCE", VendorFault::RateLimited, Reached::No),
            ("RESOURCE_BUSY", VendorFault::Unreachable, Reached::Maybe),
            ("SERVICE_UNAVAILABLE", VendorFault::Unreachable, Reached::Maybe),
            ("TIMED_OUT", VendorFault::TimedOut, Reached::Maybe),
            ("ERROR", VendorFault::Unreachable, Reached::Maybe),
        ] {
            let error = error(400, word);
            assert_eq!((error.kind, error.reached), (kind, reached), "{word}");
            assert_eq!((error.code.as_deref(), error.http_status), (Some(word), Some(400)));
        }
    }

    #[test]
    fn an_unknown_or_missing_type_falls_back_to_the_status() {
        assert_eq!(error(500, "BRAND_NEW").kind, VendorFault::Unreachable);
        assert_eq!(error(409, "BRAND_NEW").kind, VendorFault::Rejected);
        let bare = of(&reply(423, "application/json", r#"{"messages":[{"default_message":"locked"}]}"#));
        assert_eq!((bare.kind, bare.reached), (VendorFault::Unreachable, Reached::Maybe));
        assert_eq!(bare.message, "HTTP 423: locked");
    }

    #[test]
    fn the_chain_of_causes_is_shown_to_its_deepest() {
        let body = r#"{"error_type":"ERROR","messages":[{"id":"a","default_message":"Upgrade failed."},
            {"id":"b","default_message":"Upgrade failed."},{"id":"c","default_message":"No space on cp-2."}]}"#;
        let error = of(&reply(500, "application/json", body));
        assert_eq!(error.message, "ERROR: Upgrade failed.: No space on cp-2.");
    }

    #[test]
    fn html_is_never_read_as_an_envelope() {
        let error = of(&reply(502, "text/html", "<html>Bad gateway</html>"));
        assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::Maybe));
    }

    #[test]
    fn a_missing_call_is_not_a_missing_thing() {
        let path = r#"{"error_type":"NOT_FOUND","messages":[{"id":"com.vmware.vapi.rest.httpNotFound","default_message":"Not found."}]}"#;
        let thing =
            r#"{"error_type":"NOT_FOUND","messages":[{"id":"x","default_message":"No Supervisor."}]}"#;
        let missing_call = of(&reply(404, "application/json", path));
        assert_eq!((missing_call.kind, missing_call.reached), (VendorFault::Rejected, Reached::No));
        assert!(missing_call.message.contains("later version"));
        assert_eq!(of(&reply(404, "application/json", thing)).kind, VendorFault::NotFound);
    }

    #[test]
    fn the_older_envelope_is_understood() {
        let body = r#"{"type":"com.vmware.vapi.std.errors.unauthenticated","value":{"messages":[{"default_message":"Authentication required."}]}}"#;
        let error = of(&reply(401, "application/json", body));
        assert_eq!(error.kind, VendorFault::Unauthenticated);
        assert_eq!(error.message, "UNAUTHENTICATED: Authentication required.");
    }

    #[test]
    fn no_session_left_says_what_to_do() {
        let body = r#"{"error_type":"SERVICE_UNAVAILABLE","messages":[
            {"id":"com.vmware.vapi.endpoint.failedToLoginMaxUserSessionCountReached","default_message":"Session count reached 550."}]}"#;
        let error = of(&reply(503, "application/json", body));
        assert!(error.message.contains("end unused sessions"), "{}", error.message);
    }
}
