//! A client of a watch that records what it sees, and what really happened beside it.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::event::Event;
use drydock::domain::job::Job;
use drydock::domain::operation::OperationKind;
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::Watch;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchItem, WatchRequest};
use drydock::engine::token::ResumeToken;
use drydock::store::Store;
use rand::seq::IndexedRandom;

use crate::house::{House, PATIENCE, next};
use crate::watch_checks::{Body, End, Fact, Recorder, Seen, Truth, assert_kept};

/// What a filter can ask about.
pub struct Facts<'a> {
    pub job: String,
    pub target: &'a Target,
    pub state: JobState,
    pub operation: OperationKind,
    pub labels: &'a std::collections::BTreeMap<String, String>,
}

/// A filter, as the test itself reckons it.
pub type Wanted = Arc<dyn Fn(&Facts<'_>) -> bool + Send + Sync>;

pub fn everything() -> Wanted {
    Arc::new(|_| true)
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
}

impl Follower {
    /// Opens a first connection.
    pub async fn new(house: &House, request: WatchRequest, wanted: Wanted) -> Self {
        // Streams of this house beat ten times a second; the rest is for a busy machine.
        let recorder = Recorder::new(request.latest_only, PATIENCE);
        let before = *house.store.newest_position().borrow();
        let mut follower = Self { recorder, request, wanted, watch: None, before, position: 0 };
        follower.open(house, None).await;
        follower
    }

    pub async fn all(house: &House, filter: WatchFilter, wanted: Wanted) -> Self {
        Self::new(house, WatchRequest { filter, snapshot: true, ..WatchRequest::default() }, wanted).await
    }

    /// Drops the connection, if there is one, and opens another.
    pub async fn open(&mut self, house: &House, token: Option<String>) {
        self.watch = None;
        let request = WatchRequest { resume_token: token.clone(), ..self.request.clone() };
        let snapshot = request.snapshot;
        self.watch = Some(house.watch(request).await);
        self.recorder.open(token.as_deref(), snapshot);
    }

    /// Reconnects with one of the tokens that it ever got.
    pub async fn reopen_anywhere(&mut self, house: &House) {
        let tokens = self.recorder.tokens();
        let token = tokens.choose(&mut rand::rng()).cloned();
        self.open(house, token).await;
    }

    /// Reads one message; `None` after the end.
    pub async fn read(&mut self) -> Option<WatchItem> {
        let watch = self.watch.as_mut().expect("an open watch");
        match next(watch).await {
            Some(Ok(item)) => {
                let body = self.body(&item.body);
                self.recorder.note(body, item.resume_token.map(|t| t.to_string()));
                self.position = item.resume_token.map_or(self.position, |t: ResumeToken| t.position());
                Some(item)
            }
            Some(Err(error)) => {
                // The token at the end is the API's part.
                self.recorder.close(End::Cut);
                assert!(matches!(error, Error::ShuttingDown | Error::WatchAged), "{error:?}");
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
    pub async fn read_to_the_end(&mut self, house: &House) {
        let newest = *house.store.newest_position().borrow();
        while self.position < newest {
            self.read().await.expect("an endless watch");
        }
    }

    fn body(&self, body: &WatchBody) -> Body {
        match body {
            WatchBody::Snapshot(job) => Body::Snapshot(self.of_job(job)),
            WatchBody::Synced => Body::Synced,
            WatchBody::Events(events) => Body::Events(events.events().iter().map(|e| self.of(e)).collect()),
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
        let mut truth = Truth { facts: Vec::new(), told_to_the_end };
        let mut position = 0;
        loop {
            let events = store.events(position, 1000).await.unwrap();
            let Some(last) = events.last() else { break };
            position = last.position;
            truth.facts.extend(events.iter().map(|e| Fact {
                event: self.of(e),
                commit: Some(e.commit),
                before: e.position <= self.before,
            }));
        }
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
