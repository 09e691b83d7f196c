//! What really took effect in a simulator, for counting starts and comparing ends.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::kit::clock::Clock;

/// What took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// An operation started on a target: the thing that must happen at most once per job.
    Start,
    /// A start was refused.
    Refuse,
    /// A scheduled operation was given another time.
    Reschedule,
    /// A cancel took effect.
    Cancel,
    /// An operation ended; `detail` holds the vendor's final word.
    End,
    /// A session or token was made.
    Login,
    /// A session was ended by the client.
    Logout,
}

/// One thing that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What.
    pub kind: EffectKind,
    /// On which target, by the vendor's id; empty for logins.
    pub target: String,
    /// The idempotency key, version, image, or final word: whatever tells more.
    pub detail: String,
    /// When it was written down, by this machine's clock. An end may be written down when somebody asks.
    pub at: Timestamp,
}

/// A simulator's record, in order. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Effects(Arc<Mutex<Vec<Effect>>>);

impl Effects {
    /// Writes down what took effect.
    pub fn record(&self, kind: EffectKind, target: impl Into<String>, detail: impl Into<String>) {
        let at = Clock::system().now();
        let effect = Effect { kind, target: target.into(), detail: detail.into(), at };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Effect> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often something took effect on a target.
    pub fn count(&self, kind: EffectKind, target: &str) -> usize {
        self.all().iter().filter(|e| e.kind == kind && e.target == target).count()
    }

    /// How many operations started on a target.
    pub fn starts(&self, target: &str) -> usize {
        self.count(EffectKind::Start, target)
    }
}
