//! The cloud's state: who is logged in, which instances are being reinstalled, how it behaves.
//!
//! Instances exist by their number alone; only those that something happened to take memory. What they show is
//! computed from the time that passed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use jiff::Timestamp;
use tokio::time::Instant;

use super::life::{Behaviour, Outcome, Shown, shown};
use super::{image_id, instance_id};
use crate::kit::clock::Clock;
use crate::simulators::{EffectKind, Effects, Hold, Pace};

/// The state of the whole cloud.
#[derive(Debug)]
pub(super) struct World {
    pub clock: Clock,
    pub effects: Effects,
    pub hold: Hold,
    pub targets: usize,
    pace: Pace,
    born: Timestamp,
    sequence: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    behaviour: Behaviour,
    /// Tokens with their end. Those that were cut short end in the past.
    tokens: HashMap<String, Timestamp>,
    instances: HashMap<usize, Touched>,
    outcomes: HashMap<usize, Outcome>,
    requests: BTreeMap<&'static str, u64>,
}

/// What happened to an instance.
#[derive(Clone, Debug, Default)]
struct Touched {
    reinstall: Option<Reinstall>,
    /// A state and operation state that a test put there.
    set: Option<(String, Option<String>)>,
    /// The operation state before the running reinstall.
    operation_before: Option<String>,
    image: Option<String>,
    launched: Option<Timestamp>,
    updated: Option<Timestamp>,
    password_hash: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Reinstall {
    began: Instant,
    outcome: Outcome,
    ended: bool,
}

/// An instance as the API shows it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub number: usize,
    pub id: String,
    pub state: String,
    pub operation: Option<String>,
    pub failed: bool,
    pub image: String,
    pub updated: Timestamp,
    pub launched: Timestamp,
}

impl World {
    pub(super) fn new(targets: usize, pace: Pace) -> Self {
        let clock = Clock::system();
        Self {
            born: clock.now(),
            clock,
            effects: Effects::default(),
            hold: Hold::default(),
            targets,
            pace,
            sequence: AtomicU64::new(1),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn count(&self, route: &'static str) {
        *self.lock().requests.entry(route).or_default() += 1;
    }

    pub(super) fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.lock().requests.clone()
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        self.lock().behaviour
    }

    pub(super) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.lock().behaviour);
    }

    pub(super) fn script(&self, number: usize, outcome: Outcome) {
        self.lock().outcomes.insert(number, outcome);
    }

    pub(super) fn set_state(&self, number: usize, state: &str, operation: Option<&str>) {
        let now = self.clock.now();
        let mut inner = self.lock();
        let touched = inner.instances.entry(number).or_default();
        touched.set = Some((state.to_owned(), operation.map(str::to_owned)));
        touched.updated = Some(now);
    }

    pub(super) fn make_token(&self, end: Timestamp) -> String {
        let token = format!("sim-token-{:08}-{:016x}", self.next_number(), rand::random::<u64>());
        self.lock().tokens.insert(token.clone(), end);
        token
    }

    /// Whether a token is live; `None` when it never was one.
    pub(super) fn knows_token(&self, token: &str) -> Option<bool> {
        let now = self.clock.now();
        self.lock().tokens.get(token).map(|end| *end > now)
    }

    pub(super) fn expire_tokens(&self) {
        self.lock().tokens.values_mut().for_each(|end| *end = Timestamp::MIN);
    }

    /// An instance as it stands now; `None` when there is none. Writes down an end that passed unseen.
    pub(super) fn view(&self, number: usize) -> Option<View> {
        if number >= self.targets {
            return None;
        }
        let mut inner = self.lock();
        let behaviour = inner.behaviour;
        let id = instance_id(number);
        let mut view = View {
            number,
            id: id.clone(),
            state: "running".to_owned(),
            operation: Some("install-succeed".to_owned()),
            failed: false,
            image: image_id(0),
            updated: self.born,
            launched: self.born,
        };
        let Some(touched) = inner.instances.get_mut(&number) else {
            return Some(self.censored(view, &behaviour));
        };
        view.image = touched.image.clone().unwrap_or(view.image);
        view.updated = touched.updated.unwrap_or(view.updated);
        view.launched = touched.launched.unwrap_or(view.launched);
        view.operation = touched.operation_before.clone().or(view.operation);
        if let Some(reinstall) = &mut touched.reinstall {
            let passed = reinstall.began.elapsed().mul_f64(self.pace.speed.max(0.001));
            let real = self.hold.cap(passed, behaviour.duration);
            let Some(now) = shown(&behaviour, reinstall.outcome, real) else {
                if !reinstall.ended {
                    reinstall.ended = true;
                    self.effects.record(EffectKind::End, id, "(gone)");
                }
                return None;
            };
            let Shown { state, operation, failed, end } = now;
            view.state = state.to_owned();
            view.operation = operation.map(str::to_owned).or(view.operation);
            view.failed = failed;
            if let (Some(word), false) = (end, reinstall.ended) {
                reinstall.ended = true;
                self.effects.record(EffectKind::End, id, word);
                touched.updated = Some(self.clock.now());
                if word == "reinstall-succeed" {
                    touched.launched = touched.updated;
                }
                view.updated = touched.updated.unwrap_or(view.updated);
                view.launched = touched.launched.unwrap_or(view.launched);
            }
        }
        if let Some((state, operation)) = &touched.set {
            view.state.clone_from(state);
            view.operation.clone_from(operation);
        }
        Some(self.censored(view, &behaviour))
    }

    /// Writes down every end that has come about unseen.
    pub(super) fn settle(&self) {
        let touched: Vec<usize> = self.lock().instances.keys().copied().collect();
        for number in touched {
            let _ = self.view(number);
        }
    }

    fn censored(&self, mut view: View, behaviour: &Behaviour) -> View {
        if !behaviour.operation_state {
            view.operation = None;
        }
        view
    }

    /// Starts reinstalls; every id exists and is `running`.
    pub(super) fn start(&self, views: &[View], image: Option<&str>, password: &str) {
        let hash = digest::digest(&digest::SHA256, password.as_bytes()).as_ref().to_vec();
        let now = self.clock.now();
        let mut inner = self.lock();
        for view in views {
            let outcome = inner.outcomes.get(&view.number).copied().unwrap_or_default();
            let touched = inner.instances.entry(view.number).or_default();
            touched.operation_before = view.operation.clone();
            touched.reinstall = Some(Reinstall { began: Instant::now(), outcome, ended: false });
            touched.set = None;
            touched.updated = Some(now);
            if let Some(image) = image {
                touched.image = Some(image.to_owned());
            }
            touched.password_hash = Some(hash.clone());
            let kept = touched.image.clone().unwrap_or_else(|| image_id(0));
            self.effects.record(EffectKind::Start, &*view.id, format!("image={kept}"));
        }
    }

    /// Whether the last password that arrived for an instance was this one. Only its hash is kept.
    pub(super) fn password_was(&self, number: usize, password: &str) -> bool {
        let hash = digest::digest(&digest::SHA256, password.as_bytes());
        self.lock()
            .instances
            .get(&number)
            .and_then(|t| t.password_hash.as_deref())
            .is_some_and(|kept| kept == hash.as_ref())
    }

    /// The numbers of all instances that exist, from `after` on.
    pub(super) fn numbers(&self, after: Option<usize>) -> std::ops::Range<usize> {
        after.map_or(0, |n| n + 1)..self.targets
    }
}

/// The ids in `asked` that occur more than once.
pub(super) fn repeated(asked: &[String]) -> bool {
    let mut seen = HashSet::new();
    asked.iter().any(|id| !seen.insert(id))
}
