//! One subscription: snapshot, then events, then heartbeats, each with a token that resumes exactly after it.
//!
//! The snapshot is exact: it notes the position before it reads, remembers the sequence each job had when it was
//! read, and then delivers what was committed meanwhile and is newer than what the snapshot showed. Only then
//! comes `SYNCED`, and with it the first token.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use opentelemetry::metrics::UpDownCounter;
use tokio::time::Instant;

use super::calls::{WatchBody, WatchItem, WatchRequest};
use super::fault;
use super::hub::{Commit, Hub, Read};
use super::token;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::page::PageRequest;
use crate::store::Store;
use crate::store::contract::JobFilter;

/// Jobs read at once for a snapshot.
const SNAPSHOT_PAGE: u32 = 100;

/// A stream of watch messages. An error item is the last one.
pub type Watch = Pin<Box<dyn Stream<Item = Result<WatchItem, Error>> + Send>>;

/// What a watch needs from the engine.
pub(super) struct Sources {
    pub hub: Arc<Hub>,
    pub store: Arc<dyn Store>,
    pub heartbeat: Duration,
    pub max_age: Duration,
    pub subscribers: UpDownCounter<i64>,
}

/// Opens a watch.
pub(super) async fn open(sources: Sources, request: WatchRequest) -> Result<Watch, Error> {
    let store_id = sources.store.id();
    let filter = JobFilter {
        jobs: request.filter.jobs,
        providers: request.filter.providers,
        targets: request.filter.targets,
        states: request.filter.states,
        operations: request.filter.operations,
        labels: request.filter.labels,
        oldest_first: true,
        ..JobFilter::default()
    };
    let single = if request.until_end { filter.jobs.first().copied() } else { None };
    let newest = *sources.hub.newest().borrow();
    let (position, phase) = match &request.resume_token {
        Some(text) => {
            let position = token::read(store_id, text)?;
            if position > newest.max(*sources.store.newest_position().borrow()) {
                return Err(Error::ResumeTokenInvalid);
            }
            // A token too old is told before the stream begins.
            sources.store.events(position, 1).await.map_err(fault::store)?;
            (position, Stage::Live)
        }
        None if request.snapshot => (newest, Stage::Snapshot(Snapshot::default())),
        None => (newest, Stage::Live),
    };
    let now = Instant::now();
    let subscription = Subscription {
        _counted: Counted::new(sources.subscribers.clone()),
        stops: sources.hub.stops(),
        news: sources.hub.newest(),
        heartbeat: request.heartbeat.unwrap_or(sources.heartbeat),
        next_beat: now + request.heartbeat.unwrap_or(sources.heartbeat),
        ends_at: now + sources.max_age,
        hub: sources.hub,
        store: sources.store,
        filter,
        position,
        stage: phase,
        latest_only: request.latest_only,
        single: single.map(|job| Single { job, known_live: false, ended: false }),
        ready: VecDeque::new(),
    };
    Ok(Box::pin(stream::unfold(Some(subscription), |subscription| async move {
        let mut subscription = subscription?;
        match subscription.next().await {
            Some(Ok(item)) => Some((Ok(item), Some(subscription))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })))
}

struct Subscription {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    filter: JobFilter,
    /// Everything up to here was delivered or did not match.
    position: u64,
    stage: Stage,
    latest_only: bool,
    /// End after this job's last event.
    single: Option<Single>,
    ready: VecDeque<WatchItem>,
    stops: tokio::sync::watch::Receiver<bool>,
    news: tokio::sync::watch::Receiver<u64>,
    heartbeat: Duration,
    next_beat: Instant,
    ends_at: Instant,
    _counted: Counted,
}

/// The one job of a watch that ends with its job.
struct Single {
    job: JobId,
    /// It was seen alive, or its end lies ahead of this stream: either way its end will come as an event.
    known_live: bool,
    /// Its last event was delivered.
    ended: bool,
}

enum Stage {
    /// Reading the jobs that match.
    Snapshot(Snapshot),
    /// Delivering what was committed while the snapshot was read, up to a position.
    CatchUp { shown: HashMap<JobId, u64>, until: u64 },
    /// Following.
    Live,
    /// Everything was said.
    Over,
}

#[derive(Default)]
struct Snapshot {
    page: Option<String>,
    /// The sequence that each job had when it was read.
    shown: HashMap<JobId, u64>,
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.next_beat = Instant::now() + self.heartbeat;
                return Some(Ok(item));
            }
            if *self.stops.borrow() {
                return Some(Err(Error::ShuttingDown));
            }
            if Instant::now() >= self.ends_at {
                return Some(Err(Error::WatchAged));
            }
            let outcome = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Snapshot(snapshot) => self.read_snapshot(snapshot).await,
                Stage::CatchUp { shown, until } => self.catch_up(shown, until).await,
                Stage::Live => {
                    self.stage = Stage::Live;
                    self.follow().await
                }
                Stage::Over => return None,
            };
            if let Err(error) = outcome {
                return Some(Err(error));
            }
        }
    }

    async fn read_snapshot(&mut self, mut snapshot: Snapshot) -> Result<(), Error> {
        let request = PageRequest { size: SNAPSHOT_PAGE, token: snapshot.page.take() };
        let page = self.store.jobs(&self.filter, &request).await.map_err(fault::store)?;
        for job in page.items {
            snapshot.shown.insert(job.id, job.sequence);
            self.ready.push_back(WatchItem {
                body: WatchBody::Snapshot(Box::new(job)),
                resume_token: String::new(),
            });
        }
        self.stage = match page.next {
            Some(next) => Stage::Snapshot(Snapshot { page: Some(next), ..snapshot }),
            None => {
                let until = *self.store.newest_position().borrow();
                Stage::CatchUp { shown: snapshot.shown, until }
            }
        };
        Ok(())
    }

    async fn catch_up(&mut self, shown: HashMap<JobId, u64>, until: u64) -> Result<(), Error> {
        if self.position >= until {
            self.ready.push_back(self.item(WatchBody::Synced));
            self.stage = Stage::Live;
            return Ok(());
        }
        match self.hub.read(self.position).await.map_err(fault::store)? {
            Read::Nothing => {
                // Committed, but the tail has not published it yet: that is a matter of moments.
                let _ = tokio::time::timeout(Duration::from_secs(1), self.news.changed()).await;
            }
            Read::Commits(commits, last) => {
                for commit in &commits {
                    let newer =
                        |e: &Arc<Event>| shown.get(&e.job).is_none_or(|sequence| e.sequence > *sequence);
                    self.deliver(commit, newer, true);
                }
                self.position = last;
            }
        }
        self.stage = Stage::CatchUp { shown, until };
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Error> {
        match self.hub.read(self.position).await.map_err(fault::store)? {
            Read::Commits(commits, last) => {
                if self.latest_only {
                    self.deliver_latest(&commits, last);
                } else {
                    for commit in &commits {
                        self.position = commit.last().map_or(self.position, |e| e.position);
                        self.deliver(commit, |_| true, false);
                    }
                }
                self.position = last;
            }
            Read::Nothing => {
                if self.is_over().await? {
                    self.stage = Stage::Over;
                    return Ok(());
                }
                let heartbeat = tokio::select! {
                    _ = self.stops.changed() => false,
                    changed = self.news.changed() => {
                        if changed.is_err() { return Err(Error::ShuttingDown); }
                        false
                    }
                    () = tokio::time::sleep_until(self.ends_at) => false,
                    () = tokio::time::sleep_until(self.next_beat) => true,
                };
                if heartbeat {
                    self.ready.push_back(self.item(WatchBody::Heartbeat));
                }
            }
        }
        Ok(())
    }

    /// Whether the one watched job has ended and its last event was delivered. The store is asked only until the
    /// job was seen alive once; from then on its end comes by itself.
    async fn is_over(&mut self) -> Result<bool, Error> {
        let Some(single) = &mut self.single else { return Ok(false) };
        if single.ended || single.known_live {
            return Ok(single.ended);
        }
        let job = self.store.job(single.job).await.map_err(fault::store)?;
        let Some(job) = job else { return Ok(true) };
        if job.status.state.is_ended() {
            // It may have ended after this stream last read. Only its last event tells whether that was delivered.
            let before_last = job.sequence.saturating_sub(1);
            let last = self.store.job_events(job.id, before_last, 1).await.map_err(fault::store)?;
            single.ended = last.iter().all(|event| event.position <= self.position);
        }
        single.known_live = true;
        Ok(single.ended)
    }

    fn note_end(&mut self, events: &[Arc<Event>]) {
        if let Some(single) = &mut self.single {
            single.ended |= events.iter().any(|e| e.job == single.job && e.status.state.is_ended());
        }
    }

    fn deliver(&mut self, commit: &Commit, wanted: impl Fn(&Arc<Event>) -> bool, before_sync: bool) {
        let events: Vec<_> =
            commit.iter().filter(|e| self.filter.matches(e) && wanted(e)).map(Arc::clone).collect();
        self.note_end(&events);
        if !events.is_empty() {
            let mut item = self.item(WatchBody::Events(events));
            if before_sync {
                item.resume_token.clear();
            }
            self.ready.push_back(item);
        }
    }

    /// Of several unread events of a job only the newest, at its own place in the order.
    fn deliver_latest(&mut self, commits: &[Commit], last: u64) {
        let mut seen = HashSet::new();
        let mut newest: Vec<_> = commits
            .iter()
            .flat_map(|c| c.iter())
            .rev()
            .filter(|e| seen.insert(e.job))
            .filter(|e| self.filter.matches(e))
            .map(Arc::clone)
            .collect();
        newest.reverse();
        self.position = last;
        self.note_end(&newest);
        if !newest.is_empty() {
            self.ready.push_back(self.item(WatchBody::Events(newest)));
        }
    }

    fn item(&self, body: WatchBody) -> WatchItem {
        WatchItem { body, resume_token: token::write(self.store.id(), self.position) }
    }
}

/// Counts a subscriber for as long as it lives.
struct Counted(UpDownCounter<i64>);

impl Counted {
    fn new(counter: UpDownCounter<i64>) -> Self {
        counter.add(1, &[]);
        Self(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}
