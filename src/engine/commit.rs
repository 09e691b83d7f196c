//! Committed events as all subscribers share them: made into bytes once, for everybody.
//!
//! The engine does not know the encoding. It keeps a place beside each event and each commit, and who first needs the
//! bytes puts them there; they live as long as the event is in the ring or on its way to a subscriber.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::domain::event::Event;

/// One event, shared.
#[derive(Debug)]
pub struct Shared {
    event: Event,
    encoded: OnceLock<Bytes>,
}

impl Shared {
    /// Shares an event.
    pub fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, encoded: OnceLock::new() })
    }

    /// The event's bytes; `encode` is called by the first who asks.
    pub fn encoded(&self, encode: impl FnOnce(&Event) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(&self.event))
    }
}

impl Deref for Shared {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// What was committed together, in order: at least one event.
#[derive(Debug)]
pub struct Commit {
    events: Box<[Arc<Shared>]>,
    /// That of its last event, here because it is asked for more often than any event.
    position: u64,
    encoded: OnceLock<Box<[Bytes]>>,
}

impl Commit {
    /// Events of one commit.
    pub fn new(events: Vec<Arc<Shared>>) -> Arc<Self> {
        let position = events.last().map_or(0, |e| e.position);
        Arc::new(Self { events: events.into(), position, encoded: OnceLock::new() })
    }

    /// Splits events in position order into commits.
    pub fn group(events: Vec<Event>) -> Vec<Arc<Self>> {
        let mut commits: Vec<Vec<Arc<Shared>>> = Vec::new();
        for event in events {
            let event = Shared::new(event);
            match commits.last_mut() {
                Some(commit) if commit.last().is_some_and(|e| e.commit == event.commit) => commit.push(event),
                Some(_) | None => commits.push(vec![event]),
            }
        }
        commits.into_iter().map(Self::new).collect()
    }

    /// The events, in order.
    pub fn events(&self) -> &[Arc<Shared>] {
        &self.events
    }

    /// The position after it: that of its last event.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The messages that tell the whole commit, its token in the last; `encode` is called by the first who asks.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Vec<Bytes>) -> &[Bytes] {
        self.encoded.get_or_init(|| encode(self).into())
    }
}

/// Commits that follow each other, none missing: at least one. Whoever stands before it and wants everything gets it at
/// once, as bytes that are made once for everybody.
#[derive(Debug)]
pub struct Run {
    commits: Box<[Arc<Commit>]>,
    /// The position before it.
    after: u64,
    /// The position after it: that of its last event.
    position: u64,
    encoded: OnceLock<Box<[Bytes]>>,
}

impl Run {
    /// These commits, in position order, as what follows the position `after`; `None` without any.
    pub fn new(after: u64, commits: Vec<Arc<Commit>>) -> Option<Arc<Self>> {
        let position = commits.last()?.position();
        Some(Arc::new(Self { commits: commits.into(), after, position, encoded: OnceLock::new() }))
    }

    /// Its commits, in order.
    pub fn commits(&self) -> &[Arc<Commit>] {
        &self.commits
    }

    /// Their events, in order.
    pub fn events(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.commits.iter().flat_map(|commit| commit.events())
    }

    /// The position before it.
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// The position after it.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that tell all of it, the token of each commit with it; `encode` is called by the first who asks.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Vec<Bytes>) -> &[Bytes] {
        self.encoded.get_or_init(|| encode(self).into())
    }
}

/// Events on their way to one subscriber.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// All of several commits, one message for each.
    Run(Arc<Run>),
    /// All of a commit.
    Whole(Arc<Commit>),
    /// What the subscriber's filter left of a commit, or for "latest state only" of several.
    Picked(Vec<Arc<Shared>>),
}

impl Delivery {
    /// The events of a commit that are wanted; `None` when none is.
    pub fn of(commit: Arc<Commit>, wanted: impl Fn(&Event) -> bool) -> Option<Self> {
        // First without a list: most subscribers want all of a commit, or nothing.
        if commit.events.iter().all(|e| wanted(e)) {
            return Some(Self::Whole(commit));
        }
        let picked: Vec<_> = commit.events.iter().filter(|e| wanted(e)).map(Arc::clone).collect();
        if picked.is_empty() { None } else { Some(Self::Picked(picked)) }
    }

    /// The events, in order: at least one.
    pub fn events(&self) -> impl Iterator<Item = &Arc<Shared>> {
        let (run, list): (Option<&Run>, &[Arc<Shared>]) = match self {
            Self::Run(run) => (Some(run), &[]),
            Self::Whole(commit) => (None, commit.events()),
            Self::Picked(events) => (None, events),
        };
        run.into_iter().flat_map(Run::events).chain(list)
    }
}
