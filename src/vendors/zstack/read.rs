//! Reads answers: (status, body) → what they say. Pure; the calls are in `client.rs`, `auth.rs` and `session.rs`.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault;
use super::ids;
use super::wire::{ErrorCode, List, LongJob, One, Session};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::kit::secret::Secret;
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::Reply;

/// The default of `identity/session.timeout`, for logins whose dates cannot be read.
const DEFAULT_TTL: Duration = Duration::from_secs(7200);
/// The longest that a session can be made to live (zstack `APIRenewSessionMsg`).
const MAX_TTL: Duration = Duration::from_secs(31_536_000);

/// What `GET /api-jobs/{id}` says.
#[derive(Debug)]
pub(super) enum ApiJob {
    /// Not over.
    Pending,
    /// Over, well: the long job was started.
    Done(Option<Box<LongJob>>),
    /// Over, and refused or failed.
    Failed(ErrorCode),
    /// ZStack does not know it (any more).
    Unknown,
}

/// How an API job stands.
pub(super) fn api_job(reply: &Reply) -> Result<ApiJob, VendorError> {
    match reply.status.as_u16() {
        202 => Ok(ApiJob::Pending),
        200 | 503 => match fault::error_of(reply) {
            Some(error) => Ok(ApiJob::Failed(fault::without_session(error))),
            None if reply.status.as_u16() == 200 => {
                Ok(ApiJob::Done(reply.json::<One<LongJob>>()?.inventory.map(Box::new)))
            }
            None => Err(fault::failed(reply)),
        },
        404 if !fault::is_html(reply) => Ok(ApiJob::Unknown),
        _ => Err(fault::failed(reply)),
    }
}

/// What the answer to a start says.
#[derive(Debug)]
pub(super) enum Start {
    /// ZStack has seen this `X-Job-UUID` before.
    Duplicate,
    /// The session was dead; nothing ran.
    SessionLost,
    /// Refused for good, before anything ran.
    Refused(Failure),
    /// The call failed; the error tells whether it may have started.
    Failed(VendorError),
    /// ZStack took it.
    Taken(Taken),
}

/// A start that ZStack took.
#[derive(Debug)]
pub(super) struct Taken {
    /// The long job, from a build that answers at once.
    pub job: Option<LongJob>,
    /// The API job that carries the start, when the answer names one.
    pub api_job: Option<String>,
    /// How long ZStack gives it, in milliseconds.
    pub api_timeout_ms: Option<u64>,
}

/// Reads the answer to a start.
pub(super) fn start(reply: &Reply) -> Start {
    if fault::is_duplicate(reply) {
        return Start::Duplicate;
    }
    if let Some(error) = fault::error_of(reply) {
        // A build that answers at once instead of by API job.
        if error.is(fault::INVALID_SESSION) {
            return Start::SessionLost;
        }
        let failed = fault::failed(reply);
        if fault::is_ambiguous(&error) || failed.retry != Retry::Never {
            // Not a word about the update itself: the node is not ready, or has lost sight of its own message.
            return Start::Failed(failed);
        }
        return Start::Refused(fault::refusal(&error));
    }
    match reply.status.as_u16() {
        200 | 202 => {}
        400 if !fault::is_html(reply) => {
            let text = format!("ZStack did not understand the update: {}", reply.text());
            let mut failure = Failure::new(FailureReason::VendorRejected, text);
            failure.metadata.insert("http_status".to_owned(), "400".to_owned());
            return Start::Refused(failure);
        }
        _ => return Start::Failed(fault::failed(reply)),
    }
    match reply.json::<One<LongJob>>() {
        Ok(answer) => Start::Taken(Taken {
            api_job: answer.location.as_deref().and_then(last_uuid),
            api_timeout_ms: answer.api_timeout.filter(|ms| *ms > 0),
            job: answer.inventory,
        }),
        Err(error) => Start::Failed(error.with_reached(Reached::Maybe)),
    }
}

/// The id in a `location`. The address is never followed: it is the management node's own idea of itself, and only
/// its last part counts.
fn last_uuid(location: &str) -> Option<String> {
    let last = location.trim_end_matches('/').rsplit('/').next()?;
    ids::is_uuid(last).then(|| last.to_owned())
}

/// The rows of a list.
pub(super) fn rows<T: DeserializeOwned>(reply: &Reply) -> Result<Vec<T>, VendorError> {
    if reply.status.as_u16() != 200 || fault::error_of(reply).is_some() {
        let mut error = fault::failed(reply);
        if error.http_status == Some(404) {
            // A list that is not there is not a target that is not there.
            error.kind = VendorFault::Unreachable;
            error.retry = Retry::Backoff;
            error.message = format!("no ZStack API under `endpoint`: {}", error.message);
        }
        return Err(error);
    }
    Ok(reply.json::<List<T>>()?.inventories)
}

/// Whether the management node takes work.
pub(super) fn ready(reply: &Reply) -> Result<(), VendorError> {
    if reply.status.as_u16() == 200 && fault::error_of(reply).is_none() {
        return Ok(());
    }
    let mut error = fault::failed(reply);
    error.message = format!("ZStack's management node is not ready: {}", error.message);
    Err(error)
}

/// The version of ZStack.
pub(super) fn version(reply: &Reply) -> Result<Option<String>, VendorError> {
    if reply.status.as_u16() != 200 || fault::error_of(reply).is_some() {
        return Err(fault::failed(reply));
    }
    Ok(reply.json::<Value>()?.get("version").and_then(Value::as_str).map(|v| fault::cut(v, 64)))
}

/// The session that a login made, and how long it lives.
pub(super) fn login(reply: &Reply) -> Result<(Secret, Duration), VendorError> {
    if reply.status.as_u16() != 200 || fault::error_of(reply).is_some() {
        let mut error = fault::failed(reply);
        error.message = format!("the login at ZStack failed: {}", error.message);
        // An account that may not log in is as good as a wrong one: it says nothing about any job.
        if error.kind == VendorFault::PermissionDenied {
            error.kind = VendorFault::Unauthenticated;
        }
        if error.code.as_deref() == Some("ID.2001") {
            error.message.push_str(". Two-factor logins cannot be made by a program: use an access key");
        }
        return Err(error);
    }
    let session = reply.json::<One<Session>>()?.inventory.unwrap_or_default();
    let Some(uuid) = session.uuid.filter(|uuid| ids::is_uuid(uuid)) else {
        return Err(VendorError::garbled("ZStack's login answer holds no session"));
    };
    let ttl = ttl(session.create_date.as_deref(), session.expired_date.as_deref());
    Ok((Secret::from(uuid), ttl.unwrap_or(DEFAULT_TTL).min(MAX_TTL)))
}

/// How long a session lives. Its two dates are the server's local time without a zone, so only their difference
/// tells anything.
fn ttl(created: Option<&str>, expires: Option<&str>) -> Option<Duration> {
    let span = date(expires?)?.duration_since(date(created?)?);
    Duration::try_from(span).ok().filter(|ttl| !ttl.is_zero())
}

/// Reads `Jun 5, 2025 3:47:29 PM`; newer Java writes another comma or a narrow space.
fn date(text: &str) -> Option<jiff::civil::DateTime> {
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()).collect();
    jiff::civil::DateTime::strptime("%b %d %Y %I:%M:%S %p", words.join(" ")).ok()
}

/// The server's clock: `{"currentTime":{"MillionSeconds":…,"Seconds":…}}` (sic). `None` when it tells no time.
pub(super) fn current_time(reply: &Reply) -> Result<Option<Timestamp>, VendorError> {
    if reply.status.as_u16() != 200 || fault::error_of(reply).is_some() {
        return Err(fault::failed(reply));
    }
    Ok(server_now(&reply.json()?))
}

fn server_now(body: &Value) -> Option<Timestamp> {
    let time = body.get("currentTime")?;
    let number = |name: &str| {
        let value = time.get(name)?;
        value.as_i64().or_else(|| value.as_str().and_then(|t| t.parse().ok()))
    };
    number("MillionSeconds")
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .or_else(|| number("Seconds").and_then(|s| Timestamp::from_second(s).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sessions_life_is_the_difference_of_its_dates() {
        let two_hours = Some(Duration::from_secs(7200));
        assert_eq!(ttl(Some("Jun 5, 2025 3:47:29 PM"), Some("Jun 5, 2025 5:47:29 PM")), two_hours);
        assert_eq!(
            ttl(Some("Jun 5, 2025, 11:47:29\u{202f}PM"), Some("Jun 6, 2025, 1:47:29\u{202f}AM")),
            two_hours
        );
        assert_eq!(ttl(Some("yesterday"), Some("Jun 5, 2025 5:47:29 PM")), None);
        assert_eq!(ttl(Some("Jun 5, 2025 5:47:29 PM"), Some("Jun 5, 2025 3:47:29 PM")), None);
        assert_eq!(ttl(None, None), None);
    }

    #[test]
    fn the_servers_clock_reads_in_both_spellings() {
        let at = Timestamp::from_second(1_749_109_649).unwrap();
        assert_eq!(server_now(&json!({"currentTime": {"MillionSeconds": 1_749_109_649_000_i64}})), Some(at));
        assert_eq!(server_now(&json!({"currentTime": {"Seconds": "1749109649"}})), Some(at));
        assert_eq!(server_now(&json!({"currentTime": {}})), None);
        assert_eq!(server_now(&json!({})), None);
    }
}
