//! Keeps this replica's leases: says that it is there, takes and gives up providers, starts and ends their drivers.
//!
//! A driver may call its vendor only while its lease surely holds: counted from before the call that prolonged it, and
//! less a margin. When the store is gone for so long that this runs out, drivers pause, and go on when the store is
//! back and shows that nobody drove in between. When somebody did, they end.

mod keeping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attention::Attention;
use super::driver::Outcome;
use super::metrics::Metrics;
use super::provider::Runtime;
use super::report::Report;
use super::tenure::Held;
use super::vault::Vault;
use crate::domain::id::ProviderId;
use crate::kit::clock::Clock;
use crate::kit::retry::{Backoff, jitter};
use crate::store::lease::{Guard, ReplicaId};
use crate::store::{Store, StoreError};

/// A lease that ran out is found within this, however long leases are.
const LONGEST_BEAT: Duration = Duration::from_secs(1);
/// Hints that come together are taken as one.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// What changes all the time is told the others this often.
const RETELL: Duration = Duration::from_secs(10);
/// After the store failed. Never longer than a beat.
const RETRY: Backoff = Backoff { first: Duration::from_millis(50), max: LONGEST_BEAT };
/// How long a replica that stops tries to say so. Its leases run out by themselves.
const FAREWELL: Duration = Duration::from_millis(500);
/// The waits before another keeper takes over from one that died of a bug.
const REVIVAL: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(30) };

/// What a keeper works with. A clone is another keeper: one at a time.
#[derive(Clone)]
pub(super) struct Keeper {
    pub name: String,
    pub store: Arc<dyn Store>,
    pub runtimes: BTreeMap<ProviderId, Arc<Runtime>>,
    pub vault: Arc<Vault>,
    pub attention: Arc<Attention>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub lease: Duration,
    pub ping_interval: Duration,
    pub round_limit: Duration,
    pub overdue_after: Duration,
}

/// A keeper at work.
pub(super) struct Keeping {
    keeper: Keeper,
    replica: ReplicaId,
    held: BTreeMap<ProviderId, Place>,
    drivers: JoinSet<Outcome>,
    /// Whose driver a task is.
    tasks: BTreeMap<Id, ProviderId>,
    /// Leases whose driver has ended, and that the store does not know of yet.
    ended: Vec<Guard>,
    /// Who was there the last time, and since when nobody came or left.
    present: Vec<ReplicaId>,
    present_since: Instant,
    failures: u32,
    changes: watch::Receiver<u64>,
}

/// A provider that is driven here.
struct Place {
    held: Held,
    since: Timestamp,
    /// What the others were told last, and when.
    told: Option<(Report, Instant)>,
}

impl Keeper {
    /// A keeper that has attended and taken its share: its drivers run.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn begin(self) -> Result<Keeping, StoreError> {
        let mut keeping = self.keeping();
        keeping.attend(false).await?;
        Ok(keeping)
    }

    fn keeping(self) -> Keeping {
        let changes = self.store.lease_changes();
        Keeping {
            keeper: self,
            // Another one each time: what an earlier run held it must not take for its own.
            replica: ReplicaId::random(),
            held: BTreeMap::new(),
            drivers: JoinSet::new(),
            tasks: BTreeMap::new(),
            ended: Vec::new(),
            present: Vec::new(),
            present_since: Instant::now(),
            failures: 0,
            changes,
        }
    }

    fn beat(&self) -> Duration {
        (self.lease / 3).min(LONGEST_BEAT)
    }

    /// Keeps until the token is cancelled. A keeper that dies of a bug takes its drivers with it, and is followed by
    /// another one, which gets the leases when they have run out.
    pub async fn supervise(self, first: Keeping, token: CancellationToken) {
        let mut keeping = Some(first);
        let mut deaths = 0;
        loop {
            let mut task = JoinSet::new();
            let keeping = keeping.take().unwrap_or_else(|| self.clone().keeping());
            task.spawn(keeping.run(token.clone()));
            match task.join_next().await {
                Some(Err(error)) if error.is_panic() && !token.is_cancelled() => {
                    deaths += 1;
                    self.runtimes.values().for_each(|runtime| runtime.end());
                    tracing::error!(
                        deaths,
                        "the keeper of leases died; this is a bug in Drydock. Another one follows when they have run out"
                    );
                    tokio::select! {
                        () = token.cancelled() => return,
                        () = tokio::time::sleep(REVIVAL.delay(deaths, jitter())) => {}
                    }
                }
                Some(Ok(()) | Err(_)) | None => return,
            }
        }
    }
}

impl Keeping {
    async fn run(mut self, token: CancellationToken) {
        let mut next = Instant::now() + self.keeper.beat();
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(done) = self.drivers.join_next_with_id() => {
                    self.driver_ended(done);
                    next = Instant::now();
                }
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    next = next.min(Instant::now() + DEBOUNCE);
                }
                () = tokio::time::sleep_until(next) => {
                    tokio::select! {
                        biased;
                        // What a call to a slow store may still do is undone by leaving.
                        () = token.cancelled() => break,
                        at = self.keep(false) => next = at,
                    }
                }
            }
        }
        self.leave().await;
    }

    /// Attends once; when to do it again.
    async fn keep(&mut self, leaving: bool) -> Instant {
        let beat = self.keeper.beat();
        match self.attend(leaving).await {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    tracing::info!("the store can be reached again; leases are kept");
                }
                Instant::now() + beat
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::warn!(
                        error = %error,
                        "leases cannot be prolonged; when they run out, nothing is started until the store is back"
                    );
                }
                Instant::now() + RETRY.delay(self.failures, jitter()).min(beat)
            }
        }
    }

    /// Has every driver finish, hands each provider over as its driver ends, and says good-bye.
    async fn leave(mut self) {
        self.held.values().for_each(|place| place.held.finish());
        // From here on the others count without this replica.
        let told = tokio::time::timeout(FAREWELL, self.keep(true)).await;
        let mut next = told.unwrap_or_else(|_| Instant::now() + self.keeper.beat());
        while !self.drivers.is_empty() {
            tokio::select! {
                biased;
                Some(done) = self.drivers.join_next_with_id() => {
                    self.driver_ended(done);
                    self.release().await;
                }
                () = tokio::time::sleep_until(next) => next = self.keep(true).await,
            }
        }
        match tokio::time::timeout(FAREWELL, self.keeper.store.leave(self.replica)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "leases could not be given up; they run out by themselves");
            }
            Err(_) => tracing::warn!("leases could not be given up in time; they run out by themselves"),
        }
    }

    fn driver_ended(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(provider) = self.tasks.remove(&id) else { return };
        if let Some(runtime) = self.keeper.runtimes.get(&provider) {
            runtime.end();
        }
        let Some(place) = self.held.remove(&provider) else { return };
        match done {
            Ok((_, Outcome::Finished)) => {
                self.ended.push(place.held.guard());
                self.keeper.metrics.lease_changed(provider.as_str(), "given_up");
                tracing::info!(provider.name = %provider, "the provider is given up; another replica may drive it");
            }
            Ok((_, Outcome::Fenced)) => {
                self.keeper.metrics.lease_changed(provider.as_str(), "lost");
                tracing::info!(provider.name = %provider, "another replica drives the provider by now");
            }
            Err(error) => {
                self.ended.push(place.held.guard());
                self.keeper.metrics.lease_changed(provider.as_str(), "given_up");
                tracing::error!(provider.name = %provider, error = %error, "a driver's task failed; this is a bug in Drydock");
            }
        }
    }
}
