//! When the machine itself stood still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::tasks::Tasks;
use jiff::Timestamp;
use tokio::time::Instant;

use super::harm::now;

/// A machine that has too much to do loses answers too: a call's patience ends before its answer is carried. Such
/// moments are written down, so that they are neither unseen nor taken for somebody's fault.
#[derive(Clone, Default)]
pub struct Stalls {
    noted: Arc<Mutex<Vec<(Timestamp, Timestamp)>>>,
    /// How late all looks together were so far, in milliseconds.
    late: Arc<AtomicU64>,
}

impl Stalls {
    /// How often it looks.
    const TICK: Duration = Duration::from_millis(20);
    /// A pause that is worth noting: with the same again at the gateway, a request's patience is over.
    const LONG: Duration = Duration::from_millis(400);
    /// A timer may be late by so much on a machine that is idle.
    const USUAL: Duration = Duration::from_millis(10);

    /// Looks at the clock as long as the tasks live.
    pub fn watch(&self, tasks: &Tasks) {
        let (stalls, token) = (self.clone(), tasks.token().clone());
        tasks.spawn("stall watch", async move {
            while !token.is_cancelled() {
                let (begun, from) = (Instant::now(), now());
                tokio::time::sleep(Self::TICK).await;
                let late = begun.elapsed().saturating_sub(Self::TICK + Self::USUAL);
                stalls.late.fetch_add(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                if begun.elapsed() > Self::LONG {
                    stalls.noted.lock().unwrap_or_else(PoisonError::into_inner).push((from, now()));
                }
            }
        });
    }

    /// What was noted.
    pub fn all(&self) -> Vec<(Timestamp, Timestamp)> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For how long in all this machine came too late to what it had to do, until now.
    pub fn late(&self) -> Duration {
        Duration::from_millis(self.late.load(Ordering::Relaxed))
    }
}
