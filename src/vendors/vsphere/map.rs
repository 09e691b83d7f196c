//! From vCenter's answers to observations. Pure: the same answer always means the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::findings;
use super::notes::Notes;
use super::state::{Moment, Word, is_under_way, judge};
use super::wire::{Info, Progress as WireProgress, Summary, Task, UpgradeResult};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Cancelable, Progress, Provenance};
use crate::domain::target::TargetKind;
use crate::kit::clock::since;
use crate::vendors::contract::{Observation, Phase, Submitted};
use crate::vendors::error::VendorError;

/// Why a cluster's upgrade cannot be cancelled.
pub(super) const NO_CANCEL: &str = "vCenter has no call that cancels a cluster's upgrade";
/// Why a Supervisor's upgrade cannot be cancelled without its task.
pub(super) const NO_TASK: &str =
    "the answer that named the upgrade's task was lost, and vCenter cancels by the task only";
/// The largest `answer`, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// The states of a task. There is no word for "cancelled": such a task ends as `FAILED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskWord {
    Pending,
    Running,
    Blocked,
    Succeeded,
    Failed,
}

impl TaskWord {
    fn of(task: &Task) -> Option<Self> {
        Some(match task.status.as_deref()? {
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "BLOCKED" => Self::Blocked,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            _ => return None,
        })
    }
}

/// What is known of a job's target in one round of looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) wanted: &'a str,
    pub(super) ignores_warnings: bool,
    pub(super) notes: &'a Notes,
    pub(super) moment: Moment,
    /// Its entry in the list.
    pub(super) entry: Option<&'a Summary>,
    /// Its task, for a Supervisor.
    pub(super) task: Option<&'a Task>,
    /// Its detail, when it was asked for.
    pub(super) detail: Option<&'a Info>,
}

/// A job's observation from all that was read.
pub(super) fn observe(kind: TargetKind, scene: &Scene<'_>) -> Observation {
    let mut notes = scene.notes.clone();
    if scene.entry.is_some_and(|entry| is_under_way(entry, scene.wanted)) {
        notes.moved = true;
    }
    let (phase, provenance) = match scene.task.and_then(TaskWord::of) {
        Some(word) => by_task(word, scene, &mut notes),
        None => match scene.entry {
            Some(entry) => judge(entry, scene.wanted, &notes, scene.moment),
            None => (Phase::Unclear, Provenance::Inferred),
        },
    };
    let mut seen = Observation::new(phase, provenance);
    let of_task = scene.task.and_then(|t| t.status.clone());
    seen.vendor_state = of_task.or_else(|| scene.entry.and_then(|e| e.state.clone()));
    seen.progress = progress(kind, scene);
    seen.findings = scene.detail.map(findings::of_detail).unwrap_or_default();
    seen.findings.extend(explained(&mut seen.phase, scene));
    seen.answer = answer(scene.entry, scene.detail, scene.task);
    seen.cancelable = Some(cancelable(kind, scene.task, &notes));
    if let Some(task) = &notes.task {
        seen.ids.insert("task".to_owned(), task.clone());
    }
    seen.handle = notes.handle_if_changed(scene.notes);
    seen
}

fn by_task(word: TaskWord, scene: &Scene<'_>, notes: &mut Notes) -> (Phase, Provenance) {
    use Provenance::{Inferred, Reported};
    match word {
        TaskWord::Pending => (Phase::Scheduled, Reported),
        TaskWord::Running => {
            notes.moved = true;
            (Phase::Running, Reported)
        }
        TaskWord::Blocked => (Phase::Suspended, Reported),
        TaskWord::Succeeded => {
            // The word is believed once the version says the same; for a while the list may lag behind.
            let since_then = *notes.done_since.get_or_insert(scene.moment.now);
            let Some(entry) = scene.entry else {
                return (Phase::Running, Inferred);
            };
            if since(since_then, scene.moment.now) < scene.moment.settle
                && entry.current_version.as_deref() != Some(scene.wanted)
            {
                return (Phase::Running, Inferred);
            }
            judge(entry, scene.wanted, notes, scene.moment)
        }
        TaskWord::Failed => (failed(scene), Reported),
    }
}

fn failed(scene: &Scene<'_>) -> Phase {
    let error = scene.task.and_then(|t| t.error.as_ref());
    let word = error.and_then(super::wire::ErrorBody::word);
    if matches!(word.as_deref(), Some("CANCELED")) {
        return Phase::Cancelled;
    }
    let why = error.and_then(super::wire::ErrorBody::words);
    let why = why.unwrap_or_else(|| "vCenter told no reason".to_owned());
    let stopped = scene.detail.is_some_and(|info| stopped_by_prechecks(info, scene));
    let (reason, begin) = if stopped {
        (FailureReason::PrecheckFailed, "vCenter's pre-checks stopped the upgrade before it began")
    } else {
        (FailureReason::VendorFailed, "vCenter's task FAILED")
    };
    let mut failure = Failure::new(reason, format!("{begin}: {why}"));
    failure.vendor_code = word;
    if stopped { Phase::Rejected(failure) } else { Phase::Failed(failure) }
}

/// The seed page: with a pre-check of severity ERROR the upgrade does not proceed beyond the pre-checks, with
/// WARNING only when told to ignore them. Then the target is READY at its old version.
fn stopped_by_prechecks(info: &Info, scene: &Scene<'_>) -> bool {
    let rests = info.state.as_deref().and_then(Word::read) == Some(Word::Ready)
        && info.current_version.is_some()
        && info.current_version.as_deref() == scene.notes.version();
    rests
        && info.upgrade_prechecks.iter().any(|c| {
            c.status.as_deref() == Some("FALSE")
                && match findings::severity(c.severity.as_deref()) {
                    Severity::Error => true,
                    Severity::Warning => !scene.ignores_warnings,
                    Severity::Info => false,
                }
        })
}

/// Adds the detail's error messages to a failure that was read from a bare word, and tells of a missing entry.
fn explained(phase: &mut Phase, scene: &Scene<'_>) -> Option<Finding> {
    if scene.entry.is_none() && scene.task.is_none() {
        return Some(Finding::new(
            "vsphere.not_listed",
            Severity::Info,
            "vCenter does not list the target now; it is looked for again",
        ));
    }
    if let (Phase::Failed(failure), Some(info)) = (phase, scene.detail) {
        let errors = findings::of_detail(info).into_iter().filter(|f| f.severity == Severity::Error);
        let words: Vec<String> = errors.map(|f| f.message).filter(|m| !failure.message.contains(m)).collect();
        if !words.is_empty() {
            let text = format!("{}: {}", failure.message, words.join("; "));
            failure.message = text.chars().take(2000).collect();
        }
    }
    None
}

/// How far it is. A pair that can mean two things gives no percentage.
fn progress(kind: TargetKind, scene: &Scene<'_>) -> Option<Progress> {
    let told = |p: &WireProgress| {
        let (total, completed) = (u64::try_from(p.total?).ok()?, u64::try_from(p.completed?).ok()?);
        Some((total, completed, p.message.as_ref().and_then(|m| m.words()).map(str::to_owned)))
    };
    // With a task, only the task's own: two scales in turn would make the bar jump.
    if let Some(task) = scene.task {
        let (total, completed, message) = task.progress.as_ref().and_then(told)?;
        return ratio(total, completed, message);
    }
    let (total, completed, message) =
        scene.detail?.upgrade_status.as_ref()?.progress.as_ref().and_then(told)?;
    match kind {
        TargetKind::Cluster => ratio(total, completed, message),
        // Documented as a number of nodes beside a percentage, which 1 of 3 may or may not be.
        TargetKind::Supervisor | TargetKind::Instance if completed > total && completed <= 100 => {
            Some(Progress { percent: as_f64(completed), message, completed: None, total: None })
        }
        TargetKind::Supervisor | TargetKind::Instance if total == 100 || completed == 0 => {
            ratio(total.max(1), completed, message)
        }
        TargetKind::Supervisor | TargetKind::Instance => None,
    }
}

fn ratio(total: u64, completed: u64, message: Option<String>) -> Option<Progress> {
    if total == 0 || completed > total {
        return None;
    }
    let percent = as_f64(completed) * 100.0 / as_f64(total);
    Some(Progress { percent, message, completed: Some(completed), total: Some(total) })
}

#[expect(clippy::cast_precision_loss, reason = "a share of a whole; nobody reads its sixteenth digit")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

fn cancelable(kind: TargetKind, task: Option<&Task>, notes: &Notes) -> Cancelable {
    match (kind, task) {
        (TargetKind::Cluster | TargetKind::Instance, _) => Cancelable::no(NO_CANCEL),
        (TargetKind::Supervisor, _) if notes.task.is_none() => Cancelable::no(NO_TASK),
        (TargetKind::Supervisor, Some(Task { cancelable: Some(false), .. })) => {
            Cancelable::no("vCenter says that the task cannot be cancelled now")
        }
        (TargetKind::Supervisor, _) => Cancelable::yes("its task can be cancelled"),
    }
}

/// The job's `answer`: the entry's, detail's and task's fields under the vendor's names.
pub(super) fn answer(entry: Option<&Summary>, detail: Option<&Info>, task: Option<&Task>) -> Option<String> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<&'a Summary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        info: Option<&'a Info>,
        #[serde(skip_serializing_if = "Option::is_none")]
        task: Option<&'a Task>,
    }
    let text = |answer: Answer<'_>| serde_json::to_string(&answer).ok().filter(|t| t.len() <= MAX_ANSWER);
    if entry.is_none() && detail.is_none() && task.is_none() {
        return None;
    }
    // What is most about the upgrade itself stays when all is too long.
    text(Answer { summary: entry, info: detail, task })
        .or_else(|| text(Answer { summary: entry, info: None, task }))
        .or_else(|| text(Answer { summary: None, info: None, task }).filter(|_| task.is_some()))
}

/// One cluster's result of `upgradeMultiple`.
pub(super) fn started(cluster: &str, result: Option<&UpgradeResult>, notes: &Notes) -> Submitted {
    let Some(result) = result else {
        return Submitted::Failed(VendorError::garbled(format!(
            "vCenter's answer to the start has no entry for `{cluster}`"
        )));
    };
    let exception = result.exception.as_ref();
    match result.res.as_deref() {
        Some("STARTED") => {
            let mut seen = Observation::new(Phase::Running, Provenance::Reported);
            seen.vendor_state = Some("STARTED".to_owned());
            seen.ids.insert("cluster".to_owned(), cluster.to_owned());
            seen.answer = serde_json::to_string(result).ok().filter(|t| t.len() <= MAX_ANSWER);
            seen.cancelable = Some(Cancelable::no(NO_CANCEL));
            seen.handle = notes.handle();
            Submitted::Started(Box::new(seen))
        }
        Some("REJECTED") => {
            let words = exception.and_then(super::wire::ErrorBody::words);
            let words = words.unwrap_or_else(|| "it told no reason".to_owned());
            let text: String = format!("vCenter REJECTED the upgrade of `{cluster}`: {words}");
            let mut failure =
                Failure::new(FailureReason::PrecheckFailed, text.chars().take(2000).collect::<String>());
            failure.vendor_code = exception.and_then(super::wire::ErrorBody::word);
            let found = exception.into_iter().flat_map(|e| &e.messages).filter_map(|details| {
                findings::of_message(&super::wire::Message {
                    severity: Some("ERROR".to_owned()),
                    details: Some(details.clone()),
                })
            });
            Submitted::Refused(failure, findings::merged(found))
        }
        other => Submitted::Failed(VendorError::garbled(format!(
            "vCenter answered the start of `{cluster}` with `{}`, which is neither STARTED nor REJECTED",
            other.unwrap_or_default().chars().take(64).collect::<String>()
        ))),
    }
}

/// The answer to a Supervisor's start.
pub(super) fn accepted(supervisor: &str, task: String, before: &Notes) -> Observation {
    let mut seen = Observation::new(Phase::Running, Provenance::Reported);
    seen.ids =
        BTreeMap::from([("supervisor".to_owned(), supervisor.to_owned()), ("task".to_owned(), task.clone())]);
    seen.cancelable = Some(Cancelable::yes("its task can be cancelled"));
    seen.handle = Notes { task: Some(task), moved: false, done_since: None, ..before.clone() }.handle();
    seen
}
