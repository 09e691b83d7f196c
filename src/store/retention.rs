//! What is kept of ended jobs, and for how long.

use jiff::Timestamp;

use crate::domain::id::JobId;

/// Which ended jobs may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Jobs that ended before this moment may go, with their events and request keys.
    pub ended_before: Timestamp,
    /// Of the ended jobs at most this many are kept, the latest to end; the others may go whatever their age.
    pub keep: u64,
}

/// What one step of a purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Jobs removed.
    pub jobs: u64,
    /// Events removed with them.
    pub events: u64,
}

/// What a writer is asked to remove in one step.
#[derive(Clone, Debug)]
pub(super) struct Purge {
    /// Jobs that ended before this moment may go, in microseconds.
    pub ended_before: i64,
    /// This job and those that ended before it go whatever their age: its end time in microseconds, and its id.
    pub too_many: Option<(i64, JobId)>,
    /// At most this many jobs.
    pub limit: u32,
}
