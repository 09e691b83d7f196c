//! What is kept of ended jobs, and for how long.

use jiff::Timestamp;

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
