//! The watch hub: one tail reads committed events, a bounded ring holds the recent past for everybody.
//!
//! Subscribers have no queue of their own. Each remembers a position and takes what it can, when its client
//! reads; who falls behind the ring is served from the store again. So a slow reader costs nothing but its own
//! position, and nobody waits for it: subscribers' reads have few places of their own, see [`Reads`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::metrics::Histogram;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::bell::Bell;
use super::berths::Berths;
use super::commit::{Commit, Run};
use super::reads::Reads;
use super::ring::{PORTION, Ring};
use crate::kit::clock::{self, Clock};
use crate::kit::tasks::Tasks;
use crate::store::{Store, StoreError};

/// How many events the tail reads at once.
pub(super) const READ: u32 = 512;
/// How often watches are looked for that should have ended.
const SWEEP: Duration = Duration::from_secs(1);

/// The shared recent past.
pub struct Hub {
    store: Arc<dyn Store>,
    store_id: Uuid,
    /// The same store, for subscribers: the tail does not wait for its places.
    reads: Reads,
    ring: RwLock<Ring>,
    /// The newest position that subscribers may read, for the few who wait in a future.
    newest: watch::Sender<u64>,
    /// The same, for the many: written before the bell rings.
    position: AtomicU64,
    /// Turns true when streams must end.
    stopped: watch::Sender<bool>,
    /// The same, written before the bell rings.
    is_stopped: AtomicBool,
    /// Rings when there is news, and at the end.
    bell: Arc<Bell>,
    clock: Clock,
    /// From an event's time to the moment subscribers can read it: of what they are told together, the oldest's.
    lag: Histogram<f64>,
    berths: Berths,
}

/// What a subscriber gets.
pub(super) enum Read {
    /// The next commits, and the position after them.
    Commits(Vec<Arc<Commit>>, u64),
    /// Nothing newer than the position asked for.
    Nothing,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("newest", &*self.newest.borrow()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub that begins at the store's newest position; the past is read from the store.
    pub fn start(
        store: Arc<dyn Store>,
        capacity: usize,
        clock: Clock,
        lag: Histogram<f64>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let newest = *store.newest_position().borrow();
        let hub = Arc::new(Self {
            reads: Reads::new(Arc::clone(&store)),
            store_id: store.id(),
            store,
            ring: RwLock::new(Ring::new(newest, capacity)),
            newest: watch::Sender::new(newest),
            position: AtomicU64::new(newest),
            stopped: watch::Sender::new(false),
            is_stopped: AtomicBool::new(false),
            bell: Arc::default(),
            clock,
            lag,
            berths: Berths::default(),
        });
        let sweeper = Arc::clone(&hub);
        let token = tasks.token().clone();
        tasks.spawn("watch sweep", async move {
            while token.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
                sweeper.berths.sweep(Instant::now());
            }
        });
        let tail = Arc::clone(&hub);
        let token = tasks.token().clone();
        tasks.spawn("watch tail", async move {
            let mut committed = tail.store.newest_position();
            loop {
                match tail.catch_up().await {
                    Ok(()) => {
                        tokio::select! {
                            () = token.cancelled() => break,
                            changed = committed.changed() => if changed.is_err() { break },
                        }
                        tail.bell.gathers().await;
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "watches lag: the store cannot be read");
                        tokio::select! {
                            () = token.cancelled() => break,
                            () = tokio::time::sleep(Duration::from_millis(500)) => {}
                        }
                    }
                }
            }
        });
        hub
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let from = *self.newest.borrow();
            let events = match self.store.events(from, READ).await {
                Err(StoreError::PositionGone { oldest, .. }) => {
                    let position = oldest.saturating_sub(1);
                    tracing::warn!(
                        position,
                        "events were purged before this replica read them; watches that miss them are told"
                    );
                    self.skip_to(position);
                    continue;
                }
                Err(error @ StoreError::DamagedEvents { through, .. }) => {
                    tracing::error!(%error, "events are damaged; every open watch is told to begin anew");
                    self.skip_to(through);
                    continue;
                }
                read => read?,
            };
            let ends = events.first().map(|e| e.time).zip(events.last().map(|e| e.position));
            let Some((time, last)) = ends else { return Ok(()) };
            let behind = events.len() >= READ as usize;
            let commits = Commit::group(events);
            self.ring.write().unwrap_or_else(PoisonError::into_inner).push(commits);
            let woken = self.publish(last);
            self.lag.record(clock::since(time, self.clock.now()).as_secs_f64(), &[]);
            // A tail that is behind must not fall back further: those who are being woken find more.
            if behind {
                continue;
            }
            self.bell.passed(woken).await;
            // What is committed from now on, its own word tells of.
            if last >= *self.store.newest_position().borrow() {
                return Ok(());
            }
        }
    }

    /// Goes on after events that cannot be read. Subscribers who stand before them are told when they read.
    fn skip_to(&self, position: u64) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).skip_to(position);
        self.publish(position);
    }

    /// Lets everybody read up to `position`. Says how many it woke.
    fn publish(&self, position: u64) -> usize {
        self.newest.send_replace(position);
        self.position.store(position, Ordering::Release);
        self.bell.ring()
    }

    /// The store's id, which tokens carry.
    pub(super) const fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// Where those who rest hear of news.
    pub(super) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Where open watches lie.
    pub(super) const fn berths(&self) -> &Berths {
        &self.berths
    }

    /// The store, as subscribers read it.
    pub(super) const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Whether everything after `position` that was published is in memory.
    pub(super) fn covers(&self, position: u64) -> bool {
        let floor = self.ring.read().unwrap_or_else(PoisonError::into_inner).floor();
        (floor..=self.position()).contains(&position)
    }

    /// Whether streams must end.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Waits until streams must end.
    pub(super) async fn stopped(&self) {
        // It lives as long as this.
        drop(self.stopped.subscribe().wait_for(|stopped| *stopped).await);
    }

    /// Ends every stream.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
        self.is_stopped.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// The newest position that can be read.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// The newest position that can be read, and its changes.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What follows `position`: from the ring, or for a reader that fell behind, from the store. At most about
    /// [`PORTION`] events at once.
    pub(super) async fn read(&self, position: u64) -> Result<Read, StoreError> {
        if let Some(read) = self.read_ring(position) {
            return Ok(read);
        }
        let newest = *self.newest.borrow();
        let mut events = self.reads.events(position, PORTION).await?;
        // What the tail has not published yet is left to the next read, so that every subscriber sees one order.
        events.retain(|e| e.position <= newest.max(position));
        Ok(match events.last().map(|e| e.position) {
            Some(last) => Read::Commits(Commit::group(events), last),
            None => Read::Nothing,
        })
    }

    fn read_ring(&self, position: u64) -> Option<Read> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let commits: Vec<_> = ring.after(position)?.map(Arc::clone).collect();
        let last = commits.last().map(|c| c.position());
        Some(last.map_or(Read::Nothing, |last| Read::Commits(commits, last)))
    }

    /// The run that has what follows `position`, and how many of its commits do not; `None` when that is in memory no
    /// more.
    pub(super) fn take(&self, position: u64) -> Option<(Arc<Run>, usize)> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.next(position).map(|(run, known)| (Arc::clone(run), known))
    }
}
