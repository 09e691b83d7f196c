//! vCenter's answers about an upgrade → observations. Pure.

use serde_json::{Map, Value};

use super::fault;
use super::findings;
use super::judge::{Mood, Stand, Terms, judge, lasted, mood};
use super::notes::Notes;
use super::wire::{self, ErrorBody, Info, Localizable, Summary, Task, UpgradeResult};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{self, Cancelable, Provenance, WaitReason};
use crate::domain::target::TargetKind;
use crate::kit::clock;
use crate::vendors::contract::{Observation, Phase, Planned};

/// Why an upgrade by cluster cannot be cancelled.
pub(super) const NO_CANCEL: &str =
    "vCenter has no call that cancels an upgrade by cluster; one that goes by Supervisor can be cancelled";
/// The largest `answer` that a job keeps.
const MAX_ANSWER: usize = 16 * 1024;
/// The longest text of a failure, in characters.
const MAX_TEXT: usize = 2000;
/// The longest piece of vCenter's text that goes into one of our own sentences.
const MAX_SHOWN: usize = 100;

/// What was heard about one target in one round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight<'a> {
    /// Its entry in the list.
    pub summary: Option<&'a Summary>,
    /// Its details, when they were asked for.
    pub info: Option<&'a Info>,
    /// The task of its upgrade.
    pub task: Option<&'a Task>,
}

/// How an upgrade stands, decided from list entry and task alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// As the target tells.
    Target(Stand),
    /// As the task tells: under way.
    TaskRunning,
    /// Held by vCenter.
    TaskBlocked,
    /// The task succeeded, and the version proves it (or nobody can say which version there is).
    TaskSucceeded { confirmed: bool },
    /// The task succeeded, and the target has not got the version.
    TaskWithoutEffect,
    /// The task failed.
    TaskFailed,
    /// The task was cancelled.
    TaskCancelled,
    /// The task failed after our cancel without a reason, and the target stands as before: it was the cancel.
    TaskEndedByCancel,
}

impl Outcome {
    /// Whether the upgrade is over, so that its details are worth a call.
    pub(super) const fn ends(&self) -> bool {
        match self {
            Self::Target(stand) => match stand {
                Stand::Running | Stand::Open => false,
                Stand::Reached | Stand::InError | Stand::Overtaken(_) | Stand::Stopped | Stand::Gone => true,
            },
            Self::TaskRunning | Self::TaskBlocked => false,
            Self::TaskSucceeded { .. }
            | Self::TaskWithoutEffect
            | Self::TaskFailed
            | Self::TaskCancelled
            | Self::TaskEndedByCancel => true,
        }
    }
}

/// Decides how a Supervisor's upgrade stands. The task has the first word; the target has it where the task is gone.
pub(super) fn decide(sight: Sight<'_>, notes: &mut Notes, terms: Terms<'_>) -> Outcome {
    let Some(task) = sight.task else {
        return Outcome::Target(judge(sight.summary, notes, terms));
    };
    match task.status.as_deref() {
        Some("PENDING" | "RUNNING") => {
            notes.running_seen = true;
            notes.odd_since = None;
            Outcome::TaskRunning
        }
        Some("BLOCKED") => {
            notes.running_seen = true;
            notes.odd_since = None;
            Outcome::TaskBlocked
        }
        Some("SUCCEEDED") => succeeded(sight.summary, notes, terms),
        Some("FAILED") if is_cancelled(task.error.as_ref()) => Outcome::TaskCancelled,
        Some("FAILED") => Outcome::TaskFailed,
        Some(_) | None => Outcome::Target(Stand::Open),
    }
}

/// A task's success is believed with the version that proves it; without it, only once that has lasted.
fn succeeded(summary: Option<&Summary>, notes: &mut Notes, terms: Terms<'_>) -> Outcome {
    match summary {
        Some(s) if mood(s.state.as_deref()) == Mood::Busy => match s.desired_version.as_deref() {
            // The task may end a little before the Supervisor says so.
            None => Outcome::TaskRunning,
            Some(wanted) if wanted == terms.desired => Outcome::TaskRunning,
            // Another upgrade runs already: ours went before it, and its task says how it ended.
            Some(_) => Outcome::TaskSucceeded { confirmed: false },
        },
        Some(s) if s.current_version.as_deref() == Some(terms.desired) => {
            Outcome::TaskSucceeded { confirmed: true }
        }
        _ if !lasted(notes, terms) => Outcome::Target(Stand::Open),
        Some(s) if s.current_version.is_some() => Outcome::TaskWithoutEffect,
        Some(_) | None => Outcome::TaskSucceeded { confirmed: false },
    }
}

/// There is no status for "cancelled". The error's type should say it; where it does not, its message ids may.
fn is_cancelled(error: Option<&ErrorBody>) -> bool {
    error.is_some_and(|error| {
        error.error_type.as_deref() == Some(fault::CANCELED)
            || error.messages.iter().filter_map(|m| m.id.as_deref()).any(|id| {
                let id = id.to_ascii_lowercase();
                id.ends_with("canceled") || id.ends_with("cancelled")
            })
    })
}

/// The observation of a decided upgrade.
pub(super) fn observe(
    planned: &Planned,
    sight: Sight<'_>,
    outcome: &Outcome,
    notes: &mut Notes,
    terms: Terms<'_>,
) -> Observation {
    let (phase, provenance) = phase(sight, outcome, notes, terms);
    let mut seen = Observation::new(phase, provenance);
    let state = sight.summary.and_then(|s| s.state.as_deref());
    let word = sight.task.map_or(state, |task| task.status.as_deref());
    seen.vendor_state = word.map(shown);
    seen.progress = progress_of(sight);
    if let Some(info) = sight.info {
        // All that vCenter says of the target now: what it said earlier no longer holds.
        seen.findings = findings::of_info(info);
        seen.findings_complete = true;
        notes.detailed_state = word.map(str::to_owned);
    }
    seen.findings.extend(remark(outcome, terms));
    seen.ids.insert(id_name(planned.target.kind).to_owned(), planned.target.id.to_string());
    if let Some(task) = &notes.task {
        seen.ids.insert("task".to_owned(), task.clone());
    }
    // Without details, the answer before says more than this one would.
    if sight.info.is_some() || outcome.ends() || notes.detailed_state.is_none() {
        seen.answer = answer(sight);
    }
    seen.cancelable = cancelable(sight.task, notes, planned);
    seen.waiting = waiting(sight, outcome, notes, terms);
    seen
}

fn phase(sight: Sight<'_>, outcome: &Outcome, notes: &Notes, terms: Terms<'_>) -> (Phase, Provenance) {
    use Provenance::{Inferred, Reported};
    let current = sight.summary.and_then(|s| s.current_version.as_deref()).unwrap_or("an unknown version");
    // Where a task was expected and is gone, the target's word stands in for it.
    let by_target = if notes.task.is_some() { Inferred } else { Reported };
    match outcome {
        Outcome::Target(stand) => match stand {
            Stand::Running => (Phase::Running, by_target),
            Stand::Reached => (Phase::Succeeded, by_target),
            Stand::InError => (failed(sight, notes), by_target),
            Stand::Overtaken(_) => (Phase::Superseded, Inferred),
            Stand::Stopped => {
                let text = format!(
                    "vCenter accepted the upgrade to {}, and shows the target idle (READY) with {current} for more \
                     than {} s. Look at the target's events in vCenter",
                    terms.desired,
                    terms.settle.as_secs()
                );
                (Phase::Failed(Failure::new(FailureReason::VendorFailed, text)), Inferred)
            }
            Stand::Gone => {
                let text = "vCenter no longer lists the target among those with a Supervisor: it was removed, or the \
                            account may not see it any more";
                (Phase::Failed(Failure::new(FailureReason::TargetNotFound, text)), Inferred)
            }
            Stand::Open => (Phase::Unclear, Reported),
        },
        Outcome::TaskRunning => (Phase::Running, Reported),
        Outcome::TaskBlocked => (Phase::Suspended, Reported),
        Outcome::TaskSucceeded { .. } => (Phase::Succeeded, Reported),
        Outcome::TaskWithoutEffect => {
            let text = format!(
                "vCenter's task says SUCCEEDED, and the Supervisor has {current} instead of {}",
                terms.desired
            );
            (Phase::Failed(Failure::new(FailureReason::VendorFailed, text)), Inferred)
        }
        Outcome::TaskFailed => (failed(sight, notes), Reported),
        Outcome::TaskCancelled => (Phase::Cancelled, Reported),
        Outcome::TaskEndedByCancel => (Phase::Cancelled, Inferred),
    }
}

/// A failed upgrade: refused when a precheck stopped it before anything changed, failed otherwise.
fn failed(sight: Sight<'_>, notes: &Notes) -> Phase {
    let error = task_error(sight.task);
    let conditions = sight.info.map(|info| info.upgrade_prechecks.as_slice()).unwrap_or_default();
    let stopping = findings::stopping(conditions, notes.ignored_warnings);
    let before = notes.baseline.as_ref().and_then(|b| b.current_version.as_deref());
    let current = sight.summary.and_then(|s| s.current_version.as_deref());
    let untouched = before.is_some() && before == current && !has_progressed(sight);
    if !stopping.is_empty() && untouched {
        let lines: Vec<String> = stopping.into_iter().map(findings::line).collect();
        let mut failure = Failure::new(
            FailureReason::PrecheckFailed,
            format!("vCenter's prechecks stopped the upgrade: {}", lines.join("; "))
                .chars()
                .take(MAX_TEXT)
                .collect::<String>(),
        );
        failure.vendor_code = error.and_then(|e| e.error_type);
        return Phase::Rejected(failure);
    }
    let mut texts = Vec::new();
    if let Some(error) = &error {
        texts.push(fault::chain(error));
    }
    if let Some(info) = sight.info {
        let found = findings::of_info(info);
        texts.extend(found.into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.message));
    }
    texts.retain(|text| !text.is_empty());
    texts.dedup();
    let text = if texts.is_empty() {
        "vCenter says that the upgrade failed, and not why. Look at the target's events in vCenter".to_owned()
    } else {
        texts.join("; ")
    };
    let mut failure =
        Failure::new(FailureReason::VendorFailed, text.chars().take(MAX_TEXT).collect::<String>());
    failure.vendor_code = error.and_then(|e| e.error_type);
    Phase::Failed(failure)
}

/// The error of a failed task; when it is absent, the reason is in `result`.
pub(super) fn task_error(task: Option<&Task>) -> Option<ErrorBody> {
    let task = task?;
    if task.error.is_some() {
        return task.error.clone();
    }
    match task.result.as_ref()? {
        Value::String(text) => Some(ErrorBody {
            messages: vec![Localizable { default_message: Some(text.clone()), ..Localizable::default() }],
            ..ErrorBody::default()
        }),
        result @ Value::Object(map) if map.contains_key("messages") => wire::read(result),
        Value::Object(map) => map.get("error").and_then(wire::read),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

fn has_progressed(sight: Sight<'_>) -> bool {
    let status = sight.info.and_then(|info| info.upgrade_status.as_ref());
    let done = status.and_then(|s| s.progress.as_ref()).and_then(|p| p.completed).unwrap_or(0);
    done > 0
}

fn remark(outcome: &Outcome, terms: Terms<'_>) -> Option<Finding> {
    let (id, text) = match outcome {
        Outcome::Target(Stand::Overtaken(other)) => {
            ("vsphere.overtaken", format!("an upgrade to {} took the place of this one", shown(other)))
        }
        Outcome::TaskSucceeded { confirmed: false } => (
            "vsphere.version_unconfirmed",
            "vCenter's task says SUCCEEDED; the version could not be read back to confirm it".to_owned(),
        ),
        Outcome::TaskEndedByCancel => (
            "vsphere.cancel_inferred",
            "after the cancel, vCenter's task ended FAILED without a reason, and the target is ready on its old version"
                .to_owned(),
        ),
        Outcome::TaskFailed if terms.cancel_requested => (
            "vsphere.failed_despite_cancel",
            "a cancel was asked for, and the upgrade ended for a reason of its own".to_owned(),
        ),
        Outcome::Target(
            Stand::Running | Stand::Reached | Stand::InError | Stand::Stopped | Stand::Gone | Stand::Open,
        )
        | Outcome::TaskRunning
        | Outcome::TaskBlocked
        | Outcome::TaskSucceeded { confirmed: true }
        | Outcome::TaskWithoutEffect
        | Outcome::TaskFailed
        | Outcome::TaskCancelled => return None,
    };
    Some(Finding::new(id, Severity::Info, text))
}

fn cancelable(task: Option<&Task>, notes: &Notes, planned: &Planned) -> Option<Cancelable> {
    if planned.target.kind != TargetKind::Supervisor {
        return Some(Cancelable::no(NO_CANCEL));
    }
    match (task.and_then(|t| t.cancelable), task, &notes.task) {
        (Some(true), _, _) => Some(Cancelable::yes("vCenter says that the task can be cancelled")),
        (Some(false), _, _) => Some(Cancelable::no("vCenter says that the task cannot be cancelled now")),
        (None, Some(_), _) => None,
        (None, None, Some(_)) => Some(Cancelable::no("vCenter no longer lists the task")),
        (None, None, None) => Some(Cancelable::no("the task's id was lost with the answer to the start")),
    }
}

fn waiting(
    sight: Sight<'_>,
    outcome: &Outcome,
    notes: &Notes,
    terms: Terms<'_>,
) -> Option<(WaitReason, String, Option<jiff::Timestamp>)> {
    let state = sight.summary.and_then(|s| s.state.as_deref());
    match outcome {
        Outcome::TaskRunning if mood(state) == Mood::Error => Some((
            WaitReason::Overdue,
            "the Supervisor is in ERROR while its upgrade's task still runs; vCenter may need a person"
                .to_owned(),
            None,
        )),
        Outcome::TaskBlocked => {
            Some((WaitReason::Overdue, "vCenter holds the task (BLOCKED)".to_owned(), None))
        }
        Outcome::Target(Stand::Open) => {
            let since = notes.odd_since?;
            // Right after a start a stale word is usual: no reason to tell.
            if clock::since(since, terms.now) < terms.settle / 10 {
                return None;
            }
            let text = match state {
                Some(state) => {
                    format!("vCenter shows {}, which does not fit a running upgrade", shown(state))
                }
                None => "vCenter does not list the target".to_owned(),
            };
            let until = clock::after(since, terms.settle);
            Some((WaitReason::Overdue, format!("{text}; it is believed once it has lasted"), Some(until)))
        }
        Outcome::Target(_)
        | Outcome::TaskRunning
        | Outcome::TaskSucceeded { .. }
        | Outcome::TaskWithoutEffect
        | Outcome::TaskFailed
        | Outcome::TaskCancelled
        | Outcome::TaskEndedByCancel => None,
    }
}

fn progress_of(sight: Sight<'_>) -> Option<job::Progress> {
    let status = sight.info.and_then(|info| info.upgrade_status.as_ref()).and_then(|s| s.progress.as_ref());
    match sight.task {
        Some(task) => task.progress.as_ref().and_then(of_work).or_else(|| status.and_then(of_either_reading)),
        None if sight.summary.is_some_and(|s| s.supervisor.is_some()) => status.and_then(of_either_reading),
        None => status.and_then(of_nodes),
    }
}

/// A task's progress: amounts of work.
fn of_work(progress: &wire::Progress) -> Option<job::Progress> {
    let (_, _, percent) = ratio(progress)?;
    Some(job::Progress { percent, message: text(progress), completed: None, total: None })
}

/// A cluster's progress: both numbers count control plane nodes.
fn of_nodes(progress: &wire::Progress) -> Option<job::Progress> {
    let (completed, total, percent) = ratio(progress)?;
    Some(job::Progress { percent, message: text(progress), completed: Some(completed), total: Some(total) })
}

/// A Supervisor's progress. vCenter's documents call `total` the number of nodes and `completed` a percentage, which
/// may be a slip of the pen for a number of nodes. Where both readings agree, or only one makes sense, there is a
/// percentage; "1 of 3" could be 33 % or 1 %, so there is none.
fn of_either_reading(progress: &wire::Progress) -> Option<job::Progress> {
    let (total, completed) = (progress.total?, progress.completed?);
    let agrees = completed == 0 || total == 100;
    let only_percent = total > 0 && completed > total;
    if !(0..=100).contains(&completed) || total <= 0 || !(agrees || only_percent) {
        return None;
    }
    let percent = f64::from(i32::try_from(completed).ok()?);
    Some(job::Progress { percent, message: text(progress), completed: None, total: None })
}

/// Completed, total, percent; none when the numbers make no sense.
fn ratio(progress: &wire::Progress) -> Option<(u64, u64, f64)> {
    let total = u64::try_from(progress.total?).ok().filter(|total| *total > 0)?;
    let completed = u64::try_from(progress.completed?).ok().filter(|completed| *completed <= total)?;
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits")]
    let percent = completed as f64 * 100.0 / total as f64;
    Some((completed, total, percent))
}

fn text(progress: &wire::Progress) -> Option<String> {
    progress.message.as_ref().map(Localizable::text).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What vCenter said, under its own names; at most [`MAX_ANSWER`] bytes.
pub(super) fn answer(sight: Sight<'_>) -> Option<String> {
    let mut fields = Map::new();
    for part in [sight.summary.map(serde_json::to_value), sight.info.map(serde_json::to_value)] {
        if let Some(Ok(Value::Object(part))) = part {
            fields.extend(part);
        }
    }
    if let Some(Ok(task)) = sight.task.map(serde_json::to_value) {
        fields.insert("task".to_owned(), task);
    }
    fit(fields)
}

/// The answer to a start of a cluster.
pub(super) fn start_answer(result: &UpgradeResult) -> Option<String> {
    match serde_json::to_value(result) {
        Ok(Value::Object(fields)) => fit(fields),
        _ => None,
    }
}

/// Leaves out the largest members until the rest fits.
fn fit(mut fields: Map<String, Value>) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    loop {
        let text = Value::Object(fields.clone()).to_string();
        if text.len() <= MAX_ANSWER {
            return Some(text);
        }
        let largest = fields.iter().max_by_key(|(_, v)| v.to_string().len()).map(|(k, _)| k.clone())?;
        fields.remove(&largest);
    }
}

/// A piece of vCenter's text, short enough for one of our sentences.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

/// How a kind of target is called in vCenter's JSON.
pub(super) const fn id_name(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Cluster => "cluster",
        TargetKind::Supervisor => "supervisor",
        TargetKind::Instance => "instance",
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
