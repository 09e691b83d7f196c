//! Removing ended jobs, in short steps beside the ordinary writes.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::connections::Connections;
use crate::domain::id::JobId;
use crate::store::error::StoreError;
use crate::store::fault::{Fault, read_fault};
use crate::store::record::int;
use crate::store::retention::{Purge, Purged, Step, Through};

/// The latest job to end that is one too many. Walks as many index entries as are kept, outside the writer.
pub(super) const FIRST_TOO_MANY: &str = "\
    SELECT end_time, id FROM jobs WHERE ended ORDER BY end_time DESC, id DESC LIMIT 1 OFFSET $1";
/// The jobs of one request go together. The inner LIMITs keep the look-ups by index: as joins they might be planned as
/// walks of all jobs.
pub(super) const OLDEST: &str = "\
    SELECT id FROM jobs WHERE ended AND (end_time, id) <= ($1, $2) \
    AND (SELECT live.id FROM jobs AS live WHERE live.request_id = jobs.request_id AND NOT live.ended LIMIT 1) IS NULL \
    AND (SELECT late.id FROM jobs AS late WHERE late.request_id = jobs.request_id AND late.ended \
        AND (late.end_time, late.id) > ($1, $2) LIMIT 1) IS NULL \
    ORDER BY end_time, id LIMIT $3";
/// Cut to microseconds, as times are kept.
const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// The inner LIMITs keep the look-up by index, and stop it at as many events as may go.
pub(super) const DELETE_EVENTS: &str = "\
    WITH gone AS (DELETE FROM events WHERE position = ANY(ARRAY( \
        SELECT e.position FROM unnest($1::uuid[]) AS w (job) CROSS JOIN LATERAL ( \
            SELECT o.position FROM events AS o WHERE o.job = w.job ORDER BY o.sequence LIMIT $2) AS e \
        LIMIT $2)) RETURNING position) \
    SELECT count(*), max(position) FROM gone";
/// The newest position is kept, too: it must not be given again when its event is gone.
const NOTE_GONE: &str =
    "UPDATE counters SET purged_through = greatest(purged_through, $1), position = greatest(position, $2)";
/// Of the jobs that may go those that have no event left.
pub(super) const DELETE_JOBS: &str = "\
    DELETE FROM jobs WHERE id = ANY($1) \
    AND (SELECT e.position FROM events AS e WHERE e.job = jobs.id LIMIT 1) IS NULL RETURNING request_id";
pub(super) const DELETE_KEYS: &str = "\
    DELETE FROM requests WHERE id = ANY($1) \
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.request_id = requests.id)";
/// Keys whose entries all were refused stand for no job. The inner LIMIT keeps the look-up by index: as a join it might
/// be planned as a walk of all jobs.
pub(super) const DELETE_BARE_KEYS: &str = "\
    DELETE FROM requests WHERE id = ANY(ARRAY(SELECT r.id FROM requests AS r WHERE r.create_time < $1 \
    AND (SELECT j.request_id FROM jobs AS j WHERE j.request_id = r.id LIMIT 1) IS NULL \
    ORDER BY r.create_time LIMIT $2))";

/// The latest to end of the jobs that are more than `keep`.
pub(super) async fn too_many(connections: &Connections, keep: u64) -> Result<Option<Through>, StoreError> {
    let row = connections
        .run(async |connection: &mut PgConnection| {
            sqlx::query(FIRST_TOO_MANY).bind(int(keep)).fetch_optional(connection).await
        })
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = JobId::new(row.try_get(1).map_err(read_fault)?);
    Ok(Some(Through { end_time: row.try_get(0).map_err(read_fault)?, id }))
}

/// The database's clock.
pub(super) async fn now(connections: &Connections) -> Result<Timestamp, StoreError> {
    let micros: i64 = connections
        .run(async |connection: &mut PgConnection| sqlx::query_scalar(NOW).fetch_one(connection).await)
        .await?;
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Corrupt("the database's clock".to_owned()))
}

/// Removes one step's worth, inside the transaction that `connection` is in. `position` is the newest event's.
pub(super) async fn run(
    connection: &mut PgConnection,
    purge: &Purge,
    position: u64,
) -> Result<Purged, Fault> {
    match purge {
        Purge::Jobs(through, step) => jobs(connection, through, *step, position).await,
        Purge::BareKeys { before, limit } => {
            let bare = sqlx::query(DELETE_BARE_KEYS).bind(before).bind(i64::from(*limit));
            let keys = bare.execute(connection).await?.rows_affected();
            Ok(Purged { keys, ..Purged::default() })
        }
    }
}

async fn jobs(
    connection: &mut PgConnection,
    through: &Through,
    step: Step,
    position: u64,
) -> Result<Purged, Fault> {
    let oldest = sqlx::query_scalar(OLDEST).bind(through.end_time).bind(through.id.uuid());
    let jobs: Vec<Uuid> = oldest.bind(i64::from(step.jobs)).fetch_all(&mut *connection).await?;
    let mut purged = Purged::default();
    if jobs.is_empty() {
        return Ok(purged);
    }
    let gone = sqlx::query(DELETE_EVENTS).bind(&jobs).bind(i64::from(step.events));
    let gone = gone.fetch_one(&mut *connection).await?;
    purged.events = u64::try_from(gone.try_get::<i64, _>(0)?).unwrap_or(0);
    if let Some(newest) = gone.try_get::<Option<i64>, _>(1)? {
        let note = sqlx::query(NOTE_GONE).bind(newest).bind(int(position));
        note.execute(&mut *connection).await?;
    }
    let gone = sqlx::query_scalar(DELETE_JOBS).bind(&jobs);
    let requests: Vec<Option<Uuid>> = gone.fetch_all(&mut *connection).await?;
    purged.jobs = requests.len() as u64;
    let requests: Vec<Uuid> = requests.into_iter().flatten().collect();
    if !requests.is_empty() {
        let keys = sqlx::query(DELETE_KEYS).bind(&requests);
        purged.keys = keys.execute(connection).await?.rows_affected();
    }
    Ok(purged)
}
