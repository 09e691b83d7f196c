//! What vCenter's error answers mean. Its `error_type` comes first: several types share one HTTP status.

use super::wire::ErrorBody;
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::vendors::contract::Submitted;
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// A path that this vCenter does not have: it is older than the call.
pub(super) const NO_SUCH_CALL: &str = "OPERATION_NOT_FOUND";
/// The message id of a 404 for an unknown path (seen on 9.1.1).
const NO_SUCH_PATH: &str = "com.vmware.vapi.rest.httpNotFound";
/// The message id of a login refused because all sessions are taken.
const SESSIONS_TAKEN: &str = "com.vmware.vapi.endpoint.failedToLoginMaxUserSessionCountReached";

/// What an error answer means. The status is asked only when the type is missing or unknown.
pub(super) fn error(reply: &Reply) -> VendorError {
    let status = reply.status.as_u16();
    if is_page(reply) && (400..500).contains(&status) && !matches!(status, 401 | 403 | 408 | 429) {
        // vCenter's own answers are JSON: something before it answered, and the request got no further. Taken at
        // its word, a proxy's 404 would say that the target does not exist.
        let text = format!("{}; this page is not vCenter's own answer", reply.outage().message);
        return VendorError::new(VendorFault::Unreachable, Reached::No, text).with_status(status);
    }
    let body = envelope(reply).unwrap_or_default();
    let mut word = body.word();
    if status == 404 && body.messages.iter().any(|m| m.id.as_deref() == Some(NO_SUCH_PATH)) {
        word = Some(NO_SUCH_CALL.to_owned());
    }
    let plain = reply.outage();
    let known = word.as_deref().and_then(meaning);
    let words = match (body.words(), &word) {
        (Some(words), Some(word)) => format!("vCenter answered {word} (HTTP {status}): {words}"),
        (Some(words), None) => format!("vCenter answered HTTP {status}: {words}"),
        (None, Some(word)) => format!("vCenter answered {word} (HTTP {status})"),
        (None, None) => plain.message.clone(),
    };
    let (kind, reached, retry) = known.unwrap_or((plain.kind, plain.reached, None));
    let mut error = VendorError::new(kind, reached, words).with_status(status);
    // How long to wait is known only from a header, which a proxy may have set.
    error.retry = match (plain.retry, retry, error.retry) {
        (Retry::After(wait), _, Retry::Backoff) => Retry::After(wait),
        (_, Some(retry), _) => retry,
        (_, None, usual) => usual,
    };
    error.code = word;
    error
}

/// The error envelope, if the body is one. A proxy's page is not looked into.
pub(super) fn envelope(reply: &Reply) -> Option<ErrorBody> {
    if reply.is_json() { serde_json::from_slice(&reply.body).ok() } else { None }
}

fn is_page(reply: &Reply) -> bool {
    reply.header("content-type").is_some_and(|t| t.to_ascii_lowercase().contains("html"))
}

/// Kind, reach and, where it differs from the kind's usual one, retry of each `error_type`.
fn meaning(word: &str) -> Option<(VendorFault, Reached, Option<Retry>)> {
    use VendorFault as Kind;
    Some(match word {
        "UNAUTHENTICATED" => (Kind::Unauthenticated, Reached::No, None),
        "UNAUTHORIZED" => (Kind::PermissionDenied, Reached::No, None),
        "NOT_FOUND" => (Kind::NotFound, Reached::No, None),
        NO_SUCH_CALL
        | "INVALID_ARGUMENT"
        | "INVALID_REQUEST"
        | "INVALID_ELEMENT_CONFIGURATION"
        | "INVALID_ELEMENT_TYPE"
        | "UNEXPECTED_INPUT"
        | "UNSUPPORTED"
        | "NOT_ALLOWED_IN_CURRENT_STATE"
        | "FEATURE_IN_USE"
        | "RESOURCE_IN_USE"
        | "ALREADY_IN_DESIRED_STATE"
        | "ALREADY_EXISTS" => (Kind::Rejected, Reached::No, None),
        // Only reads are repeated after these: nothing says that no work was done.
        "CONCURRENT_CHANGE" => (Kind::Rejected, Reached::Maybe, Some(Retry::Backoff)),
        "RESOURCE_BUSY" | "UNABLE_TO_ALLOCATE_RESOURCE" => (Kind::RateLimited, Reached::Maybe, None),
        "RESOURCE_INACCESSIBLE"
        | "SERVICE_UNAVAILABLE"
        | "INTERNAL_SERVER_ERROR"
        | "ERROR"
        | "CANCELED"
        | "UNVERIFIED_PEER" => (Kind::Unreachable, Reached::Maybe, None),
        "TIMED_OUT" => (Kind::TimedOut, Reached::Maybe, None),
        _ => return None,
    })
}

/// What a refused login means, with what to do about it.
pub(super) fn login_error(reply: &Reply) -> VendorError {
    let mut error = error(reply).with_reached(Reached::No);
    let taken = envelope(reply)
        .is_some_and(|body| body.messages.iter().any(|m| m.id.as_deref() == Some(SESSIONS_TAKEN)));
    let advice = match reply.status.as_u16() {
        401 => "check `username` and `password`; Drydock tries again after a minute",
        404 => "this vCenter has no `/api/session`: it is older than 7.0 U2, or `endpoint` is not a vCenter",
        503 if taken => {
            "all of the account's sessions are taken: end some, or wait until they idle out; Drydock needs one"
        }
        503 => "vCenter does not take logins now: it is starting, in maintenance or too busy",
        _ => "the login failed",
    };
    error.message = format!("login: {}; {advice}", error.message.chars().take(1500).collect::<String>());
    error
}

/// Whether an error says that this vCenter does not have the call.
pub(super) fn is_missing_call(error: &VendorError) -> bool {
    error.code.as_deref() == Some(NO_SUCH_CALL)
}

/// Whether an error carries this `error_type`.
pub(super) fn is(error: &VendorError, word: &str) -> bool {
    error.code.as_deref() == Some(word)
}

/// What a failed starting call means for its job: refused for good, or open.
pub(super) fn not_started(error: VendorError) -> Submitted {
    let reason = match error.kind {
        VendorFault::Rejected => FailureReason::VendorRejected,
        VendorFault::NotFound => FailureReason::TargetNotFound,
        VendorFault::PermissionDenied => FailureReason::PermissionDenied,
        // A refused login is the provider's trouble, not the job's: it passes when somebody puts it right.
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => return Submitted::Failed(error),
    };
    match error.reached {
        Reached::No => {
            let mut failure = Failure::new(reason, error.message.clone());
            failure.vendor_code.clone_from(&error.code);
            failure.metadata = error.metadata();
            Submitted::Refused(failure, Vec::new())
        }
        Reached::Maybe | Reached::Yes => Submitted::Failed(error),
    }
}

/// The same error for another job of the same call.
pub(super) fn again(error: &VendorError) -> VendorError {
    VendorError {
        kind: error.kind,
        retry: error.retry,
        reached: error.reached,
        code: error.code.clone(),
        http_status: error.http_status,
        request_id: error.request_id.clone(),
        message: error.message.clone(),
        source: None,
    }
}
