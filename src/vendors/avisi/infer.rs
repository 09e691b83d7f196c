//! What a cluster's own state tells about an upgrade that its vendor does not let us read.
//!
//! Customers cannot read a scheduled upgrade back (no such call exists outside the operator's API), and a direct
//! upgrade has no record at all. What can be seen is the cluster: its version and its status. Everything here is
//! therefore a conclusion, marked as such, and drawn late rather than wrongly:
//!
//! | seen | concluded |
//! |---|---|
//! | wanted version, running, and it was seen busy or has stayed so for `settle` | succeeded |
//! | wanted version otherwise, or busy once the start was due | running |
//! | old version, before the start or inside the window | scheduled |
//! | old version, running, never busy, window over by `margin` | missed |
//! | old version, running for `margin` after it was busy, window over (or none to wait for) | failed |
//! | another version, running for `settle`, start due, window over by `margin` where known | superseded |
//! | cluster deleted | superseded ("cluster status changed" is the vendor's own example) |
//! | anything else | nothing new |

use std::time::Duration;

use jiff::Timestamp;

use super::config::Knobs;
use super::map;
use super::notes::{Notes, Resting, Slugs, instant};
use super::wire::Cluster;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Cancelable, Provenance, WaitReason};
use crate::domain::operation::Operation;
use crate::kit::clock;
use crate::vendors::contract::{Observation, Phase};

/// What a cluster's status word says. The full list of words is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `running`, or its older spelling `started`.
    Running,
    /// Off, or on its way off or on: no sign of an upgrade, and none of its absence.
    Idle,
    /// Deleted, or being deleted.
    Gone,
    /// Any other word: something is being done to it.
    Busy,
    /// No word.
    Untold,
}

impl Condition {
    pub(super) fn of(cluster: &Cluster) -> Self {
        if cluster.deleted_at.as_ref().is_some_and(|at| !at.is_empty()) {
            return Self::Gone;
        }
        match cluster.status.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "running" | "started" => Self::Running,
            "stopped" | "stopping" | "starting" => Self::Idle,
            "deleting" | "deleted" => Self::Gone,
            "" => Self::Untold,
            _ => Self::Busy,
        }
    }

    /// Whether a status word is one that [`Condition::of`] reads for what it means. One that ends in `ing` says itself
    /// that something is being done; any other unknown word may mean what nobody thought of.
    pub(super) fn understands(word: &str) -> bool {
        let word = word.to_ascii_lowercase();
        matches!(word.as_str(), "running" | "started" | "stopped" | "deleted") || word.ends_with("ing")
    }
}

/// What a conclusion is drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) operation: &'a Operation,
    pub(super) notes: &'a Notes,
    /// The cluster now; `None` when a complete list does not hold it.
    pub(super) cluster: Option<&'a Cluster>,
    pub(super) submit_time: Option<Timestamp>,
    pub(super) now: Timestamp,
    pub(super) knobs: Knobs,
}

/// When an upgrade may begin, and until when it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The earliest moment; `None`: at once.
    start: Option<Timestamp>,
    /// The end of its window, when the vendor told it.
    end: Option<Timestamp>,
    /// Whether it waits for a maintenance window of which nothing is known.
    hidden_window: bool,
}

impl Frame {
    pub(super) fn of(operation: &Operation, notes: &Notes) -> Self {
        let scheduled = match operation {
            Operation::ScheduledUpgrade(scheduled) => scheduled,
            Operation::Upgrade(_) | Operation::Reinstall(_) => {
                return Self { start: None, end: None, hidden_window: false };
            }
        };
        let told = notes.schedule.as_ref();
        let window = told.and_then(|s| instant(s.window_start.as_deref()));
        let asked = told.and_then(|s| instant(s.schedule_request_date.as_deref())).or(scheduled.start_time);
        let ignores =
            told.and_then(|s| s.ignore_maintenance_schedule).or(scheduled.ignore_maintenance_windows);
        Self {
            start: window.or(asked),
            end: told.and_then(|s| instant(s.window_end.as_deref())),
            // Left out, the vendor's default is not documented: a window has to be reckoned with.
            hidden_window: window.is_none() && !ignores.unwrap_or(false),
        }
    }

    /// Whether its start is due.
    pub(super) fn has_begun(&self, now: Timestamp) -> bool {
        self.start.is_none_or(|start| now >= start)
    }
}

/// The version that is wanted; empty only for operations that Avisi does not have.
pub(super) fn wanted(operation: &Operation) -> &str {
    operation.upgrade().and_then(|u| u.version.as_deref()).unwrap_or_default()
}

/// Concludes how an upgrade stands.
pub(super) fn infer(evidence: &Evidence<'_>) -> Observation {
    let before = evidence.notes;
    let Some(cluster) = evidence.cluster else {
        let mut seen = Observation::new(Phase::Unclear, Provenance::Inferred);
        seen.findings.push(Finding::new(
            "avisi.cluster_missing",
            Severity::Warning,
            "the organisation's clusters do not hold this one; it may have been deleted or moved",
        ));
        return seen;
    };
    let frame = Frame::of(evidence.operation, before);
    let notes = watched(evidence, cluster, &frame);
    let verdict = judge(evidence, cluster, &notes, &frame);

    let mut seen = Observation::new(verdict.phase, Provenance::Inferred);
    seen.vendor_state = cluster.status.clone();
    seen.findings = verdict.finding.into_iter().collect();
    seen.waiting = verdict.waiting;
    seen.ids = notes.schedule.as_ref().map(map::ids).unwrap_or_default();
    if let Some(identity) = &cluster.identity {
        seen.ids.insert("clusterIdentity".to_owned(), identity.clone());
    }
    seen.answer = map::answer(notes.schedule.as_ref(), Some(cluster));
    seen.cancelable = Some(Cancelable::no(match evidence.operation {
        Operation::ScheduledUpgrade(_) => map::NO_CANCEL,
        Operation::Upgrade(_) | Operation::Reinstall(_) => map::NO_CANCEL_DIRECT,
    }));
    seen.handle = notes.handle_if_changed(before);
    seen
}

/// The notes with what is seen now.
fn watched(evidence: &Evidence<'_>, cluster: &Cluster, frame: &Frame) -> Notes {
    let mut notes = evidence.notes.clone();
    notes.slugs = Slugs::of(cluster).or(notes.slugs);
    let condition = Condition::of(cluster);
    if condition == Condition::Busy && frame.has_begun(evidence.now) {
        notes.moved = true;
    }
    notes.resting = match (condition, &cluster.version) {
        (Condition::Running, Some(version)) => {
            let since = notes.resting.filter(|r| r.version == *version).map_or(evidence.now, |r| r.since);
            Some(Resting { version: version.clone(), since })
        }
        (Condition::Running | Condition::Idle | Condition::Gone | Condition::Busy | Condition::Untold, _) => {
            None
        }
    };
    notes
}

struct Verdict {
    phase: Phase,
    finding: Option<Finding>,
    waiting: Option<(WaitReason, String, Option<Timestamp>)>,
}

impl Verdict {
    const fn new(phase: Phase) -> Self {
        Self { phase, finding: None, waiting: None }
    }

    fn with(phase: Phase, id: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self { phase, finding: Some(Finding::new(id, severity, message)), waiting: None }
    }
}

fn judge(evidence: &Evidence<'_>, cluster: &Cluster, notes: &Notes, frame: &Frame) -> Verdict {
    let Knobs { margin, settle } = evidence.knobs;
    let now = evidence.now;
    let begun = frame.has_begun(now);
    let condition = Condition::of(cluster);
    let rested = notes.resting.as_ref().map_or(Duration::ZERO, |r| clock::since(r.since, now));
    let version = cluster.version.as_deref().filter(|v| !v.is_empty());
    let wanted = wanted(evidence.operation);

    if condition == Condition::Gone {
        return Verdict::with(
            Phase::Superseded,
            "avisi.cluster_deleted",
            Severity::Warning,
            "the cluster is deleted or being deleted",
        );
    }
    if version == Some(wanted) {
        let baseline = notes.baseline.as_deref() == Some(wanted);
        return match condition {
            Condition::Running if notes.moved || baseline || rested >= settle => {
                Verdict::new(Phase::Succeeded)
            }
            Condition::Running | Condition::Busy if begun => Verdict::new(Phase::Running),
            Condition::Running | Condition::Busy | Condition::Idle | Condition::Untold | Condition::Gone => {
                Verdict::new(Phase::Unclear)
            }
        };
    }
    if condition == Condition::Busy {
        return if begun {
            Verdict::new(Phase::Running)
        } else {
            let word = cluster.status.as_deref().unwrap_or_default();
            let text =
                format!("the cluster is `{word}` before this upgrade's start: something else is done to it");
            Verdict::with(Phase::Scheduled, "avisi.cluster_busy", Severity::Warning, text)
        };
    }
    let baseline = notes.baseline.as_deref();
    if let (Some(version), Some(baseline)) = (version, baseline)
        && version != baseline
    {
        // Somebody (a person, the update channel) brought it elsewhere. The vendor may still run this upgrade
        // as long as its time is not over.
        let over = frame.end.map_or(begun, |end| now > clock::after(end, margin));
        if over && condition == Condition::Running && rested >= settle {
            return Verdict::new(Phase::Superseded);
        }
        let phase = if begun { Phase::Unclear } else { Phase::Scheduled };
        let text = format!("the cluster went from {baseline} to {version}, and {wanted} was asked for");
        return Verdict::with(phase, "avisi.version_moved", Severity::Warning, text);
    }
    // A cluster that tells no version proves no end.
    let condition = if version.is_none() { Condition::Untold } else { condition };
    match evidence.operation {
        Operation::ScheduledUpgrade(_) => old_scheduled(evidence, notes, frame, condition, rested),
        Operation::Upgrade(_) | Operation::Reinstall(_) => old_direct(evidence, notes, condition, rested),
    }
}

/// A scheduled upgrade whose cluster still has its old version (or tells none).
fn old_scheduled(
    evidence: &Evidence<'_>,
    notes: &Notes,
    frame: &Frame,
    condition: Condition,
    rested: Duration,
) -> Verdict {
    let Knobs { margin, .. } = evidence.knobs;
    let now = evidence.now;
    let schedule = notes.schedule.clone().unwrap_or_default();
    let running = condition == Condition::Running;
    if !frame.has_begun(now) {
        let waiting = Some(map::wait(&schedule, evidence.operation));
        return Verdict { waiting, ..Verdict::new(Phase::Scheduled) };
    }
    if let Some(end) = frame.end {
        if now > clock::after(end, margin) && running {
            return if !notes.moved {
                Verdict::new(Phase::Missed)
            } else if rested >= margin {
                Verdict::new(Phase::Failed(failed(evidence, rested)))
            } else {
                back_on_old(evidence)
            };
        }
        if now <= end && !notes.moved {
            let text = format!("its window is open until {end}");
            let waiting = Some((WaitReason::MaintenanceWindow, text, Some(end)));
            return Verdict { waiting, ..Verdict::new(Phase::Scheduled) };
        }
        return if notes.moved && running { back_on_old(evidence) } else { Verdict::new(Phase::Unclear) };
    }
    if notes.moved && running {
        return if !frame.hidden_window && rested >= margin {
            Verdict::new(Phase::Failed(failed(evidence, rested)))
        } else {
            back_on_old(evidence)
        };
    }
    let due = frame.start.or(evidence.submit_time);
    let late = due.is_some_and(|due| now > clock::after(due, margin));
    let waiting = if frame.hidden_window || !late {
        map::wait(&schedule, evidence.operation)
    } else {
        (WaitReason::Overdue, "its start is past, and the cluster shows no sign of it".to_owned(), None)
    };
    Verdict { waiting: Some(waiting), ..Verdict::new(Phase::Unclear) }
}

/// A direct upgrade whose cluster still has its old version (or tells none).
fn old_direct(evidence: &Evidence<'_>, notes: &Notes, condition: Condition, rested: Duration) -> Verdict {
    let Knobs { margin, .. } = evidence.knobs;
    if condition != Condition::Running {
        return Verdict::new(Phase::Unclear);
    }
    if notes.moved {
        return if rested >= margin {
            Verdict::new(Phase::Failed(failed(evidence, rested)))
        } else {
            back_on_old(evidence)
        };
    }
    let late = evidence.submit_time.is_some_and(|sent| evidence.now > clock::after(sent, margin));
    let waiting = late.then(|| {
        let text = "Avisi accepted the new version, and the cluster shows no sign of it yet".to_owned();
        (WaitReason::Overdue, text, None)
    });
    Verdict { waiting, ..Verdict::new(Phase::Unclear) }
}

fn back_on_old(evidence: &Evidence<'_>) -> Verdict {
    let version = evidence.notes.baseline.as_deref().unwrap_or("its old version");
    let text = format!("the cluster was busy and is running {version} again; Avisi may try once more");
    Verdict::with(Phase::Unclear, "avisi.back_on_old_version", Severity::Warning, text)
}

fn failed(evidence: &Evidence<'_>, rested: Duration) -> Failure {
    let version = evidence.notes.baseline.as_deref().unwrap_or("its old version");
    let text = format!(
        "concluded, since Avisi does not report it: the cluster was busy, and has now been running {version} \
         for {} s instead of {}",
        rested.as_secs(),
        wanted(evidence.operation)
    );
    Failure::new(FailureReason::VendorFailed, text)
}
