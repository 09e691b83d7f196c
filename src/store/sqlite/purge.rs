//! Removing ended jobs, in short steps beside the ordinary writes.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::readers::Readers;
use super::save::bytes;
use crate::store::error::StoreError;
use crate::store::fault::{Fault, read_fault};
use crate::store::record::{int, job_id};
use crate::store::retention::{Purge, Purged, Retention};

/// The latest job to end that is one too many. Walks as many index entries as are kept, outside the writer.
pub(super) const FIRST_TOO_MANY: &str = "\
    SELECT end_time, id FROM jobs WHERE ended = 1 ORDER BY end_time DESC, id DESC LIMIT 1 OFFSET ?1";
/// What goes in this step. Only the writing connection sees it; the statements that follow agree on it.
pub(super) const TABLE: &str = "\
    CREATE TEMP TABLE IF NOT EXISTS purge (job BLOB PRIMARY KEY NOT NULL, request BLOB) WITHOUT ROWID";
const NOTE_OLD: &str = "\
    INSERT INTO temp.purge SELECT id, request_id FROM jobs WHERE ended = 1 AND end_time < ?1 \
    ORDER BY end_time, id LIMIT ?2";
const NOTE_TOO_MANY: &str = "\
    INSERT OR IGNORE INTO temp.purge SELECT id, request_id FROM jobs \
    WHERE ended = 1 AND (end_time, id) <= (?1, ?2) ORDER BY end_time, id LIMIT ?3";
const NEWEST_GONE: &str =
    "SELECT max(e.position) FROM temp.purge AS p CROSS JOIN events AS e ON e.job = p.job";
const NOTE_GONE: &str = "\
    UPDATE meta SET value = CAST(max(CAST(value AS INTEGER), ?1) AS TEXT) WHERE key = 'purged_through'";
const DELETE_EVENTS: &str = "DELETE FROM events WHERE job IN (SELECT job FROM temp.purge)";
const DELETE_JOBS: &str = "DELETE FROM jobs WHERE id IN (SELECT job FROM temp.purge)";
const DELETE_KEYS: &str = "\
    DELETE FROM requests WHERE id IN (SELECT request FROM temp.purge WHERE request IS NOT NULL) \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = requests.id)";
/// Keys whose entries all were refused stand for no job.
const DELETE_BARE_KEYS: &str = "\
    DELETE FROM requests WHERE id IN (SELECT r.id FROM requests AS r WHERE r.create_time < ?1 \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = r.id) LIMIT ?2)";

/// Every step but the walk, for the reader of plans.
#[cfg(test)]
pub(super) const STEPS: [&str; 8] = [
    NOTE_OLD,
    NOTE_TOO_MANY,
    NEWEST_GONE,
    NOTE_GONE,
    DELETE_EVENTS,
    DELETE_JOBS,
    DELETE_KEYS,
    DELETE_BARE_KEYS,
];

/// Finds out what may go.
pub(super) async fn plan(readers: &Readers, retention: Retention, limit: u32) -> Result<Purge, StoreError> {
    let mut reader = readers.get().await?;
    let row = reader
        .run(async |connection| {
            sqlx::query(FIRST_TOO_MANY).bind(int(retention.keep)).fetch_optional(connection).await
        })
        .await?;
    let too_many = match row {
        Some(row) => {
            Some((row.try_get(0).map_err(read_fault)?, job_id(row.try_get(1).map_err(read_fault)?)?))
        }
        None => None,
    };
    Ok(Purge { ended_before: retention.ended_before.as_microsecond(), too_many, limit })
}

/// Removes one step's worth, inside the transaction that `connection` is in.
pub(super) async fn run(connection: &mut SqliteConnection, purge: &Purge) -> Result<Purged, Fault> {
    sqlx::query(TABLE).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM temp.purge").execute(&mut *connection).await?;
    let old = sqlx::query(NOTE_OLD).bind(purge.ended_before).bind(purge.limit);
    let noted = old.execute(&mut *connection).await?.rows_affected();
    let left = i64::from(purge.limit).saturating_sub(i64::try_from(noted).unwrap_or(i64::MAX));
    if let Some((end_time, id)) = &purge.too_many
        && left > 0
    {
        // Those noted already come first in this order, too.
        let too_many = sqlx::query(NOTE_TOO_MANY).bind(*end_time).bind(bytes(*id)).bind(purge.limit);
        too_many.execute(&mut *connection).await?;
    }
    let newest: Option<i64> = sqlx::query_scalar(NEWEST_GONE).fetch_one(&mut *connection).await?;
    if let Some(newest) = newest {
        sqlx::query(NOTE_GONE).bind(newest).execute(&mut *connection).await?;
    }
    let events = sqlx::query(DELETE_EVENTS).execute(&mut *connection).await?.rows_affected();
    let jobs = sqlx::query(DELETE_JOBS).execute(&mut *connection).await?.rows_affected();
    sqlx::query(DELETE_KEYS).execute(&mut *connection).await?;
    let bare = sqlx::query(DELETE_BARE_KEYS).bind(purge.ended_before).bind(purge.limit);
    bare.execute(connection).await?;
    Ok(Purged { jobs, events })
}
