//! Domain errors as gRPC statuses: one table, no wildcard arm.
//!
//! Every status made here carries `google.rpc.ErrorInfo` with a published reason and the domain `drydock`, and what
//! else the caller can act on. `docs/errors.md` is the same table for people; a test compares the two. Statuses that
//! the gRPC library makes before a handler runs (unknown method, undecodable or too large a message) get theirs on the way
//! out, in [`layers::explained`](super::layers::explained).

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::error::{Error, FieldViolation, VendorFault};

/// The domain of every reason.
pub const DOMAIN: &str = "drydock";
/// The reason of the one status that only this room knows: the caller's deadline, or the server's longest, passed.
pub const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";

/// After an error that is likely to pass by itself.
const SOON: Duration = Duration::from_secs(1);

// A status travels in the head or trailers of an answer, and clients bound those: gRPC's C core (Python, C#, Ruby)
// refuses some answers above 8 KiB and all above 16 KiB, and then its caller sees neither code nor details. Base64
// makes a third more of details, and percent-encoding up to three times as much of a message.
/// The longest message, and the longest text of a detail, in bytes.
const MAX_TEXT: usize = 768;
/// The longest value in `ErrorInfo.metadata`, in bytes. A resume token is never cut.
const MAX_FACT: usize = 256;
/// How much room the faults of a request have in the details, in bytes.
const FAULTS_ROOM: usize = 3 << 10;

/// The code of an error.
pub const fn code(error: &Error) -> Code {
    match error {
        Error::InvalidRequest(_) | Error::PageTokenInvalid | Error::ResumeTokenInvalid => {
            Code::InvalidArgument
        }
        Error::NotFound { .. } => Code::NotFound,
        Error::TargetBusy { .. }
        | Error::ForeignBusy { .. }
        | Error::WrongState { .. }
        | Error::CancelUnsupported { .. }
        | Error::AlreadyRetried { .. } => Code::FailedPrecondition,
        Error::QueueFull { .. } | Error::Overloaded(_) => Code::ResourceExhausted,
        Error::RequestIdReused { .. } => Code::AlreadyExists,
        Error::Unsupported(_) => Code::Unimplemented,
        Error::ResumeTokenExpired => Code::OutOfRange,
        Error::WatchAged | Error::StoreUnavailable { .. } | Error::ShuttingDown => Code::Unavailable,
        Error::Vendor { kind, .. } => match kind {
            VendorFault::Unreachable | VendorFault::TimedOut => Code::Unavailable,
            VendorFault::RateLimited => Code::ResourceExhausted,
            // The provider's account is at fault, not the caller's: UNAUTHENTICATED would mislead.
            VendorFault::Unauthenticated | VendorFault::PermissionDenied | VendorFault::Rejected => {
                Code::FailedPrecondition
            }
            VendorFault::NotFound => Code::NotFound,
            VendorFault::Garbled => Code::Internal,
        },
        Error::Internal(_) => Code::Internal,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(&error, None)
    }
}

/// The status that ends a watch: with the last token that was given, when there is one.
pub fn watch_end(error: &Error, resume_token: Option<&str>) -> Status {
    status(error, resume_token)
}

/// The status of a call whose time is up.
pub fn deadline(limit: Duration) -> Status {
    let goes_on = "what it began goes on, so repeat it with the same request_id";
    time_up(limit, format!("the call took longer than {} ms; {goes_on}", limit.as_millis()), None)
}

/// The status of a watch that its caller wanted for no longer.
pub fn watch_deadline(limit: Duration, resume_token: Option<&str>) -> Status {
    let message = format!("the watch was wanted for {} ms; go on with the last token", limit.as_millis());
    time_up(limit, message, resume_token)
}

fn time_up(limit: Duration, message: String, resume_token: Option<&str>) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::from([("limit_ms".to_owned(), limit.as_millis().to_string())]);
    metadata.extend(resume_token.map(|token| ("resume_token".to_owned(), token.to_owned())));
    details.set_error_info(DEADLINE_EXCEEDED, DOMAIN, metadata);
    Status::with_error_details(Code::DeadlineExceeded, message, details)
}

/// The same status as a message inside an answer.
pub fn inside(error: Error) -> tonic_types::pb::Status {
    as_message(&Status::from(error))
}

/// A status as a message.
pub fn as_message(status: &Status) -> tonic_types::pb::Status {
    // What tonic-types just wrote reads back; if it ever did not, code and message are still right.
    let details =
        tonic_types::pb::Status::decode(status.details()).map(|read| read.details).unwrap_or_default();
    tonic_types::pb::Status { code: i32::from(status.code()), message: status.message().to_owned(), details }
}

fn status(error: &Error, resume_token: Option<&str>) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = metadata(error);
    metadata.values_mut().for_each(|value| cut(value, MAX_FACT));
    if let Some(token) = resume_token {
        metadata.insert("resume_token".to_owned(), token.to_owned());
    }
    details.set_error_info(error.reason(), DOMAIN, metadata);
    add_details(&mut details, error);
    Status::with_error_details(code(error), message(error), details)
}

/// For people. The first faults are in it too, because many clients show nothing else.
fn message(error: &Error) -> String {
    let mut message = error.to_string();
    let Error::InvalidRequest(faults) = error else {
        cut(&mut message, MAX_TEXT);
        return message;
    };
    const SHOWN: usize = 5;
    for (index, fault) in faults.iter().take(SHOWN).enumerate() {
        message.push_str(if index == 0 { ": " } else { "; " });
        message.push_str(&format!("{} {}", fault.field, fault.rule));
    }
    cut(&mut message, MAX_TEXT);
    if faults.len() > SHOWN {
        message.push_str(&format!("; and {} more in the details", faults.len() - SHOWN));
    }
    message
}

/// The faults that fit into a status, from the first on: at least one.
fn told(faults: &[FieldViolation]) -> &[FieldViolation] {
    let mut room = FAULTS_ROOM;
    let fits = |fault: &&FieldViolation| {
        // Tags and lengths of one entry are below ten bytes.
        match room.checked_sub(fault.field.len() + fault.rule.len().min(MAX_TEXT) + 10) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        }
    };
    let count = faults.iter().take_while(fits).count().max(1);
    faults.get(..count).unwrap_or(faults)
}

/// Shortens a text to `max` bytes at a character's end.
fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

/// A copy of a detail's text, shortened.
fn short(text: &str) -> String {
    let mut text = text.to_owned();
    cut(&mut text, MAX_TEXT);
    text
}

/// Facts for machines, in `ErrorInfo.metadata`.
fn metadata(error: &Error) -> HashMap<String, String> {
    let facts: Vec<(&str, String)> = match error {
        Error::NotFound { kind, name } => vec![("kind", (*kind).to_owned()), ("name", name.clone())],
        Error::TargetBusy { target, holder } => {
            vec![("target", target.to_string()), ("holder", holder.to_string())]
        }
        Error::ForeignBusy { target, what, seen } => vec![
            ("target", target.to_string()),
            ("foreign", "true".to_owned()),
            ("operation", what.clone()),
            ("observe_time", seen.to_string()),
        ],
        Error::QueueFull { target, waiting } => {
            vec![("target", target.to_string()), ("waiting", waiting.to_string())]
        }
        Error::RequestIdReused { request_id } => vec![("request_id", request_id.clone())],
        Error::WrongState { job, state, .. } => {
            vec![("job", job.to_string()), ("state", (*state).to_owned())]
        }
        Error::CancelUnsupported { job, .. } => vec![("job", job.to_string())],
        Error::AlreadyRetried { job, by } => vec![("job", job.to_string()), ("retried_by", by.to_string())],
        Error::Vendor { provider, metadata, .. } => {
            let mut facts: HashMap<_, _> = metadata.clone().into_iter().collect();
            facts.insert("provider".to_owned(), provider.clone());
            return facts;
        }
        Error::InvalidRequest(faults) => match faults.len().saturating_sub(told(faults).len()) {
            0 => Vec::new(),
            left_out => vec![("faults_left_out", left_out.to_string())],
        },
        Error::Unsupported(_)
        | Error::PageTokenInvalid
        | Error::ResumeTokenInvalid
        | Error::ResumeTokenExpired
        | Error::WatchAged
        | Error::StoreUnavailable { .. }
        | Error::Overloaded(_)
        | Error::ShuttingDown
        | Error::Internal(_) => Vec::new(),
    };
    facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the caller can act on, beside `ErrorInfo`.
fn add_details(details: &mut ErrorDetails, error: &Error) {
    match error {
        Error::InvalidRequest(faults) => {
            for fault in told(faults) {
                details.add_bad_request_violation(&fault.field, short(&fault.rule));
            }
        }
        Error::PageTokenInvalid => {
            details.add_bad_request_violation("page_token", error.to_string());
        }
        Error::ResumeTokenInvalid | Error::ResumeTokenExpired => {
            details.add_bad_request_violation("resume_token", error.to_string());
        }
        Error::NotFound { kind, name } => {
            details.set_resource_info(*kind, name, "", error.to_string());
        }
        Error::TargetBusy { target, holder } => {
            details.add_precondition_failure_violation(
                error.reason(),
                target.to_string(),
                "wait for the job's end, cancel it, or queue with on_busy",
            );
            details.set_resource_info("job", holder.to_string(), "", "the job that holds the target");
        }
        Error::ForeignBusy { target, what, .. } => {
            details.add_precondition_failure_violation(error.reason(), target.to_string(), short(what));
        }
        Error::WrongState { job, message, .. } | Error::CancelUnsupported { job, message } => {
            details.add_precondition_failure_violation(error.reason(), job.to_string(), short(message));
        }
        Error::AlreadyRetried { job, by } => {
            details.add_precondition_failure_violation(error.reason(), job.to_string(), error.to_string());
            details.set_resource_info("job", by.to_string(), "", "the job that tries it again");
        }
        Error::RequestIdReused { request_id } => {
            details.set_resource_info("request_id", request_id, "", error.to_string());
        }
        Error::Vendor { kind, provider, message, retry_after, .. } => {
            match kind {
                VendorFault::Unauthenticated | VendorFault::PermissionDenied | VendorFault::Rejected => {
                    details.add_precondition_failure_violation(error.reason(), provider, short(message));
                }
                VendorFault::NotFound => {
                    details.set_resource_info("vendor resource", "", provider, short(message));
                }
                VendorFault::Unreachable
                | VendorFault::TimedOut
                | VendorFault::RateLimited
                | VendorFault::Garbled => {}
            }
            if let Some(wait) = retry_after {
                details.set_retry_info(Some(*wait));
            }
        }
        Error::QueueFull { .. }
        | Error::StoreUnavailable { .. }
        | Error::Overloaded(_)
        | Error::ShuttingDown => {
            details.set_retry_info(Some(SOON));
        }
        // A new watch is welcome at once.
        Error::WatchAged => {
            details.set_retry_info(Some(Duration::ZERO));
        }
        Error::Unsupported(_) | Error::Internal(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tonic_types::RpcStatusExt;
    use uuid::Uuid;

    use super::*;
    use crate::api::layers::explained;
    use crate::domain::error::REASONS;
    use crate::domain::id::JobId;
    use crate::domain::target::Target;

    /// One error of each reason.
    fn samples() -> Vec<Error> {
        let job = JobId::new(Uuid::from_u128(7));
        let target = Target::parse_name("providers/vc/clusters/c1").unwrap();
        let vendor = |kind| Error::Vendor {
            kind,
            provider: "providers/vc".to_owned(),
            message: "the vendor's words".to_owned(),
            retry_after: Some(Duration::from_secs(7)),
            metadata: BTreeMap::from([("http_status".to_owned(), "503".to_owned())]),
        };
        vec![
            Error::InvalidRequest(vec![FieldViolation::new("target", "is required")]),
            Error::NotFound { kind: "job", name: job.to_string() },
            Error::TargetBusy { target: target.clone(), holder: job },
            Error::ForeignBusy {
                target: target.clone(),
                what: "long job l".to_owned(),
                seen: jiff::Timestamp::UNIX_EPOCH,
            },
            Error::QueueFull { target, waiting: 16 },
            Error::RequestIdReused { request_id: "r".to_owned() },
            Error::Unsupported("no".to_owned()),
            Error::WrongState { job, state: "RUNNING", message: "wait".to_owned() },
            Error::CancelUnsupported { job, message: "no way".to_owned() },
            Error::AlreadyRetried { job, by: JobId::new(Uuid::from_u128(8)) },
            Error::PageTokenInvalid,
            Error::ResumeTokenInvalid,
            Error::ResumeTokenExpired,
            Error::WatchAged,
            vendor(VendorFault::Unreachable),
            vendor(VendorFault::TimedOut),
            vendor(VendorFault::RateLimited),
            vendor(VendorFault::Unauthenticated),
            vendor(VendorFault::PermissionDenied),
            vendor(VendorFault::NotFound),
            vendor(VendorFault::Rejected),
            vendor(VendorFault::Garbled),
            Error::StoreUnavailable { message: "disk".to_owned() },
            Error::Overloaded("full".to_owned()),
            Error::ShuttingDown,
            Error::Internal("bug".to_owned()),
        ]
    }

    #[test]
    fn every_status_says_its_published_reason() {
        let mut seen = BTreeSet::new();
        for error in samples() {
            let status = Status::from(error.clone());
            assert_eq!(status.code(), code(&error));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (error.reason(), DOMAIN));
            seen.insert(error.reason());
        }
        assert_eq!(seen, REASONS.iter().copied().collect());
    }

    /// `docs/errors.md` has one line for each reason: `` | `REASON` | `CODE` | … ``.
    #[test]
    fn the_document_is_this_table() {
        let text = include_str!("../../docs/errors.md");
        let mut written = BTreeMap::new();
        for line in text.lines().filter(|l| l.starts_with("| `")) {
            let cells: Vec<_> = line.split('|').map(|c| c.trim().trim_matches('`')).collect();
            assert!(written.insert(cells[1], cells[2]).is_none(), "{} stands twice", cells[1]);
        }
        let mut table: BTreeMap<_, _> = samples().iter().map(|e| (e.reason(), name(code(e)))).collect();
        table.insert(DEADLINE_EXCEEDED, name(deadline(SOON).code()));
        table.extend(explained::REASONS.map(|(reason, code)| (reason, name(code))));
        assert_eq!(written, table);
    }

    #[test]
    fn the_contract_publishes_these_reasons() {
        let prefix = "ERROR_REASON_";
        let published: BTreeSet<_> = (1..)
            .map_while(|number| crate::api::pb::ErrorReason::try_from(number).ok())
            .map(|reason| reason.as_str_name().strip_prefix(prefix).unwrap())
            .collect();
        let mut reasons: BTreeSet<_> = REASONS.iter().copied().collect();
        reasons.insert(DEADLINE_EXCEEDED);
        reasons.extend(explained::REASONS.map(|(reason, _)| reason));
        assert_eq!(published, reasons);
    }

    fn name(code: Code) -> &'static str {
        crate::api::layers::observe::code_name(code)
    }

    #[test]
    fn every_fault_is_in_the_details_and_the_first_in_the_message() {
        let faults = (0..7).map(|i| FieldViolation::new(format!("f{i}"), "is wrong")).collect();
        let status = Status::from(Error::InvalidRequest(faults));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 7);
        assert_eq!((violations[6].field.as_str(), violations[6].description.as_str()), ("f6", "is wrong"));
        assert!(status.message().contains("7 fault(s): f0 is wrong; f1"), "{}", status.message());
        assert!(status.message().ends_with("and 2 more in the details"), "{}", status.message());
    }

    /// gRPC's C core refuses all answers whose metadata is above 16 KiB, and begins to above 8 KiB.
    #[test]
    fn a_status_fits_into_what_every_client_takes() {
        let faults = |count: usize, rule: &str| {
            let fault = |i| FieldViolation::new(format!("requests[{i}].zstack.tag_uuids[0]"), rule);
            Error::InvalidRequest((0..count).map(fault).collect())
        };
        let long = "é".repeat(5_000);
        let vendor = Error::Vendor {
            kind: VendorFault::Rejected,
            provider: "providers/vc".to_owned(),
            message: long.clone(),
            retry_after: None,
            metadata: BTreeMap::from([("vendor_code".to_owned(), long.clone())]),
        };
        let job = JobId::new(Uuid::from_u128(7));
        let refused = Error::CancelUnsupported { job, message: long.clone() };
        for error in [faults(2_000, "must be 32 lower-case hex digits"), faults(3, &long), vendor, refused] {
            let headers = Status::from(error.clone()).into_http::<tonic::body::Body>().into_parts().0.headers;
            let size: usize = headers.iter().map(|(key, value)| key.as_str().len() + value.len() + 32).sum();
            assert!(size < 8 << 10, "{size} bytes for {}", error.reason());
        }
        let details = Status::from(faults(2_000, "is wrong")).get_error_details();
        let told = details.bad_request().unwrap().field_violations.len();
        assert!(told > 40, "{told}");
        let left_out = &details.error_info().unwrap().metadata["faults_left_out"];
        assert_eq!(left_out, &(2_000 - told).to_string());
    }

    #[test]
    fn a_busy_target_names_its_holder() {
        let error = samples().into_iter().find(|e| e.reason() == "TARGET_BUSY").unwrap();
        let details = Status::from(error).get_error_details();
        let holder = JobId::new(Uuid::from_u128(7)).to_string();
        assert_eq!(details.error_info().unwrap().metadata["holder"], holder);
        assert_eq!(details.resource_info().unwrap().resource_name, holder);
        let violation = &details.precondition_failure().unwrap().violations[0];
        assert_eq!(
            (violation.r#type.as_str(), violation.subject.as_str()),
            ("TARGET_BUSY", "providers/vc/clusters/c1")
        );
    }

    #[test]
    fn a_vendors_error_keeps_its_facts() {
        let error = samples().into_iter().find(|e| e.reason() == "VENDOR_RATE_LIMITED").unwrap();
        let details = Status::from(error).get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.metadata["provider"], "providers/vc");
        assert_eq!(info.metadata["http_status"], "503");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_watch_ends_with_its_last_token() {
        let info = |status: Status| status.get_details_error_info().unwrap().metadata;
        let aged = watch_end(&Error::WatchAged, Some("token"));
        assert_eq!(aged.code(), Code::Unavailable);
        assert_eq!(info(aged)["resume_token"], "token");
        assert!(!info(watch_end(&Error::ShuttingDown, None)).contains_key("resume_token"));
    }

    #[test]
    fn an_error_inside_an_answer_has_the_same_details() {
        let error = samples().swap_remove(2);
        let outer = Status::from(error.clone());
        let inner = inside(error);
        assert_eq!(inner.code, i32::from(outer.code()));
        assert_eq!(inner.message, outer.message());
        let (inner, outer) = (inner.get_error_details(), outer.get_error_details());
        let (told, meant) = (inner.error_info().unwrap(), outer.error_info().unwrap());
        assert_eq!((&told.reason, &told.metadata), (&meant.reason, &meant.metadata));
        assert!(inner.precondition_failure().is_some() && inner.resource_info().is_some());
    }
}
