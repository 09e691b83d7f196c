//! What the stand-in vCenter holds, and how it changes with time: states are computed when somebody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{FIRST_VERSION, NEXT_VERSION};
use crate::simulators::effects::{EffectKind, Effects};
use crate::simulators::pace::Pace;

/// How long an upgrade takes in life.
const UPGRADE: Duration = Duration::from_secs(40 * 60);
/// How long a Supervisor's pre-checks take in life.
const PRECHECKS: Duration = Duration::from_secs(10);
/// How many control plane nodes a target has.
pub(super) const NODES: i64 = 3;
/// When a target moved that something ended; fixed, so that answers are predictable.
pub(super) const ENDED: &str = "2026-02-03T05:05:06.000Z";

/// The two kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cluster,
    Supervisor,
}

/// How the next upgrades of a target turn out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It reaches the version.
    #[default]
    Succeed,
    /// It ends in ERROR half-way.
    Fail,
    /// It goes back to READY at the old version.
    Revert,
    /// It ends READY at another version than the wanted one.
    Divert,
    /// The start is refused: a cluster is REJECTED, a Supervisor answers UNSUPPORTED.
    Reject,
    /// A pre-check warns; without `ignore_precheck_warnings` a cluster is REJECTED and a Supervisor's task stops.
    Warn,
    /// A pre-check fails: a cluster is REJECTED, a Supervisor's task stops before it begins.
    Block,
    /// The account has no privilege on the target.
    Forbid,
    /// It is held up half-way for good; a Supervisor's task is BLOCKED.
    Hang,
}

/// One upgrade.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) desired: String,
    pub(super) began: Instant,
    pub(super) outcome: Outcome,
    pub(super) ignores: bool,
    pub(super) cancelled: bool,
    /// How it ended, once it has.
    pub(super) end: Option<End>,
}

/// The ends of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Reached,
    Error,
    Reverted,
    Diverted,
    Stopped,
    Cancelled,
}

/// A target.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) version: String,
    pub(super) upgraded: bool,
    pub(super) outcome: Outcome,
    pub(super) run: Option<Run>,
    /// Started, but answered as before until then.
    pub(super) shown_from: Option<Instant>,
    pub(super) prechecks: Option<(String, Instant)>,
}

impl Place {
    /// The upgrade under way.
    pub(super) fn active(&self) -> Option<&Run> {
        self.run.as_ref().filter(|run| run.end.is_none())
    }
}

/// A task: which Supervisor's upgrade it was.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) supervisor: String,
    pub(super) run: Run,
}

pub(super) struct Inner {
    pub(super) places: BTreeMap<(Kind, String), Place>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) sessions: BTreeSet<String>,
    pub(super) made_sessions: u64,
    /// Ids of targets whose reads lag behind a start, in life's time.
    pub(super) lag: Duration,
}

/// Everything that the stand-in knows.
pub(super) struct World {
    pub(super) pace: Pace,
    pub(super) effects: Effects,
    pub(super) requests: AtomicU64,
    pub(super) has_supervisors: AtomicBool,
    pub(super) has_sessions_left: AtomicBool,
    inner: Mutex<Inner>,
}

/// Why a start is refused: `error_type`, message id, words.
pub(super) type Refusal = (&'static str, &'static str, String);

impl World {
    pub(super) fn new(targets: usize, pace: Pace) -> Self {
        let place = || Place {
            version: FIRST_VERSION.to_owned(),
            upgraded: false,
            outcome: Outcome::Succeed,
            run: None,
            shown_from: None,
            prechecks: None,
        };
        let ids = (0..targets).flat_map(|n| {
            [(Kind::Cluster, super::cluster_id(n)), (Kind::Supervisor, super::supervisor_id(n))]
        });
        let inner = Inner {
            places: ids.map(|id| (id, place())).collect(),
            tasks: BTreeMap::new(),
            sessions: BTreeSet::new(),
            made_sessions: 0,
            lag: Duration::ZERO,
        };
        Self {
            pace,
            effects: Effects::default(),
            requests: AtomicU64::new(0),
            has_supervisors: AtomicBool::new(true),
            has_sessions_left: AtomicBool::new(true),
            inner: Mutex::new(inner),
        }
    }

    /// Everything, brought up to date.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle(&mut inner);
        inner
    }

    fn settle(&self, inner: &mut Inner) {
        let Inner { places, tasks, .. } = inner;
        for ((_, id), place) in places.iter_mut() {
            let Some(run) = place.run.as_mut().filter(|run| run.end.is_none()) else {
                continue;
            };
            let Some(end) = end_of(run, self.fraction(run)) else {
                continue;
            };
            run.end = Some(end);
            match end {
                End::Reached => place.version.clone_from(&run.desired),
                End::Diverted => place.version = "v1.31.0-diverted".to_owned(),
                End::Error | End::Reverted | End::Stopped | End::Cancelled => {}
            }
            place.upgraded |= matches!(end, End::Reached | End::Diverted);
            place.shown_from = None;
            self.effects.record(EffectKind::End, id.as_str(), word(end));
        }
        for task in tasks.values_mut().filter(|task| task.run.end.is_none()) {
            let now = places.get(&(Kind::Supervisor, task.supervisor.clone())).and_then(|p| p.run.as_ref());
            if let Some(run) = now.filter(|run| run.began == task.run.began) {
                task.run.clone_from(run);
            }
        }
    }

    /// How far an upgrade is, from 0.0 to 1.0.
    pub(super) fn fraction(&self, run: &Run) -> f64 {
        self.pace.fraction(run.began.elapsed(), UPGRADE)
    }

    /// Whether pre-checks begun then are done.
    pub(super) fn are_checked(&self, began: Instant) -> bool {
        self.pace.fraction(began.elapsed(), PRECHECKS) >= 1.0
    }

    /// Starts an upgrade, or says why not.
    pub(super) fn start(
        &self,
        inner: &mut Inner,
        kind: Kind,
        id: &str,
        desired: &str,
        ignores: bool,
    ) -> Result<Run, Refusal> {
        let shown_from = (!inner.lag.is_zero()).then(|| Instant::now() + self.pace.scaled(inner.lag));
        let Some(place) = inner.places.get_mut(&(kind, id.to_owned())) else {
            return Err(("NOT_FOUND", "sim.not_found", format!("{id} does not exist.")));
        };
        let refuse = |error, message, words: String| {
            self.effects.record(EffectKind::Refuse, id, words.clone());
            Err((error, message, words))
        };
        if place.active().is_some() {
            let words = format!("{id} is being upgraded already.");
            return refuse("NOT_ALLOWED_IN_CURRENT_STATE", "sim.upgrading", words);
        }
        if desired != NEXT_VERSION || place.version == desired {
            let words = format!("Version {desired} is not available for {id}.");
            return refuse("INVALID_ARGUMENT", "sim.version", words);
        }
        let stops = match place.outcome {
            Outcome::Reject => true,
            Outcome::Block => kind == Kind::Cluster,
            Outcome::Warn => kind == Kind::Cluster && !ignores,
            Outcome::Succeed
            | Outcome::Fail
            | Outcome::Revert
            | Outcome::Divert
            | Outcome::Forbid
            | Outcome::Hang => false,
        };
        if stops {
            return refuse("UNSUPPORTED", "sim.precheck.failed", format!("Pre-check failed on {id}."));
        }
        let run = Run {
            desired: desired.to_owned(),
            began: Instant::now(),
            outcome: place.outcome,
            ignores,
            cancelled: false,
            end: None,
        };
        place.run = Some(run.clone());
        place.shown_from = shown_from;
        self.effects.record(EffectKind::Start, id, desired);
        Ok(run)
    }

    /// A new task for a Supervisor's upgrade.
    pub(super) fn new_task(inner: &mut Inner, supervisor: &str, run: Run) -> String {
        let id = super::task_id(inner.tasks.len());
        inner.tasks.insert(id.clone(), Task { supervisor: supervisor.to_owned(), run });
        id
    }

    /// Cancels a task; `Some(false)` if it is over, `None` if there is none.
    pub(super) fn cancel(&self, inner: &mut Inner, task: &str) -> Option<bool> {
        let task = inner.tasks.get(task)?.clone();
        if task.run.end.is_some() {
            return Some(false);
        }
        if let Some(run) =
            inner.places.get_mut(&(Kind::Supervisor, task.supervisor.clone())).and_then(|p| p.run.as_mut())
        {
            run.cancelled = true;
        }
        self.effects.record(EffectKind::Cancel, task.supervisor, "");
        Some(true)
    }

    /// A new session.
    pub(super) fn login(&self) -> String {
        let mut inner = self.lock();
        inner.made_sessions += 1;
        let token = format!("sim-session-{:08x}-5d2f9c", inner.made_sessions);
        inner.sessions.insert(token.clone());
        self.effects.record(EffectKind::Login, "", "");
        token
    }

    pub(super) fn expire_sessions(&self) {
        self.lock().sessions.clear();
    }

    /// Scripts a target of either kind. One that does not exist is passed over.
    pub(super) fn script(&self, target: &str, outcome: Outcome) {
        let mut inner = self.lock();
        for ((_, _), place) in inner.places.iter_mut().filter(|((_, id), _)| id == target) {
            place.outcome = outcome;
        }
    }

    pub(super) fn is_without_supervisors(&self) -> bool {
        !self.has_supervisors.load(Ordering::Relaxed)
    }
}

fn end_of(run: &Run, fraction: f64) -> Option<End> {
    if run.cancelled {
        return Some(End::Cancelled);
    }
    match run.outcome {
        Outcome::Hang => None,
        // Pre-checks take the first moments.
        Outcome::Block => (fraction >= 0.02).then_some(End::Stopped),
        Outcome::Warn if !run.ignores => (fraction >= 0.02).then_some(End::Stopped),
        Outcome::Fail => (fraction >= 0.5).then_some(End::Error),
        Outcome::Revert => (fraction >= 0.5).then_some(End::Reverted),
        Outcome::Divert => (fraction >= 1.0).then_some(End::Diverted),
        Outcome::Succeed | Outcome::Warn | Outcome::Reject | Outcome::Forbid => {
            (fraction >= 1.0).then_some(End::Reached)
        }
    }
}

const fn word(end: End) -> &'static str {
    match end {
        End::Reached => "READY",
        End::Error => "ERROR",
        End::Reverted => "READY at the old version",
        End::Diverted => "READY at another version",
        End::Stopped => "stopped by pre-checks",
        End::Cancelled => "CANCELED",
    }
}
