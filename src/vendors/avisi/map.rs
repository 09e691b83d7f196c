//! From Avisi's words to ours. Pure: the same answer always means the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::notes::{Notes, instant};
use super::wire::{Cluster, ErrorBody, ScheduledUpgrade};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Cancelable, Provenance, WaitReason};
use crate::domain::operation::Operation;
use crate::vendors::contract::{Observation, Phase, Submitted};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::Reply;

/// Why a job cannot be cancelled with a customer's token.
pub(super) const NO_CANCEL: &str = "Avisi gives customers no way to cancel an upgrade; with an operator's `admin_token` a scheduled one can be";
/// Why a direct upgrade cannot be cancelled with any token.
pub(super) const NO_CANCEL_DIRECT: &str = "Avisi has no way to cancel an upgrade that is not scheduled";
/// The largest `answer`, in bytes.
pub(super) const MAX_ANSWER: usize = 16 * 1024;

/// The states of a scheduled upgrade (`ScheduledClusterUpgradeStatus`; the list changed twice in 2024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Requested,
    Scheduled,
    ScheduledNotified,
    InProgress,
    Succeeded,
    Failed,
    Missed,
    Superseded,
    /// Not in today's list; older clients had it, and what a cancel leaves behind is not documented.
    Cancelled,
}

impl Word {
    /// The states in which an upgrade is not over. For the list's `statuses` filter.
    pub(super) const OPEN: &str = "REQUESTED,SCHEDULED,SCHEDULED_NOTIFIED,IN_PROGRESS";

    /// Reads a state; `None` for a word that is not known.
    pub(super) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "REQUESTED" => Self::Requested,
            "SCHEDULED" => Self::Scheduled,
            "SCHEDULED_NOTIFIED" => Self::ScheduledNotified,
            "IN_PROGRESS" => Self::InProgress,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            "MISSED" => Self::Missed,
            "SUPERSEDED" => Self::Superseded,
            "CANCELLED" => Self::Cancelled,
            _ => return None,
        })
    }

    /// The state of an upgrade, when it tells a known one.
    pub(super) fn of(upgrade: &ScheduledUpgrade) -> Option<Self> {
        upgrade.status.as_deref().and_then(Self::read)
    }

    /// Whether the upgrade waits for its time.
    pub(super) const fn waits(self) -> bool {
        match self {
            Self::Requested | Self::Scheduled | Self::ScheduledNotified => true,
            Self::InProgress
            | Self::Succeeded
            | Self::Failed
            | Self::Missed
            | Self::Superseded
            | Self::Cancelled => false,
        }
    }

    /// Whether the upgrade is over.
    pub(super) const fn is_over(self) -> bool {
        match self {
            Self::Requested | Self::Scheduled | Self::ScheduledNotified | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::Missed | Self::Superseded | Self::Cancelled => true,
        }
    }

    fn phase(self, upgrade: &ScheduledUpgrade) -> Phase {
        match self {
            Self::Requested | Self::Scheduled | Self::ScheduledNotified => Phase::Scheduled,
            Self::InProgress => Phase::Running,
            Self::Succeeded => Phase::Succeeded,
            Self::Failed => {
                let why = upgrade.reason.as_deref().filter(|r| !r.is_empty());
                let why = why.unwrap_or("it did not meet its success criteria within the allowed time");
                Phase::Failed(Failure::new(
                    FailureReason::VendorFailed,
                    format!("Avisi reports FAILED: {why}"),
                ))
            }
            Self::Missed => Phase::Missed,
            Self::Superseded => Phase::Superseded,
            Self::Cancelled => Phase::Cancelled,
        }
    }
}

/// What Avisi itself says about a scheduled upgrade. `notes` already hold `upgrade`.
pub(super) fn reported(upgrade: &ScheduledUpgrade, operation: &Operation, operator: bool) -> Observation {
    let word = Word::of(upgrade);
    let phase = word.map_or(Phase::Unclear, |word| word.phase(upgrade));
    let mut seen = Observation::new(phase, Provenance::Reported);
    seen.vendor_state = upgrade.status.clone();
    seen.ids = ids(upgrade);
    seen.answer = answer(Some(upgrade), None);
    seen.waiting = word.filter(|w| w.waits()).map(|_| wait(upgrade, operation));
    seen.cancelable = Some(cancelable(word, operator));
    if let Some(reason) = upgrade.reason.as_ref().filter(|r| !r.is_empty()) {
        let severity = match word {
            Some(Word::Failed) => Severity::Error,
            Some(Word::Missed | Word::Superseded) => Severity::Warning,
            Some(
                Word::Requested
                | Word::Scheduled
                | Word::ScheduledNotified
                | Word::InProgress
                | Word::Succeeded
                | Word::Cancelled,
            )
            | None => Severity::Info,
        };
        seen.findings.push(Finding::new("avisi.reason", severity, reason.clone()));
    }
    seen
}

/// The answer to the starting (or moving) call: accepted, whatever else it tells.
pub(super) fn accepted(
    answer: ScheduledUpgrade,
    operation: &Operation,
    before: &Notes,
    operator: bool,
) -> Observation {
    let mut seen = reported(&answer, operation, operator);
    if seen.phase == Phase::Unclear {
        // The call was answered with success, so a schedule exists, although its state has no word that we know.
        seen.phase = Phase::Scheduled;
        seen.provenance = Provenance::Inferred;
        seen.waiting = Some(wait(&answer, operation));
    }
    let mut notes = before.accepted(answer);
    // Every field of the answer is optional; what was asked for is the earliest that it can mean.
    if let (Some(schedule), Operation::ScheduledUpgrade(asked)) = (&mut notes.schedule, operation)
        && schedule.schedule_request_date.is_none()
    {
        schedule.schedule_request_date = asked.start_time.map(|at| at.to_string());
    }
    seen.handle = notes.handle();
    seen
}

/// Whether a cancel can work. An upgrade under way is left alone: that a DELETE would stop it is documented
/// nowhere, and a job that says "cancelled" while nodes are still being replaced would be the worst answer.
fn cancelable(word: Option<Word>, operator: bool) -> Cancelable {
    if !operator {
        return Cancelable::no(NO_CANCEL);
    }
    match word {
        Some(Word::Requested | Word::Scheduled | Word::ScheduledNotified) => {
            Cancelable::yes("it has not started: its schedule can be deleted")
        }
        Some(Word::InProgress) => {
            Cancelable::no("it runs, and Avisi documents no way to stop a running upgrade")
        }
        Some(Word::Succeeded | Word::Failed | Word::Missed | Word::Superseded | Word::Cancelled) => {
            Cancelable::no("it is over")
        }
        None => Cancelable::no("Avisi did not tell a known state for it"),
    }
}

/// What an accepted schedule waits for.
pub(super) fn wait(
    upgrade: &ScheduledUpgrade,
    operation: &Operation,
) -> (WaitReason, String, Option<jiff::Timestamp>) {
    let (asked_start, asked_ignore) = match operation {
        Operation::ScheduledUpgrade(scheduled) => {
            (scheduled.start_time, scheduled.ignore_maintenance_windows)
        }
        Operation::Upgrade(_) | Operation::Reinstall(_) => (None, None),
    };
    if let Some(start) = instant(upgrade.window_start.as_deref()) {
        let end = upgrade.window_end.as_deref().map(|end| format!(" to {end}")).unwrap_or_default();
        let text = format!("Avisi starts it in its window, {start}{end}");
        return (WaitReason::MaintenanceWindow, text, Some(start));
    }
    let start = instant(upgrade.schedule_request_date.as_deref()).or(asked_start);
    let ignores = upgrade.ignore_maintenance_schedule.or(asked_ignore).unwrap_or(false);
    match (start, ignores) {
        (Some(start), true) => {
            (WaitReason::StartTime, format!("Avisi starts it at {start}, whatever the windows"), Some(start))
        }
        (Some(start), false) => {
            let text = format!(
                "Avisi starts it in the next maintenance window from {start} on; it has not told which"
            );
            (WaitReason::MaintenanceWindow, text, None)
        }
        (None, true) => (WaitReason::StartTime, "Avisi starts it as soon as it can".to_owned(), None),
        (None, false) => {
            let text = "Avisi starts it in the next maintenance window; it has not told which".to_owned();
            (WaitReason::MaintenanceWindow, text, None)
        }
    }
}

/// The vendor's ids of a scheduled upgrade.
pub(super) fn ids(upgrade: &ScheduledUpgrade) -> BTreeMap<String, String> {
    let pairs = [("identity", &upgrade.identity), ("clusterIdentity", &upgrade.cluster_identity)];
    let known = pairs.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.clone()?)));
    known.filter(|(_, id)| !id.is_empty()).collect()
}

/// The job's `answer`: the scheduled upgrade's fields at the top, the cluster's under `cluster`.
pub(super) fn answer(upgrade: Option<&ScheduledUpgrade>, cluster: Option<&Cluster>) -> Option<String> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(flatten)]
        upgrade: Option<&'a ScheduledUpgrade>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<&'a Cluster>,
    }
    if upgrade.is_none() && cluster.is_none() {
        return None;
    }
    let text = serde_json::to_string(&Answer { upgrade, cluster }).ok()?;
    if text.len() <= MAX_ANSWER {
        return Some(text);
    }
    // Texts were cut when they were read, so only many non-ASCII letters lead here: the upgrade comes first.
    let text = serde_json::to_string(&Answer { upgrade, cluster: None }).ok()?;
    (text.len() <= MAX_ANSWER).then_some(text)
}

/// What an error answer means. Avisi has no error codes: the status decides, its words explain.
pub(super) fn error(reply: &Reply) -> VendorError {
    let mut error = reply.outage();
    let status = reply.status.as_u16();
    let words = serde_json::from_slice::<ErrorBody>(&reply.body).ok().and_then(words);
    match words {
        Some(words) => error = reworded(error, format!("Avisi answered HTTP {status}: {words}")),
        None if is_page(reply)
            && (400..500).contains(&status)
            && !matches!(status, 401 | 403 | 408 | 429) =>
        {
            // An HTML page is not Avisi's: something before it answered, and the request got no further. (The
            // vendor's own client shows other bodies as the message, and so do we.)
            let text = format!("{}; this page is not Avisi's own answer", error.message);
            error = VendorError::new(VendorFault::Unreachable, Reached::No, text).with_status(status);
        }
        None => {}
    }
    if status == 401 {
        error.message.push_str("; the token may be expired, revoked or used from outside its address range");
    } else if status == 403 {
        error.message.push_str("; the token may lack the right, the organisation or this address");
    }
    error.request_id = reply.header("x-request-id").map(|id| id.chars().take(128).collect());
    error
}

/// The same error in other words, cut like any other.
fn reworded(error: VendorError, message: String) -> VendorError {
    let mut other = VendorError::new(error.kind, error.reached, message).with_retry(error.retry);
    other.http_status = error.http_status;
    other
}

/// The envelope's message with its details, which name the fault more closely.
fn words(body: ErrorBody) -> Option<String> {
    let message = body.message.filter(|m| !m.trim().is_empty());
    let details: Vec<_> = body.details.into_iter().filter(|d| !d.trim().is_empty()).collect();
    match (message, details.is_empty()) {
        (Some(message), true) => Some(message),
        (Some(message), false) => Some(format!("{message}: {}", details.join("; "))),
        (None, false) => Some(details.join("; ")),
        (None, true) => None,
    }
}

fn is_page(reply: &Reply) -> bool {
    reply.header("content-type").is_some_and(|t| t.to_ascii_lowercase().contains("html"))
        || reply.body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<')
}

/// What a failed starting call means for its job: refused for good, or open.
pub(super) fn not_started(error: VendorError) -> Submitted {
    let reason = match error.kind {
        VendorFault::Rejected => FailureReason::VendorRejected,
        VendorFault::NotFound => FailureReason::TargetNotFound,
        VendorFault::PermissionDenied => FailureReason::PermissionDenied,
        // A refused token is the provider's trouble, not the job's: it passes when somebody replaces the token.
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => return Submitted::Failed(error),
    };
    match error.reached {
        Reached::No => {
            let mut failure = Failure::new(reason, error.message.clone());
            failure.metadata = error.metadata();
            Submitted::Refused(failure, Vec::new())
        }
        Reached::Maybe | Reached::Yes => Submitted::Failed(error),
    }
}
