//! What there is, and how it stands at any moment: computed from elapsed time when somebody looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::bodies::{CHANNEL_VERSION, FIRST_VERSION};
use super::{target_id, upgrade_id};
use crate::kit::clock::{Clock, after, since};
use crate::simulators::effects::{EffectKind, Effects};
use crate::simulators::hold::Hold;
use crate::simulators::pace::Pace;

/// How an upgrade turns out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// `SUCCEEDED`: the cluster has the version.
    #[default]
    Succeed,
    /// `FAILED`: the cluster was under upgrade and runs its old version again.
    Fail,
    /// `MISSED`: nothing happens, and the window passes. A direct upgrade never begins.
    Miss,
    /// `SUPERSEDED`: when it should begin, the channel moves the cluster elsewhere instead.
    Supersede,
    /// The request is refused.
    Refuse,
}

/// From the request until the upgrade has its place in the calendar.
const PLANNING: Duration = Duration::from_secs(2 * 60);
/// How long before its start the user is told.
const NOTICE: Duration = Duration::from_secs(30 * 60);
/// How long an upgrade runs.
const WORK: Duration = Duration::from_secs(40 * 60);
/// How often a maintenance window opens, counted from the simulator's start.
const WINDOW_EVERY: Duration = Duration::from_secs(4 * 3600);
/// How long a window stays open.
const WINDOW: Duration = Duration::from_secs(2 * 3600);

/// Everything.
pub(super) struct World {
    pub(super) effects: Effects,
    pub(super) pace: Pace,
    pub(super) hold: Hold,
    pub(super) clusters: usize,
    pub(super) revoked: AtomicBool,
    /// The next request is refused as if its token had just died.
    pub(super) refuse_once: AtomicBool,
    pub(super) requests: AtomicU64,
    clock: Clock,
    began: Timestamp,
    inner: Mutex<Inner>,
}

/// What differs from how everything began.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) touched: BTreeMap<usize, Cluster>,
    outcomes: BTreeMap<usize, Outcome>,
    upgrades: u64,
    pub(super) windows_at_once: bool,
    pub(super) cancelled_as: Option<&'static str>,
}

/// A cluster that something happened to.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) version: String,
    pub(super) shown_status: Option<String>,
    pub(super) modified: Timestamp,
    pub(super) upgrades: Vec<Upgrade>,
    direct: Option<Direct>,
}

/// A scheduled upgrade.
#[derive(Clone)]
pub(super) struct Upgrade {
    pub(super) identity: String,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// When it was last asked for.
    placed: Timestamp,
    pub(super) request_date: Option<Timestamp>,
    pub(super) ignore: Option<bool>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) window_start: Timestamp,
    pub(super) window_end: Timestamp,
    pub(super) reason: Option<String>,
    outcome: Outcome,
    pub(super) end: Option<&'static str>,
}

/// An upgrade by PATCH.
#[derive(Clone)]
struct Direct {
    to: String,
    start: Timestamp,
    outcome: Outcome,
}

/// A refusal: HTTP status, message, details.
pub(super) type Refusal = (u16, &'static str, Vec<String>);

impl World {
    pub(super) fn new(clusters: usize, pace: Pace) -> Self {
        let clock = Clock::system();
        Self {
            effects: Effects::default(),
            pace,
            hold: Hold::default(),
            clusters,
            revoked: AtomicBool::new(false),
            refuse_once: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            began: clock.now(),
            clock,
            inner: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token still counts; a single refusal is used up by asking.
    pub(super) fn takes_tokens(&self) -> bool {
        !self.refuse_once.swap(false, Ordering::Relaxed) && !self.revoked.load(Ordering::Relaxed)
    }

    /// The place of a cluster among all, by its identity.
    pub(super) fn index(&self, identity: &str) -> Option<usize> {
        let (_, last) = identity.rsplit_once('-')?;
        let n = usize::from_str_radix(last, 16).ok().filter(|n| *n < self.clusters)?;
        target_id(n).eq_ignore_ascii_case(identity).then_some(n)
    }

    pub(super) fn script(&self, target: &str, outcome: Outcome) {
        if let Some(n) = self.index(target) {
            self.lock().outcomes.insert(n, outcome);
        }
    }

    pub(super) fn touch(&self, target: &str, change: impl FnOnce(&mut Cluster)) {
        if let Some(n) = self.index(target) {
            self.with(n, |cluster, _| change(cluster));
        }
    }

    pub(super) fn version(&self, target: &str) -> Option<String> {
        self.index(target).map(|n| self.look(n).version)
    }

    /// Brings everything that was touched up to now.
    pub(super) fn settle_all(&self) {
        let now = self.clock.now();
        let mut inner = self.lock();
        for (n, cluster) in &mut inner.touched {
            self.settle(*n, cluster, now);
        }
    }

    /// A cluster as it is now. One that nothing happened to costs nothing.
    pub(super) fn look(&self, n: usize) -> Cluster {
        let now = self.clock.now();
        let mut inner = self.lock();
        match inner.touched.get_mut(&n) {
            Some(cluster) => {
                self.settle(n, cluster, now);
                cluster.clone()
            }
            None => self.untouched(),
        }
    }

    fn untouched(&self) -> Cluster {
        Cluster {
            version: FIRST_VERSION.to_owned(),
            shown_status: None,
            modified: self.began,
            upgrades: Vec::new(),
            direct: None,
        }
    }

    fn with<T>(&self, n: usize, change: impl FnOnce(&mut Cluster, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut inner = self.lock();
        let cluster = inner.touched.entry(n).or_insert_with(|| self.untouched());
        self.settle(n, cluster, now);
        change(cluster, now)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) const fn began(&self) -> Timestamp {
        self.began
    }

    fn later(&self, at: Timestamp, real: Duration) -> Timestamp {
        after(at, self.pace.scaled(real))
    }

    /// The window that an upgrade gets which may begin from `from` on.
    fn window(&self, from: Timestamp, ignore: bool) -> (Timestamp, Timestamp) {
        if ignore {
            return (from, self.later(from, WINDOW));
        }
        let every = self.pace.scaled(WINDOW_EVERY).as_micros().max(1);
        let passed = since(self.began, from).as_micros();
        let ahead = passed.div_ceil(every).saturating_mul(every);
        let open = after(self.began, Duration::from_micros(u64::try_from(ahead).unwrap_or(u64::MAX)));
        (open, self.later(open, WINDOW))
    }

    /// Creates or moves the cluster's scheduled upgrade.
    pub(super) fn schedule(
        &self,
        n: usize,
        to: String,
        request_date: Option<Timestamp>,
        ignore: Option<bool>,
    ) -> Result<Upgrade, Refusal> {
        let target = target_id(n);
        let outcome = self.lock().outcomes.get(&n).copied().unwrap_or_default();
        if outcome == Outcome::Refuse {
            self.effects.record(EffectKind::Refuse, target, to);
            return Err((
                400,
                "Invalid request parameters",
                vec!["the cluster cannot be upgraded".to_owned()],
            ));
        }
        let now = self.clock.now();
        let from = request_date.unwrap_or(now).max(now);
        let (window_start, window_end) = self.window(from, ignore.unwrap_or(false));
        let mut inner = self.lock();
        let identity = upgrade_id(inner.upgrades);
        let cluster = inner.touched.entry(n).or_insert_with(|| self.untouched());
        self.settle(n, cluster, now);
        let version = cluster.version.clone();
        if let Some(open) = cluster.upgrades.iter_mut().find(|u| u.end.is_none() && now < self.start(u)) {
            self.effects.record(EffectKind::Reschedule, target, to.clone());
            (open.to, open.from) = (to, version);
            (open.request_date, open.ignore) = (request_date, ignore);
            (open.window_start, open.window_end) = (window_start, window_end);
            (open.placed, open.modified, open.outcome) = (now, now, outcome);
            return Ok(open.clone());
        }
        self.effects.record(EffectKind::Start, target, to.clone());
        let upgrade = Upgrade {
            identity,
            created: now,
            modified: now,
            placed: now,
            request_date,
            ignore,
            from: version,
            to,
            window_start,
            window_end,
            reason: None,
            outcome,
            end: None,
        };
        cluster.upgrades.push(upgrade.clone());
        inner.upgrades += 1;
        Ok(upgrade)
    }

    /// Upgrades a cluster now. Asking for what it has, or is being brought to, changes nothing.
    pub(super) fn upgrade(&self, n: usize, to: String) -> Result<Cluster, Refusal> {
        let outcome = self.lock().outcomes.get(&n).copied().unwrap_or_default();
        self.with(n, |cluster, now| {
            let target = target_id(n);
            let under_way = cluster.direct.as_ref().map(|d| d.to.clone()).or_else(|| {
                cluster.upgrades.iter().find(|u| self.status(u, now) == "IN_PROGRESS").map(|u| u.to.clone())
            });
            match under_way {
                Some(version) if version == to => return Ok(cluster.clone()),
                None if cluster.version == to => return Ok(cluster.clone()),
                Some(version) => {
                    self.effects.record(EffectKind::Refuse, target, to);
                    let detail = format!("an upgrade to {version} is in progress");
                    return Err((400, "Invalid request parameters", vec![detail]));
                }
                None if outcome == Outcome::Refuse => {
                    self.effects.record(EffectKind::Refuse, target, to);
                    let detail = "the cluster cannot be upgraded".to_owned();
                    return Err((400, "Invalid request parameters", vec![detail]));
                }
                None => {}
            }
            for open in cluster.upgrades.iter_mut().filter(|u| u.end.is_none()) {
                self.finish(&target, open, "SUPERSEDED", now);
                open.reason = Some("the cluster was upgraded by hand".to_owned());
            }
            self.effects.record(EffectKind::Start, target, to.clone());
            cluster.direct = Some(Direct { to, start: now, outcome });
            cluster.modified = now;
            Ok(cluster.clone())
        })
    }

    /// Deletes a scheduled upgrade; what it was.
    pub(super) fn unschedule(&self, identity: &str) -> Option<(usize, Upgrade)> {
        let n = self.holder(identity)?;
        let left = self.lock().cancelled_as;
        let upgrade = self.with(n, |cluster, now| {
            let place = cluster.upgrades.iter().position(|u| u.identity == identity)?;
            let upgrade = cluster.upgrades.get_mut(place)?;
            if self.status(upgrade, now) == "IN_PROGRESS" {
                // The record goes, the work does not stop.
                let (to, start, outcome) = (upgrade.to.clone(), self.start(upgrade), upgrade.outcome);
                cluster.direct = Some(Direct { to, start, outcome });
                return Some(cluster.upgrades.remove(place));
            }
            if upgrade.end.is_none() {
                self.effects.record(EffectKind::Cancel, target_id(n), upgrade.to.clone());
            }
            match left {
                Some(word) if upgrade.end.is_none() => {
                    self.finish(&target_id(n), upgrade, word, now);
                    Some(upgrade.clone())
                }
                Some(_) => Some(upgrade.clone()),
                None => Some(cluster.upgrades.remove(place)),
            }
        })?;
        Some((n, upgrade))
    }

    /// The cluster that has this scheduled upgrade.
    pub(super) fn holder(&self, identity: &str) -> Option<usize> {
        let inner = self.lock();
        inner.touched.iter().find(|(_, c)| c.upgrades.iter().any(|u| u.identity == identity)).map(|(n, _)| *n)
    }

    fn start(&self, upgrade: &Upgrade) -> Timestamp {
        upgrade.window_start.max(self.later(upgrade.placed, PLANNING))
    }

    /// The upgrade's status word at a moment up to which it was settled.
    pub(super) fn status(&self, upgrade: &Upgrade, now: Timestamp) -> &'static str {
        if let Some(end) = upgrade.end {
            return end;
        }
        let planned = self.later(upgrade.placed, PLANNING);
        let start = self.start(upgrade);
        let notice = self.pace.scaled(NOTICE);
        if now < planned {
            "REQUESTED"
        } else if now < start && since(now, start) > notice {
            "SCHEDULED"
        } else if now < start || upgrade.outcome == Outcome::Miss {
            "SCHEDULED_NOTIFIED"
        } else {
            "IN_PROGRESS"
        }
    }

    /// The cluster's status word at a moment up to which it was settled.
    pub(super) fn cluster_status(&self, cluster: &Cluster, now: Timestamp) -> String {
        let works = cluster.direct.as_ref().is_some_and(|d| d.outcome != Outcome::Miss)
            || cluster.upgrades.iter().any(|u| self.status(u, now) == "IN_PROGRESS");
        let own = if works { "upgrading" } else { "running" };
        cluster.shown_status.clone().unwrap_or_else(|| own.to_owned())
    }

    fn finish(&self, target: &str, upgrade: &mut Upgrade, word: &'static str, at: Timestamp) {
        upgrade.end = Some(word);
        upgrade.modified = at;
        self.effects.record(EffectKind::End, target, word);
    }

    /// Lets happen what should have happened by `now`.
    fn settle(&self, n: usize, cluster: &mut Cluster, now: Timestamp) {
        let target = target_id(n);
        let over = |end: Timestamp| now >= end && !self.hold.is_on();
        let mut upgrades = std::mem::take(&mut cluster.upgrades);
        for upgrade in upgrades.iter_mut().filter(|u| u.end.is_none()) {
            let start = self.start(upgrade);
            let end = self.later(start, WORK);
            match upgrade.outcome {
                Outcome::Succeed if over(end) => {
                    (cluster.version, cluster.modified) = (upgrade.to.clone(), end);
                    self.finish(&target, upgrade, "SUCCEEDED", end);
                }
                Outcome::Fail if over(end) => {
                    cluster.modified = end;
                    upgrade.reason = Some("2 of 3 nodes did not become ready in time".to_owned());
                    self.finish(&target, upgrade, "FAILED", end);
                }
                Outcome::Miss if over(upgrade.window_end) => {
                    upgrade.reason = Some("the window closed before the upgrade could start".to_owned());
                    let at = upgrade.window_end;
                    self.finish(&target, upgrade, "MISSED", at);
                }
                Outcome::Supersede if over(start) => {
                    (cluster.version, cluster.modified) = (CHANNEL_VERSION.to_owned(), start);
                    upgrade.reason = Some("the update channel moved on".to_owned());
                    self.finish(&target, upgrade, "SUPERSEDED", start);
                }
                Outcome::Succeed | Outcome::Fail | Outcome::Miss | Outcome::Supersede | Outcome::Refuse => {}
            }
        }
        cluster.upgrades = upgrades;
        let Some(direct) = cluster.direct.clone() else { return };
        let end = self.later(direct.start, WORK);
        let word = match direct.outcome {
            Outcome::Succeed if over(end) => {
                cluster.version = direct.to;
                "SUCCEEDED"
            }
            Outcome::Fail if over(end) => "FAILED",
            Outcome::Supersede if over(end) => {
                cluster.version = CHANNEL_VERSION.to_owned();
                "SUPERSEDED"
            }
            Outcome::Succeed | Outcome::Fail | Outcome::Supersede | Outcome::Miss | Outcome::Refuse => return,
        };
        cluster.direct = None;
        cluster.modified = end;
        self.effects.record(EffectKind::End, target, word);
    }
}
