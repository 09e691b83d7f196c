//! Forgets ended jobs that need not be kept, a few at a time.
//!
//! Every replica does it, each at its own moments. Steps are short and pause between them, so that a large purge does not
//! hold up the writes of running jobs. What is old goes by the store's clock: a replica's own may be wrong by months. What
//! is too old goes first: that costs a look at an index, and must not wait for
//! the count of what is too many, which walks over all that is kept, once a round.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentelemetry::metrics::Counter;
use tokio_util::sync::CancellationToken;

use crate::kit::clock::Clock;
use crate::kit::retry::jitter;
use crate::store::retention::{Step, Through};
use crate::store::{Store, StoreError};

/// How much one step removes.
const STEP: Step = Step { jobs: 100, events: 2_000 };
/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause between two rounds, when nothing is left to remove, spread by half.
const IDLE: Duration = Duration::from_secs(60);

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// For how long after their end.
    pub age: Duration,
    /// How many ended jobs at most.
    pub jobs: u64,
    /// For how long after their end however many there are: so long a caller may repeat a request whose answer was lost.
    pub at_least: Duration,
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
        let rounds = async {
            loop {
                if let Err(error) = self.round().await {
                    tracing::warn!(error = %error, "ended jobs could not be purged; tried again later");
                }
                tokio::time::sleep(IDLE.mul_f64(0.5 + jitter())).await;
            }
        };
        self.token.run_until_cancelled(rounds).await;
    }

    /// Removes all that may go now.
    async fn round(&self) -> Result<(), StoreError> {
        // Of two clocks the one that removes less.
        let now = self.store.now().await?.min(self.clock.now());
        let old = before(now, self.keep.age);
        self.jobs(Through::ended_before(old)).await?;
        while self.store.purge_bare_keys(old, STEP.jobs).await? >= u64::from(STEP.jobs) {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(through) = self.store.too_many(self.keep.jobs).await? {
            self.jobs(through.min(Through::ended_before(before(now, self.keep.at_least)))).await?;
        }
        Ok(())
    }

    /// Removes all jobs up to here, step by step.
    async fn jobs(&self, through: Through) -> Result<(), StoreError> {
        loop {
            let purged = self.store.purge(through, STEP).await?;
            if purged.jobs == 0 && purged.events == 0 {
                return Ok(());
            }
            self.purged.add(purged.jobs, &[]);
            tracing::info!(jobs = purged.jobs, events = purged.events, "ended jobs were purged");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// `now - age`, saturating at the beginning of time.
fn before(now: Timestamp, age: Duration) -> Timestamp {
    SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN)
}
