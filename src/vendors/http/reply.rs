//! A complete answer of a vendor.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::error::VendorFault;
use crate::vendors::error::{Reached, Retry, VendorError};

/// A complete answer: any status, the whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, complete and within the cap.
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Whether the body calls itself JSON, or calls itself nothing and begins like JSON.
    pub fn is_json(&self) -> bool {
        self.header("content-type").map_or_else(
            || matches!(self.body.first(), Some(b'{' | b'[' | b'"')),
            |t| t.to_ascii_lowercase().contains("json"),
        )
    }

    /// Reads the body as one JSON value other than a list. A body that does not fit is a garbled answer that names the
    /// fault, and never quotes the body.
    ///
    /// # Errors
    /// Also for a list: serde would take its entries for the members of an object, in their order, and so make an empty
    /// record of what nobody can read.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, VendorError> {
        if self.body.trim_ascii_start().first() == Some(&b'[') {
            return Err(self.garbled("is a list where there should be none"));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.misfit(&error))
    }

    /// Reads the body as a JSON list of values other than lists.
    ///
    /// # Errors
    /// As [`Reply::json`].
    pub fn json_list<T: DeserializeOwned>(&self) -> Result<Vec<T>, VendorError> {
        let entries: Vec<&RawValue> =
            serde_json::from_slice(&self.body).map_err(|error| self.misfit(&error))?;
        let read = |entry: &RawValue| {
            if entry.get().starts_with('[') {
                return Err(self.garbled("has a list for an entry"));
            }
            serde_json::from_str(entry.get()).map_err(|error| self.misfit(&error))
        };
        entries.into_iter().map(read).collect()
    }

    fn misfit(&self, error: &serde_json::Error) -> VendorError {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "ends too early",
            serde_json::error::Category::Syntax => "is not JSON",
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                "does not have the documented shape"
            }
        };
        self.garbled(&format!("{what} at line {} column {}", error.line(), error.column()))
    }

    fn garbled(&self, what: &str) -> VendorError {
        let status = self.status.as_u16();
        VendorError::garbled(format!("the vendor's answer (HTTP {status}) {what}")).with_status(status)
    }

    /// The body as short plain text for a message: HTML and control characters dropped, at most 300 characters.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4096)]);
        let mut out = String::new();
        let mut in_tag = false;
        for c in text.chars() {
            match c {
                '<' => in_tag = true,
                '>' if in_tag => {
                    in_tag = false;
                    out.push(' ');
                }
                _ if in_tag => {}
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
    }

    /// What an answer means that carries no error of the vendor's own: a proxy's page, a load balancer's word, a
    /// bare "too many requests". Adapters fall back to this after reading their own envelope.
    pub fn outage(&self) -> VendorError {
        let status = self.status.as_u16();
        let text = self.text();
        let message =
            if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
        let error = match status {
            429 => VendorError::new(VendorFault::RateLimited, Reached::No, message),
            401 => VendorError::new(VendorFault::Unauthenticated, Reached::No, message),
            403 => VendorError::new(VendorFault::PermissionDenied, Reached::No, message),
            404 | 410 => VendorError::new(VendorFault::NotFound, Reached::No, message),
            408 | 504 => VendorError::new(VendorFault::TimedOut, Reached::Maybe, message),
            400..=499 => VendorError::new(VendorFault::Rejected, Reached::No, message),
            500..=599 => VendorError::new(VendorFault::Unreachable, Reached::Maybe, message),
            _ => VendorError::garbled(message),
        };
        let error = error.with_status(status);
        match self.header("retry-after").and_then(|wait| parse_retry_after(wait, self.header("date"))) {
            Some(wait) if error.retry != Retry::Never => error.with_retry(Retry::After(wait)),
            _ => error,
        }
    }
}

/// The longest wait that an answer can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Reads `Retry-After` (RFC 9110, 10.2.3), bounded to a day: seconds, or a moment by the clock of who answered, which
/// the answer's `Date` tells. Without that, a moment is left to the back-off: the two clocks may differ by hours.
pub fn parse_retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let moment = |text: &str| jiff::fmt::rfc2822::parse(text.trim()).ok().map(|at| at.timestamp());
    let wait = moment(value)?.duration_since(moment(date?)?);
    Some(Duration::try_from(wait).unwrap_or_default().min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn a_proxy_page_becomes_short_text_and_an_outage_that_may_have_arrived() {
        let error = reply(502, "<html><body><h1>Bad\nGateway</h1></body></html>").outage();
        assert_eq!(error.message, "HTTP 502: Bad Gateway");
        assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::Maybe));
    }

    #[test]
    fn too_many_requests_is_known_not_to_have_worked() {
        let mut answer = reply(429, "");
        answer.headers.insert("retry-after", http::HeaderValue::from_static("7"));
        let error = answer.outage();
        assert_eq!((error.reached, error.retry), (Reached::No, Retry::After(Duration::from_secs(7))));
    }

    #[test]
    fn a_moment_to_come_back_is_measured_by_the_clock_of_who_answered() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let wait = |value: &str, date| parse_retry_after(value, date).map(|wait| wait.as_secs());
        assert_eq!(wait("Sun, 06 Nov 1994 08:51:00 GMT", date), Some(83));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(0), "it has passed");
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT", date), Some(86_400), "bounded");
        assert_eq!(wait("Sun, 06 Nov 1994 08:51:00 GMT", None), None, "whose clock?");
        assert_eq!(
            (wait("soon", date), wait("7", None), wait(" 999999 ", date)),
            (None, Some(7), Some(86_400))
        );
    }

    #[test]
    fn a_list_is_never_taken_for_an_object() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Record {
            #[serde(default)]
            id: Option<u32>,
        }
        let one = Record { id: Some(1) };
        assert_eq!(reply(200, r#"{"id":1}"#).json::<Record>().unwrap(), one);
        assert_eq!(reply(200, r#"[{"id":1}]"#).json_list::<Record>().unwrap(), [one]);
        for body in ["[1]", " [{\"id\":1}]", "[]"] {
            assert_eq!(reply(200, body).json::<Record>().unwrap_err().kind, VendorFault::Garbled, "{body}");
        }
        for body in ["[[1]]", "[[{\"id\":1}]]", "{\"id\":1}"] {
            let error = reply(200, body).json_list::<Record>().unwrap_err();
            assert_eq!(error.kind, VendorFault::Garbled, "{body}");
        }
    }

    #[test]
    fn truncated_json_is_garbled_and_quotes_nothing() {
        let error = reply(200, r#"{"secret":"hunter2"#).json::<serde_json::Value>().unwrap_err();
        assert_eq!(error.kind, VendorFault::Garbled);
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
}
