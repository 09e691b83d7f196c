//! What a target's state and versions say about our upgrade of it. Pure.
//!
//! vCenter's word for "idle" and for "finished well" is the same (`READY`), and what it says right after a start may
//! still be the old word. So success is the version that was asked for, a state that fits is believed at once, and
//! one that does not fit is believed only once it has lasted.

use std::time::Duration;

use jiff::Timestamp;

use super::map;
use super::notes::{Baseline, Notes};
use super::wire::Summary;
use crate::kit::clock;

/// Which words mean what. Clusters say `PENDING` for an upgrade under way, Supervisors `INPROGRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// An upgrade is under way.
    Busy,
    /// Idle, or finished well.
    Ready,
    /// Failed; needs a person.
    Error,
    /// A word that nobody knows, or none.
    Unknown,
}

/// What a state word means.
pub(super) fn mood(state: Option<&str>) -> Mood {
    match state {
        Some("PENDING" | "INPROGRESS" | "IN_PROGRESS") => Mood::Busy,
        Some("READY") => Mood::Ready,
        Some("ERROR") => Mood::Error,
        _ => Mood::Unknown,
    }
}

/// How our upgrade stands, as far as the target tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Under way.
    Running,
    /// The target is idle and has the version that was asked for.
    Reached,
    /// The target shows an error that is our upgrade's.
    InError,
    /// Another upgrade, to this version, has taken the place of ours.
    Overtaken(String),
    /// The target is idle without the version, and has been for long enough.
    Stopped,
    /// The target is no longer listed, and has not been for long enough.
    Gone,
    /// Nothing can be concluded yet.
    Open,
}

/// The moment and the patience of a judgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// The version that was asked for.
    pub desired: &'a str,
    pub now: Timestamp,
    /// How long what does not fit must last.
    pub settle: Duration,
    /// A caller asked to cancel it, and vCenter may have been told.
    pub cancel_requested: bool,
}

/// Judges a target after a start that vCenter accepted; `None`: it is not listed. Also keeps the notes up to date.
pub(super) fn judge(summary: Option<&Summary>, notes: &mut Notes, terms: Terms<'_>) -> Stand {
    let Some(summary) = summary else {
        return if lasted(notes, terms) { Stand::Gone } else { Stand::Open };
    };
    let current = summary.current_version.as_deref();
    match mood(summary.state.as_deref()) {
        Mood::Busy => match summary.desired_version.as_deref() {
            Some(other) if other != terms.desired => {
                if lasted(notes, terms) || notes.running_seen {
                    Stand::Overtaken(other.to_owned())
                } else {
                    Stand::Open
                }
            }
            Some(_) | None => {
                notes.running_seen = true;
                notes.odd_since = None;
                Stand::Running
            }
        },
        Mood::Ready if current == Some(terms.desired) => {
            notes.odd_since = None;
            Stand::Reached
        }
        Mood::Ready if !lasted(notes, terms) => Stand::Open,
        Mood::Ready => {
            let before = notes.baseline.as_ref().and_then(|b| b.current_version.as_deref());
            match (before, current) {
                (Some(before), Some(current)) if before != current => Stand::Overtaken(current.to_owned()),
                _ => Stand::Stopped,
            }
        }
        Mood::Error => {
            // An error that stood there before our start may just be the old one.
            let old = notes.baseline.as_ref().is_none_or(|b| {
                mood(b.state.as_deref()) == Mood::Error && b.last_upgraded_date == summary.last_upgraded_date
            });
            if notes.running_seen || !old || lasted(notes, terms) { Stand::InError } else { Stand::Open }
        }
        Mood::Unknown => Stand::Open,
    }
}

/// Whether what does not fit has lasted long enough; starts counting at its first sight.
pub(super) fn lasted(notes: &mut Notes, terms: Terms<'_>) -> bool {
    let since = *notes.odd_since.get_or_insert(terms.now);
    clock::since(since, terms.now) >= terms.settle
}

/// What a target's state and versions prove about a start whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// It arrived; the target stands like this.
    Arrived(Stand),
    /// The target stands as it did before.
    Untouched,
    /// Both fit; the text says why.
    Either(String),
}

/// Compares a target with how it stood before the start. `detail_version`: the version of `upgrade_status` in the
/// target's details, when they were read.
pub(super) fn trace(
    summary: Option<&Summary>,
    baseline: Option<&Baseline>,
    detail_version: Option<&str>,
    desired: &str,
) -> Trace {
    let either = |why: &str| Trace::Either(why.to_owned());
    let Some(baseline) = baseline else {
        return either("how the target stood before the start was not noted");
    };
    let Some(summary) = summary else {
        return either("vCenter does not list the target now");
    };
    let wanted = summary.desired_version.as_deref().or(detail_version);
    let current = summary.current_version.as_deref();
    let before = baseline.current_version.as_deref();
    match mood(summary.state.as_deref()) {
        Mood::Busy => match (mood(baseline.state.as_deref()), wanted) {
            (Mood::Busy, _) => either("an upgrade was under way before the start already"),
            (Mood::Ready | Mood::Error | Mood::Unknown, Some(wanted)) if wanted == desired => {
                Trace::Arrived(Stand::Running)
            }
            (Mood::Ready | Mood::Error | Mood::Unknown, Some(other)) => {
                Trace::Either(format!("another upgrade, to {other}, is under way"))
            }
            (Mood::Ready | Mood::Error | Mood::Unknown, None) => {
                either("an upgrade is under way, and vCenter does not say to which version")
            }
        },
        Mood::Ready => match (before, current) {
            (Some(before), Some(current)) if before != desired && current == desired => {
                Trace::Arrived(Stand::Reached)
            }
            (Some(before), Some(current)) if before != current => {
                Trace::Either(format!("the version changed to {current}, which is not the one asked for"))
            }
            (Some(_), Some(_)) if mood(baseline.state.as_deref()) != Mood::Ready => {
                either("the target was not READY before the start and is now, with the same version")
            }
            (Some(_), Some(_)) if baseline.last_upgraded_date != summary.last_upgraded_date => {
                either("the date of the last upgrade changed, and the version did not")
            }
            (Some(_), Some(_)) => Trace::Untouched,
            _ => either("vCenter does not say which version the target has"),
        },
        Mood::Error => match (mood(baseline.state.as_deref()), wanted) {
            (Mood::Ready, Some(wanted)) if wanted == desired => Trace::Arrived(Stand::InError),
            (Mood::Ready, _) => {
                either("the target is in ERROR now, and vCenter does not say of which upgrade")
            }
            (Mood::Busy | Mood::Error | Mood::Unknown, _) => {
                either("the target is in ERROR now, and was not READY before the start either")
            }
        },
        Mood::Unknown => Trace::Either(format!(
            "the target's state `{}` is not known",
            map::shown(summary.state.as_deref().unwrap_or_default())
        )),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
