//! What ZStack's errors mean. Pure: status and body in, error or failure out.
//!
//! The rule that matters most: HTTP 503 **with** `{"error":{…}}` is a business error, said once and for all; a
//! 503 **without** it comes from a proxy or a dead servlet. Everything between 400 and 500 is plain text from
//! ZStack's REST layer, which had not done anything yet; an HTML page is from something in between.

use std::collections::BTreeMap;

use serde_json::Value;

use super::wire::ErrorCode;
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// The code for a session that is unknown or has expired. Said before anything ran.
pub(super) const INVALID_SESSION: &str = "ID.1001";
/// The longest of ZStack's sentences in a failure.
const MAX_SENTENCE: usize = 2048;
/// The longest single fact that goes into a failure's metadata.
const MAX_FACT: usize = 1024;

/// The error inside an answer, when it carries ZStack's envelope.
pub(super) fn error_of(reply: &Reply) -> Option<ErrorCode> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    ErrorCode::read(body.get("error")?)
}

/// An answer that is not the one hoped for, as an error.
pub(super) fn failed(reply: &Reply) -> VendorError {
    let status = reply.status.as_u16();
    if let Some(error) = error_of(reply) {
        return business(&error).with_status(status);
    }
    if (400..500).contains(&status) && status != 429 && is_html(reply) {
        let text = format!("HTTP {status} from something between Drydock and ZStack: {}", reply.text());
        return VendorError::new(VendorFault::Unreachable, Reached::Maybe, text).with_status(status);
    }
    if status == 403 && is_skewed(reply) {
        let text = format!(
            "ZStack refused the signature's date: {}. It compares its own local time; set `server_utc_offset`",
            reply.text()
        );
        return VendorError::new(VendorFault::Unauthenticated, Reached::No, text).with_status(status);
    }
    // The access-key verifier is closed source; its known texts name the key, and its status could not be verified.
    if (400..500).contains(&status) && names_the_key(reply) {
        let text = format!("ZStack refused the access key (HTTP {status}): {}", reply.text());
        return VendorError::new(VendorFault::Unauthenticated, Reached::No, text).with_status(status);
    }
    reply.outage()
}

fn names_the_key(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    text.contains("wrong accesskey") || text.contains("access key id")
}

/// Whether an answer says that the session is unknown or has expired.
pub(super) fn is_session_fault(reply: &Reply) -> bool {
    reply.status.as_u16() == 503 && error_of(reply).is_some_and(|e| e.is(INVALID_SESSION))
}

/// Whether an answer says that the date of an access-key signature is off (`requestTimeTooSkewed`).
pub(super) fn is_skewed(reply: &Reply) -> bool {
    reply.status.as_u16() == 403 && reply.text().to_ascii_lowercase().contains("skew")
}

/// Whether an answer says that the access key itself, or its signature, is wrong. The verifier's source is closed;
/// these are the texts that the vendor's own SDK looks for.
pub(super) fn is_key_refused(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    text.contains("wrong accesskey signature") || text.contains("access key id")
}

/// Whether a page comes from something that is not ZStack: ZStack speaks JSON and plain text.
pub(super) fn is_html(reply: &Reply) -> bool {
    reply.header("content-type").is_some_and(|t| t.to_ascii_lowercase().contains("html"))
        || reply.body.trim_ascii_start().first() == Some(&b'<')
}

/// Whether ZStack saw this `X-Job-UUID` before: it did not start anything a second time.
pub(super) fn is_duplicate(reply: &Reply) -> bool {
    reply.status.as_u16() == 400 && reply.text().to_ascii_lowercase().contains("duplicate job uuid")
}

/// ZStack's own error, as an error of the call. It is never sent again as it is.
pub(super) fn business(error: &ErrorCode) -> VendorError {
    let code = error.code.as_deref().unwrap_or_default();
    let (kind, reached, retry) = match code {
        _ if mentions(error, "ID.1006") => (VendorFault::RateLimited, Reached::No, Retry::Backoff),
        "ID.1002" => (VendorFault::PermissionDenied, Reached::No, Retry::Never),
        _ if code.starts_with("ID.") => (VendorFault::Unauthenticated, Reached::No, Retry::Never),
        "SYS.1001" => (VendorFault::TimedOut, Reached::Maybe, Retry::Backoff),
        // Not ready yet: said by the API layer before it looks at the message.
        "SYS.1010" => (VendorFault::Unreachable, Reached::No, Retry::Backoff),
        "SYS.1009" | "SYS.1011" | "SYS.1012" | "SYS.1016" => {
            (VendorFault::Unreachable, Reached::Maybe, Retry::Backoff)
        }
        "SYS.1003" => (VendorFault::NotFound, Reached::Yes, Retry::Never),
        _ => (VendorFault::Rejected, Reached::Yes, Retry::Never),
    };
    let mut out = VendorError::new(kind, reached, sentence(error)).with_retry(retry);
    out.code.clone_from(&error.code);
    out
}

/// The error without what names a session: ZStack quotes the dead session in the details of `ID.1001`.
pub(super) fn without_session(mut error: ErrorCode) -> ErrorCode {
    if error.is(INVALID_SESSION) {
        error.details = None;
        error.opaque = None;
        error.cause = None;
    }
    error
}

/// Whether a failed start may still have left something running: ZStack lost sight of its own message.
pub(super) fn is_ambiguous(error: &ErrorCode) -> bool {
    matches!(error.code.as_deref(), Some("SYS.1001" | "SYS.1009" | "SYS.1011" | "SYS.1012" | "SYS.1016"))
}

/// ZStack's refusal of a start, with everything it said.
pub(super) fn refusal(error: &ErrorCode) -> Failure {
    let reason = match error.code.as_deref() {
        Some("SYS.1003") => FailureReason::TargetNotFound,
        Some(code) if code.starts_with("ID.") => FailureReason::PermissionDenied,
        Some(_) | None => FailureReason::VendorRejected,
    };
    let text = cut(&sentence(error), MAX_SENTENCE);
    let mut failure = Failure::new(reason, format!("ZStack refused the update: {text}"));
    failure.vendor_code.clone_from(&error.code);
    failure.metadata = facts(error);
    failure
}

/// The deepest cause, and above it what ZStack calls the whole.
pub(super) fn sentence(error: &ErrorCode) -> String {
    let deepest = error.deepest();
    let what = |e: &ErrorCode| match (&e.details, &e.description) {
        (Some(details), _) if !details.is_empty() => Some(details.clone()),
        (_, Some(description)) if !description.is_empty() => Some(description.clone()),
        _ => None,
    };
    let cause = what(deepest).or_else(|| what(error)).unwrap_or_else(|| "no text was given".to_owned());
    let mut text = cause;
    if !std::ptr::eq(deepest, error)
        && let Some(outer) = error.description.as_deref().or(error.details.as_deref())
        && !outer.is_empty()
    {
        text = format!("{outer}: {text}");
    }
    match deepest.code.as_deref().or(error.code.as_deref()) {
        Some(code) => format!("{text} ({code})"),
        None => text,
    }
}

/// Every member of the error, for a failure's metadata.
pub(super) fn facts(error: &ErrorCode) -> BTreeMap<String, String> {
    let cause = error.cause.as_ref().and_then(|c| serde_json::to_string(c).ok());
    [
        ("description", error.description.clone()),
        ("details", error.details.clone()),
        ("elaboration", error.elaboration.clone()),
        ("opaque", error.opaque.as_ref().map(Value::to_string)),
        ("cause", cause),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|v| (name.to_owned(), cut(&v, MAX_FACT))))
    .collect()
}

/// `text`, at most `limit` bytes of it, marked where it was cut.
pub(super) fn cut(text: &str, limit: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = limit.saturating_sub(MARK.len());
    let end = (0..=end).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

/// Whether an error or any below it has the code; some builds put it into the details only.
fn mentions(error: &ErrorCode, code: &str) -> bool {
    error.is(code)
        || error.details.as_deref().is_some_and(|d| d.contains(code))
        || error.cause.as_deref().is_some_and(|c| mentions(c, code))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn a_503_with_an_envelope_is_business_and_one_without_is_an_outage() {
        let business =
            failed(&reply(503, r#"{"error":{"code":"SYS.1007","details":"host[x] is not Connected"}}"#));
        assert_eq!((business.kind, business.retry), (VendorFault::Rejected, Retry::Never));
        assert_eq!(business.message, "host[x] is not Connected (SYS.1007)");
        assert_eq!(business.code.as_deref(), Some("SYS.1007"));
        for body in ["", "<html>Service Unavailable</html>", "{}", r#"{"error":null}"#] {
            let outage = failed(&reply(503, body));
            assert_eq!(
                (outage.kind, outage.retry, outage.reached),
                (VendorFault::Unreachable, Retry::Backoff, Reached::Maybe),
                "{body}"
            );
        }
    }

    #[test]
    fn a_page_from_a_proxy_proves_nothing() {
        for status in [403, 404] {
            let error = failed(&reply(status, " <html><h1>nginx</h1></html>"));
            assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::Maybe));
        }
        assert_eq!(failed(&reply(404, "no job found")).kind, VendorFault::NotFound);
        assert_eq!(failed(&reply(400, "wrong header")).kind, VendorFault::Rejected);
        assert_eq!(failed(&reply(429, "Rate limit exceeded")).reached, Reached::No);
    }

    #[test]
    fn a_wrong_key_is_not_a_wrong_date() {
        assert!(is_key_refused(&reply(403, "Wrong accessKey signature")));
        assert!(is_key_refused(&reply(403, "the access key id[x] does not exist")));
        assert!(!is_key_refused(&reply(403, "requestTimeTooSkewed")));
        assert!(is_skewed(&reply(403, "requestTimeTooSkewed")));
    }

    #[test]
    fn each_code_gets_its_kind() {
        let kind = |code: &str| business(&ErrorCode { code: Some(code.into()), ..ErrorCode::default() }).kind;
        for (code, expected) in [
            ("SYS.1000", VendorFault::Rejected),
            ("SYS.1001", VendorFault::TimedOut),
            ("SYS.1003", VendorFault::NotFound),
            ("SYS.1007", VendorFault::Rejected),
            ("SYS.1010", VendorFault::Unreachable),
            ("ID.1000", VendorFault::Unauthenticated),
            ("ID.1001", VendorFault::Unauthenticated),
            ("ID.1002", VendorFault::PermissionDenied),
            ("ID.1006", VendorFault::RateLimited),
            ("ID.2001", VendorFault::Unauthenticated),
            ("LONG_JOB.1003", VendorFault::Rejected),
            ("NEW.9999", VendorFault::Rejected),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
        let hidden = ErrorCode {
            code: Some("SYS.1006".into()),
            details: Some("[ID.1006] too many".into()),
            ..ErrorCode::default()
        };
        assert_eq!(business(&hidden).kind, VendorFault::RateLimited);
    }

    #[test]
    fn the_deepest_cause_is_shown_and_nothing_is_lost() {
        let error = error_of(&reply(
            503,
            r#"{"error":{"code":"SYS.1006","description":"An operation failed","opaque":{"k":1},
                "cause":{"code":"SYS.1007","details":"cluster is not KVM"}}}"#,
        ))
        .unwrap();
        let failure = refusal(&error);
        assert_eq!(
            failure.message,
            "ZStack refused the update: An operation failed: cluster is not KVM (SYS.1007)"
        );
        assert_eq!(failure.vendor_code.as_deref(), Some("SYS.1006"));
        assert_eq!(failure.metadata["opaque"], r#"{"k":1}"#);
        assert!(failure.metadata["cause"].contains("SYS.1007"));
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut("héhéhé", 6), "hé…");
        assert_eq!(cut("short", 6), "short");
    }
}
