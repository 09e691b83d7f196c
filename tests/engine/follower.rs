//! A client of a watch that records what it sees, and what really happened beside it.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::event::Event;
use drydock::domain::job::Job;
use drydock::domain::operation::OperationKind;
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchItem, WatchRequest};
use drydock::engine::commit::Delivery;
use drydock::engine::token::ResumeToken;
use drydock::engine::{Engine, Watch};
use drydock::store::Store;
use rand::seq::IndexedRandom;

use crate::house::{House, next};
use crate::watch_checks::{Body, End, Fact, Recorder, Seen, Truth, assert_kept};

/// Longer than any stream here is silent while it is read: they beat ten times a second, the rest is for a busy machine.
const QUIET: Duration = Duration::from_secs(5);

/// What a filter can ask about.
pub struct Facts<'a> {
    pub job: String,
    pub target: &'a Target,
    pub state: JobState,
    pub operation: OperationKind,
    pub labels: &'a drydock::domain::texts::Texts,
}

/// A filter, as the test itself reckons it.
pub type Wanted = Arc<dyn Fn(&Facts<'_>) -> bool + Send + Sync>;

pub fn everything() -> Wanted {
    Arc::new(|_| true)
}

/// Where one can watch: a replica and its store.
pub trait Place {
    fn engine(&self) -> &Engine;
    fn store(&self) -> &dyn Store;
}

impl Place for House {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn store(&self) -> &dyn Store {
        &*self.store
    }
}

impl<P: Place> Place for Arc<P> {
    fn engine(&self) -> &Engine {
        (**self).engine()
    }

    fn store(&self) -> &dyn Store {
        (**self).store()
    }
}

/// What happened, as it is read from time to time: it remembers also what the store keeps no longer.
#[derive(Default)]
pub struct Chronicle {
    begins: u64,
    events: Vec<Event>,
}

impl Chronicle {
    /// Everything that a store has.
    pub async fn of(store: &dyn Store) -> Self {
        let mut chronicle = Self::default();
        chronicle.read(store).await;
        chronicle
    }

    /// What a store has after a position.
    pub async fn after(store: &dyn Store, position: u64) -> Self {
        let mut chronicle = Self { begins: position, events: Vec::new() };
        chronicle.read(store).await;
        chronicle
    }

    /// Reads what is new.
    pub async fn read(&mut self, store: &dyn Store) {
        loop {
            let position = self.events.last().map_or(self.begins, |event| event.position);
            let events = store.events(position, 1000).await.unwrap();
            if events.is_empty() {
                return;
            }
            self.events.extend(events);
        }
    }
}

/// The newest position that a store has. A moment passes between a commit and the word of it.
pub async fn newest(store: &dyn Store) -> u64 {
    let mut newest = *store.newest_position().borrow();
    while let Some(event) = store.events(newest, 1000).await.unwrap().last() {
        newest = event.position;
    }
    newest
}

/// One subscription over all its connections.
pub struct Follower {
    pub recorder: Recorder,
    request: WatchRequest,
    wanted: Wanted,
    watch: Option<Watch>,
    /// The newest position when it began.
    before: u64,
    pub position: u64,
    /// The error at the end of the newest connection.
    pub ended_by: Option<Error>,
}

impl Follower {
    /// Opens a first connection.
    pub async fn new(house: &impl Place, request: WatchRequest, wanted: Wanted) -> Self {
        let recorder = Recorder::new(request.latest_only, QUIET);
        let before = *house.store().newest_position().borrow();
        let mut follower =
            Self { recorder, request, wanted, watch: None, before, position: 0, ended_by: None };
        follower.open(house, None).await;
        follower
    }

    /// Begins with a token that another subscription was given before anything happened.
    pub async fn foreign(house: &impl Place, request: WatchRequest) -> Self {
        let token = request.resume_token.clone();
        let recorder = Recorder::new(request.latest_only, QUIET);
        let mut follower = Self {
            recorder,
            request,
            wanted: everything(),
            watch: None,
            before: 0,
            position: 0,
            ended_by: None,
        };
        follower.open(house, token).await;
        follower
    }

    pub async fn all(house: &impl Place, filter: WatchFilter, wanted: Wanted) -> Self {
        Self::new(house, WatchRequest { filter, snapshot: true, ..WatchRequest::default() }, wanted).await
    }

    /// The newest position when it began.
    pub const fn began(&self) -> u64 {
        self.before
    }

    /// Drops the connection, if there is one, and opens another.
    pub async fn open(&mut self, house: &impl Place, token: Option<String>) {
        (self.watch, self.ended_by) = (None, None);
        let request = WatchRequest { resume_token: token.clone(), ..self.request.clone() };
        let snapshot = request.snapshot;
        self.watch = Some(house.engine().watch(request).await.unwrap());
        self.recorder.open(token.as_deref(), snapshot);
    }

    /// Reconnects with one of the tokens that it ever got.
    pub async fn reopen_anywhere(&mut self, house: &impl Place) {
        let tokens = self.recorder.tokens();
        let token = tokens.choose(&mut rand::rng()).cloned();
        self.open(house, token).await;
    }

    /// Reads one message; `None` after the end.
    pub async fn read(&mut self) -> Option<WatchItem> {
        let watch = self.watch.as_mut().expect("an open watch");
        self.recorder.ask();
        match next(watch).await {
            Some(Ok(item)) => {
                for message in apart(&item) {
                    let body = self.body(&message.body);
                    self.recorder.note(body, message.resume_token.map(|t| t.to_string()));
                }
                self.position = item.resume_token.map_or(self.position, |t: ResumeToken| t.position());
                Some(item)
            }
            Some(Err(error)) => {
                // The token at the end is the API's part.
                self.recorder.close(End::Cut);
                self.ended_by = Some(error);
                None
            }
            None => {
                self.recorder.close(End::Ok);
                None
            }
        }
    }

    pub async fn read_some(&mut self, messages: usize) {
        for _ in 0..messages {
            self.read().await.expect("an endless watch");
        }
    }

    /// Reads until a token says that all that has happened was told.
    pub async fn read_to_the_end(&mut self, house: &impl Place) {
        let newest = newest(house.store()).await;
        while self.position < newest {
            self.read().await.expect("an endless watch");
        }
    }

    fn body(&self, body: &WatchBody) -> Body {
        match body {
            WatchBody::Snapshot(job) => Body::Snapshot(self.of_job(job)),
            WatchBody::Synced => Body::Synced,
            WatchBody::Events(events) => Body::Events(events.events().map(|e| self.of(e)).collect()),
            WatchBody::Heartbeat => Body::Heartbeat,
        }
    }

    fn of(&self, event: &Event) -> Seen {
        let facts = Facts {
            job: event.job.to_string(),
            target: &event.about.target,
            state: event.status.state,
            operation: event.about.operation,
            labels: &event.about.labels,
        };
        Seen { matches: (self.wanted)(&facts), job: facts.job, sequence: event.sequence }
    }

    fn of_job(&self, job: &Job) -> Seen {
        let facts = Facts {
            job: job.id.to_string(),
            target: &job.spec.target,
            state: job.status.state,
            operation: job.spec.operation.kind(),
            labels: &job.spec.labels,
        };
        Seen { matches: (self.wanted)(&facts), job: facts.job, sequence: job.sequence }
    }

    /// Judges all that was recorded by what really happened, and gives the latter back.
    pub async fn judge(&self, store: &dyn Store, told_to_the_end: bool) -> Truth {
        self.judge_by(&Chronicle::of(store).await, told_to_the_end)
    }

    /// The same, by what was noted while it happened.
    pub fn judge_by(&self, chronicle: &Chronicle, told_to_the_end: bool) -> Truth {
        let fact =
            |e: &Event| Fact { event: self.of(e), commit: Some(e.commit), before: e.position <= self.before };
        let truth = Truth { facts: chronicle.events.iter().map(fact).collect(), told_to_the_end };
        assert_kept(self.recorder.recording(), &truth);
        truth
    }
}

/// Waits until a house has nothing to do: every job has ended and nothing was written for a while.
pub async fn settled(house: &House) {
    let mut newest = house.store.newest_position();
    // Either every job has ended and everything is published, or nothing has changed for long.
    while !is_over(house).await {
        if tokio::time::timeout(Duration::from_secs(2), newest.changed()).await.is_err() {
            return;
        }
    }
}

async fn is_over(house: &House) -> bool {
    let newest = *house.store.newest_position().borrow();
    house.store.count_live().await.unwrap().is_empty()
        && house.store.events(newest, 1).await.unwrap().is_empty()
}

/// An item as the messages that callers get: one for each commit.
fn apart(item: &WatchItem) -> Vec<WatchItem> {
    let WatchBody::Events(Delivery::Run(run)) = &item.body else { return vec![item.clone()] };
    let commits = run.commits().iter();
    commits
        .map(|commit| WatchItem {
            body: WatchBody::Events(Delivery::Whole(Arc::clone(commit))),
            resume_token: item.resume_token.map(|token| token.at(commit.position())),
        })
        .collect()
}
