//! What a target's list entry says about an upgrade to a version. Pure.
//!
//! `READY` means idle or finished well, so the version decides and never the word alone.

use std::time::Duration;

use jiff::Timestamp;

use super::notes::Notes;
use super::wire::Summary;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::Provenance;
use crate::kit::clock::since;
use crate::vendors::contract::Phase;

/// A target's state: clusters say `PENDING` where Supervisors say `INPROGRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Busy,
    Ready,
    Error,
}

impl Word {
    /// Reads a state; `None` for a word that is not known.
    pub(super) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "PENDING" | "INPROGRESS" => Self::Busy,
            "READY" => Self::Ready,
            "ERROR" => Self::Error,
            _ => return None,
        })
    }

    /// The state of an entry, when it tells a known one.
    pub(super) fn of(entry: &Summary) -> Option<Self> {
        entry.state.as_deref().and_then(Self::read)
    }
}

/// When a job is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// When the start was sent.
    pub(super) submitted: Option<Timestamp>,
    /// How long an answer from before the start may be seen.
    pub(super) settle: Duration,
}

impl Moment {
    /// Whether what is read may still be from before the start.
    pub(super) fn is_early(self) -> bool {
        self.submitted.is_some_and(|at| since(at, self.now) < self.settle)
    }
}

/// Where an upgrade stands, by its target's entry.
pub(super) fn judge(entry: &Summary, wanted: &str, notes: &Notes, moment: Moment) -> (Phase, Provenance) {
    use Provenance::{Inferred, Reported};
    let unclear = (Phase::Unclear, Inferred);
    let (Some(word), Some(current)) = (Word::of(entry), entry.current_version.as_deref()) else {
        return unclear;
    };
    let desired = entry.desired_version.as_deref();
    let was = notes.baseline.as_ref();
    match word {
        Word::Busy if desired.is_none_or(|d| d == wanted) => (Phase::Running, Reported),
        Word::Busy if current == wanted => (Phase::Succeeded, Inferred),
        Word::Busy if moment.is_early() && !notes.moved => unclear,
        Word::Busy => (Phase::Superseded, Inferred),
        Word::Ready if current == wanted => (Phase::Succeeded, Reported),
        // It may be the answer from before the start.
        Word::Ready if moment.is_early() && !notes.moved => unclear,
        Word::Ready if notes.version().is_none_or(|before| before == current) => {
            let text = format!(
                "the vendor went back to READY without reaching the version: it still runs `{current}`, not `{wanted}`"
            );
            (Phase::Failed(Failure::new(FailureReason::VendorFailed, text)), Inferred)
        }
        Word::Ready => (Phase::Superseded, Inferred),
        // An error from before the start may still be shown.
        Word::Error
            if moment.is_early() && !notes.moved && was.is_some_and(|b| is_error(b.state.as_deref())) =>
        {
            unclear
        }
        Word::Error => {
            let text = format!(
                "vCenter reports ERROR: the upgrade to `{wanted}` failed at `{current}` and needs a person"
            );
            (Phase::Failed(Failure::new(FailureReason::VendorFailed, text)), Reported)
        }
    }
}

fn is_error(state: Option<&str>) -> bool {
    state.and_then(Word::read) == Some(Word::Error)
}

/// Whether the entry shows the target on its way to the wanted version.
pub(super) fn is_under_way(entry: &Summary, wanted: &str) -> bool {
    Word::of(entry) == Some(Word::Busy) && entry.desired_version.as_deref() == Some(wanted)
}

/// What the entry tells about a start whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    Arrived,
    NotArrived,
    CannotTell(&'static str),
}

/// Whether a start arrived, by its target's entry against the baseline.
pub(super) fn trace(entry: Option<&Summary>, wanted: &str, notes: &Notes) -> Trace {
    let Some(entry) = entry else {
        return Trace::CannotTell("vCenter does not list the target now");
    };
    let Some(was) = &notes.baseline else {
        return Trace::CannotTell("how the target stood before the start is not known");
    };
    let (Some(word), Some(current), Some(before)) =
        (Word::of(entry), entry.current_version.as_deref(), was.version.as_deref())
    else {
        return Trace::CannotTell("vCenter does not tell the target's state and version");
    };
    let was_under_way = was.state.as_deref().and_then(Word::read) == Some(Word::Busy);
    if was_under_way {
        return Trace::CannotTell("an upgrade was under way before the start");
    }
    if is_under_way(entry, wanted) || (current == wanted && before != wanted) {
        return Trace::Arrived;
    }
    match word {
        Word::Busy => Trace::CannotTell("the target is being upgraded, to another or an untold version"),
        Word::Error if !is_error(was.state.as_deref()) => {
            Trace::CannotTell("the target is in ERROR since the start; whether by this start is not told")
        }
        Word::Ready | Word::Error if current != before => {
            Trace::CannotTell("the target was brought to another version in between")
        }
        Word::Ready | Word::Error if entry.last_upgraded_date != was.upgraded => {
            Trace::CannotTell("the target was upgraded in between")
        }
        Word::Ready | Word::Error if is_error(was.state.as_deref()) && word == Word::Error => {
            Trace::CannotTell(
                "the target was in ERROR before the start and still is: a failed start looks the same",
            )
        }
        Word::Ready | Word::Error => Trace::NotArrived,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notes::Baseline;
    use super::*;

    fn entry(state: &str, current: &str, desired: Option<&str>) -> Summary {
        Summary {
            state: Some(state.into()),
            current_version: Some(current.into()),
            desired_version: desired.map(Into::into),
            ..Summary::default()
        }
    }

    fn notes(version: &str, state: &str) -> Notes {
        let baseline =
            Baseline { version: Some(version.into()), state: Some(state.into()), ..Baseline::default() };
        Notes { baseline: Some(baseline), ..Notes::default() }
    }

    /// This many seconds after a start that settles within 60.
    fn after(seconds: i64) -> Moment {
        let submitted: Timestamp = "2026-11-29T01:00:00Z".parse().unwrap();
        let now = submitted.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        Moment { now, submitted: Some(submitted), settle: Duration::from_secs(60) }
    }

    fn phase(entry: &Summary, notes: &Notes, seconds: i64) -> &'static str {
        match judge(entry, "v2", notes, after(seconds)).0 {
            Phase::Running => "running",
            Phase::Succeeded => "succeeded",
            Phase::Failed(_) => "failed",
            Phase::Superseded => "superseded",
            Phase::Unclear => "unclear",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_version_decides_and_not_ready() {
        let n = notes("v1", "READY");
        let moved = Notes { moved: true, ..n.clone() };
        for (seen, notes, seconds, want) in [
            (entry("PENDING", "v1", Some("v2")), &n, 1, "running"),
            (entry("INPROGRESS", "v1", Some("v2")), &n, 1, "running"),
            (entry("PENDING", "v1", None), &n, 1, "running"),
            (entry("READY", "v2", None), &n, 1, "succeeded"),
            // The last words of a finishing upgrade.
            (entry("PENDING", "v2", Some("v2")), &n, 90, "running"),
            (entry("READY", "v1", None), &n, 1, "unclear"),
            (entry("READY", "v1", None), &n, 61, "failed"),
            (entry("READY", "v1", None), &moved, 1, "failed"),
            (entry("READY", "v3", None), &n, 61, "superseded"),
            (entry("PENDING", "v1", Some("v3")), &n, 1, "unclear"),
            (entry("PENDING", "v1", Some("v3")), &n, 61, "superseded"),
            (entry("PENDING", "v2", Some("v3")), &n, 61, "succeeded"),
            (entry("ERROR", "v1", Some("v2")), &n, 1, "failed"),
            (entry("BRAND_NEW", "v2", None), &n, 61, "unclear"),
        ] {
            assert_eq!(phase(&seen, notes, seconds), want, "{seen:?} after {seconds} s");
        }
        assert_eq!(phase(&Summary::default(), &n, 61), "unclear");
        assert_eq!(phase(&entry("READY", "v1", None), &Notes::default(), 61), "failed");
    }

    #[test]
    fn an_error_from_before_the_start_is_not_ours_at_first() {
        let n = notes("v1", "ERROR");
        assert_eq!(phase(&entry("ERROR", "v1", None), &n, 1), "unclear");
        assert_eq!(phase(&entry("ERROR", "v1", None), &n, 61), "failed");
        assert_eq!(phase(&entry("ERROR", "v1", None), &Notes { moved: true, ..n }, 1), "failed");
    }

    #[test]
    fn a_lost_start_is_traced_only_by_proof() {
        let n = notes("v1", "READY");
        let of = |entry: &Summary, notes: &Notes| match trace(Some(entry), "v2", notes) {
            Trace::Arrived => "arrived",
            Trace::NotArrived => "not",
            Trace::CannotTell(_) => "?",
        };
        assert_eq!(of(&entry("PENDING", "v1", Some("v2")), &n), "arrived");
        assert_eq!(of(&entry("READY", "v2", None), &n), "arrived");
        assert_eq!(of(&entry("READY", "v1", None), &n), "not");
        assert_eq!(of(&entry("READY", "v1", None), &notes("v1", "ERROR")), "not");
        assert_eq!(of(&entry("READY", "v3", None), &n), "?");
        assert_eq!(of(&entry("ERROR", "v1", None), &n), "?");
        assert_eq!(of(&entry("ERROR", "v1", None), &notes("v1", "ERROR")), "?");
        assert_eq!(of(&entry("PENDING", "v1", Some("v3")), &n), "?");
        assert_eq!(of(&entry("NEW", "v1", None), &n), "?");
        assert_eq!(of(&entry("PENDING", "v1", Some("v2")), &notes("v1", "PENDING")), "?");
        assert_eq!(of(&entry("READY", "v1", None), &Notes::default()), "?");
        let dated = Summary { last_upgraded_date: Some("2026".into()), ..entry("READY", "v1", None) };
        assert_eq!(of(&dated, &n), "?");
        assert!(matches!(trace(None, "v2", &n), Trace::CannotTell(_)));
    }
}
