//! What a watch looks up about the jobs it follows: the end of its one job, or which few it is about.

use std::time::Duration;

use super::following::Subscriber;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::domain::page::PageRequest;
use crate::domain::state::JobState;
use crate::engine::attention::FEW;
use crate::engine::commit::Shared;
use crate::engine::fault;
use crate::store::contract::JobFilter;

/// How many live jobs a watch without a snapshot looks for, to learn whether it is about few: one more than that.
const LOOK: u32 = 33;
const _: () = assert!(LOOK as usize == FEW + 1);
/// How long it may wait for that.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// The one job of a watch that ends with its job.
pub(super) struct Single {
    job: JobId,
    /// It was seen alive, or its end lies ahead of this stream: either way its end will come as an event.
    pub known_live: bool,
    /// Its last event was delivered.
    pub ended: bool,
}

impl Single {
    pub const fn of(job: JobId) -> Self {
        Self { job, known_live: false, ended: false }
    }

    /// Notes what the subscriber is told.
    pub fn note(&mut self, event: &Shared) {
        self.ended |= event.job == self.job && event.status.state.is_ended();
    }
}

impl Subscriber {
    /// Asks whether the one watched job has ended and its last event was delivered. The store is asked only until the
    /// job was seen alive once; from then on its end comes by itself.
    pub(super) async fn ask_end(&mut self) -> Result<(), Error> {
        let Some(single) = &mut self.single else { return Ok(()) };
        let job = self.hub.reads().job(single.job).await.map_err(fault::store)?;
        single.known_live = true;
        let Some(job) = job else {
            single.ended = true;
            return Ok(());
        };
        if job.status.state.is_ended() {
            // It may have ended after this stream last read. Only its last event tells whether that was delivered.
            let before_last = job.sequence.saturating_sub(1);
            let last = self.hub.reads().job_events(job.id, before_last, 1).await.map_err(fault::store)?;
            single.ended = last.iter().all(|event| event.position <= self.position);
        }
        Ok(())
    }

    /// Looks which live jobs a watch without a snapshot is about, so that few get the attention that they would have got
    /// with one. That is a favour: where it fails, the stream goes on.
    pub(super) async fn look(&mut self) {
        let wanted = |state: &JobState| {
            !state.is_ended() && (self.filter.states.is_empty() || self.filter.states.contains(state))
        };
        let states: Vec<_> = JobState::ALL.into_iter().filter(wanted).collect();
        if states.is_empty() {
            return;
        }
        let live = JobFilter { states, ..self.filter.clone() };
        let page = PageRequest { size: LOOK, token: None };
        match tokio::time::timeout(LOOK_WITHIN, self.hub.reads().jobs(&live, &page)).await {
            Ok(Ok(page)) => page.items.iter().for_each(|job| self.gaze.see(job.id, false)),
            Ok(Err(error)) => tracing::debug!(%error, "a watch cannot see which jobs it is about"),
            Err(_) => tracing::debug!("a watch does not wait any longer to see which jobs it is about"),
        }
    }
}
