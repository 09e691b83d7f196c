//! What is kept of ended jobs, and for how long.

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::id::JobId;

/// A place in the order in which ended jobs go: the job here and all that ended before it may go, whatever their age.
///
/// Too old and too many both are the beginning of that one order, so each is a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Through {
    /// When the last to go ended, in microseconds since 1970.
    pub(super) end_time: i64,
    /// Which of those that ended in the same microsecond is the last to go.
    pub(super) id: JobId,
}

impl Through {
    /// All jobs that ended before this moment.
    pub fn ended_before(moment: Timestamp) -> Self {
        Self { end_time: moment.as_microsecond().saturating_sub(1), id: JobId::new(Uuid::max()) }
    }
}

/// How much one step of a purge removes at most: it is one commit, and the writes of running jobs wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Jobs; at least 1.
    pub jobs: u32,
    /// Events; at least 1. A job with more of them goes over several steps, its oldest events first.
    pub events: u32,
}

/// What one step of a purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Jobs.
    pub jobs: u64,
    /// Events, of those jobs and perhaps of one that goes in the next step.
    pub events: u64,
    /// Request keys.
    pub keys: u64,
}

/// What a writer is asked to remove in one step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purge {
    /// Ended jobs, with their events and the keys that stand for none any more.
    Jobs(Through, Step),
    /// Keys that never stood for a job.
    BareKeys {
        /// Those from before this moment, in microseconds since 1970.
        before: i64,
        /// At most so many.
        limit: u32,
    },
}
