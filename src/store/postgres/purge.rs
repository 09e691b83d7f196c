//! Removing ended jobs, in short steps beside the ordinary writes.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::connections::Connections;
use crate::domain::id::JobId;
use crate::store::error::StoreError;
use crate::store::fault::{Fault, read_fault};
use crate::store::record::int;
use crate::store::retention::{Purge, Purged, Retention};

/// The latest job to end that is one too many. Walks as many index entries as are kept, outside the writer.
pub(super) const FIRST_TOO_MANY: &str = "\
    SELECT end_time, id FROM jobs WHERE ended ORDER BY end_time DESC, id DESC LIMIT 1 OFFSET $1";
pub(super) const OLDEST: &str = "\
    SELECT id, request_id FROM jobs WHERE ended AND (end_time, id) <= ($1, $2) ORDER BY end_time, id LIMIT $3";
pub(super) const DELETE_EVENTS: &str = "\
    WITH gone AS (DELETE FROM events WHERE job = ANY($1) RETURNING position) \
    SELECT count(*), max(position) FROM gone";
/// The newest position is kept, too: it must not be given again when its event is gone.
const NOTE_GONE: &str =
    "UPDATE counters SET purged_through = greatest(purged_through, $1), position = greatest(position, $2)";
pub(super) const DELETE_JOBS: &str = "DELETE FROM jobs WHERE id = ANY($1)";
pub(super) const DELETE_KEYS: &str = "\
    DELETE FROM requests WHERE id = ANY($1) \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = requests.id)";
/// Keys whose entries all were refused stand for no job. The inner LIMIT keeps the look-up by index: as a join it might
/// be planned as a walk of all jobs.
pub(super) const DELETE_BARE_KEYS: &str = "\
    DELETE FROM requests WHERE id = ANY(ARRAY(SELECT r.id FROM requests AS r WHERE r.create_time < $1 \
    AND (SELECT j.request_id FROM jobs AS j WHERE j.request_id = r.id LIMIT 1) IS NULL \
    ORDER BY r.create_time LIMIT $2))";

/// Finds out what may go.
pub(super) async fn plan(
    connections: &Connections,
    retention: Retention,
    limit: u32,
) -> Result<Purge, StoreError> {
    let row = connections
        .run(async |connection: &mut PgConnection| {
            sqlx::query(FIRST_TOO_MANY).bind(int(retention.keep)).fetch_optional(connection).await
        })
        .await?;
    let too_many = match row {
        Some(row) => {
            Some((row.try_get(0).map_err(read_fault)?, JobId::new(row.try_get(1).map_err(read_fault)?)))
        }
        None => None,
    };
    Ok(Purge { ended_before: retention.ended_before.as_microsecond(), too_many, limit })
}

/// Removes one step's worth, inside the transaction that `connection` is in. `position` is the newest event's.
pub(super) async fn run(
    connection: &mut PgConnection,
    purge: &Purge,
    position: u64,
) -> Result<Purged, Fault> {
    let (end_time, id) = last_to_go(purge);
    let rows = sqlx::query(OLDEST)
        .bind(end_time)
        .bind(id.uuid())
        .bind(i64::from(purge.limit))
        .fetch_all(&mut *connection)
        .await?;
    let mut jobs: Vec<Uuid> = Vec::with_capacity(rows.len());
    let mut requests: Vec<Uuid> = Vec::new();
    for row in &rows {
        jobs.push(row.try_get(0)?);
        requests.extend(row.try_get::<Option<Uuid>, _>(1)?);
    }
    let mut purged = Purged::default();
    if !jobs.is_empty() {
        let gone = sqlx::query(DELETE_EVENTS).bind(&jobs).fetch_one(&mut *connection).await?;
        purged.events = u64::try_from(gone.try_get::<i64, _>(0)?).unwrap_or(0);
        if let Some(newest) = gone.try_get::<Option<i64>, _>(1)? {
            let note = sqlx::query(NOTE_GONE).bind(newest).bind(int(position));
            note.execute(&mut *connection).await?;
        }
        purged.jobs = sqlx::query(DELETE_JOBS).bind(&jobs).execute(&mut *connection).await?.rows_affected();
    }
    if !requests.is_empty() {
        sqlx::query(DELETE_KEYS).bind(&requests).execute(&mut *connection).await?;
    }
    if purged.jobs >= u64::from(purge.limit) {
        // There are more to go; their keys are old and not bare, and would be walked in vain at every step.
        return Ok(purged);
    }
    let bare = sqlx::query(DELETE_BARE_KEYS).bind(purge.ended_before).bind(i64::from(purge.limit));
    bare.execute(connection).await?;
    Ok(purged)
}

/// Too old and too many are both the beginning of one order, so the later end holds for both.
fn last_to_go(purge: &Purge) -> (i64, JobId) {
    let too_old = (purge.ended_before.saturating_sub(1), JobId::new(Uuid::max()));
    purge.too_many.map_or(too_old, |too_many| too_many.max(too_old))
}
