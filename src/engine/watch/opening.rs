//! Opening a watch: where it begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::UpDownCounter;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::following::{Stage, Subscriber};
use super::single::Single;
use super::snapshot::Snapshot;
use super::subscription::Subscription;
use crate::domain::error::Error;
use crate::engine::attention::Attention;
use crate::engine::bell::PASSES_WITHIN;
use crate::engine::berths::Watch;
use crate::engine::calls::WatchRequest;
use crate::engine::fault;
use crate::engine::hub::Hub;
use crate::engine::token::ResumeToken;
use crate::store::contract::JobFilter;
use crate::store::{Store, StoreError};

/// What a watch needs from the engine.
pub(in crate::engine) struct Sources {
    pub hub: Arc<Hub>,
    pub store: Arc<dyn Store>,
    pub attention: Arc<Attention>,
    pub heartbeat: Duration,
    pub max_age: Duration,
    pub subscribers: UpDownCounter<i64>,
}

/// Opens a watch.
pub(in crate::engine) async fn open(sources: Sources, request: WatchRequest) -> Result<Watch, Error> {
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
    let newest = sources.hub.position();
    let (position, stage) = match &request.resume_token {
        Some(text) => (resumed(&sources, text, newest).await?, Stage::Live),
        None if request.snapshot => (newest, Stage::Snapshot(Snapshot::default())),
        None => (newest, Stage::Live),
    };
    let alarm = Alarm::new(Instant::now(), request.heartbeat.unwrap_or(sources.heartbeat), sources.max_age);
    let unread_until = request.deadline.map_or(alarm.ends_at(), |deadline| deadline.min(alarm.ends_at()));
    let subscriber = Subscriber {
        ear: sources.hub.bell().ear(),
        position,
        looked: 0,
        alarm,
        taken: VecDeque::new(),
        ready: VecDeque::new(),
        takes_all: filter.jobs.is_empty() && !filter.narrows(),
        latest_only: request.latest_only,
        looks: !matches!(stage, Stage::Snapshot(_)) && filter.narrows(),
        stage,
        single: single.map(Single::of),
        gaze: sources.attention.open(&filter.jobs),
        filter,
        hub: Arc::clone(&sources.hub),
        store: sources.store,
        _counted: Counted::new(sources.subscribers),
    };
    Ok(sources.hub.berths().moor(Subscription::of(subscriber), unread_until))
}

/// The position of a token, once it is known that everything after it can be told.
async fn resumed(sources: &Sources, token: &str, newest: u64) -> Result<u64, Error> {
    let position = ResumeToken::read(sources.store.id(), token)?.position();
    if position > newest {
        // Another replica may have been the first to see it. This one does when its own subscribers have had their turn.
        let mut news = sources.hub.newest();
        let heard = news.wait_for(|newest| *newest >= position);
        if tokio::time::timeout(PASSES_WITHIN, heard).await.is_err() {
            // Or nobody ever did: only the store knows.
            match sources.hub.reads().events(position - 1, 1).await {
                Ok(events) if events.is_empty() => return Err(Error::ResumeTokenInvalid),
                Ok(_) => return Ok(position),
                Err(StoreError::PositionGone { .. } | StoreError::DamagedEvents { .. }) => {}
                Err(error) => return Err(fault::store(error)),
            }
        }
    }
    // A token too old is told before the stream begins. What is in memory is not.
    if !sources.hub.covers(position) {
        sources.hub.reads().events(position, 1).await.map_err(fault::store)?;
    }
    Ok(position)
}

/// Counts a subscriber for as long as it lives.
pub(super) struct Counted(UpDownCounter<i64>);

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
