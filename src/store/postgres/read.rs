//! The reads: each one statement, by an index, on a connection of the pool of readers.
//!
//! One statement sees one moment, so it never sees half a commit.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::PostgresStore;
use super::list::Plain;
use crate::domain::event::Event;
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::Job;
use crate::domain::page::{MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::state::JobState;
use crate::store::columns::{commits, events, job_row, job_rows};
use crate::store::contract::JobFilter;
use crate::store::error::StoreError;
use crate::store::fault::read_fault;
use crate::store::list;
use crate::store::page_token::After;
use crate::store::record::{int, live_count, page, undamaged};

pub(super) const JOB: &str = "SELECT id, version, sequence, spec, status, control FROM jobs WHERE id = $1";
pub(super) const REQUEST: &str = "SELECT EXISTS (SELECT 1 FROM requests WHERE id = $1)";
pub(super) const LIVE_JOBS: &str = "\
    SELECT id, version, sequence, spec, status, control FROM jobs \
    WHERE provider = $1 AND NOT ended AND id > $2 ORDER BY id LIMIT $3";
pub(super) const COUNT_LIVE: &str =
    "SELECT provider, state, count(*) FROM jobs WHERE NOT ended GROUP BY provider, state";
pub(super) const SEALED: &str = "SELECT sealed FROM sealed_passwords WHERE job = $1";
// A job's spec comes by a subquery for each event: a join might be planned as a walk of all jobs.
pub(super) const JOB_EVENTS: &str = "\
    SELECT e.position, e.commit_no, e.job, e.sequence, e.time, e.kind, e.message, e.status, \
    (SELECT j.spec FROM jobs AS j WHERE j.id = e.job) \
    FROM events AS e WHERE e.job = $1 AND e.sequence > $2 ORDER BY e.sequence LIMIT $3";
/// Events after a position, whole commits only: up to the first event past the limit that begins a commit. The last
/// column says what was purged, of the same moment; without events it stands alone in one row.
pub(super) const EVENTS: &str = "\
    SELECT e.position, e.commit_no, e.job, e.sequence, e.time, e.kind, e.message, e.status, \
    (SELECT j.spec FROM jobs AS j WHERE j.id = e.job), p.purged_through \
    FROM counters AS p LEFT JOIN events AS e ON e.position > $1 AND e.position < coalesce( \
        (SELECT b.position FROM events AS b WHERE b.position > coalesce( \
            (SELECT c.position FROM events AS c WHERE c.position > $1 ORDER BY c.position LIMIT 1 OFFSET $2), \
            9223372036854775807) AND b.commit_no = b.position ORDER BY b.position LIMIT 1), \
        9223372036854775807) \
    ORDER BY e.position";
const PING: &str = "SELECT 1 FROM counters";

impl PostgresStore {
    pub(super) async fn read_job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row = self
            .readers
            .run(async |connection: &mut PgConnection| {
                sqlx::query(JOB).bind(id.uuid()).fetch_optional(connection).await
            })
            .await?;
        row.map(|row| job_row(&row)?.into_job()).transpose()
    }

    pub(super) async fn read_knows_request(&self, id: RequestId) -> Result<bool, StoreError> {
        self.readers
            .run(async |connection: &mut PgConnection| {
                sqlx::query_scalar(REQUEST).bind(id.uuid()).fetch_one(connection).await
            })
            .await
    }

    pub(super) async fn list_jobs(
        &self,
        filter: &JobFilter,
        request: &PageRequest,
    ) -> Result<Page<Job>, StoreError> {
        let after = request.token.as_deref().map(|token| After::read(token, filter)).transpose()?;
        let size = request.size.clamp(1, MAX_PAGE_SIZE);
        let rows = self
            .readers
            .run(async |connection: &mut PgConnection| {
                // One more than the page holds tells whether there is a next one.
                let mut statement = list::statement::<Plain>(filter, after, i64::from(size) + 1);
                // Texts are as many as filters, and a plan must know the values.
                statement.build().persistent(false).fetch_all(connection).await
            })
            .await?;
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
            // No job has the nil id.
            let from = after.map_or_else(Uuid::nil, JobId::uuid);
            let rows = self
                .readers
                .run(async |connection: &mut PgConnection| {
                    let query =
                        sqlx::query(LIVE_JOBS).bind(provider.as_str()).bind(from).bind(i64::from(limit));
                    query.fetch_all(connection).await
                })
                .await?;
            let (jobs, last) = undamaged(job_rows(&rows)?);
            after = last;
            // An empty answer means that there are no more, so a page of damage alone is passed over.
            if !jobs.is_empty() || rows.is_empty() {
                return Ok(jobs);
            }
        }
    }

    pub(super) async fn count_live_jobs(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError> {
        let rows = self
            .readers
            .run(async |connection: &mut PgConnection| sqlx::query(COUNT_LIVE).fetch_all(connection).await)
            .await?;
        rows.iter().map(|row| live_count(get(row, 0)?, get(row, 1)?, get(row, 2)?)).collect()
    }

    pub(super) async fn read_sealed(&self, id: JobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers
            .run(async |connection: &mut PgConnection| {
                sqlx::query_scalar(SEALED).bind(id.uuid()).fetch_optional(connection).await
            })
            .await
    }

    pub(super) async fn read_job_events(
        &self,
        id: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = self
            .readers
            .run(async |connection: &mut PgConnection| {
                let query = sqlx::query(JOB_EVENTS).bind(id.uuid()).bind(int(after)).bind(i64::from(limit));
                query.fetch_all(connection).await
            })
            .await?;
        events(&rows)
    }

    pub(super) async fn read_events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows = self
            .readers
            .run(async |connection: &mut PgConnection| {
                let last = i64::from(limit.max(1)) - 1;
                sqlx::query(EVENTS).bind(int(after)).bind(last).fetch_all(connection).await
            })
            .await?;
        let first = rows.first().ok_or_else(|| StoreError::Corrupt("its counters are gone".to_owned()))?;
        let purged = u64::try_from(get::<i64>(first, 9)?)
            .map_err(|_| StoreError::Corrupt("purged_through".to_owned()))?;
        if after < purged {
            return Err(StoreError::PositionGone { wanted: after, oldest: purged + 1 });
        }
        if get::<Option<i64>>(first, 0)?.is_none() {
            return Ok(Vec::new());
        }
        commits(&rows)
    }

    pub(super) async fn ping_reader(&self) -> Result<(), StoreError> {
        self.readers
            .run(async |connection: &mut PgConnection| {
                sqlx::query(PING).fetch_one(connection).await.map(drop)
            })
            .await
    }
}

fn get<'r, T>(row: &'r PgRow, column: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(read_fault)
}
