//! Writing: what was heard from a vendor must not be lost to a busy disk, nor one job's damage stop the others.

use std::time::Duration;

use super::Work;
use crate::domain::job::Job;
use crate::kit::retry::{Backoff, jitter};
use crate::store::StoreError;
use crate::store::contract::Change;

/// The waits between tries of a write that a store cannot take now.
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };

impl Work {
    /// Writes until the store takes it. What it refuses for good (`Corrupt`) is answered so, the changes of one job
    /// alone: the others are then written job by job. `None`: told to stop (the vendor is asked again after the next start),
    /// or somebody else drives.
    pub(super) async fn write_until_done(
        &mut self,
        changes: Vec<Change>,
    ) -> Option<Vec<Result<Job, StoreError>>> {
        let refused = match self.write_while_away(changes.clone()).await? {
            Ok(results) => return Some(results),
            Err(refused) => refused,
        };
        let jobs = changes.chunk_by(|one, next| one.id == next.id);
        if jobs.clone().count() == 1 {
            return Some(refusals(&changes, refused));
        }
        tracing::error!(error = %refused, jobs = jobs.clone().count(), "the store refuses a write; its jobs are written one by one");
        let mut results = Vec::with_capacity(changes.len());
        // The changes of one job go together: what follows one that is not made must not be made either.
        for job in jobs {
            match self.write_while_away(job.to_vec()).await? {
                Ok(result) => results.extend(result),
                Err(refused) => results.extend(refusals(job, refused)),
            }
        }
        Some(results)
    }

    /// Writes until the store takes it or refuses it for good.
    async fn write_while_away(
        &mut self,
        changes: Vec<Change>,
    ) -> Option<Result<Vec<Result<Job, StoreError>>, StoreError>> {
        let mut failures = 0;
        loop {
            let guard = self.driver.tenure.guard();
            match self.driver.store.write(changes.clone(), Some(guard.clone())).await {
                Ok(results) => return Some(Ok(results)),
                Err(StoreError::Fenced(_)) => {
                    if self.driver.tenure.renewed(&guard).await {
                        continue;
                    }
                    self.fenced = true;
                    return None;
                }
                Err(error @ StoreError::Corrupt(_)) => return Some(Err(error)),
                Err(error) => {
                    failures += 1;
                    tracing::error!(error = %error, jobs = changes.len(), "the store takes no writes; tried again");
                    if self.driver.tenure.finish.is_cancelled() && failures > 3 {
                        return None;
                    }
                    tokio::time::sleep(RETRY.delay(failures, jitter())).await;
                }
            }
        }
    }
}

/// The answers about the changes of one job that was refused: what follows the first could not be made for want of it.
fn refusals(job: &[Change], refused: StoreError) -> Vec<Result<Job, StoreError>> {
    let rest = job.iter().skip(1).map(|change| StoreError::Stale(change.id));
    std::iter::once(refused).chain(rest).map(Err).collect()
}
