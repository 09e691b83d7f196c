//! Intake: live jobs are read at the start, and again when others made or changed them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{STORE_BATCH, Work};
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::engine::provider::Nudge;
use crate::engine::round::planned;
use crate::kit::retry::{Backoff, jitter};

impl Work {
    /// Reads the provider's live jobs. `false`: told to stop before it worked.
    pub(super) async fn load(&mut self) -> bool {
        let retry = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
        let mut failures = 0;
        let mut after = None;
        loop {
            let provider = &self.driver.runtime.provider.id;
            match self.driver.store.live_jobs(provider, after, STORE_BATCH).await {
                Ok(jobs) => {
                    let Some(last) = jobs.last().map(|j| j.id) else { return true };
                    after = Some(last);
                    let permit = &self.driver.tenure.permit;
                    let sent = jobs.iter().filter(|job| job.is_with_vendor());
                    let sent: Vec<_> = sent.map(|job| planned(job, permit, false)).collect();
                    self.driver.runtime.provider.vendor.taken_over(&sent);
                    for job in jobs {
                        // On the first beat, which is at another moment for each provider: a restart is no
                        // stampede, and jobs share their list calls from the beginning.
                        let wake = Instant::now()
                            + if job.is_with_vendor() { self.to_beat() } else { Duration::ZERO };
                        self.keep(job, wake);
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(provider.name = %provider, error = %error, "live jobs cannot be read yet");
                    tokio::select! {
                        () = self.driver.tenure.finish.cancelled() => return false,
                        () = tokio::time::sleep(retry.delay(failures, jitter())) => {}
                    }
                }
            }
        }
    }

    /// Takes in jobs that others made or changed.
    pub(super) async fn refresh(&mut self) {
        if self.driver.runtime.take_doubt() && !self.look_through().await {
            self.driver.runtime.doubt();
            tokio::time::sleep(Duration::from_millis(200)).await;
            return;
        }
        let mut nudged = self.driver.runtime.take_nudged().into_iter();
        while let Some((id, mut nudge)) = nudged.next() {
            match self.live.get(&id) {
                // Told of what is known already.
                Some(live) if live.job.sequence >= nudge.sequence => continue,
                None if nudge.ended => continue,
                Some(_) | None => {}
            }
            if let Some(job) = nudge.handed_over(self.live.contains_key(&id)) {
                self.take_in(*job).await;
                continue;
            }
            match self.driver.store.job(id).await {
                Ok(Some(job)) => self.take_in(job).await,
                Ok(None) => self.forget(id),
                Err(error) => {
                    tracing::warn!(job.id = %id, error = %error, "a changed job cannot be read yet");
                    // Nobody else tells of those behind it.
                    let left = std::iter::once((id, nudge)).chain(nudged);
                    left.for_each(|(id, nudge)| self.driver.runtime.nudge(id, nudge));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    return;
                }
            }
        }
    }

    async fn take_in(&mut self, job: Job) {
        if job.status.state.is_ended() {
            self.ended(job).await;
            return;
        }
        match self.live.get_mut(&job.id) {
            // Told of what is known already: it keeps its time.
            Some(live) if live.job.version >= job.version => {}
            // A round is out: its write finds the newer version, or it is read again after the round.
            Some(live) if live.busy => live.dirty = true,
            Some(_) | None => self.keep(job, Instant::now()),
        }
    }

    /// Reads all live jobs again: something may have been missed. `false`: they cannot be read now.
    async fn look_through(&mut self) -> bool {
        let mut missing: HashSet<JobId> = self.live.keys().copied().collect();
        let mut after = None;
        loop {
            let provider = &self.driver.runtime.provider.id;
            match self.driver.store.live_jobs(provider, after, STORE_BATCH).await {
                Ok(jobs) => {
                    let Some(last) = jobs.last().map(|job| job.id) else { break };
                    after = Some(last);
                    for job in jobs {
                        missing.remove(&job.id);
                        self.take_in(job).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(provider.name = %provider, error = %error, "live jobs cannot be read now");
                    return false;
                }
            }
        }
        // They ended while nobody looked, or a damaged row was left out.
        missing.into_iter().for_each(|id| self.driver.runtime.nudge(id, Nudge::AGAIN));
        true
    }
}
