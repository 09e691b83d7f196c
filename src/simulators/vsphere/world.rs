//! What there is, and how it stands at any moment: computed from elapsed time when somebody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::script::{CancelEnd, Fit, Outcome};
use super::sessions::Sessions;
use super::upgrade::{End, PRECHECKS, Stage, Upgrade};
use super::{FIRST_VERSION, LATER_VERSION, NEXT_VERSION, cluster_id, supervisor_id, task_id};
use crate::kit::clock::{Clock, since};
use crate::simulators::effects::{EffectKind, Effects};
use crate::simulators::hold::Hold;
use crate::simulators::pace::Pace;

/// The two kinds of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A cluster with a Supervisor.
    Cluster,
    /// A Supervisor.
    Supervisor,
}

/// A target's place.
pub(super) type Place = (Kind, usize);

/// A target that something happened to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) version: String,
    pub(super) in_error: bool,
    pub(super) upgraded: Option<Timestamp>,
    /// The latest upgrade.
    pub(super) upgrade: Option<usize>,
    pub(super) prechecks: BTreeMap<String, Timestamp>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            version: FIRST_VERSION.to_owned(),
            in_error: false,
            upgraded: None,
            upgrade: None,
            prechecks: BTreeMap::new(),
        }
    }
}

/// A target as it shows itself now.
pub(super) struct View {
    pub(super) target: Target,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) stage: Option<Stage>,
    /// The upgrade began so lately that the target does not show it yet.
    pub(super) hidden: bool,
}

impl View {
    /// The upgrade that is under way and shows.
    pub(super) fn running(&self) -> Option<&Upgrade> {
        match self.stage {
            Some(Stage::Ended(_)) | None => None,
            Some(Stage::Prechecks | Stage::Working(_) | Stage::Blocked) => {
                self.upgrade.as_ref().filter(|_| !self.hidden)
            }
        }
    }

    /// The versions that the target can be brought to.
    pub(super) fn available(&self) -> Vec<&'static str> {
        [NEXT_VERSION, LATER_VERSION].into_iter().filter(|v| *v > self.target.version.as_str()).collect()
    }
}

/// What can be switched.
#[derive(Default)]
pub(super) struct Switches {
    pub(super) no_upgrades: AtomicBool,
    pub(super) no_prechecks: AtomicBool,
    pub(super) no_clusters: AtomicBool,
    /// How many clusters each Supervisor spans; none: no topology is told, and the two kinds are not related.
    pub(super) spans: AtomicUsize,
    pub(super) broken_batches: AtomicBool,
}

/// Everything.
pub(super) struct World {
    pub(super) effects: Effects,
    pub(super) pace: Pace,
    pub(super) hold: Hold,
    pub(super) sessions: Sessions,
    pub(super) switches: Switches,
    pub(super) requests: AtomicU64,
    size: usize,
    clock: Clock,
    inner: Mutex<Inner>,
}

/// What differs from how everything began.
#[derive(Default)]
struct Inner {
    touched: BTreeMap<Place, Target>,
    upgrades: Vec<Upgrade>,
    outcomes: BTreeMap<Place, Outcome>,
    forbidden: BTreeSet<Place>,
    removed: BTreeSet<Place>,
    lag: Duration,
    cancel_end: CancelEnd,
    fit: Fit,
}

impl World {
    pub(super) fn new(size: usize, pace: Pace) -> Self {
        Self {
            effects: Effects::default(),
            pace,
            hold: Hold::default(),
            sessions: Sessions::default(),
            switches: Switches::default(),
            requests: AtomicU64::new(0),
            size,
            clock: Clock::system(),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The place of a target of one kind.
    pub(super) fn find(&self, kind: Kind, id: &str) -> Option<Place> {
        let n = match kind {
            Kind::Cluster => id.strip_prefix("domain-c")?.parse::<usize>().ok()?.checked_sub(9)?,
            Kind::Supervisor => usize::from_str_radix(id.rsplit_once('-')?.1, 16).ok()?,
        };
        let there = n < self.count(kind) && id_of((kind, n)) == id;
        (there && !self.lock().removed.contains(&self.home((kind, n)))).then_some((kind, n))
    }

    /// How many clusters each Supervisor spans, when the two are related.
    pub(super) fn spans(&self) -> Option<usize> {
        Some(self.switches.spans.load(Ordering::Relaxed)).filter(|spans| *spans > 0)
    }

    fn count(&self, kind: Kind) -> usize {
        match (kind, self.spans()) {
            (Kind::Supervisor, Some(spans)) => self.size.div_ceil(spans),
            (Kind::Supervisor | Kind::Cluster, _) => self.size,
        }
    }

    /// Where a target's fate is kept: a cluster and the Supervisor that spans it are one.
    fn home(&self, place: Place) -> Place {
        match (place, self.spans()) {
            ((Kind::Cluster, n), Some(spans)) => (Kind::Supervisor, n / spans),
            (place, _) => place,
        }
    }

    /// The clusters that a Supervisor spans.
    pub(super) fn clusters_of(&self, supervisor: usize) -> Vec<String> {
        let spans = self.spans().unwrap_or(0);
        (supervisor * spans..self.size.min((supervisor + 1) * spans)).map(cluster_id).collect()
    }

    /// The place of a target of either kind.
    fn place(&self, id: &str) -> Option<Place> {
        self.find(Kind::Cluster, id).or_else(|| self.find(Kind::Supervisor, id))
    }

    /// All places of one kind.
    pub(super) fn places(&self, kind: Kind) -> Vec<Place> {
        let inner = self.lock();
        (0..self.count(kind))
            .map(|n| (kind, n))
            .filter(|place| !inner.removed.contains(&self.home(*place)))
            .collect()
    }

    pub(super) fn script(&self, id: &str, outcome: Outcome) {
        if let Some(place) = self.place(id) {
            self.lock().outcomes.insert(self.home(place), outcome);
        }
    }

    pub(super) fn forbid(&self, id: &str, forbidden: bool) {
        if let Some(place) = self.place(id).map(|place| self.home(place)) {
            let mut inner = self.lock();
            if forbidden {
                inner.forbidden.insert(place);
            } else {
                inner.forbidden.remove(&place);
            }
        }
    }

    pub(super) fn is_forbidden(&self, place: Place) -> bool {
        self.lock().forbidden.contains(&self.home(place))
    }

    pub(super) fn remove(&self, id: &str) {
        if let Some(place) = self.place(id) {
            self.lock().removed.insert(self.home(place));
        }
    }

    pub(super) fn set_lag(&self, real: Duration) {
        self.lock().lag = self.pace.scaled(real);
    }

    pub(super) fn set_cancel_end(&self, end: CancelEnd) {
        self.lock().cancel_end = end;
    }

    pub(super) fn cancel_end(&self) -> CancelEnd {
        self.lock().cancel_end
    }

    pub(super) fn set_fit(&self, fit: Fit) {
        self.lock().fit = fit;
    }

    pub(super) fn fit(&self) -> Fit {
        self.lock().fit
    }

    pub(super) fn version(&self, id: &str) -> Option<String> {
        self.place(id).map(|place| self.look(place).target.version)
    }

    pub(super) fn outcome(&self, place: Place) -> Outcome {
        self.lock().outcomes.get(&self.home(place)).copied().unwrap_or_default()
    }

    /// A target as it shows itself now. One that nothing happened to costs nothing.
    pub(super) fn look(&self, place: Place) -> View {
        let now = self.now();
        let place = self.home(place);
        let mut inner = self.lock();
        let number = inner.touched.get(&place).and_then(|t| t.upgrade);
        let stage = number.and_then(|n| self.settle(&mut inner, n, now));
        let upgrade = number.and_then(|n| inner.upgrades.get(n).cloned());
        let hidden = upgrade.as_ref().is_some_and(|u| since(u.began, now) < inner.lag);
        let target = inner.touched.get(&place).cloned().unwrap_or_default();
        View { target, upgrade, stage, hidden }
    }

    /// Begins an upgrade; its number.
    pub(super) fn begin(&self, place: Place, to: &str, ignores_warnings: bool) -> usize {
        let outcome = self.outcome(place);
        self.effects.record(EffectKind::Start, id_of(self.home(place)), to);
        self.begin_as(place, to, ignores_warnings, outcome)
    }

    /// An upgrade that somebody else starts: no effect of ours.
    pub(super) fn start_elsewhere(&self, id: &str, to: &str) {
        if let Some(place) = self.place(id) {
            self.begin_as(place, to, true, Outcome::Succeed);
        }
    }

    fn begin_as(&self, place: Place, to: &str, ignores_warnings: bool, outcome: Outcome) -> usize {
        let began = self.now();
        let tasked = place.0 == Kind::Supervisor;
        let place = self.home(place);
        let mut inner = self.lock();
        let number = inner.upgrades.len();
        let target = inner.touched.entry(place).or_default();
        target.upgrade = Some(number);
        target.in_error = false;
        inner.upgrades.push(Upgrade {
            number,
            place,
            to: to.to_owned(),
            ignores_warnings,
            began,
            outcome,
            tasked,
            cancelled: None,
            ended: None,
        });
        number
    }

    /// Asks a running upgrade to end. Whether it ran.
    pub(super) fn cancel(&self, number: usize) -> bool {
        let now = self.now();
        let mut inner = self.lock();
        let stage = self.settle(&mut inner, number, now);
        let Some(upgrade) = inner.upgrades.get_mut(number) else { return false };
        if matches!(stage, Some(Stage::Ended(_)) | None) || upgrade.cancelled.is_some() {
            return false;
        }
        upgrade.cancelled = Some(now);
        self.effects.record(EffectKind::Cancel, id_of(upgrade.place), upgrade.to.clone());
        true
    }

    /// An upgrade of a Supervisor by its task, as it stands now. Lost tasks are not found.
    pub(super) fn task(&self, id: &str) -> Option<(Upgrade, Stage)> {
        let (uuid, _) = id.split_once(':')?;
        let number = usize::from_str_radix(uuid.rsplit_once('-')?.1, 16).ok()?;
        let found = self.numbered(number)?;
        (task_id(number) == id).then_some(found)
    }

    /// All upgrades of Supervisors whose tasks are known.
    pub(super) fn tasks(&self) -> Vec<(Upgrade, Stage)> {
        let count = self.lock().upgrades.len();
        (0..count).filter_map(|number| self.numbered(number)).collect()
    }

    fn numbered(&self, number: usize) -> Option<(Upgrade, Stage)> {
        let now = self.now();
        let mut inner = self.lock();
        let stage = self.settle(&mut inner, number, now)?;
        let upgrade = inner.upgrades.get(number)?.clone();
        let lost = match upgrade.outcome {
            Outcome::LoseTask | Outcome::Overtake => since(upgrade.began, now) > self.pace.scaled(PRECHECKS),
            Outcome::Succeed
            | Outcome::Fail
            | Outcome::FailInResult
            | Outcome::Refuse
            | Outcome::PrecheckError
            | Outcome::PrecheckWarning
            | Outcome::LatePrecheckError
            | Outcome::Block
            | Outcome::GiveUp
            | Outcome::Uncancelable => false,
        };
        (upgrade.place.0 == Kind::Supervisor && upgrade.tasked && !lost).then_some((upgrade, stage))
    }

    /// Begins prechecks of a Supervisor.
    pub(super) fn begin_prechecks(&self, place: Place, version: &str) {
        let now = self.now();
        let place = self.home(place);
        self.lock().touched.entry(place).or_default().prechecks.insert(version.to_owned(), now);
    }

    /// Brings everything that was started up to now.
    pub(super) fn settle_all(&self) {
        let now = self.now();
        let mut inner = self.lock();
        // An upgrade that overtakes another begins while this runs.
        let mut number = 0;
        while number < inner.upgrades.len() {
            self.settle(&mut inner, number, now);
            number += 1;
        }
    }

    /// How an upgrade stands; what its end changes happens here, once.
    fn settle(&self, inner: &mut Inner, number: usize, now: Timestamp) -> Option<Stage> {
        let upgrade = inner.upgrades.get(number)?;
        if let Some((end, _)) = upgrade.ended {
            return Some(Stage::Ended(end));
        }
        let stage = upgrade.stage(&self.pace, &self.hold, inner.cancel_end, now);
        let Stage::Ended(end) = stage else { return Some(stage) };
        let (place, to) = (upgrade.place, upgrade.to.clone());
        self.effects.record(EffectKind::End, id_of(place), end.word());
        if let Some(upgrade) = inner.upgrades.get_mut(number) {
            upgrade.ended = Some((end, now));
        }
        let next = inner.upgrades.len();
        let target = inner.touched.entry(place).or_default();
        match end {
            End::Succeeded => {
                target.version = to;
                target.upgraded = Some(now);
            }
            End::Failed | End::PrecheckFailed => target.in_error = true,
            End::Cancelled | End::GaveUp => {}
            End::Overtaken => {
                target.upgrade = Some(next);
                inner.upgrades.push(Upgrade {
                    number: next,
                    place,
                    to: LATER_VERSION.to_owned(),
                    ignores_warnings: true,
                    began: now,
                    outcome: Outcome::Succeed,
                    tasked: true,
                    cancelled: None,
                    ended: None,
                });
            }
        }
        Some(stage)
    }
}

/// A target's id.
pub(super) fn id_of((kind, n): Place) -> String {
    match kind {
        Kind::Cluster => cluster_id(n),
        Kind::Supervisor => supervisor_id(n),
    }
}
