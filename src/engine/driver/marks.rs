//! Marks: that a job is CHECKING is written beside its check, and mostly together with the outcome.
//!
//! A check only reads, so it is asked before its job says CHECKING. Most vendors answer within some milliseconds: then the
//! mark and what follows from the answer are two changes of one commit, with an event each, and the start waits for one
//! commit instead of two. When the answer takes longer, the mark is written by itself, so that everybody sees what goes on.
//!
//! An answer counts only for a job whose mark was made, before it or with it. Whoever changes the job first (a caller's
//! cancel) makes the mark stale, and what would follow it too; the job is planned anew. A mark that is never written is no
//! loss: the job stands as it stood, and is checked again.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Live, Work};
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::state::JobState;
use crate::engine::step::{Heard, Step};

/// How long a mark waits for the answer. Less than anybody who looks on would notice, and longer than most vendors need
/// within one data centre; with one that needs longer, a mark is in nobody's way.
const WAITS: Duration = Duration::from_millis(10);

/// Jobs whose checks are out and whose marks are not written.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// With the moment at which their checks were asked for. Bounded by what is checked at once.
    began: HashMap<JobId, Timestamp>,
    /// When they are written by themselves. While some wait, it is set.
    due: Option<Instant>,
}

impl Marks {
    /// A check is asked for now.
    pub fn add(&mut self, id: JobId, now: Timestamp) {
        self.began.insert(id, now);
        self.due.get_or_insert_with(|| Instant::now() + WAITS);
    }

    /// Takes a job's mark, to write it with what follows or because nothing does.
    pub fn take(&mut self, id: JobId) -> Option<Timestamp> {
        let began = self.began.remove(&id);
        if self.began.is_empty() {
            self.due = None;
        }
        began
    }

    /// When [`Work::mark_checks`] is due.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn take_all(&mut self) -> Vec<JobId> {
        self.due = None;
        self.began.drain().map(|(id, _)| id).collect()
    }
}

impl Work {
    /// Writes the marks that wait. Of a job whose mark cannot be made, the answer does not count.
    pub(super) async fn mark_checks(&mut self) {
        let out = |live: &Live| live.busy && live.job.status.state != JobState::Checking;
        let mut ids = self.marks.take_all();
        ids.retain(|id| self.live.get(id).is_some_and(|live| out(live)));
        if ids.is_empty() {
            return;
        }
        Box::pin(self.hear(ids.iter().map(|id| (*id, Heard::CheckBegan)).collect())).await;
        let marked = |live: &Live| live.busy && live.job.status.state == JobState::Checking;
        ids.retain(|id| !self.live.get(id).is_some_and(|live| marked(live)));
        if !ids.is_empty() {
            let checks = self.under_way.values_mut().filter(|round| round.checks);
            checks.for_each(|round| round.jobs.retain(|id| !ids.contains(id)));
        }
    }
}

/// The job as it stands once `step` is written.
pub(super) fn after(job: &Job, step: &Step) -> Job {
    Job {
        id: job.id,
        spec: job.spec.clone(),
        status: step.status.clone(),
        control: step.control.clone(),
        version: job.version + 1,
        sequence: job.sequence + u64::from(step.event.is_some()),
    }
}
