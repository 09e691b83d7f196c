//! Removing ended jobs, in short steps beside the ordinary writes.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::readers::Readers;
use super::save::bytes;
use crate::domain::id::JobId;
use crate::store::columns::Columns as _;
use crate::store::error::StoreError;
use crate::store::fault::{Fault, read_fault};
use crate::store::record::{int, job_id};
use crate::store::retention::{Purge, Purged, Step, Through};

/// The latest job to end that is one too many. Walks as many index entries as are kept, outside the writer.
pub(super) const FIRST_TOO_MANY: &str = "\
    SELECT end_time, id FROM jobs WHERE ended = 1 ORDER BY end_time DESC, id DESC LIMIT 1 OFFSET ?1";
/// What goes in this step. Only the writing connection sees it; the statements that follow agree on it.
pub(super) const TABLE: &str = "\
    CREATE TEMP TABLE IF NOT EXISTS purge (job BLOB PRIMARY KEY NOT NULL, request BLOB) WITHOUT ROWID";
/// The jobs of one request go together.
const NOTE: &str = "\
    INSERT INTO temp.purge SELECT id, request_id FROM jobs \
    WHERE ended = 1 AND (end_time, id) <= (?1, ?2) \
    AND NOT EXISTS (SELECT 1 FROM jobs AS live WHERE live.request_id = jobs.request_id AND live.ended = 0) \
    AND NOT EXISTS (SELECT 1 FROM jobs AS late WHERE late.request_id = jobs.request_id AND late.ended = 1 \
        AND (late.end_time, late.id) > (?1, ?2)) \
    ORDER BY end_time, id LIMIT ?3";
const NOTE_GONE: &str = "\
    UPDATE meta SET value = CAST(max(CAST(value AS INTEGER), ?1) AS TEXT) WHERE key = 'purged_through'";
const DELETE_EVENTS: &str = "\
    DELETE FROM events WHERE position IN ( \
        SELECT e.position FROM temp.purge AS p CROSS JOIN events AS e ON e.job = p.job \
        ORDER BY p.job, e.sequence LIMIT ?1) RETURNING position";
/// Of the jobs that may go those that have no event left.
const DELETE_JOBS: &str = "\
    DELETE FROM jobs WHERE id IN (SELECT job FROM temp.purge) \
    AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.job = jobs.id) RETURNING id";
const DELETE_KEYS: &str = "\
    DELETE FROM requests WHERE id IN (SELECT request FROM temp.purge WHERE request IS NOT NULL) \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = requests.id)";
/// Keys whose entries all were refused stand for no job.
const DELETE_BARE_KEYS: &str = "\
    DELETE FROM requests WHERE id IN (SELECT r.id FROM requests AS r WHERE r.create_time < ?1 \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = r.id) LIMIT ?2)";

/// Every step but the walk, for the reader of plans.
#[cfg(test)]
pub(super) const STEPS: [&str; 6] =
    [NOTE, DELETE_EVENTS, NOTE_GONE, DELETE_JOBS, DELETE_KEYS, DELETE_BARE_KEYS];

/// The latest to end of the jobs that are more than `keep`.
pub(super) async fn too_many(readers: &Readers, keep: u64) -> Result<Option<Through>, StoreError> {
    let mut reader = readers.get().await?;
    let row = reader
        .run(async |connection| sqlx::query(FIRST_TOO_MANY).bind(int(keep)).fetch_optional(connection).await)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = job_id(row.try_get(1).map_err(read_fault)?)?;
    Ok(Some(Through { end_time: row.try_get(0).map_err(read_fault)?, id }))
}

/// Removes one step's worth, inside the transaction that `connection` is in, and notes which jobs are gone.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    purge: &Purge,
    gone: &mut Vec<JobId>,
) -> Result<Purged, Fault> {
    match purge {
        Purge::Jobs(through, step) => jobs(connection, through, *step, gone).await,
        Purge::BareKeys { before, limit } => {
            let bare = sqlx::query(DELETE_BARE_KEYS).bind(before).bind(limit);
            let keys = bare.execute(connection).await?.rows_affected();
            Ok(Purged { keys, ..Purged::default() })
        }
    }
}

async fn jobs(
    connection: &mut SqliteConnection,
    through: &Through,
    step: Step,
    gone: &mut Vec<JobId>,
) -> Result<Purged, Fault> {
    sqlx::query(TABLE).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM temp.purge").execute(&mut *connection).await?;
    let note = sqlx::query(NOTE).bind(through.end_time).bind(bytes(through.id)).bind(step.jobs);
    if note.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(Purged::default());
    }
    let events: Vec<i64> =
        sqlx::query_scalar(DELETE_EVENTS).bind(step.events).fetch_all(&mut *connection).await?;
    if let Some(newest) = events.iter().max() {
        sqlx::query(NOTE_GONE).bind(newest).execute(&mut *connection).await?;
    }
    let jobs = sqlx::query(DELETE_JOBS).fetch_all(&mut *connection).await?;
    for row in &jobs {
        gone.push(JobId::new(row.uuid(0)?));
    }
    let keys = sqlx::query(DELETE_KEYS).execute(connection).await?.rows_affected();
    Ok(Purged { jobs: jobs.len() as u64, events: events.len() as u64, keys })
}
