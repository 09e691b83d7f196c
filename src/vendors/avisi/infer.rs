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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{ScheduledUpgrade as Scheduled, Upgrade};
    use crate::vendors::avisi::wire::ScheduledUpgrade;

    const OLD: &str = "v1.34.9-u-ame.2";
    const NEW: &str = "v1.35.6-u-ame.4";
    const OTHER: &str = "v1.35.2-u-ame.1";
    const MINUTE: i64 = 60;

    /// A job at one organisation, stepped through time by hand.
    struct Story {
        operation: Operation,
        notes: Notes,
        sent: Timestamp,
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * MINUTE).unwrap()
    }

    fn upgrade() -> Upgrade {
        Upgrade { version: Some(NEW.into()), ..Upgrade::default() }
    }

    fn told(window: Option<(i64, i64)>, from: Option<i64>, ignore: bool) -> Story {
        let schedule = ScheduledUpgrade {
            identity: Some("i".into()),
            window_start: window.map(|(start, _)| at(start).to_string()),
            window_end: window.map(|(_, end)| at(end).to_string()),
            ignore_maintenance_schedule: Some(ignore),
            ..ScheduledUpgrade::default()
        };
        let notes = Notes { baseline: Some(OLD.into()), schedule: Some(schedule), ..Notes::default() };
        let operation = Operation::ScheduledUpgrade(Scheduled {
            upgrade: upgrade(),
            start_time: from.map(at),
            ignore_maintenance_windows: Some(ignore),
        });
        Story { operation, notes, sent: at(0) }
    }

    fn direct() -> Story {
        let notes = Notes { baseline: Some(OLD.into()), ..Notes::default() };
        Story { operation: Operation::Upgrade(upgrade()), notes, sent: at(0) }
    }

    impl Story {
        /// What is concluded at a minute from what the cluster shows; the story remembers it.
        fn sees(&mut self, minute: i64, version: &str, status: &str) -> Observation {
            let cluster = Cluster {
                identity: Some("c".into()),
                version: Some(version.into()),
                status: Some(status.into()),
                ..Cluster::default()
            };
            let seen = infer(&Evidence {
                operation: &self.operation,
                notes: &self.notes,
                cluster: Some(&cluster),
                submit_time: Some(self.sent),
                now: at(minute),
                knobs: Knobs::default(),
            });
            if seen.handle.is_some() {
                self.notes = Notes::read(seen.handle.as_ref());
            }
            assert_eq!(seen.provenance, Provenance::Inferred);
            seen
        }

        fn phase(&mut self, minute: i64, version: &str, status: &str) -> Phase {
            self.sees(minute, version, status).phase
        }
    }

    fn has(seen: &Observation, id: &str) -> bool {
        seen.findings.iter().any(|f| f.id == id)
    }

    #[test]
    fn a_direct_upgrade_seen_busy_succeeds_as_soon_as_it_runs_the_version() {
        let mut story = direct();
        assert_eq!(story.phase(0, OLD, "running"), Phase::Unclear);
        assert_eq!(story.phase(1, OLD, "upgrading"), Phase::Running);
        assert_eq!(story.phase(20, NEW, "upgrading"), Phase::Running);
        assert_eq!(story.phase(40, NEW, "started"), Phase::Succeeded);
    }

    #[test]
    fn a_version_shown_before_the_work_is_no_success_yet() {
        let mut story = direct();
        assert_eq!(story.phase(0, NEW, "running"), Phase::Running);
        // It was only the wish: now the work begins.
        assert_eq!(story.phase(1, NEW, "updating"), Phase::Running);
        assert_eq!(story.phase(40, NEW, "running"), Phase::Succeeded);
        // Never seen busy: believed after it stayed so.
        let mut story = direct();
        assert_eq!(story.phase(5, NEW, "running"), Phase::Running);
        assert_eq!(story.phase(6, NEW, "running"), Phase::Succeeded);
    }

    #[test]
    fn back_on_the_old_version_is_failed_only_after_the_margin() {
        let mut story = direct();
        story.phase(1, OLD, "upgrading");
        let seen = story.sees(30, OLD, "running");
        assert!(seen.phase == Phase::Unclear && has(&seen, "avisi.back_on_old_version"));
        assert_eq!(story.phase(44, OLD, "running"), Phase::Unclear);
        let Phase::Failed(failure) = story.phase(45, OLD, "running") else { panic!("not failed") };
        assert!(failure.message.contains("concluded"), "{}", failure.message);
        // A second try in between starts the wait anew.
        let mut story = direct();
        story.phase(1, OLD, "upgrading");
        story.phase(30, OLD, "running");
        assert_eq!(story.phase(40, OLD, "upgrading"), Phase::Running);
        assert_eq!(story.phase(46, OLD, "running"), Phase::Unclear);
        assert_eq!(story.phase(50, NEW, "running"), Phase::Succeeded);
    }

    #[test]
    fn a_direct_upgrade_without_any_sign_is_overdue_and_undecided() {
        let mut story = direct();
        assert_eq!(story.sees(10, OLD, "running").waiting, None);
        let seen = story.sees(16, OLD, "running");
        assert_eq!((seen.phase, seen.waiting.unwrap().0), (Phase::Unclear, WaitReason::Overdue));
    }

    #[test]
    fn a_window_that_was_told_is_waited_for_and_can_be_missed() {
        let mut story = told(Some((60, 180)), None, false);
        let seen = story.sees(10, OLD, "running");
        let (reason, _, until) = seen.waiting.unwrap();
        assert_eq!(
            (seen.phase, reason, until),
            (Phase::Scheduled, WaitReason::MaintenanceWindow, Some(at(60)))
        );
        let seen = story.sees(100, OLD, "running");
        assert_eq!((seen.phase, seen.waiting.unwrap().2), (Phase::Scheduled, Some(at(180))));
        assert_eq!(story.phase(181, OLD, "running"), Phase::Unclear);
        assert_eq!(story.phase(195, OLD, "running"), Phase::Unclear);
        assert_eq!(story.phase(196, OLD, "stopped"), Phase::Unclear);
        assert_eq!(story.phase(197, OLD, "running"), Phase::Missed);
    }

    #[test]
    fn what_began_in_its_window_is_not_missed() {
        let mut story = told(Some((60, 180)), None, false);
        assert_eq!(story.phase(170, OLD, "upgrading"), Phase::Running);
        assert_eq!(story.phase(200, OLD, "upgrading"), Phase::Running);
        assert_eq!(story.phase(210, OLD, "running"), Phase::Unclear);
        assert!(matches!(story.phase(225, OLD, "running"), Phase::Failed(_)));
    }

    #[test]
    fn a_cluster_busy_before_the_start_is_busy_with_something_else() {
        let mut story = told(Some((60, 180)), None, false);
        let seen = story.sees(10, OLD, "scaling");
        assert!(seen.phase == Phase::Scheduled && has(&seen, "avisi.cluster_busy"));
        assert!(!story.notes.moved);
        assert_eq!(story.phase(197, OLD, "running"), Phase::Missed);
    }

    #[test]
    fn a_hidden_window_is_never_missed_nor_failed() {
        for from in [None, Some(60)] {
            let mut story = told(None, from, false);
            assert_eq!(
                story.phase(10, OLD, "running"),
                if from.is_some() { Phase::Scheduled } else { Phase::Unclear }
            );
            let seen = story.sees(60 * 24 * 30, OLD, "running");
            assert_eq!(
                (seen.phase, seen.waiting.unwrap().0),
                (Phase::Unclear, WaitReason::MaintenanceWindow)
            );
            // Busy with anything at all: it may have been the upgrade, or not.
            assert_eq!(story.phase(60 * 24 * 30 + 1, OLD, "upgrading"), Phase::Running);
            assert_eq!(story.phase(60 * 24 * 30 + 9, OLD, "running"), Phase::Unclear);
            assert_eq!(story.phase(60 * 24 * 60, OLD, "running"), Phase::Unclear);
            assert_eq!(story.phase(60 * 24 * 60 + 1, NEW, "running"), Phase::Succeeded);
        }
    }

    #[test]
    fn a_start_that_ignores_windows_is_overdue_or_failed() {
        let mut story = told(None, Some(60), true);
        assert_eq!(story.phase(59, OLD, "running"), Phase::Scheduled);
        let seen = story.sees(80, OLD, "running");
        assert_eq!((seen.phase, seen.waiting.unwrap().0), (Phase::Unclear, WaitReason::Overdue));
        assert_eq!(story.phase(81, OLD, "upgrading"), Phase::Running);
        story.phase(100, OLD, "running");
        assert!(matches!(story.phase(115, OLD, "running"), Phase::Failed(_)));
    }

    #[test]
    fn another_version_supersedes_once_this_upgrade_can_no_longer_run() {
        let mut story = direct();
        let seen = story.sees(5, OTHER, "running");
        assert!(seen.phase == Phase::Unclear && has(&seen, "avisi.version_moved"));
        assert_eq!(story.phase(6, OTHER, "running"), Phase::Superseded);
        // The vendor may still run what lies ahead.
        let mut story = told(Some((60, 180)), None, false);
        for (minute, phase) in
            [(5, Phase::Scheduled), (59, Phase::Scheduled), (100, Phase::Unclear), (195, Phase::Unclear)]
        {
            assert_eq!(story.phase(minute, OTHER, "running"), phase, "{minute}");
        }
        assert_eq!(story.phase(196, OTHER, "running"), Phase::Superseded);
        let mut story = told(None, Some(60), false);
        assert_eq!(story.phase(10, OTHER, "running"), Phase::Scheduled);
        assert_eq!(story.phase(61, OTHER, "upgrading"), Phase::Running);
        assert_eq!(story.phase(90, OTHER, "running"), Phase::Unclear);
        assert_eq!(story.phase(91, OTHER, "running"), Phase::Superseded);
    }

    #[test]
    fn a_deleted_cluster_supersedes_and_a_missing_one_says_nothing() {
        for mut story in [direct(), told(Some((60, 180)), None, false)] {
            let seen = story.sees(5, OLD, "deleting");
            assert!(seen.phase == Phase::Superseded && has(&seen, "avisi.cluster_deleted"));
            let seen = infer(&Evidence {
                operation: &story.operation,
                notes: &story.notes,
                cluster: None,
                submit_time: None,
                now: at(5),
                knobs: Knobs::default(),
            });
            assert!(seen.phase == Phase::Unclear && has(&seen, "avisi.cluster_missing"));
        }
    }

    #[test]
    fn no_combination_ends_a_job_against_what_the_cluster_shows() {
        let statuses = ["running", "started", "stopped", "starting", "stopping", "upgrading", "", "NEW_WORD"];
        for make in
            [direct as fn() -> Story, || told(Some((60, 180)), None, false), || told(None, Some(60), true)]
        {
            for version in [OLD, NEW, OTHER, ""] {
                for status in statuses {
                    let mut story = make();
                    for minute in [0, 30, 61, 100, 181, 200, 300] {
                        let phase = story.phase(minute, version, status);
                        let runs = ["running", "started"].contains(&status);
                        match phase {
                            Phase::Succeeded => assert!(runs && version == NEW, "{version} {status}"),
                            Phase::Superseded => assert!(runs && version == OTHER, "{version} {status}"),
                            Phase::Missed => {
                                assert!(runs && version == OLD, "{version} {status}")
                            }
                            Phase::Failed(_) => panic!("never seen busy: {version} {status}"),
                            Phase::Scheduled | Phase::Running | Phase::Unclear => continue,
                            Phase::Suspended | Phase::Cancelling | Phase::Cancelled | Phase::Rejected(_) => {
                                panic!("not a conclusion: {phase:?}")
                            }
                        }
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_new_needs_no_write() {
        let mut story = direct();
        story.sees(1, OLD, "running");
        assert_eq!(story.sees(2, OLD, "running").handle, None);
    }
}
