//! Forgets ended jobs that need not be kept, a few at a time.
//!
//! Every replica does it, each at its own moments; a step that finds nothing to do costs a look at an index. Steps are
//! short and pause between them, so that a large purge does not hold up the writes of running jobs.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Counter;
use tokio_util::sync::CancellationToken;

use crate::kit::clock::Clock;
use crate::kit::retry::jitter;
use crate::store::Store;
use crate::store::retention::Retention;

/// How many jobs one step removes.
const STEP_JOBS: u32 = 100;
/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause when nothing is left to remove, spread by half.
const IDLE: Duration = Duration::from_secs(60);

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// For how long after their end.
    pub age: Duration,
    /// How many ended jobs at most.
    pub jobs: u64,
}

/// The purge of one process.
pub(super) struct Purge {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub keep: Keep,
    pub purged: Counter<u64>,
    pub token: CancellationToken,
}

impl Purge {
    /// Purges until the token is cancelled.
    pub async fn run(self) {
        loop {
            let pause = match self.step().await {
                Some(0) | None => IDLE.mul_f64(0.5 + jitter()),
                Some(_) => PAUSE,
            };
            tokio::select! {
                () = self.token.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One step: how many jobs it removed. `None`: the store was in the way; the next round tries again.
    async fn step(&self) -> Option<u64> {
        let now = self.clock.now();
        let age = jiff::SignedDuration::try_from(self.keep.age).unwrap_or(jiff::SignedDuration::MAX);
        let ended_before = now.checked_sub(age).unwrap_or(jiff::Timestamp::MIN);
        match self.store.purge(Retention { ended_before, keep: self.keep.jobs }, STEP_JOBS).await {
            Ok(purged) => {
                if purged.jobs > 0 {
                    self.purged.add(purged.jobs, &[]);
                    tracing::info!(jobs = purged.jobs, events = purged.events, "ended jobs were purged");
                }
                Some(purged.jobs)
            }
            Err(error) => {
                tracing::warn!(error = %error, "ended jobs could not be purged; tried again later");
                None
            }
        }
    }
}
