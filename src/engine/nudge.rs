//! Nudges: a driver learns of what was committed by others, on this replica or another.
//!
//! The events are the truth: this task reads every one that is committed, from the same ring that watches read, and
//! tells the driver of the provider when it runs here. A driver that knows the event's sequence already (its own write,
//! or one that was nudged by the call itself) reads nothing. As a safety net the live jobs are counted once a minute,
//! and a driver whose count stays wrong reads all of them again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::hub::{Hub, Read};
use super::provider::{Nudge, Runtime};
use crate::domain::event::Event;
use crate::domain::id::ProviderId;
use crate::domain::state::JobState;
use crate::kit::retry::{Backoff, jitter};
use crate::store::{Store, StoreError};

/// How often live jobs are counted.
const COUNT: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };

/// Tells the drivers of this replica.
pub(super) struct Nudger {
    pub hub: Arc<Hub>,
    pub store: Arc<dyn Store>,
    pub runtimes: BTreeMap<ProviderId, Arc<Runtime>>,
    /// Everything up to here was told.
    pub position: u64,
    /// Whose count was wrong the last time: a job may be between two states once.
    pub doubted: HashSet<ProviderId>,
}

impl Nudger {
    /// Runs until the token is cancelled.
    pub async fn run(mut self, token: CancellationToken) {
        let mut news = self.hub.newest();
        let mut count = tokio::time::interval_at(Instant::now() + COUNT, COUNT);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0;
        loop {
            let told = self.tell().await;
            failures = if told.is_err() { failures + 1 } else { 0 };
            let again = match told {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(error = %error, "drivers hear late of changes: events cannot be read");
                    Some(RETRY.delay(failures, jitter()))
                }
            };
            tokio::select! {
                () = token.cancelled() => return,
                changed = news.changed(), if again.is_none() => if changed.is_err() { return },
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
                _ = count.tick() => self.count().await,
            }
        }
    }

    async fn tell(&mut self) -> Result<(), StoreError> {
        loop {
            match self.hub.read(self.position).await {
                Ok(Read::Nothing) => return Ok(()),
                Ok(Read::Commits(commits, last)) => {
                    for event in commits.iter().flat_map(|commit| commit.events()) {
                        self.tell_of(event);
                    }
                    self.position = last;
                }
                // It slept so long that events are gone, or they are damaged: the jobs themselves tell.
                Err(StoreError::PositionGone { .. } | StoreError::DamagedEvents { .. }) => {
                    self.position = *self.hub.newest().borrow();
                    self.runtimes.values().for_each(|runtime| runtime.doubt());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn tell_of(&self, event: &Event) {
        if let Some(runtime) = self.runtimes.get(&event.about.target.provider) {
            runtime.nudge(event.job, Nudge::at(event.sequence, event.status.state.is_ended()));
        }
    }

    async fn count(&mut self) {
        let counts = match self.store.count_live().await {
            Ok(counts) => counts,
            Err(error) => {
                tracing::debug!(error = %error, "live jobs cannot be counted now");
                return;
            }
        };
        let mut stored: BTreeMap<ProviderId, BTreeMap<JobState, u64>> = BTreeMap::new();
        for (provider, state, count) in counts.into_iter().filter(|(_, _, count)| *count > 0) {
            stored.entry(provider).or_default().insert(state, count);
        }
        let none = BTreeMap::new();
        for (id, runtime) in self.runtimes.iter().filter(|(_, runtime)| runtime.is_driven()) {
            if *stored.get(id).unwrap_or(&none) == runtime.live_here() {
                self.doubted.remove(id);
            } else if !self.doubted.insert(id.clone()) {
                self.doubted.remove(id);
                tracing::warn!(provider.name = %id, "the driver does not know all live jobs; it reads them again");
                runtime.doubt();
            }
        }
    }
}
