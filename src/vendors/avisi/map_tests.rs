//! The vendor's answers, golden and odd, and what they are read as.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::map::{MAX_ANSWER, accepted, answer, error, not_started, reported};
use super::notes::Notes;
use super::wire::{Cluster, ScheduledUpgrade};
use crate::domain::error::VendorFault;
use crate::domain::failure::FailureReason;
use crate::domain::job::Provenance;
use crate::domain::operation::{Operation, ScheduledUpgrade as Scheduled, Upgrade};
use crate::vendors::contract::{Phase, Submitted};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// The example of the facts: what a POST is answered with.
const GOLDEN: &str = r#"{"identity":"2f6f6c0e-5a7b-4a8e-8f0d-3f6a1f0b9c11","clusterIdentity":"7b0c1a52-0d2e-4e0a-9a43-0c5d1c1f2a10","createdAt":"2026-11-21T09:00:00Z","modifiedAt":"2026-11-21T09:00:00Z","fromClusterVersion":"v1.34.9-u-ame.2","toClusterVersion":"v1.35.6-u-ame.4","status":"REQUESTED","clusterSlug":"prod-1","environmentSlug":"production","organisationSlug":"acme","scheduleRequestDate":"2026-11-29T01:00:00Z","ignoreMaintenanceSchedule":false}"#;

fn operation() -> Operation {
    let upgrade = Upgrade { version: Some("v1.35.6-u-ame.4".into()), ..Upgrade::default() };
    Operation::ScheduledUpgrade(Scheduled { upgrade, ..Scheduled::default() })
}

fn with_status(status: &str) -> ScheduledUpgrade {
    ScheduledUpgrade { status: Some(status.into()), ..serde_json::from_str(GOLDEN).unwrap() }
}

fn reply(status: u16, kind: &'static str, body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers, body: bytes::Bytes::copy_from_slice(body.as_bytes()) }
}

fn read(status: u16, body: &str) -> VendorError {
    error(&reply(status, "application/json", body))
}

#[test]
fn every_word_has_its_phase_and_no_other_word_has_one() {
    for (word, phase) in [
        ("REQUESTED", Phase::Scheduled),
        ("SCHEDULED", Phase::Scheduled),
        ("SCHEDULED_NOTIFIED", Phase::Scheduled),
        ("IN_PROGRESS", Phase::Running),
        ("SUCCEEDED", Phase::Succeeded),
        ("MISSED", Phase::Missed),
        ("SUPERSEDED", Phase::Superseded),
        ("CANCELLED", Phase::Cancelled),
        ("SKIPPED", Phase::Unclear),
        ("UPDATED", Phase::Unclear),
        ("succeeded", Phase::Unclear),
        ("", Phase::Unclear),
    ] {
        let seen = reported(&with_status(word), &operation(), true);
        assert_eq!((&seen.phase, seen.vendor_state.as_deref()), (&phase, Some(word)), "{word}");
        assert_eq!(seen.provenance, Provenance::Reported);
    }
    let mut failed = with_status("FAILED");
    for (reason, text) in [(Some("no quorum"), "no quorum"), (None, "within the allowed time")] {
        failed.reason = reason.map(Into::into);
        let Phase::Failed(failure) = reported(&failed, &operation(), true).phase else {
            panic!("not failed")
        };
        assert_eq!(failure.reason, FailureReason::VendorFailed);
        assert!(failure.message.contains(text), "{}", failure.message);
    }
    let seen = reported(&ScheduledUpgrade::default(), &operation(), true);
    assert_eq!((seen.phase, seen.vendor_state), (Phase::Unclear, None));
}

#[test]
fn only_what_waits_can_be_cancelled_and_only_by_an_operator() {
    for (word, possible) in
        [("REQUESTED", true), ("SCHEDULED_NOTIFIED", true), ("IN_PROGRESS", false), ("X", false)]
    {
        let possible_for =
            |operator| reported(&with_status(word), &operation(), operator).cancelable.unwrap().possible;
        assert_eq!((possible_for(true), possible_for(false)), (possible, false), "{word}");
    }
}

#[test]
fn an_accepted_start_is_at_least_scheduled_and_every_field_is_kept() {
    let before = Notes { baseline: Some("v1".into()), moved: true, ..Notes::default() };
    let seen = accepted(with_status("REQUESTED"), &operation(), &before, false);
    assert_eq!((&seen.phase, seen.provenance), (&Phase::Scheduled, Provenance::Reported));
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen.answer.unwrap()).unwrap(), golden);
    let notes = Notes::read(seen.handle.as_ref());
    assert_eq!((notes.baseline.as_deref(), notes.moved), (Some("v1"), false));
    assert_eq!(notes.identity(), Some("2f6f6c0e-5a7b-4a8e-8f0d-3f6a1f0b9c11"));

    for odd in [with_status("BRAND_NEW"), ScheduledUpgrade::default()] {
        let seen = accepted(odd, &operation(), &Notes::default(), false);
        assert_eq!((seen.phase, seen.provenance), (Phase::Scheduled, Provenance::Inferred));
    }
}

#[test]
fn an_answer_stays_within_its_bound() {
    let long = "ü\"".repeat(5000);
    let body = format!(r#"{{"reason":{0},"identity":{0},"status":{0}}}"#, serde_json::Value::from(long));
    let upgrade: ScheduledUpgrade = serde_json::from_str(&body).unwrap();
    let text = answer(Some(&upgrade), Some(&Cluster::default())).unwrap();
    assert!(text.len() <= MAX_ANSWER && text.starts_with(r#"{"identity""#));
    assert_eq!(answer(None, None), None);
}

#[test]
fn the_envelope_speaks_with_its_details() {
    let error = read(400, r#"{"message":"Invalid request parameters","details":["version: unknown","x"]}"#);
    assert_eq!(error.message, "Avisi answered HTTP 400: Invalid request parameters: version: unknown; x");
    assert_eq!(
        (error.kind, error.reached, error.http_status),
        (VendorFault::Rejected, Reached::No, Some(400))
    );
    for (body, text) in [
        (r#"{"message":"m"}"#, "Avisi answered HTTP 409: m"),
        (r#"{"message":null,"details":"d"}"#, "Avisi answered HTTP 409: d"),
        (r#"{"message":"","details":[]}"#, "HTTP 409: {\"message\":\"\",\"details\":[]}"),
        ("plain words", "HTTP 409: plain words"),
        ("", "HTTP 409"),
    ] {
        let error = read(409, body);
        assert_eq!((error.message.as_str(), error.kind), (text, VendorFault::Rejected));
    }
}

#[test]
fn statuses_decide_what_may_have_happened() {
    for (status, kind, reached) in [
        (401, VendorFault::Unauthenticated, Reached::No),
        (403, VendorFault::PermissionDenied, Reached::No),
        (404, VendorFault::NotFound, Reached::No),
        (429, VendorFault::RateLimited, Reached::No),
        (408, VendorFault::TimedOut, Reached::Maybe),
        (500, VendorFault::Unreachable, Reached::Maybe),
        (504, VendorFault::TimedOut, Reached::Maybe),
        (302, VendorFault::Garbled, Reached::Maybe),
    ] {
        let error = read(status, r#"{"message":"m","details":[]}"#);
        assert_eq!((error.kind, error.reached), (kind, reached), "{status}");
    }
    let mut limited = reply(429, "text/plain", "slow down");
    limited.headers.insert("retry-after", HeaderValue::from_static("3"));
    assert_eq!(error(&limited).retry, Retry::After(std::time::Duration::from_secs(3)));
}

#[test]
fn a_page_of_something_in_between_is_not_the_vendors_refusal() {
    for status in [400, 404, 413] {
        let error = error(&reply(status, "text/html", "<html><h1>Not Found</h1></html>"));
        assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
        assert!(matches!(not_started(error), Submitted::Failed(_)));
    }
    let error = error(&reply(502, "text/html", "<html>Bad Gateway</html>"));
    assert_eq!(error.reached, Reached::Maybe);
}

#[test]
fn only_a_refusal_that_certainly_did_nothing_ends_a_job() {
    for (status, reason) in [
        (400, Some(FailureReason::VendorRejected)),
        (403, Some(FailureReason::PermissionDenied)),
        (404, Some(FailureReason::TargetNotFound)),
        (409, Some(FailureReason::VendorRejected)),
        (401, None),
        (429, None),
        (500, None),
        (503, None),
    ] {
        let told = match not_started(read(status, r#"{"message":"m","details":[]}"#)) {
            Submitted::Refused(failure, _) => Some(failure.reason),
            Submitted::Failed(_) => None,
            Submitted::Started(seen) => panic!("{seen:?}"),
        };
        assert_eq!(told, reason, "{status}");
    }
}
