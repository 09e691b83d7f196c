//! Reads a refusal: (status, body) → [`VendorError`]. Pure.
//!
//! Three services and a gateway answer in different envelopes: `{error_code,error_msg}` (CloudDC, the API
//! gateway), `{errorCode,errorMsg}`, `{code,message}`, and any of these one level down (IAM, IMS). The vendor's
//! SDK accepts the same set.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// A parameter that is missing from the request.
pub(super) const MISSING: &str = "iMetal.0002";
/// A bad or unsupported value in the request.
pub(super) const BAD_VALUE: &str = "iMetal.0001";
/// Some of the instances asked for do not exist; the message lists them.
pub(super) const INSTANCES_NOT_FOUND: &str = "iMetal.0200";
/// How long to wait after "too many requests" without `Retry-After`: the vendor's FAQ says 2 to 5 seconds.
const CALM: Duration = Duration::from_secs(5);

/// The error in an answer that is no success.
pub(super) fn of(reply: &Reply) -> VendorError {
    let status = reply.status.as_u16();
    let plain = reply.outage();
    let mut error = match envelope(&reply.body) {
        None => plain,
        Some((code, message)) => {
            let (kind, reached) = meaning(status, code.as_deref()).unwrap_or((plain.kind, plain.reached));
            let text = match (&code, message.is_empty()) {
                (Some(code), false) => format!("{code}: {message}"),
                (Some(code), true) => format!("{code} (HTTP {status})"),
                (None, _) => format!("HTTP {status}: {message}"),
            };
            let mut error =
                VendorError::new(kind, reached, text + advice(code.as_deref())).with_status(status);
            // A wait that the vendor asked for holds whatever the envelope says.
            if let (Retry::After(_), true) = (plain.retry, error.retry != Retry::Never) {
                error.retry = plain.retry;
            }
            error.code = code;
            error
        }
    };
    if error.kind == VendorFault::RateLimited && error.retry == Retry::Backoff {
        error.retry = Retry::After(CALM);
    }
    error.request_id = reply.header("x-request-id").map(|id| id.chars().take(128).collect());
    error
}

/// Kind and reach by the vendor's own code where it says more than the status.
fn meaning(status: u16, code: Option<&str>) -> Option<(VendorFault, Reached)> {
    // Some services spell the gateway's prefix `APIG.`.
    let code = code?.replace("APIG.", "APIGW.");
    Some(match (code.as_str(), status) {
        ("iMetal.0003" | "APIGW.0301" | "APIGW.0307", _) => (VendorFault::Unauthenticated, Reached::No),
        ("iMetal.0004" | "APIGW.0302", _) => (VendorFault::PermissionDenied, Reached::No),
        ("iMetal.0005" | "APIGW.0308", _) => (VendorFault::RateLimited, Reached::No),
        // The gateway does not know the path: the endpoint is wrong, not the instance.
        ("APIGW.0101", _) => (VendorFault::Rejected, Reached::No),
        ("APIGW.0201", 413) => (VendorFault::Rejected, Reached::No),
        ("APIGW.0201", 504) => (VendorFault::TimedOut, Reached::Maybe),
        ("APIGW.0201" | "APIGW.0613" | "iMetal.0099", 500..) => (VendorFault::Unreachable, Reached::Maybe),
        ("iMetal.0100" | INSTANCES_NOT_FOUND, 400..=499) => (VendorFault::NotFound, Reached::No),
        _ => return None,
    })
}

/// Whether a code is one of the gateway before the service. Some services spell its prefix `APIG.`.
pub(super) fn is_gateways(code: &str) -> bool {
    code.starts_with("APIGW.") || code.starts_with("APIG.")
}

fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("APIGW.0101") => " (check `endpoint`: the gateway there does not know CloudDC)",
        Some("APIGW.0301") => {
            " (check the credentials and this machine's clock: a signature older than 15 minutes is refused)"
        }
        Some("APIGW.0307") => " (the token ended, or it belongs to another region)",
        _ => "",
    }
}

/// Code and message of the deepest envelope in a body.
fn envelope(body: &[u8]) -> Option<(Option<String>, String)> {
    let Ok(Value::Object(top)) = serde_json::from_slice::<Value>(body) else {
        return None;
    };
    top.values().filter_map(Value::as_object).find_map(flat).or_else(|| flat(&top))
}

fn flat(map: &Map<String, Value>) -> Option<(Option<String>, String)> {
    let text = |names: [&str; 3]| {
        names.iter().find_map(|name| match map.get(*name)? {
            Value::String(text) => {
                Some(text.chars().filter(|c| !c.is_control()).take(1500).collect::<String>())
            }
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
    };
    let code = text(["error_code", "errorCode", "code"]).filter(|c| !c.is_empty());
    let message = text(["error_msg", "errorMsg", "message"]);
    if code.is_none() && message.is_none() {
        return None;
    }
    Some((code, message.unwrap_or_default()))
}

/// A refusal as the end of a job.
pub(super) fn failure(error: &VendorError) -> Failure {
    let reason = match error.kind {
        VendorFault::PermissionDenied | VendorFault::Unauthenticated => FailureReason::PermissionDenied,
        VendorFault::NotFound => FailureReason::TargetNotFound,
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Rejected
        | VendorFault::Garbled => FailureReason::VendorRejected,
    };
    let mut failure = Failure::new(reason, error.message.clone());
    failure.vendor_code = error.code.clone();
    failure.metadata = error.metadata();
    failure
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn read(status: u16, body: &str) -> VendorError {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("req-1"));
        of(&Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        })
    }

    #[test]
    fn every_published_code_has_its_kind_and_reach() {
        use VendorFault as F;
        let table = [
            (400, "iMetal.0001", F::Rejected, Reached::No),
            (400, "iMetal.0002", F::Rejected, Reached::No),
            (401, "iMetal.0003", F::Unauthenticated, Reached::No),
            (403, "iMetal.0004", F::PermissionDenied, Reached::No),
            (429, "iMetal.0005", F::RateLimited, Reached::No),
            (500, "iMetal.0099", F::Unreachable, Reached::Maybe),
            (404, "iMetal.0100", F::NotFound, Reached::No),
            (400, "iMetal.0101", F::Rejected, Reached::No),
            (400, "iMetal.0102", F::Rejected, Reached::No),
            (400, "iMetal.0110", F::Rejected, Reached::No),
            (404, "iMetal.0200", F::NotFound, Reached::No),
            (400, "iMetal.0201", F::Rejected, Reached::No),
            (401, "APIGW.0301", F::Unauthenticated, Reached::No),
            (401, "APIGW.0307", F::Unauthenticated, Reached::No),
            (403, "APIGW.0302", F::PermissionDenied, Reached::No),
            (404, "APIGW.0101", F::Rejected, Reached::No),
            (413, "APIGW.0201", F::Rejected, Reached::No),
            (502, "APIGW.0201", F::Unreachable, Reached::Maybe),
            (504, "APIGW.0201", F::TimedOut, Reached::Maybe),
            (503, "APIGW.0613", F::Unreachable, Reached::Maybe),
            (429, "APIG.0308", F::RateLimited, Reached::No),
        ];
        for (status, code, kind, reached) in table {
            let error = read(status, &format!(r#"{{"error_code":"{code}","error_msg":"why"}}"#));
            assert_eq!((error.kind, error.reached), (kind, reached), "{status} {code}");
            assert_eq!(error.code.as_deref(), Some(code));
            assert!(error.message.starts_with(&format!("{code}: why")), "{}", error.message);
            assert_eq!(error.request_id.as_deref(), Some("req-1"));
        }
    }

    #[test]
    fn all_envelopes_are_understood_and_the_deepest_wins() {
        for body in [
            r#"{"error_code":"X.1","error_msg":"why"}"#,
            r#"{"errorCode":"X.1","errorMsg":"why"}"#,
            r#"{"code":"X.1","message":"why"}"#,
            r#"{"error":{"code":"X.1","message":"why"}}"#,
            r#"{"message":"outer","error":{"error_code":"X.1","error_msg":"why"}}"#,
        ] {
            assert_eq!(read(400, body).message, "X.1: why", "{body}");
        }
        let keystone = r#"{"error":{"code":401,"message":"wrong password","title":"Unauthorized"}}"#;
        assert_eq!(read(401, keystone).message, "401: wrong password");
        assert_eq!(read(400, r#"{"message":"only words"}"#).message, "HTTP 400: only words");
    }

    #[test]
    fn too_many_requests_may_be_a_bare_string() {
        for body in ["\"slow down\"", "slow down", "", "{}"] {
            let error = read(429, body);
            assert_eq!((error.kind, error.reached), (VendorFault::RateLimited, Reached::No), "{body}");
            assert_eq!(error.retry, Retry::After(CALM), "{body}");
        }
    }

    #[test]
    fn strange_bodies_are_outages_and_never_a_panic() {
        for body in ["", "null", "[]", "{}", "<html>x</html>", r#"{"error":[]}"#, r#"{"error_code":{}}"#] {
            let error = read(503, body);
            assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::Maybe), "{body}");
        }
    }
}
