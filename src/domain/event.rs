//! Events: the numbered changes of jobs. They are what a watch delivers.
//!
//! One change of one job is one event, and it carries the job's whole status after the change. Two numbers
//! order events: `sequence` counts within its job, `position` over the whole store. Events of one commit share
//! its `commit` number and are delivered together.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::JobId;
use super::job::JobStatus;
use super::operation::OperationKind;
use super::target::Target;
use super::texts::Texts;

/// What an event is about, first of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventKind {
    /// The job was accepted.
    Created,
    /// The state changed.
    StateChanged,
    /// The progress changed.
    Progressed,
    /// Findings or parts changed.
    FindingsChanged,
    /// What the job waits for changed.
    WaitingChanged,
    /// The vendor's own words changed, and nothing above did.
    VendorChanged,
    /// A caller asked to cancel.
    CancelRequested,
    /// A caller asked for another start time.
    Rescheduled,
    /// A person settled the outcome.
    Settled,
    /// Another job tries this ended one again.
    Retried,
}

impl EventKind {
    /// The kind as it stands in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::StateChanged => "STATE_CHANGED",
            Self::Progressed => "PROGRESSED",
            Self::FindingsChanged => "FINDINGS_CHANGED",
            Self::WaitingChanged => "WAITING_CHANGED",
            Self::VendorChanged => "VENDOR_CHANGED",
            Self::CancelRequested => "CANCEL_REQUESTED",
            Self::Rescheduled => "RESCHEDULED",
            Self::Settled => "SETTLED",
            Self::Retried => "RETRIED",
        }
    }
}

/// A change that is about to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What it is about.
    pub kind: EventKind,
    /// For a person, in one sentence.
    pub message: String,
    /// When it happened.
    pub time: Timestamp,
}

/// A committed change of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place among all events of the store, from 1, rising; gaps are possible.
    pub position: u64,
    /// The position of the first event of the same commit.
    pub commit: u64,
    /// The job.
    pub job: JobId,
    /// Its place among the job's events, from 1, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// For a person, in one sentence.
    pub message: String,
    /// The job's whole status after the change.
    pub status: JobStatus,
    /// Facts of the job that filters need; they never change.
    pub about: Arc<About>,
}

/// Facts of a job that never change, for filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What it acts on.
    pub target: Target,
    /// What kind of operation.
    pub operation: OperationKind,
    /// The caller's own marks.
    pub labels: Texts,
    /// The job that it tries again.
    pub retry_of: Option<JobId>,
}
