//! Error answers as vCenter, its proxies and older versions give them.

use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::errors::{error, is_missing_call, login_error, not_started};
use crate::domain::error::VendorFault as Kind;
use crate::domain::failure::FailureReason;
use crate::vendors::contract::Submitted;
use crate::vendors::error::{Reached, Retry};
use crate::vendors::http::Reply;

fn reply(status: u16, kind: &'static str, body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() }
}

fn json(status: u16, body: &str) -> Reply {
    reply(status, "application/json", body)
}

#[test]
fn the_type_decides_before_the_status() {
    for (status, word, kind, reached) in [
        (400, "UNSUPPORTED", Kind::Rejected, Reached::No),
        (400, "RESOURCE_BUSY", Kind::RateLimited, Reached::Maybe),
        (400, "RESOURCE_INACCESSIBLE", Kind::Unreachable, Reached::Maybe),
        (500, "RESOURCE_INACCESSIBLE", Kind::Unreachable, Reached::Maybe),
        (400, "UNABLE_TO_ALLOCATE_RESOURCE", Kind::RateLimited, Reached::Maybe),
        (409, "CONCURRENT_CHANGE", Kind::Rejected, Reached::Maybe),
        (403, "UNAUTHORIZED", Kind::PermissionDenied, Reached::No),
        (404, "NOT_FOUND", Kind::NotFound, Reached::No),
        (504, "TIMED_OUT", Kind::TimedOut, Reached::Maybe),
        (503, "SERVICE_UNAVAILABLE", Kind::Unreachable, Reached::Maybe),
        (500, "INTERNAL_SERVER_ERROR", Kind::Unreachable, Reached::Maybe),
        // A word that nobody has seen before leaves it to the status.
        (404, "BRAND_NEW", Kind::NotFound, Reached::No),
        (500, "BRAND_NEW", Kind::Unreachable, Reached::Maybe),
    ] {
        let found = error(&json(status, &format!(r#"{{"error_type":"{word}","messages":[]}}"#)));
        assert_eq!((found.kind, found.reached), (kind, reached), "{word}");
        assert_eq!(found.code.as_deref(), Some(word));
        assert_eq!(found.http_status, Some(status));
    }
}

#[test]
fn all_messages_are_readable_outermost_first() {
    let body = r#"{"error_type":"UNSUPPORTED","data":{},"messages":[
        {"id":"a","default_message":"The upgrade failed.","args":[]},
        {"id":"b","default_message":"Disk full.","localized":"Platte voll.","args":[],"params":{}},
        {"id":"only.an.id"}, 7]}"#;
    let found = error(&json(400, body));
    let want = "vCenter answered UNSUPPORTED (HTTP 400): The upgrade failed.; caused by: Platte voll.; caused by: only.an.id";
    assert_eq!(found.message, want);
}

#[test]
fn a_missing_type_leaves_it_to_the_class_and_then_to_the_status() {
    let class = r#"{"@class":"com.vmware.vapi.std.errors.not_found","messages":[]}"#;
    assert_eq!(error(&json(500, class)).kind, Kind::NotFound);
    let null = r#"{"error_type":null,"messages":null}"#;
    assert_eq!(error(&json(403, null)).kind, Kind::PermissionDenied);
    assert_eq!(error(&json(400, "[]")).kind, Kind::Rejected);
    let page = error(&reply(503, "text/html", "<h1>no healthy upstream</h1>"));
    assert_eq!((page.kind, page.message.as_str()), (Kind::Unreachable, "HTTP 503: no healthy upstream"));
}

#[test]
fn a_proxys_page_says_nothing_about_the_target() {
    let page = error(&reply(404, "text/html", "<h1>no such host</h1>"));
    assert_eq!((page.kind, page.reached), (Kind::Unreachable, Reached::No));
    assert!(matches!(not_started(page), Submitted::Failed(_)));
}

#[test]
fn an_unknown_path_is_an_older_vcenter_and_no_missing_target() {
    let body = r#"{"error_type":"NOT_FOUND","messages":[{"id":"com.vmware.vapi.rest.httpNotFound"}]}"#;
    let found = error(&json(404, body));
    assert!(is_missing_call(&found));
    assert_eq!(found.kind, Kind::Rejected);
    assert!(!is_missing_call(&error(&json(404, r#"{"error_type":"NOT_FOUND"}"#))));
}

#[test]
fn how_long_to_wait_is_kept() {
    let mut busy = json(503, r#"{"error_type":"SERVICE_UNAVAILABLE"}"#);
    busy.headers.insert("retry-after", HeaderValue::from_static("9"));
    assert_eq!(error(&busy).retry, Retry::After(std::time::Duration::from_secs(9)));
    let mut refused = json(400, r#"{"error_type":"UNSUPPORTED"}"#);
    refused.headers.insert("retry-after", HeaderValue::from_static("9"));
    assert_eq!(error(&refused).retry, Retry::Never);
    assert_eq!(error(&json(409, r#"{"error_type":"CONCURRENT_CHANGE"}"#)).retry, Retry::Backoff);
}

#[test]
fn a_login_says_what_to_do() {
    let body = r#"{"error_type":"SERVICE_UNAVAILABLE","messages":[
        {"id":"com.vmware.vapi.endpoint.failedToLoginMaxUserSessionCountReached"}]}"#;
    let found = login_error(&json(503, body));
    assert!(found.message.contains("sessions are taken"), "{found}");
    assert_eq!(found.reached, Reached::No);
    assert!(login_error(&json(503, "{}")).message.contains("maintenance"));
    assert!(login_error(&json(404, "{}")).message.contains("7.0 U2"));
}

#[test]
fn only_a_certain_refusal_refuses_the_job() {
    let outcome =
        |status, word: &str| not_started(error(&json(status, &format!(r#"{{"error_type":"{word}"}}"#))));
    let Submitted::Refused(failure, _) = outcome(400, "UNSUPPORTED") else { panic!("not refused") };
    assert_eq!(
        (failure.reason, failure.vendor_code.as_deref()),
        (FailureReason::VendorRejected, Some("UNSUPPORTED"))
    );
    for (status, word) in
        [(409, "CONCURRENT_CHANGE"), (500, "ERROR"), (503, "SERVICE_UNAVAILABLE"), (401, "UNAUTHENTICATED")]
    {
        assert!(matches!(outcome(status, word), Submitted::Failed(_)), "{word}");
    }
}
