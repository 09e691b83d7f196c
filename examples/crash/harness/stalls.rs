//! When the machine itself stood still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::tasks::Tasks;
use jiff::Timestamp;
use tokio::time::Instant;

use super::harm::now;

/// A machine that has too much to do loses answers too: a call's patience ends before its answer is carried. Such
/// moments are written down, so that they are neither unseen nor taken for somebody's fault.
#[derive(Clone, Default)]
pub struct Stalls(Arc<Mutex<Vec<(Timestamp, Timestamp)>>>);

impl Stalls {
    /// How often it looks.
    const TICK: Duration = Duration::from_millis(20);
    /// A pause that is worth noting: with the same again at the gateway, a request's patience is over.
    const LONG: Duration = Duration::from_millis(400);

    /// Looks at the clock as long as the tasks live.
    pub fn watch(&self, tasks: &Tasks) {
        let (stalls, token) = (self.clone(), tasks.token().clone());
        tasks.spawn("stall watch", async move {
            while !token.is_cancelled() {
                let (begun, from) = (Instant::now(), now());
                tokio::time::sleep(Self::TICK).await;
                if begun.elapsed() > Self::LONG {
                    stalls.0.lock().unwrap_or_else(PoisonError::into_inner).push((from, now()));
                }
            }
        });
    }

    /// What was noted.
    pub fn all(&self) -> Vec<(Timestamp, Timestamp)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
