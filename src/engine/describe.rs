//! Tells a change of a job's status in one event: what kind it is, and one sentence for a person.

use jiff::Timestamp;

use crate::domain::event::{EventKind, NewEvent};
use crate::domain::job::{JobStatus, WaitReason, Waiting};

/// The event for the change from `old` to `new`; `None` when nothing changed that a caller can see, apart from
/// the moment it was last observed and the fields of the vendor's answer: those hold times and counters that change
/// with every look, and are kept with the next change, or after a while without an event.
pub fn describe(old: &JobStatus, new: &JobStatus, now: Timestamp) -> Option<NewEvent> {
    let (kind, message) = if old.state != new.state {
        (EventKind::StateChanged, state_sentence(new))
    } else if old.findings != new.findings || old.parts != new.parts {
        (EventKind::FindingsChanged, format!("{} findings, {} parts", new.findings.len(), new.parts.len()))
    } else if old.cancel_request_time != new.cancel_request_time {
        (EventKind::CancelRequested, new.cancelable.reason.clone())
    } else if old.scheduled_start != new.scheduled_start {
        (EventKind::Rescheduled, "the start time changed".to_owned())
    } else if old.progress != new.progress {
        let percent = new.progress.as_ref().map_or(0.0, |p| p.percent);
        (EventKind::Progressed, format!("{percent:.0} %"))
    } else if waits(old) != waits(new) {
        let known = |w: &&Waiting| waits(old).contains(&(w.reason, w.until.is_some()));
        let news = new.waiting_for.iter().find(|w| !known(w)).or(new.waiting_for.first());
        let sentence = news.map_or_else(|| "no longer waiting".to_owned(), |w| w.message.clone());
        (EventKind::WaitingChanged, sentence)
    } else if old.vendor.state != new.vendor.state
        || old.vendor.ids != new.vendor.ids
        || old.vendor.last_error != new.vendor.last_error
        || old.cancelable != new.cancelable
        || old.failure != new.failure
        || old.provenance != new.provenance
        || old.submit_time != new.submit_time
    {
        let sentence = new.vendor.state.clone().unwrap_or_else(|| "the vendor's words changed".to_owned());
        (EventKind::VendorChanged, sentence)
    } else {
        return None;
    };
    Some(NewEvent { kind, message, time: now })
}

/// What a status waits for, as far as a change of it is worth an event: a retry that moves the end of the same wait
/// is not.
fn waits(status: &JobStatus) -> Vec<(WaitReason, bool)> {
    status.waiting_for.iter().map(|w| (w.reason, w.until.is_some())).collect()
}

fn state_sentence(status: &JobStatus) -> String {
    let state = status.state.as_str();
    match (&status.failure, &status.vendor.state) {
        (Some(failure), _) => format!("{state}: {}", failure.message),
        (None, Some(vendor)) => format!("{state} (vendor: {vendor})"),
        (None, None) => state.to_owned(),
    }
}
