//! What is concluded from a cluster, told as stories: a job stepped through time.

use jiff::Timestamp;

use super::config::Knobs;
use super::infer::{Evidence, infer};
use super::notes::Notes;
use super::wire::{Cluster, ScheduledUpgrade};
use crate::domain::job::{Provenance, WaitReason};
use crate::domain::operation::{Operation, ScheduledUpgrade as Scheduled, Upgrade};
use crate::vendors::contract::{Observation, Phase};

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
    assert_eq!((seen.phase, reason, until), (Phase::Scheduled, WaitReason::MaintenanceWindow, Some(at(60))));
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
        assert_eq!((seen.phase, seen.waiting.unwrap().0), (Phase::Unclear, WaitReason::MaintenanceWindow));
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
                        Phase::Suspended
                        | Phase::Cancelling
                        | Phase::Cancelled
                        | Phase::Rejected(_)
                        | Phase::Lapsed(_) => {
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
