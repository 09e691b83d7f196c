//! One door through which golden files and fuzz targets show an answer's bytes to an adapter's reading. No part of
//! the program: it is compiled for tests and for fuzzing only.
//!
//! A recorded answer is one line that says what was asked and how it was answered, and then the body as it came:
//!
//! ```text
//! api-job 503 application/json
//! {"error":{"code":"SYS.1007","details":"…"}}
//! ```
//!
//! [`judge`] has the vendor's own pure functions read it, writes down what it means, and holds what must be true of
//! any bytes at all: texts stay short, no secret comes back, and no success is read from what does not say so. That
//! nothing panics needs no line here.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::contract::{CheckReport, Found, Observation, Phase, Submitted};
use super::error::VendorError;
use super::http::Reply;
use super::{avisi, huawei, vsphere, zstack};
use crate::domain::failure::Failure;
use crate::domain::finding::Finding;
use crate::domain::job::{Handle, Part};

/// A password, session or token that every answer may quote. It has the letters that JSON and HTML escape.
pub(super) const CANARY: &str = "Ca=na<ry>&'7";

/// The largest `answer` that a job keeps, by the contract.
const MAX_ANSWER: usize = 16 * 1024;
/// The largest notes: a job's row holds them.
const MAX_NOTES: usize = 32 * 1024;
/// The longest text for a person.
const MAX_MESSAGE: usize = 8 * 1024;
/// The longest description of one thing of a list.
const MAX_LISTED: usize = 32 * 1024;
/// The longest state word, id or subject.
const MAX_WORD: usize = 1024;

/// What became of a recorded answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are no recorded answer of this vendor.
    NotAnAnswer,
    /// Read, with every promise kept: what it means.
    Kept(String),
    /// A promise is broken: which.
    Broken(String),
}

/// What an adapter made of an answer.
#[derive(Debug)]
pub(super) struct Reading {
    said: Vec<Said>,
    /// Whether the body itself says that what was asked for succeeded, found without the adapter's own code.
    pub proves_success: bool,
    redacted: bool,
}

#[derive(Debug)]
enum Said {
    Observation(Box<Observation>),
    Error(VendorError),
    Refused(Failure, Vec<Finding>),
    Checked(CheckReport),
    Fact(String),
}

impl Reading {
    pub const fn new(proves_success: bool) -> Self {
        Self { said: Vec::new(), proves_success, redacted: true }
    }

    /// A list of things: it is not searched for secrets, neither here nor in the program.
    pub const fn listed(mut self, listed: bool) -> Self {
        self.redacted = !listed;
        self
    }

    pub fn observation(&mut self, seen: Observation) {
        self.said.push(Said::Observation(Box::new(seen)));
    }

    pub fn error(&mut self, error: VendorError) {
        self.said.push(Said::Error(error));
    }

    pub fn submitted(&mut self, submitted: Submitted) {
        self.said.push(match submitted {
            Submitted::Started(seen) => Said::Observation(seen),
            Submitted::Refused(failure, findings) => Said::Refused(failure, findings),
            Submitted::Failed(error) => Said::Error(error),
        });
    }

    pub fn found(&mut self, found: Found) {
        self.said.push(match found {
            Found::Arrived(seen) => Said::Observation(seen),
            Found::NotArrived { until } => Said::Fact(format!("not arrived (until {until:?})")),
            Found::CannotTell(why) => Said::Fact(format!("cannot tell: {why}")),
        });
    }

    pub fn checked(&mut self, report: CheckReport) {
        self.said.push(Said::Checked(report));
    }

    pub fn fact(&mut self, fact: impl Into<String>) {
        self.said.push(Said::Fact(fact.into()));
    }

    /// An error, or what `then` makes of the value.
    pub fn either<T>(&mut self, result: Result<T, VendorError>, then: impl FnOnce(&mut Self, T)) {
        match result {
            Ok(value) => then(self, value),
            Err(error) => self.error(error),
        }
    }
}

/// Shows recorded bytes to a vendor's adapter.
pub fn judge(vendor: &str, bytes: &[u8]) -> Verdict {
    let Some((question, reply)) = answer(bytes) else { return Verdict::NotAnAnswer };
    let reading = match vendor {
        "zstack" => zstack::recorded::read(question, reply),
        "vsphere" => vsphere::recorded::read(question, reply),
        "avisi" => avisi::recorded::read(question, reply),
        "huawei" => huawei::recorded::read(question, reply),
        _ => None,
    };
    match reading {
        None => Verdict::NotAnAnswer,
        Some(reading) => verdict(&reading),
    }
}

/// Whether the text of a body has one of these words, or escapes in which they may hide. For bodies that are no sound
/// JSON as a whole, and of which an adapter reads a part all the same: it passes over members that it does not know,
/// whatever their letters and numbers.
pub(super) fn names(body: &[u8], words: &[&str]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains('\\') || words.iter().any(|word| text.contains(word))
}

/// The first line, and the reply that it and the rest stand for.
fn answer(bytes: &[u8]) -> Option<(&str, Reply)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, body) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let question = words.next()?;
    let status = StatusCode::from_bytes(words.next()?.as_bytes()).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in
        ["content-type", "retry-after", "x-subject-token", "x-request-id"].into_iter().zip(words)
    {
        headers.insert(name, HeaderValue::from_str(value).ok()?);
    }
    Some((question, Reply { status, headers, body: Bytes::copy_from_slice(body) }))
}

fn verdict(reading: &Reading) -> Verdict {
    let mut text = String::new();
    for said in &reading.said {
        let kept = match said {
            Said::Observation(seen) => observed(&mut text, seen, reading.proves_success),
            Said::Error(error) => failed(&mut text, error),
            Said::Refused(failure, findings) => {
                let _ = writeln!(text, "refused: {failure:#?}");
                failure_kept(failure).and_then(|()| findings_kept(&mut text, findings))
            }
            Said::Checked(report) => checked(&mut text, report),
            Said::Fact(fact) => {
                let _ = writeln!(text, "{fact}");
                short("a fact", fact, MAX_LISTED)
            }
        };
        if let Err(why) = kept {
            return Verdict::Broken(why);
        }
    }
    if reading.redacted && text.contains(CANARY) {
        return Verdict::Broken("the secret came back".to_owned());
    }
    Verdict::Kept(text)
}

type Kept = Result<(), String>;

fn short(what: &str, text: &str, most: usize) -> Kept {
    if text.len() <= most {
        Ok(())
    } else {
        Err(format!("{what} has {} bytes, more than {most}", text.len()))
    }
}

fn observed(text: &mut String, seen: &Observation, proves_success: bool) -> Kept {
    let Observation {
        phase,
        provenance,
        vendor_state,
        progress,
        findings,
        findings_complete: _,
        parts,
        ids,
        answer,
        cancelable,
        handle,
        waiting,
    } = seen;
    let _ = writeln!(text, "{phase:#?} ({provenance:?}), vendor says {vendor_state:?}");
    short("the vendor's state", vendor_state.as_deref().unwrap_or_default(), MAX_WORD)?;
    match phase {
        Phase::Succeeded if !proves_success => {
            return Err("SUCCEEDED was read from an answer that does not say so".to_owned());
        }
        Phase::Failed(failure) | Phase::Rejected(failure) | Phase::Lapsed(failure) => failure_kept(failure)?,
        Phase::Scheduled
        | Phase::Running
        | Phase::Suspended
        | Phase::Cancelling
        | Phase::Succeeded
        | Phase::Cancelled
        | Phase::Superseded
        | Phase::Missed
        | Phase::Unclear => {}
    }
    if let Some(progress) = progress {
        let _ = writeln!(text, "progress: {progress:?}");
        short("the progress message", progress.message.as_deref().unwrap_or_default(), MAX_MESSAGE)?;
        if !(0.0..=100.0).contains(&progress.percent) {
            return Err(format!("a progress of {} percent", progress.percent));
        }
    }
    findings_kept(text, findings)?;
    parts_kept(text, parts)?;
    for (name, id) in ids {
        let _ = writeln!(text, "id: {name} = {id}");
        short("an id", id, MAX_WORD)?;
    }
    if let Some(waiting) = waiting {
        let _ = writeln!(text, "waiting: {waiting:?}");
        short("what it waits for", &waiting.1, MAX_MESSAGE)?;
    }
    if let Some(cancelable) = cancelable {
        let _ = writeln!(text, "{cancelable:?}");
    }
    if let Some(answer) = answer {
        let _ = writeln!(text, "answer: {answer}");
        short("the answer", answer, MAX_ANSWER)?;
        if !serde_json::from_str::<serde_json::Value>(answer).is_ok_and(|value| value.is_object()) {
            return Err("the answer is not a JSON object".to_owned());
        }
    }
    notes_kept(text, handle.as_ref())
}

fn failed(text: &mut String, error: &VendorError) -> Kept {
    let VendorError { kind, retry, reached, code, http_status, request_id, message, source: _ } = error;
    let _ = writeln!(text, "error {kind:?}, reached {reached:?}, retry {retry:?}: {message}");
    let _ = writeln!(text, "code {code:?}, HTTP status {http_status:?}, request id {request_id:?}");
    short("the error's text", message, MAX_MESSAGE)?;
    short("the error's code", code.as_deref().unwrap_or_default(), MAX_MESSAGE)?;
    short("the request id", request_id.as_deref().unwrap_or_default(), MAX_WORD)
}

fn checked(text: &mut String, report: &CheckReport) -> Kept {
    let CheckReport { findings, handle, foreign } = report;
    if let Some(foreign) = foreign {
        let _ = writeln!(text, "foreign: {foreign}");
        short("what somebody else does", foreign, MAX_MESSAGE)?;
    }
    findings_kept(text, findings)?;
    notes_kept(text, handle.as_ref())
}

fn failure_kept(failure: &Failure) -> Kept {
    short("a failure's text", &failure.message, MAX_MESSAGE)?;
    short("a failure's code", failure.vendor_code.as_deref().unwrap_or_default(), MAX_MESSAGE)?;
    failure.metadata.values().try_for_each(|fact| short("a failure's fact", fact, MAX_MESSAGE))
}

fn findings_kept(text: &mut String, findings: &[Finding]) -> Kept {
    for finding in findings {
        let Finding { id, severity, message, subject, accepted: _ } = finding;
        let _ = writeln!(text, "{severity:?} {id} {subject:?}: {message}");
        short("a finding's id", id, MAX_WORD)?;
        short("a finding's subject", subject.as_deref().unwrap_or_default(), MAX_WORD)?;
        short("a finding's text", message, MAX_MESSAGE)?;
    }
    Ok(())
}

fn parts_kept(text: &mut String, parts: &[Part]) -> Kept {
    for Part { id, outcome, message } in parts {
        let _ = writeln!(text, "part {id}: {outcome:?} {}", message.as_deref().unwrap_or_default());
        short("a part's id", id, MAX_WORD)?;
        short("a part's text", message.as_deref().unwrap_or_default(), MAX_MESSAGE)?;
    }
    Ok(())
}

fn notes_kept(text: &mut String, handle: Option<&Handle>) -> Kept {
    let Some(Handle(notes)) = handle else { return Ok(()) };
    let _ = writeln!(text, "notes: {notes}");
    short("the notes", notes, MAX_NOTES)
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
