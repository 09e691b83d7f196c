//! Holds operations under way, so that none ends before somebody has looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How far an operation gets while it is held: a fifth, where every vendor shows it under way.
const HELD_AT: f64 = 0.2;

/// Whether a simulator holds its operations. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<AtomicBool>);

impl Hold {
    /// Holds them, or lets them go on as if they had never been held.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Release);
    }

    /// Whether they are held.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// How much of the time that passed counts for an operation that takes `whole`.
    pub fn cap(&self, passed: Duration, whole: Duration) -> Duration {
        if self.is_on() { passed.min(whole.mul_f64(HELD_AT)) } else { passed }
    }
}
