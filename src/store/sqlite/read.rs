//! The reads: by an index, on a connection that only reads.

use std::sync::{Arc, LazyLock};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _};

use super::SqliteStore;
use super::list::Sqlite;
use super::save::bytes;
use crate::domain::event::Event;
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::Job;
use crate::domain::page::{MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::state::JobState;
use crate::store::columns::{commits, events, job_rows};
use crate::store::contract::JobFilter;
use crate::store::error::StoreError;
use crate::store::fault::read_fault;
use crate::store::list;
use crate::store::page_token::After;
use crate::store::record::{int, live_count, page, undamaged};

pub(super) const REQUEST: &str = "SELECT count(*) FROM requests WHERE id = ?1";
pub(super) const LIVE_JOBS: &str = "\
    SELECT id, version, sequence, spec, status, control FROM jobs \
    WHERE provider = ?1 AND ended = 0 AND id > ?2 ORDER BY id LIMIT ?3";
pub(super) const COUNT_LIVE: &str =
    "SELECT provider, state, count(*) FROM jobs WHERE ended = 0 GROUP BY provider, state";
pub(super) const SEALED: &str = "SELECT sealed FROM sealed_passwords WHERE job = ?1";
pub(super) const JOB_EVENTS: &str = "\
    SELECT e.position, e.commit_no, e.job, e.sequence, e.time, e.kind, e.message, e.status, j.spec \
    FROM events AS e CROSS JOIN jobs AS j ON j.id = e.job \
    WHERE e.job = ?1 AND e.sequence > ?2 ORDER BY e.sequence LIMIT ?3";
/// Events after a position, whole commits only: up to the first event past the limit that begins a commit.
pub(super) const EVENTS: &str = "\
    SELECT e.position, e.commit_no, e.job, e.sequence, e.time, e.kind, e.message, e.status, j.spec \
    FROM events AS e CROSS JOIN jobs AS j ON j.id = e.job \
    WHERE e.position > ?1 AND e.position < coalesce( \
        (SELECT b.position FROM events AS b WHERE b.position > coalesce( \
            (SELECT c.position FROM events AS c WHERE c.position > ?1 ORDER BY c.position LIMIT 1 OFFSET ?2), \
            9223372036854775807) AND b.commit_no = b.position ORDER BY b.position LIMIT 1), \
        9223372036854775807) \
    ORDER BY e.position";
pub(super) const PURGED: &str = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'purged_through'";

/// Every commit is followed by this, so it goes to SQLite's thread once. What was purged is asked after the events, each in
/// its own moment: a purge in between is then told rather than skipped.
static EVENTS_AND_PURGED: LazyLock<Arc<str>> = LazyLock::new(|| [EVENTS, PURGED].join("; ").into());

impl SqliteStore {
    pub(super) async fn read_knows_request(&self, id: RequestId) -> Result<bool, StoreError> {
        let id = id.uuid().into_bytes().to_vec();
        let mut reader = self.readers.get().await?;
        let known: i64 = reader
            .run(async |connection| sqlx::query_scalar(REQUEST).bind(id).fetch_one(connection).await)
            .await?;
        Ok(known > 0)
    }

    pub(super) async fn list_jobs(
        &self,
        filter: &JobFilter,
        request: &PageRequest,
    ) -> Result<Page<Job>, StoreError> {
        let after = request.token.as_deref().map(|token| After::read(token, filter)).transpose()?;
        let size = request.size.clamp(1, MAX_PAGE_SIZE);
        // One more than the page holds tells whether there is a next one.
        let mut statement = list::statement::<Sqlite>(filter, after, i64::from(size) + 1);
        let mut reader = self.readers.get().await?;
        let rows = reader.run(async |connection| statement.build().fetch_all(connection).await).await?;
        drop(reader);
        page(filter, size, job_rows(&rows)?)
    }

    pub(super) async fn read_live_jobs(
        &self,
        provider: &ProviderId,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let mut after = after;
        loop {
            // Every id is above no bytes at all.
            let from = after.map_or_else(Vec::new, bytes);
            let mut reader = self.readers.get().await?;
            let rows = reader
                .run(async |connection| {
                    let query = sqlx::query(LIVE_JOBS).bind(provider.as_str()).bind(from).bind(limit);
                    query.fetch_all(connection).await
                })
                .await?;
            drop(reader);
            let (jobs, last) = undamaged(job_rows(&rows)?);
            after = last;
            // An empty answer means that there are no more, so a page of damage alone is passed over.
            if !jobs.is_empty() || rows.is_empty() {
                return Ok(jobs);
            }
        }
    }

    pub(super) async fn count_live_jobs(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError> {
        let mut reader = self.readers.get().await?;
        let rows = reader.run(async |connection| sqlx::query(COUNT_LIVE).fetch_all(connection).await).await?;
        rows.iter().map(|row| live_count(get(row, 0)?, get(row, 1)?, get(row, 2)?)).collect()
    }

    pub(super) async fn read_sealed(&self, id: JobId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reader = self.readers.get().await?;
        reader
            .run(async |connection| {
                sqlx::query_scalar(SEALED).bind(bytes(id)).fetch_optional(connection).await
            })
            .await
    }

    pub(super) async fn read_job_events(
        &self,
        id: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut reader = self.readers.get().await?;
        let rows = reader
            .run(async |connection| {
                let query = sqlx::query(JOB_EVENTS).bind(bytes(id)).bind(int(after)).bind(limit);
                query.fetch_all(connection).await
            })
            .await?;
        drop(reader);
        events(&rows)
    }

    pub(super) async fn read_events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut reader = self.readers.get().await?;
        let (rows, purged) = reader
            .run(async |connection| {
                let last = limit.max(1) - 1;
                // Made of our own words alone.
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&EVENTS_AND_PURGED)));
                let mut answers = connection.fetch_many(query.bind(int(after)).bind(last));
                let (mut rows, mut purged) = (Vec::new(), None);
                let mut events = true;
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        Either::Left(_) => events = false,
                        Either::Right(row) if events => rows.push(row),
                        Either::Right(row) => purged = Some(row.try_get::<i64, _>(0)?),
                    }
                }
                Ok((rows, purged.ok_or(sqlx::Error::RowNotFound)?))
            })
            .await?;
        drop(reader);
        let purged = u64::try_from(purged).map_err(|_| StoreError::Corrupt("purged_through".to_owned()))?;
        if after < purged {
            return Err(StoreError::PositionGone { wanted: after, oldest: purged + 1 });
        }
        commits(&rows)
    }

    pub(super) async fn ping_reader(&self) -> Result<(), StoreError> {
        let mut reader = self.readers.get().await?;
        reader.run(async |connection| sqlx::query(PURGED).fetch_one(connection).await.map(drop)).await
    }
}

fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(read_fault)
}
