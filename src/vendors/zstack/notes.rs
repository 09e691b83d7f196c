//! What the adapter must know again about a job: its durable notes, kept in the job's handle.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::job::Handle;
use crate::kit::clock;
use crate::vendors::contract::Planned;

/// ZStack's own default for `UpdateClusterOS` (zstack `APIUpdateClusterOSMsg`, 24 h).
const DEFAULT_API_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// ZStack's inner limit for a long job (259200 s), with an hour for its clean-up.
const LONG_JOB_LIMIT: Duration = Duration::from_secs(259_200 + 3600);

/// ZStack forgets a finished API job 3 hours after its end. Well before that, "not known" still means something.
pub(super) const REMEMBERS: Duration = Duration::from_secs(9000);
/// How old a start may be for its API job's end to show that it may be made again: young enough for the look-up that
/// follows to be over before ZStack forgets.
pub(super) const LAPSES: Duration = Duration::from_secs(4500);

/// Durable notes about one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// How many hosts the operation concerned when it was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<usize>,
    /// The systems that the cluster's hosts ran when it was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systems: Option<String>,
    /// The API job that carries the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_job: Option<String>,
    /// The long job that does the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_job: Option<String>,
    /// `apiTimeout` as ZStack gave it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_timeout_ms: Option<u64>,
}

impl Notes {
    /// The notes of a job; empty when there are none yet.
    pub fn of(planned: &Planned) -> Self {
        planned.handle.as_ref().and_then(|h| serde_json::from_str(&h.0).ok()).unwrap_or_default()
    }

    /// As the engine keeps them.
    pub fn handle(&self) -> Option<Handle> {
        serde_json::to_string(self).ok().map(Handle)
    }

    /// When the start is over by ZStack's own time limit.
    pub fn api_deadline(&self, planned: &Planned) -> Option<Timestamp> {
        let limit = self.api_timeout_ms.map_or(DEFAULT_API_TIMEOUT, Duration::from_millis);
        planned.submit_time.map(|sent| clock::after(sent, limit))
    }

    /// When ZStack itself must have ended the long job.
    pub fn long_job_deadline(&self, planned: &Planned) -> Option<Timestamp> {
        let limit =
            self.api_timeout_ms.map_or(DEFAULT_API_TIMEOUT, Duration::from_millis).max(LONG_JOB_LIMIT);
        planned.submit_time.map(|sent| clock::after(sent, limit))
    }
}
