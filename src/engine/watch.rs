//! One subscription: snapshot, then events, then heartbeats, each with a token that resumes exactly after it.
//!
//! The snapshot is exact: it notes the position before it reads, remembers the sequence each job had when it was
//! read, and then delivers what was committed meanwhile and is newer than what the snapshot showed. Only then
//! comes `SYNCED`, and with it the first token.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use opentelemetry::metrics::UpDownCounter;
use tokio::time::{Instant, Sleep};

use super::attention::{Attention, FEW, Gaze};
use super::calls::{WatchBody, WatchItem, WatchRequest};
use super::commit::{Commit, Delivery, Shared};
use super::fault;
use super::hub::{Hub, READ, Read};
use super::token::ResumeToken;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::JobState;
use crate::store::contract::JobFilter;
use crate::store::{Store, StoreError};

/// How many live jobs a watch without a snapshot looks for, to learn whether it is about few: one more than that.
const LOOK: u32 = 33;
const _: () = assert!(LOOK as usize == FEW + 1);
/// How long it may wait for that.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Jobs read at once for a snapshot. A subscriber holds them until its client has read them.
const SNAPSHOT_PAGE: u32 = 50;
/// For how many messages an idle subscriber keeps room.
const KEPT: usize = 4;
/// "Latest state only" merges until it holds so many jobs, or has looked at so many events.
const MERGED_JOBS: usize = 64;
const MERGED_EVENTS: usize = 4_096;

/// A stream of watch messages. An error item is the last one.
pub type Watch = Pin<Box<dyn Stream<Item = Result<WatchItem, Error>> + Send>>;

type Reading = Pin<Box<dyn Future<Output = Result<Page<Job>, StoreError>> + Send>>;

/// What a watch needs from the engine.
pub(super) struct Sources {
    pub hub: Arc<Hub>,
    pub store: Arc<dyn Store>,
    pub attention: Arc<Attention>,
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
            let position = ResumeToken::read(store_id, text)?.position();
            if position > newest {
                // Another replica may have been the first to see it: only the store knows.
                match sources.hub.reads().events(position - 1, 1).await {
                    Ok(events) if events.is_empty() => return Err(Error::ResumeTokenInvalid),
                    Ok(_) | Err(StoreError::PositionGone { .. } | StoreError::DamagedEvents { .. }) => {}
                    Err(error) => return Err(fault::store(error)),
                }
            }
            // A token too old is told before the stream begins. What is in memory is not.
            if !sources.hub.covers(position) {
                sources.hub.reads().events(position, 1).await.map_err(fault::store)?;
            }
            (position, Stage::Live)
        }
        None if request.snapshot => (newest, Stage::Snapshot(Snapshot::default())),
        None => (newest, Stage::Live),
    };
    let snapshot = matches!(phase, Stage::Snapshot(_));
    let now = Instant::now();
    let heartbeat = request.heartbeat.unwrap_or(sources.heartbeat);
    let (next_beat, ends_at) = (now + heartbeat, now + sources.max_age);
    // Boxed, because the stream moves it at every message.
    let subscription = Box::new(Subscription {
        gaze: sources.attention.open(&filter.jobs),
        _counted: Counted::new(sources.subscribers.clone()),
        stops: sources.hub.stops(),
        news: sources.hub.newest(),
        heartbeat,
        next_beat,
        ends_at,
        alarm: Box::pin(tokio::time::sleep_until(next_beat.min(ends_at))),
        hub: Arc::clone(&sources.hub),
        store: sources.store,
        position,
        stage: phase,
        latest_only: request.latest_only,
        single: single.map(|job| Single { job, known_live: false, ended: false }),
        looks: !snapshot && filter.narrows(),
        filter,
        ready: VecDeque::new(),
    });
    let watch = stream::unfold(Some(subscription), |subscription| async move {
        let mut subscription = subscription?;
        match subscription.next().await {
            Some(Ok(item)) => Some((Ok(item), Some(subscription))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    let unread_until = request.deadline.map_or(ends_at, |deadline| deadline.min(ends_at));
    Ok(sources.hub.berths().moor(Box::pin(watch), unread_until))
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
    gaze: Gaze,
    /// It was shown no jobs, and must still look which ones it is about.
    looks: bool,
    stops: tokio::sync::watch::Receiver<bool>,
    news: tokio::sync::watch::Receiver<u64>,
    heartbeat: Duration,
    next_beat: Instant,
    ends_at: Instant,
    /// Rings at the earlier of the two, or before: it is not moved at every message, that would cost more than the
    /// message.
    alarm: Pin<Box<Sleep>>,
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
    /// The read of that page, under way. It outlasts the heartbeats that are sent meanwhile.
    reading: Option<Reading>,
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
            let now = Instant::now();
            if now >= self.ends_at {
                return Some(Err(Error::WatchAged));
            }
            // Also while it reads much that does not match: the token then says how far it has come.
            if now >= self.next_beat
                && let Some(beat) = self.beat()
            {
                self.ready.push_back(beat);
                continue;
            }
            let outcome = match std::mem::replace(&mut self.stage, Stage::Over) {
                // Boxed, because what happens once must not make room in every idle subscriber.
                Stage::Snapshot(snapshot) => Box::pin(self.read_snapshot(snapshot)).await,
                Stage::CatchUp { shown, until } => Box::pin(self.catch_up(shown, until)).await,
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

    /// A sign of life. Before `SYNCED` it has no token: a resume in the middle of a snapshot could not be exact.
    fn beat(&self) -> Option<WatchItem> {
        match self.stage {
            Stage::Live => Some(self.item(WatchBody::Heartbeat)),
            Stage::Snapshot(_) | Stage::CatchUp { .. } => {
                Some(WatchItem { body: WatchBody::Heartbeat, resume_token: None })
            }
            Stage::Over => None,
        }
    }

    async fn read_snapshot(&mut self, mut snapshot: Snapshot) -> Result<(), Error> {
        let mut reading = snapshot.reading.take().unwrap_or_else(|| {
            let (hub, filter) = (Arc::clone(&self.hub), self.filter.clone());
            let request = PageRequest { size: SNAPSHOT_PAGE, token: snapshot.page.take() };
            Box::pin(async move { hub.reads().jobs(&filter, &request).await })
        });
        let page = tokio::select! {
            page = &mut reading => Some(page.map_err(fault::store)?),
            _ = self.stops.changed() => None,
            () = tokio::time::sleep_until(self.next_beat.min(self.ends_at)) => None,
        };
        let Some(page) = page else {
            // Something else comes first; the read goes on after it.
            self.stage = Stage::Snapshot(Snapshot { reading: Some(reading), ..snapshot });
            return Ok(());
        };
        for job in page.items {
            snapshot.shown.insert(job.id, job.sequence);
            self.gaze.see(job.id, job.status.state.is_ended());
            self.ready.push_back(WatchItem { body: WatchBody::Snapshot(Box::new(job)), resume_token: None });
        }
        self.stage = match page.next {
            Some(next) => Stage::Snapshot(Snapshot { page: Some(next), ..snapshot }),
            None => {
                let until = self.committed().await?;
                Stage::CatchUp { shown: snapshot.shown, until }
            }
        };
        Ok(())
    }

    /// The newest position that is committed now, on whichever replica. The snapshot may show what this one has not
    /// heard of yet.
    async fn committed(&mut self) -> Result<u64, Error> {
        let mut newest = *self.store.newest_position().borrow();
        loop {
            newest = match self.hub.reads().events(newest, READ).await {
                Ok(events) => match events.last() {
                    Some(later) if events.len() >= READ as usize => later.position,
                    // That was all: what is committed from now on is told as news.
                    Some(later) => return Ok(later.position),
                    None => return Ok(newest),
                },
                // Whoever reads on to there is told.
                Err(StoreError::DamagedEvents { through, .. }) => through,
                Err(error) => return Err(fault::store(error)),
            };
        }
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
                    let newer = |e: &Event| shown.get(&e.job).is_none_or(|sequence| e.sequence > *sequence);
                    let picked = Delivery::of(commit, |e| self.filter.matches(e) && newer(e));
                    if let Some(picked) = picked {
                        self.note(picked.events());
                        self.ready
                            .push_back(WatchItem { body: WatchBody::Events(picked), resume_token: None });
                    }
                }
                self.position = last;
            }
        }
        self.stage = Stage::CatchUp { shown, until };
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let read = tokio::select! {
            biased;
            read = self.hub.read(self.position) => read.map_err(fault::store)?,
            // Where many stand in line, the end of the service does not wait for them.
            _ = self.stops.changed() => return Ok(()),
        };
        match read {
            Read::Commits(commits, last) if self.latest_only => Box::pin(self.merge(&commits, last)).await?,
            Read::Commits(commits, last) => {
                for commit in &commits {
                    self.position = commit.position();
                    if let Some(picked) = Delivery::of(commit, |e| self.filter.matches(e)) {
                        self.note(picked.events());
                        self.ready.push_back(self.item(WatchBody::Events(picked)));
                    }
                }
                self.position = last;
            }
            Read::Nothing => {
                if self.single.is_some() && Box::pin(self.is_over()).await? {
                    self.stage = Stage::Over;
                    return Ok(());
                }
                if self.looks {
                    self.looks = false;
                    Box::pin(self.look()).await;
                    return Ok(());
                }
                rest(&mut self.ready);
                let due = self.next_beat.min(self.ends_at);
                if self.alarm.is_elapsed() {
                    self.alarm.as_mut().reset(due);
                }
                tokio::select! {
                    _ = self.stops.changed() => {}
                    changed = self.news.changed() => {
                        if changed.is_err() { return Err(Error::ShuttingDown); }
                    }
                    () = self.alarm.as_mut() => {}
                }
            }
        }
        Ok(())
    }

    /// Looks which live jobs a watch without a snapshot is about, so that few get the attention that they would have got
    /// with one. That is a favour: where it fails, the stream goes on.
    async fn look(&mut self) {
        let wanted = |state: &JobState| {
            !state.is_ended() && (self.filter.states.is_empty() || self.filter.states.contains(state))
        };
        let states: Vec<_> = JobState::ALL.into_iter().filter(wanted).collect();
        if states.is_empty() {
            return;
        }
        let live = JobFilter { states, ..self.filter.clone() };
        let page = PageRequest { size: LOOK, token: None };
        match tokio::time::timeout(LOOK_WITHIN, self.hub.reads().jobs(&live, &page)).await {
            Ok(Ok(page)) => page.items.iter().for_each(|job| self.gaze.see(job.id, false)),
            Ok(Err(error)) => tracing::debug!(%error, "a watch cannot see which jobs it is about"),
            Err(_) => tracing::debug!("a watch does not wait any longer to see which jobs it is about"),
        }
    }

    /// Takes all that is unread, as far as its bounds allow, and delivers of each job only the newest event, at its
    /// own place in the order.
    async fn merge(&mut self, commits: &[Arc<Commit>], last: u64) -> Result<(), Error> {
        let mut newest: HashMap<JobId, Arc<Shared>> = HashMap::new();
        let mut looked = 0;
        let mut note = |commits: &[Arc<Commit>]| {
            for event in commits.iter().flat_map(|c| c.events()) {
                looked += 1;
                // What no longer matches takes the place of what did, and is left out at the end.
                match newest.entry(event.job) {
                    Entry::Occupied(mut known) => _ = known.insert(Arc::clone(event)),
                    Entry::Vacant(free) if self.filter.matches(event) => _ = free.insert(Arc::clone(event)),
                    Entry::Vacant(_) => {}
                }
            }
            newest.len() >= MERGED_JOBS || looked >= MERGED_EVENTS
        };
        let mut full = note(commits);
        self.position = last;
        while !full {
            match self.hub.read(self.position).await.map_err(fault::store)? {
                Read::Nothing => break,
                Read::Commits(more, last) => {
                    full = note(&more);
                    self.position = last;
                }
            }
        }
        let mut left: Vec<_> = newest.into_values().filter(|e| self.filter.matches(e)).collect();
        left.sort_unstable_by_key(|e| e.position);
        self.note(&left);
        if let [one] = commits
            && one.position() == self.position
            && one.events().len() == left.len()
        {
            // It kept up: what it gets is what everybody gets.
            self.ready.push_back(self.item(WatchBody::Events(Delivery::Whole(Arc::clone(one)))));
        } else if !left.is_empty() {
            self.ready.push_back(self.item(WatchBody::Events(Delivery::Picked(left))));
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
        let job = self.hub.reads().job(single.job).await.map_err(fault::store)?;
        let Some(job) = job else { return Ok(true) };
        if job.status.state.is_ended() {
            // It may have ended after this stream last read. Only its last event tells whether that was delivered.
            let before_last = job.sequence.saturating_sub(1);
            let last = self.hub.reads().job_events(job.id, before_last, 1).await.map_err(fault::store)?;
            single.ended = last.iter().all(|event| event.position <= self.position);
        }
        single.known_live = true;
        Ok(single.ended)
    }

    /// Notes what the subscriber is told.
    fn note(&mut self, events: &[Arc<Shared>]) {
        for event in events {
            self.gaze.see(event.job, event.status.state.is_ended());
        }
        if let Some(single) = &mut self.single {
            single.ended |= events.iter().any(|e| e.job == single.job && e.status.state.is_ended());
        }
    }

    /// A message with the token of where the subscriber now stands.
    fn item(&self, body: WatchBody) -> WatchItem {
        WatchItem { body, resume_token: Some(ResumeToken::new(self.store.id(), self.position)) }
    }
}

/// Gives back the room that a snapshot or much to catch up with has taken: an idle subscriber keeps none of it.
fn rest(ready: &mut VecDeque<WatchItem>) {
    if ready.capacity() > KEPT {
        ready.shrink_to(KEPT);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_subscriber_keeps_no_room_for_many_messages() {
        let beat = || WatchItem { body: WatchBody::Heartbeat, resume_token: None };
        let mut ready: VecDeque<_> = (0..64).map(|_| beat()).collect();
        ready.clear();
        rest(&mut ready);
        assert!(ready.capacity() <= KEPT, "{}", ready.capacity());
    }

    /// What an idle subscriber holds here, of the 16 KiB that it may cost in all.
    #[test]
    fn a_subscriber_is_small() {
        const fn future<'a, F>(_: fn(&'a mut Subscription) -> F) -> usize {
            size_of::<F>()
        }
        let sizes = (size_of::<Subscription>(), future(Subscription::next), size_of::<Sleep>());
        let all = sizes.0 + sizes.1 + sizes.2;
        assert!(all <= 2 << 10, "{sizes:?}");
    }
}
