//! After a lost answer: did the start arrive? Pure decisions.
//!
//! Avisi takes no idempotency key, so the answer is read from what the start would have changed:
//!
//! | call, and what can be read | arrived | did not arrive | cannot tell |
//! |---|---|---|---|
//! | schedule, operator | an open upgrade to this version, or a finished one made or changed since we sent it | the complete list holds none | one to another version is open, or a finished one tells no time |
//! | schedule, customer | the cluster has the version, or tells of an upgrade (`upgrading`, `updating`) once the start was due | the start is still ahead: by the vendor's page the same call *re*schedules, so a repeat replaces and never doubles | the start was due, the cluster rests on its old version or has any other word |
//! | direct | the cluster has the version, or tells of an upgrade | it runs its old version (and a repeat asks for the same version again) | anything else |
//!
//! Which word tells of an upgrade is an assumption: Avisi publishes no list, and its clients name none for it. A status
//! that contains `upgrad` or `updat` counts. If Avisi says it otherwise, the job is not lost by that: it waits until the
//! version tells, or ends INDETERMINATE.

use std::time::Duration;

use jiff::Timestamp;

use super::infer::{Condition, wanted};
use super::map::Word;
use super::notes::{Notes, instant};
use super::wire::{Cluster, ScheduledUpgrade};
use crate::domain::operation::Operation;
use crate::kit::clock;

/// How far the vendor's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(120);

/// For how long after a direct upgrade was sent a cluster at rest on its old version shows that it did not begin.
/// An upgrade takes far longer than this to fail.
const DIRECT_PROOF: Duration = Duration::from_secs(600);

/// What became of a start whose answer was lost. `T` is what shows that it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trace<T> {
    Arrived(T),
    /// A repeat before `until` can do no harm; `None`: it never can.
    NotArrived {
        until: Option<Timestamp>,
    },
    CannotTell(String),
}

/// By an operator's complete list of the cluster's scheduled upgrades.
///
/// `check` saw no open upgrade on the cluster before the start was sent, so an open one to the wanted version is
/// ours even if its times are missing. A moved one keeps its `createdAt`; `modifiedAt` counts as well.
pub(super) fn by_list(
    upgrades: Vec<ScheduledUpgrade>,
    version: &str,
    sent: Option<Timestamp>,
) -> Trace<ScheduledUpgrade> {
    let since = sent.map(|sent| before(sent, SKEW));
    let mut best: Option<(Option<Timestamp>, ScheduledUpgrade)> = None;
    let mut doubt = None;
    for upgrade in upgrades {
        let is_over = Word::of(&upgrade).is_some_and(Word::is_over);
        let at = changed(&upgrade);
        if upgrade.to_cluster_version.as_deref() != Some(version) {
            if !is_over {
                let other = upgrade.to_cluster_version.as_deref().unwrap_or("an untold version");
                doubt = Some(format!("another scheduled upgrade of the cluster, to {other}, is open"));
            }
            continue;
        }
        if is_over {
            match (at, since) {
                (Some(at), Some(since)) if at < since => continue,
                (Some(_), Some(_)) => {}
                (None, _) | (_, None) => {
                    doubt =
                        Some(format!("an upgrade to {version} is over, and when it was made is not told"));
                    continue;
                }
            }
        }
        // An open one before any that is over, and of those the newest.
        let rank = |at: Option<Timestamp>, over: bool| (!over, at);
        let better = best.as_ref().is_none_or(|(held_at, held)| {
            rank(at, is_over) > rank(*held_at, Word::of(held).is_some_and(Word::is_over))
        });
        if better {
            best = Some((at, upgrade));
        }
    }
    match (best, doubt) {
        (Some((_, upgrade)), _) => Trace::Arrived(upgrade),
        (None, Some(doubt)) => Trace::CannotTell(doubt),
        (None, None) => Trace::NotArrived { until: None },
    }
}

fn changed(upgrade: &ScheduledUpgrade) -> Option<Timestamp> {
    instant(upgrade.created_at.as_deref()).max(instant(upgrade.modified_at.as_deref()))
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|d| at.checked_sub(d).ok()).unwrap_or(Timestamp::MIN)
}

/// Whether a start lies so far ahead that nothing sent now can meet it under way.
pub(super) fn is_ahead(operation: &Operation, now: Timestamp, imminent: Duration) -> bool {
    match operation {
        Operation::ScheduledUpgrade(s) => {
            s.start_time.is_some_and(|start| start > clock::after(now, imminent))
        }
        Operation::Upgrade(_) | Operation::Reinstall(_) => false,
    }
}

/// The earliest moment at which a scheduled upgrade may begin, as far as it was told.
pub(super) fn earliest(upgrade: &ScheduledUpgrade) -> Option<Timestamp> {
    instant(upgrade.window_start.as_deref()).or_else(|| instant(upgrade.schedule_request_date.as_deref()))
}

/// Whether a scheduled upgrade stands where `operation` wants it.
pub(super) fn is_placed_as(upgrade: &ScheduledUpgrade, operation: &Operation) -> bool {
    match operation {
        Operation::ScheduledUpgrade(wanted) => {
            wanted.start_time.is_some()
                && instant(upgrade.schedule_request_date.as_deref()) == wanted.start_time
                && upgrade.ignore_maintenance_schedule.unwrap_or(false)
                    == wanted.ignore_maintenance_windows.unwrap_or(false)
        }
        Operation::Upgrade(_) | Operation::Reinstall(_) => false,
    }
}

/// By the cluster alone. `imminent`: a start nearer than this may be taken up before a repeat gets there.
pub(super) fn by_cluster(
    operation: &Operation,
    notes: &Notes,
    cluster: Option<&Cluster>,
    sent: Option<Timestamp>,
    now: Timestamp,
    imminent: Duration,
) -> Trace<()> {
    let Some(cluster) = cluster else {
        return Trace::CannotTell("the organisation's clusters do not hold this one".to_owned());
    };
    let condition = Condition::of(cluster);
    let version = cluster.version.as_deref();
    let has_version = version == Some(wanted(operation));
    let had_version = notes.baseline.as_deref() == Some(wanted(operation));
    match operation {
        Operation::ScheduledUpgrade(scheduled) => {
            let start = scheduled.start_time;
            if let Some(start) = start.filter(|_| is_ahead(operation, now, imminent)) {
                // From its start on, the first one may have run and failed without a trace.
                return Trace::NotArrived { until: Some(before(start, imminent)) };
            }
            if has_version && !had_version {
                return Trace::Arrived(());
            }
            if condition == Condition::Busy
                && is_upgrade_word(cluster)
                && start.is_none_or(|start| now >= start)
            {
                return Trace::Arrived(());
            }
            Trace::CannotTell(
                "its start may be under way, the cluster shows no sign of it, and Avisi gives customers no way to read \
                 a scheduled upgrade"
                    .to_owned(),
            )
        }
        Operation::Upgrade(_) | Operation::Reinstall(_) => {
            if has_version || (condition == Condition::Busy && is_upgrade_word(cluster)) {
                return Trace::Arrived(());
            }
            let is_old = version.is_some() && version == notes.baseline.as_deref();
            // Right after it was sent, a cluster at rest on its old version has not begun; much later it may have
            // begun, failed and come back.
            let until = sent.map(|sent| clock::after(sent, DIRECT_PROOF));
            if is_old && condition == Condition::Running && until.is_none_or(|until| now < until) {
                return Trace::NotArrived { until };
            }
            let word = cluster.status.as_deref().unwrap_or("without a status");
            let version = version.unwrap_or("an untold version");
            Trace::CannotTell(format!("the cluster is {word} at {version}, which fits both"))
        }
    }
}

/// Whether the cluster's word tells of an upgrade. The vendor's list of words is not complete: any other may as well
/// be somebody's resize or repair, and to take it for our start would let a later rest be read as its failure.
fn is_upgrade_word(cluster: &Cluster) -> bool {
    let word = cluster.status.as_deref().unwrap_or_default().to_ascii_lowercase();
    ["upgrad", "updat"].iter().any(|stem| word.contains(stem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{ScheduledUpgrade as Scheduled, Upgrade};

    const OLD: &str = "v1.34.9-u-ame.2";
    const NEW: &str = "v1.35.6-u-ame.4";
    const SENT: &str = "2026-11-21T09:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn listed(version: &str, status: &str, created: Option<&str>) -> ScheduledUpgrade {
        ScheduledUpgrade {
            identity: Some(format!("{status} {}", created.unwrap_or_default())),
            to_cluster_version: Some(version.into()),
            status: Some(status.into()),
            created_at: created.map(Into::into),
            ..ScheduledUpgrade::default()
        }
    }

    fn by(list: &[ScheduledUpgrade]) -> Trace<ScheduledUpgrade> {
        by_list(list.to_vec(), NEW, Some(at(SENT)))
    }

    #[test]
    fn an_open_upgrade_to_the_version_arrived() {
        let ours = listed(NEW, "SCHEDULED", Some("2026-11-21T09:00:01Z"));
        let old = listed(NEW, "FAILED", Some("2026-11-20T09:00:00Z"));
        let later = listed(NEW, "FAILED", Some("2026-11-21T09:00:05Z"));
        assert_eq!(by(&[old, ours.clone(), later]), Trace::Arrived(ours));
        let timeless = listed(NEW, "A_NEW_WORD", None);
        assert_eq!(by(std::slice::from_ref(&timeless)), Trace::Arrived(timeless));
    }

    #[test]
    fn a_finished_one_counts_only_if_it_is_younger_than_our_call() {
        assert_eq!(
            by(&[listed(NEW, "SUCCEEDED", Some("2026-11-21T08:50:00Z"))]),
            Trace::NotArrived { until: None }
        );
        let young = listed(NEW, "SUCCEEDED", Some("2026-11-21T08:59:00Z"));
        assert_eq!(by(std::slice::from_ref(&young)), Trace::Arrived(young));
        let mut moved = listed(NEW, "MISSED", Some("2026-11-01T08:59:00Z"));
        moved.modified_at = Some("2026-11-21T09:00:02Z".into());
        assert_eq!(by(std::slice::from_ref(&moved)), Trace::Arrived(moved));
        assert!(matches!(by(&[listed(NEW, "SUCCEEDED", None)]), Trace::CannotTell(_)));
    }

    #[test]
    fn nothing_to_this_version_did_not_arrive_unless_another_is_open() {
        assert_eq!(by(&[]), Trace::NotArrived { until: None });
        assert_eq!(
            by(&[listed("v1.33.1-u-ame.1", "SUCCEEDED", Some(SENT))]),
            Trace::NotArrived { until: None }
        );
        assert!(matches!(by(&[listed("v1.33.1-u-ame.1", "REQUESTED", Some(SENT))]), Trace::CannotTell(_)));
    }

    fn upgrade() -> Upgrade {
        Upgrade { version: Some(NEW.into()), ..Upgrade::default() }
    }

    fn scheduled(start: Option<&str>) -> Operation {
        Operation::ScheduledUpgrade(Scheduled {
            upgrade: upgrade(),
            start_time: start.map(at),
            ignore_maintenance_windows: None,
        })
    }

    fn seen(operation: &Operation, version: &str, status: &str) -> Trace<()> {
        let notes = Notes { baseline: Some(OLD.into()), ..Notes::default() };
        let cluster =
            Cluster { version: Some(version.into()), status: Some(status.into()), ..Cluster::default() };
        by_cluster(operation, &notes, Some(&cluster), Some(at(SENT)), at(SENT), Duration::from_secs(60))
    }

    #[test]
    fn a_customer_may_repeat_a_schedule_whose_start_is_ahead() {
        let ahead = scheduled(Some("2026-11-21T10:00:00Z"));
        let until_its_start = Trace::NotArrived { until: Some(at("2026-11-21T09:59:00Z")) };
        assert_eq!(seen(&ahead, OLD, "running"), until_its_start);
        // Busy now cannot be a start that lies ahead.
        assert_eq!(seen(&ahead, OLD, "upgrading"), until_its_start);
        // So near that it may have begun when the repeat gets there.
        assert!(matches!(
            seen(&scheduled(Some("2026-11-21T09:00:30Z")), OLD, "running"),
            Trace::CannotTell(_)
        ));
    }

    #[test]
    fn a_customer_cannot_repeat_what_may_be_running() {
        for start in [None, Some("2026-11-21T08:00:00Z")] {
            let due = scheduled(start);
            assert!(matches!(seen(&due, OLD, "running"), Trace::CannotTell(_)));
            assert!(matches!(seen(&due, OLD, "stopped"), Trace::CannotTell(_)));
            assert!(matches!(seen(&due, OLD, "a_new_word"), Trace::CannotTell(_)));
            assert_eq!(seen(&due, OLD, "upgrading"), Trace::Arrived(()));
            assert_eq!(seen(&due, NEW, "running"), Trace::Arrived(()));
        }
    }

    #[test]
    fn a_direct_upgrade_is_read_from_the_cluster() {
        let direct = Operation::Upgrade(upgrade());
        let for_a_while = Trace::NotArrived { until: Some(clock::after(at(SENT), DIRECT_PROOF)) };
        assert_eq!(seen(&direct, OLD, "running"), for_a_while);
        assert_eq!(seen(&direct, OLD, "started"), for_a_while);
        let notes = Notes { baseline: Some(OLD.into()), ..Notes::default() };
        let rests =
            Cluster { version: Some(OLD.into()), status: Some("running".into()), ..Cluster::default() };
        let late = clock::after(at(SENT), DIRECT_PROOF);
        let long_after = by_cluster(&direct, &notes, Some(&rests), Some(at(SENT)), late, Duration::ZERO);
        assert!(matches!(long_after, Trace::CannotTell(_)), "it may have begun, failed and come back");
        assert_eq!(seen(&direct, OLD, "updating"), Trace::Arrived(()));
        assert!(matches!(seen(&direct, OLD, "a_new_word"), Trace::CannotTell(_)));
        assert_eq!(seen(&direct, NEW, "running"), Trace::Arrived(()));
        assert!(matches!(seen(&direct, OLD, "stopped"), Trace::CannotTell(_)));
        assert!(matches!(seen(&direct, "v1.34.10-u-ame.1", "running"), Trace::CannotTell(_)));
        let none = by_cluster(&direct, &Notes::default(), None, Some(at(SENT)), at(SENT), Duration::ZERO);
        assert!(matches!(none, Trace::CannotTell(_)));
    }
}
