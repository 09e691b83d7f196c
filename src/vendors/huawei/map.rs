//! Reads an instance: (what CloudDC says, our notes) → [`Observation`]. Pure.
//!
//! CloudDC gives no job id, three vocabularies of `state` exist, and `operation_state` is live in some places
//! only. So nothing is decided on `state` alone: the first `running` after the 202 may be stale, and
//! `reinstall-succeed` may be left from an earlier reinstall. A word counts as ours only after something moved.

use std::time::Duration;

use jiff::Timestamp;

use super::notes::{Baseline, Notes, changed};
use super::wire::Instance;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::Provenance;
use crate::kit::clock;
use crate::vendors::contract::{Found, Observation, Phase};

/// After this long the `running` of an accepted reinstall is no longer the one from before it.
pub(super) const STALE_RUNNING: Duration = Duration::from_secs(300);
/// The largest `answer`.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// What is known beside the vendor's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub notes: &'a Notes,
    /// When the start was last sent.
    pub submitted: Option<Timestamp>,
    pub now: Timestamp,
}

/// Where an instance's words put a reinstall.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// It is worked on.
    Processing,
    /// It ended well, by the vendor's word.
    Done,
    /// It ended well, concluded from a new `launched_at`.
    DoneByLaunch,
    /// It ended badly. `ours` says whether the words are about a reinstall.
    Failed { why: String, ours: bool },
    /// The instance is being or was deleted.
    Deleted,
    /// Nothing new, or a word for something else.
    Nothing,
    /// A word that this adapter does not know.
    Unknown,
}

/// Whether an instance's words say that a reinstall (whoever started it) is under way.
pub(super) fn busy_with(instance: &Instance) -> Option<String> {
    let operation = instance.operation_state.as_deref().unwrap_or_default();
    if let Some(operation) = operation.strip_suffix("-processing") {
        return Some(format!("CloudDC reports the operation `{operation}` under way on this instance"));
    }
    let what = match instance.state.as_deref()? {
        "reinstalling" => "a reinstall is under way",
        "pending" => "it is being created, started or reinstalled",
        "switch-installing" => "its operating system is being switched",
        "modifyIping" => "its address is being changed",
        _ => return None,
    };
    Some(format!("CloudDC reports the state `{}`: {what}", instance.state.as_deref().unwrap_or_default()))
}

fn decide(instance: &Instance, context: Context<'_>, notes: &Notes) -> Verdict {
    let state = instance.state.as_deref().unwrap_or_default();
    let operation = instance.operation_state.as_deref();
    let none = Baseline::default();
    let before = notes.baseline.as_ref().unwrap_or(&none);
    let new_error = instance.error.as_ref().filter(|e| {
        let known_before = notes.baseline.is_some() || notes.processing_seen;
        known_before
            && e.error_type.as_deref() == Some("reinstall_error")
            && before.error.as_ref() != Some(*e)
    });
    let failed = |ours| Verdict::Failed { why: why_failed(instance), ours };

    if matches!(state, "shutting-down" | "terminated" | "teminated") {
        return Verdict::Deleted;
    }
    if is_install(operation, "-processing", notes) {
        return Verdict::Processing;
    }
    let word_failed = is_install(operation, "-failed", notes);
    // Words left from an earlier reinstall stay until ours moves them.
    if (word_failed && notes.operation_moved) || new_error.is_some() {
        return failed(true);
    }
    match state {
        "error" | "failed" => failed(word_failed && notes.processing_seen),
        "pending" | "reinstalling" => Verdict::Processing,
        // Also what a power-off by a person looks like: it counts only once the vendor took our reinstall.
        "stopping" | "stopped" | "switch-installing" if notes.accepted => Verdict::Processing,
        "running" => match operation {
            Some("reinstall-failed") if notes.processing_seen => failed(true),
            word if notes.operation_moved && is_install(word, "-succeed", notes) => Verdict::Done,
            // Somebody else's operation, or a word of tomorrow: wait for what comes after it.
            Some(word) if !(word.ends_with("-succeed") || word.ends_with("-failed")) => Verdict::Nothing,
            _ if notes.processing_seen => Verdict::Done,
            None | Some("reinstall-succeed") if launched_again(instance, before, context, notes) => {
                Verdict::DoneByLaunch
            }
            _ => Verdict::Nothing,
        },
        "stopping" | "stopped" | "modifyIping" | "switch-installing" | "" => Verdict::Nothing,
        _ => Verdict::Unknown,
    }
}

/// Whether `operation_state` is a word about our reinstall. No page says how a reinstall with another image is told;
/// its name fits `switch-install`, too. So once the vendor took our start (one operation at a time runs on an
/// instance), that word counts, and `install` as well. Before that, only `reinstall` does: a switch that somebody else
/// started must not be taken for ours.
fn is_install(operation: Option<&str>, suffix: &str, notes: &Notes) -> bool {
    match operation.and_then(|word| word.strip_suffix(suffix)) {
        Some("reinstall") => true,
        Some("switch-install" | "install") => notes.accepted,
        Some(_) | None => false,
    }
}

/// The whole reinstall may have passed unseen, while Drydock was down: then a `launched_at` other than before the
/// start is what tells. Believed only when the start is long enough ago that `running` cannot be the old one.
fn launched_again(instance: &Instance, before: &Baseline, context: Context<'_>, notes: &Notes) -> bool {
    let settled = context.submitted.is_some_and(|sent| clock::since(sent, context.now) >= STALE_RUNNING);
    notes.accepted && settled && changed(before.launched_at.as_ref(), instance.launched_at.as_ref())
}

/// Our notes with what this answer adds.
fn learn(instance: &Instance, notes: &Notes) -> Notes {
    let mut notes = notes.clone();
    let operation = instance.operation_state.as_deref();
    let moved = operation == Some("reinstall-processing")
        || notes.baseline.as_ref().is_some_and(|before| {
            match (before.operation_state.as_deref(), operation) {
                (Some(before), Some(now)) => before != now,
                // The member itself is new: it may tell of an earlier reinstall unless the instance changed, too.
                (None, Some(_)) => {
                    changed(before.updated_at.as_ref(), instance.updated_at.as_ref())
                        || changed(before.launched_at.as_ref(), instance.launched_at.as_ref())
                }
                (_, None) => false,
            }
        });
    notes.operation_moved |= moved;
    notes
}

fn why_failed(instance: &Instance) -> String {
    let state = instance.state.as_deref().unwrap_or("unknown");
    let operation = instance.operation_state.as_deref();
    let words = operation.map_or_else(|| format!("`{state}`"), |o| format!("`{state}`, `{o}`"));
    let error = instance.error.as_ref();
    match error.and_then(|e| e.error_msg.as_deref()) {
        Some(text) => {
            let kind =
                error.and_then(|e| e.error_type.as_deref()).map(|k| format!(" ({k})")).unwrap_or_default();
            format!("CloudDC reports {words}: {text}{kind}")
        }
        None => format!("CloudDC reports {words} and gives no cause; see the CloudDC console"),
    }
}

/// How a started reinstall stands.
pub(super) fn observe(instance: &Instance, context: Context<'_>) -> Observation {
    let mut notes = learn(instance, context.notes);
    let verdict = decide(instance, context, &notes);
    notes.processing_seen |= verdict == Verdict::Processing;

    let (phase, provenance) = match &verdict {
        Verdict::Processing => (Phase::Running, Provenance::Reported),
        Verdict::Done => (Phase::Succeeded, Provenance::Reported),
        Verdict::DoneByLaunch => (Phase::Succeeded, Provenance::Inferred),
        // Whether our start arrived is still open, and this is no word about a reinstall.
        Verdict::Failed { ours: false, .. } if !notes.accepted => (Phase::Unclear, Provenance::Reported),
        Verdict::Failed { why, .. } => {
            let mut failure = Failure::new(FailureReason::VendorFailed, why.clone());
            failure.vendor_code = instance.error.as_ref().and_then(|e| e.error_code.clone());
            (Phase::Failed(failure), Provenance::Reported)
        }
        Verdict::Deleted => {
            let failure = Failure::new(
                FailureReason::VendorFailed,
                "the instance is being or was deleted at CloudDC; its reinstall cannot succeed",
            );
            (Phase::Failed(failure), Provenance::Reported)
        }
        Verdict::Nothing | Verdict::Unknown => (Phase::Unclear, Provenance::Reported),
    };
    let mut observation = Observation::new(phase, provenance);
    observation.vendor_state = instance.state.clone().or_else(|| instance.operation_state.clone());
    if verdict == Verdict::Unknown {
        let state = instance.state.as_deref().unwrap_or_default();
        observation.findings.push(Finding::new(
            "huawei.unknown_state",
            Severity::Info,
            format!(
                "CloudDC reports the state `{state}`, which Drydock does not know; the job is followed on"
            ),
        ));
    }
    for (name, id) in [("instance_id", &instance.id), ("server_id", &instance.server_id)] {
        if let Some(id) = id {
            observation.ids.insert(name.to_owned(), id.clone());
        }
    }
    observation.answer = answer(instance);
    observation.handle = (notes != *context.notes).then(|| notes.handle());
    observation
}

/// How a job ends whose instance is gone.
pub(super) fn gone(id: &str, vendor_said: &str) -> Observation {
    let failure = Failure::new(
        FailureReason::TargetNotFound,
        format!("the instance was deleted; its reinstall cannot be followed any further ({vendor_said})"),
    );
    let mut observation = Observation::new(Phase::Failed(failure), Provenance::Reported);
    observation.ids.insert("instance_id".to_owned(), id.to_owned());
    observation
}

/// The first observation of a reinstall that the vendor just accepted.
pub(super) fn accepted(id: &str, notes: &Notes, request_id: Option<&str>) -> Observation {
    let mut observation = Observation::new(Phase::Running, Provenance::Reported);
    observation.ids.insert("instance_id".to_owned(), id.to_owned());
    if let Some(request_id) = request_id {
        observation.ids.insert("X-Request-Id".to_owned(), request_id.to_owned());
    }
    observation.answer = Some(serde_json::json!({ "id": id }).to_string());
    let notes = Notes { accepted: true, ..notes.clone() };
    observation.handle = Some(notes.handle());
    observation
}

/// After a lost answer: whether the start arrived. `NotArrived` is never the answer: the vendor keeps no record
/// that could prove it, and a second reinstall would wipe a machine twice.
pub(super) fn find(instance: &Instance, context: Context<'_>, image_id: Option<&str>) -> Found {
    let notes = learn(instance, context.notes);
    let state = instance.state.as_deref().unwrap_or("no state");
    let before = context.notes.baseline.as_ref();
    let arrived = match decide(instance, context, &notes) {
        Verdict::Processing | Verdict::Done | Verdict::DoneByLaunch => true,
        Verdict::Failed { ours, .. } => ours,
        Verdict::Deleted | Verdict::Unknown => false,
        Verdict::Nothing => {
            let image = instance.image.as_ref().and_then(|i| i.id.as_deref());
            let old = before.and_then(|b| b.image_id.as_deref());
            let launched =
                before.is_some_and(|b| changed(b.launched_at.as_ref(), instance.launched_at.as_ref()));
            let new_image = image_id.is_some() && image == image_id && old.is_some() && old != image;
            state == "running" && (launched || new_image)
        }
    };
    if !arrived {
        let operation = instance.operation_state.as_deref().map(|o| format!(", `{o}`")).unwrap_or_default();
        return Found::CannotTell(format!(
            "the instance is `{state}`{operation}, which fits both a reinstall that did not arrive and one that \
             does not show yet"
        ));
    }
    let known = Notes { accepted: true, ..notes };
    let mut observation = observe(instance, Context { notes: &known, ..context });
    if observation.phase == Phase::Unclear {
        observation.phase = Phase::Running;
    }
    observation.handle.get_or_insert_with(|| known.handle());
    Found::Arrived(Box::new(observation))
}

/// The known fields as a JSON object, within its bound: the long ones go first.
pub(super) fn answer(instance: &Instance) -> Option<String> {
    let mut shown = instance.clone();
    for step in 0..4 {
        match step {
            0 => {}
            1 => shown.description = None,
            2 => (shown.tags, shown.network_interfaces) = (None, None),
            _ => {
                shown = Instance {
                    id: shown.id,
                    state: shown.state,
                    operation_state: shown.operation_state,
                    ..Instance::default()
                };
            }
        }
        let text = serde_json::to_string(&shown).ok()?;
        if text.len() <= MAX_ANSWER_BYTES {
            return Some(text);
        }
    }
    None
}
