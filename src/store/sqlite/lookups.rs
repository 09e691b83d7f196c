//! Jobs read by their names: callers who ask at the same time share one statement.
//!
//! Handing a statement to SQLite's thread and back costs more than the statement (`docs/performance.md`). So a caller who
//! finds every reading connection busy is served with the others that wait, by whoever gets a connection next. Each
//! statement begins after all its callers asked, so everybody sees what was committed before.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use sqlx::Row as _;
use tokio::sync::oneshot;

use super::readers::{Reader, Readers};
use super::save::bytes;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::store::columns::job_row;
use crate::store::error::StoreError;
use crate::store::fault::read_fault;
use crate::store::record::{JobRow, job_id};

/// A few jobs by name. A statement for each size, so that SQLite keeps it prepared; places that are left over repeat
/// the last name.
pub(super) const JOBS: [(usize, &str); 3] = [
    (1, "SELECT id, version, sequence, spec, status, control FROM jobs WHERE id = ?1"),
    (4, "SELECT id, version, sequence, spec, status, control FROM jobs WHERE id IN (?1, ?2, ?3, ?4)"),
    (
        16,
        "SELECT id, version, sequence, spec, status, control FROM jobs WHERE id IN \
         (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    ),
];
/// The most that one statement reads.
const MOST: usize = 16;

/// A job's row, or what is wrong with it.
type Found = Result<Option<JobRow>, StoreError>;
/// Who waits for it.
type Waiting = (JobId, oneshot::Sender<Found>);

/// Callers who wait to be served, in order. Bounded by the calls under way.
#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<VecDeque<Waiting>>);

impl Lookups {
    /// Reads a job.
    pub(super) async fn job(&self, readers: &Readers, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut told = self.stand_in_line(id);
        loop {
            tokio::select! {
                biased;
                found = &mut told => match found {
                    Ok(row) => return row?.map(JobRow::into_job).transpose(),
                    // Whoever served us failed, or went away in the middle.
                    Err(_) => told = self.stand_in_line(id),
                },
                // Its failure is ours; the others it served ask again by themselves.
                reader = readers.get() => if !self.serve(reader?).await? {
                    // Somebody is serving us just now: to ask for a place again and again would only cost.
                    match (&mut told).await {
                        Ok(row) => return row?.map(JobRow::into_job).transpose(),
                        Err(_) => told = self.stand_in_line(id),
                    }
                },
            }
        }
    }

    fn stand_in_line(&self, id: JobId) -> oneshot::Receiver<Found> {
        let (tell, told) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((id, tell));
        told
    }

    /// Serves the first in line, as many as one statement can. `false`: nobody stands there.
    async fn serve(&self, mut reader: Reader<'_>) -> Result<bool, StoreError> {
        let batch: Vec<Waiting> = {
            let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            line.retain(|(_, tell)| !tell.is_closed());
            let most = line.len().min(MOST);
            line.drain(..most).collect()
        };
        let Some((last, _)) = batch.last() else { return Ok(false) };
        let Some((size, sql)) = JOBS.iter().find(|(size, _)| *size >= batch.len()) else { return Ok(false) };
        let ids = batch.iter().map(|(id, _)| *id).chain(std::iter::repeat(*last)).take(*size);
        let rows = reader
            .run(async |connection| {
                ids.fold(sqlx::query(*sql), |query, id| query.bind(bytes(id))).fetch_all(connection).await
            })
            .await?;
        drop(reader);
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            found.insert(job_id(row.try_get(0).map_err(read_fault)?)?, row);
        }
        for (id, tell) in batch {
            let row = found.get(&id).map(|row| job_row(*row)).transpose().map_err(StoreError::from);
            // A caller who has gone away meanwhile needs no answer.
            drop(tell.send(row));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use uuid::Uuid;

    use super::*;
    use crate::store::Store;
    use crate::store::settings::StoreSettings;
    use crate::store::sqlite::SqliteStore;

    async fn store() -> (tempfile::TempDir, Arc<SqliteStore>) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        (folder, store)
    }

    fn id(n: u128) -> JobId {
        JobId::new(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_crowd_is_served_however_large_and_nobody_is_left_in_line() {
        let (_folder, store) = store().await;
        let found = join_all((0..100).map(|n| store.job(id(n % 7)))).await;
        assert!(found.into_iter().all(|job| matches!(job, Ok(None))));
        assert_eq!(store.lookups.0.lock().unwrap().len(), 0);
        store.close().await;
    }

    #[tokio::test]
    async fn those_whose_server_goes_away_are_served_all_the_same() {
        let (_folder, store) = store().await;
        for polls in 1..40 {
            let mut leaving: Vec<_> = (0..8).map(|n| Box::pin(store.job(id(n)))).collect();
            for _ in 0..polls {
                leaving.retain_mut(|call| call.as_mut().now_or_never().is_none());
            }
            let staying = join_all((8..30).map(|n| store.job(id(n))));
            drop(leaving);
            let found = tokio::time::timeout(std::time::Duration::from_secs(10), staying).await.unwrap();
            assert!(found.into_iter().all(|job| matches!(job, Ok(None))));
        }
        store.close().await;
    }
}
