//! Judges recorded watches: each of the seven properties of `docs/watch.md` has a checker here.
//!
//! Pure functions over plain data, so that everything that watches can be judged by the same rules: the engine's tests,
//! the tests over a real connection, the crash harness and the bench. Include it with `#[path]`.
//!
//! ```text
//! Recorder ──► Recording ──► timelines ──► ordered, unique, complete, … ──► breaches
//!                            (what the client holds after each connection)
//! ```

#![allow(dead_code, reason = "each of those who include it uses a part")]

mod checks;
mod commits;
mod recorder;
mod timeline;
pub mod wire;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

pub use checks::{atomic, bookmarked, complete, filtered, ordered, resumable, unique};
pub use commits::Commits;
pub use recorder::Recorder;

/// One subscription as its client saw it, over all its connections.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whether it asked for the latest state only.
    pub latest_only: bool,
    /// The longest that a stream may say nothing: the heartbeat and what the machine may add.
    pub quiet: Duration,
    /// In the order of their opening.
    pub connections: Vec<Connection>,
}

impl Recording {
    /// How many different events came, over all connections.
    pub fn told(&self) -> usize {
        let messages = self.connections.iter().flat_map(|c| &c.messages);
        let told: HashSet<_> = messages.flat_map(|m| m.events()).map(|e| (&e.job, e.sequence)).collect();
        told.len()
    }
}

/// One call of `WatchJob` or `WatchJobs`. Times count from the recording's beginning.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The token that it was opened with.
    pub token: Option<String>,
    /// Whether it asked for a snapshot; a token outweighs that.
    pub snapshot: bool,
    /// When it was open.
    pub opened: Duration,
    /// What came.
    pub messages: Vec<Message>,
    /// When it ended.
    pub closed: Duration,
    /// Since when the client waited for its end.
    pub asked: Duration,
    /// How.
    pub end: End,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By the client, or nobody knows.
    Cut,
    /// With OK.
    Ok,
    /// With a status, which may name the last token.
    Status {
        /// `ErrorInfo.reason`
        reason: String,
        /// `ErrorInfo.metadata["resume_token"]`
        token: Option<String>,
    },
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it came.
    pub at: Duration,
    /// Since when the client waited for it. Before that, silence was its own.
    pub asked: Duration,
    /// What it said.
    pub body: Body,
    /// Its token, when it had one.
    pub token: Option<String>,
}

/// What a message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A job as it stood.
    Snapshot(Seen),
    /// The end of the snapshot.
    Synced,
    /// Changes.
    Events(Vec<Seen>),
    /// A sign of life.
    Heartbeat,
}

/// A job's state as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The job's name.
    pub job: String,
    /// Of its newest event.
    pub sequence: u64,
    /// Whether it matches what was asked for, by the recorder's own reckoning.
    pub matches: bool,
}

/// What really happened, in the order of its commit.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Every event.
    pub facts: Vec<Fact>,
    /// Whether the recording went on until all of it was told; otherwise only holes are breaches.
    pub told_to_the_end: bool,
}

/// One event that really happened.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its job, number and whether it matches.
    pub event: Seen,
    /// Its commit. `None`: it is not known, and then [`atomic`] cannot be judged, and says so.
    pub commit: Option<u64>,
    /// Whether it was committed before the subscription began.
    pub before: bool,
}

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub property: Property,
    /// Where, for a person.
    pub what: String,
}

/// The properties of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// A job's events come by sequence.
    Ordered,
    /// No change is told twice.
    Unique,
    /// No event that matches is missing.
    Complete,
    /// What was committed together comes together.
    Atomic,
    /// A token continues exactly after its message.
    Resumable,
    /// A quiet stream gets fresh tokens.
    Bookmarked,
    /// Nothing comes that does not match.
    Filtered,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {:?}: {}", self.property, self.what)
    }
}

/// Every breach of every property.
pub fn judge(recording: &Recording, truth: &Truth) -> Vec<Breach> {
    let mut breaches = judge_without_commits(recording, truth);
    breaches.extend(atomic(recording, truth));
    breaches
}

/// Every breach of every property but *atomic*, for those who cannot know what was committed together.
pub fn judge_without_commits(recording: &Recording, truth: &Truth) -> Vec<Breach> {
    let mut breaches = ordered(recording);
    breaches.extend(unique(recording));
    breaches.extend(complete(recording, truth));
    breaches.extend(resumable(recording));
    breaches.extend(bookmarked(recording));
    breaches.extend(filtered(recording));
    breaches
}

/// Fails with every breach.
pub fn assert_kept(recording: &Recording, truth: &Truth) {
    let breaches: Vec<_> = judge(recording, truth).iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}
