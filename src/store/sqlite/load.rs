//! Reads what a group of writes may touch into its [`Ledger`]: a few statements, however many writes.
//!
//! Lists of ids go in as one JSON array of hex texts, so that the statement's text stays the same and stays
//! prepared. `CROSS JOIN` makes SQLite walk the array and look up each row by its index.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use crate::domain::id::JobId;
use crate::domain::target::Target;
use crate::store::fault::{Fault, damage};
use crate::store::group::Work;
use crate::store::ledger::Ledger;
use crate::store::record::{JobRow, job_id, request_id};
use crate::store::wanted::Wanted;

pub(super) const JOBS_BY_ID: &str = "\
    SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control \
    FROM json_each(?1) AS w CROSS JOIN jobs AS j ON j.id = unhex(w.value)";
pub(super) const LIVE_BY_TARGET: &str = "\
    SELECT j.id, j.holds, w.value FROM json_each(?1) AS w CROSS JOIN jobs AS j \
    ON j.target = w.value AND j.ended = 0";
pub(super) const REQUESTS_BY_ID: &str = "\
    SELECT r.id, r.digest FROM json_each(?1) AS w CROSS JOIN requests AS r ON r.id = unhex(w.value)";
pub(super) const JOBS_BY_REQUEST: &str = "\
    SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control, j.request_id, j.request_index \
    FROM json_each(?1) AS w CROSS JOIN jobs AS j ON j.request_id = unhex(w.value)";

/// Reads what `works` may touch. `position` is the newest event's.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    works: &[Work],
    position: u64,
) -> Result<Ledger, Fault> {
    let mut ledger = Ledger::new(position);
    let wanted = Wanted::of(works);
    if !wanted.requests.is_empty() && load_requests(connection, &wanted.requests, &mut ledger).await? {
        load_places(connection, &wanted.requests, &mut ledger).await?;
    }
    if !wanted.jobs.is_empty() {
        for row in all(connection, JOBS_BY_ID, hex(&wanted.jobs)).await? {
            know(&mut ledger, &row)?;
        }
    }
    let targets = wanted.targets(works, &ledger);
    if !targets.is_empty() {
        load_live(connection, targets, &mut ledger).await?;
    }
    Ok(ledger)
}

/// Says whether any was known.
async fn load_requests(
    connection: &mut SqliteConnection,
    requests: &BTreeSet<Uuid>,
    ledger: &mut Ledger,
) -> Result<bool, Fault> {
    let rows = all(connection, REQUESTS_BY_ID, hex(requests)).await?;
    for row in &rows {
        let digest = <[u8; 32]>::try_from(row.try_get::<&[u8], _>(1)?)
            .map_err(|_| Fault::Corrupt("a request's digest".to_owned()))?;
        ledger.know_request(request_id(row.try_get(0)?).map_err(damage)?, digest);
    }
    Ok(!rows.is_empty())
}

async fn load_places(
    connection: &mut SqliteConnection,
    requests: &BTreeSet<Uuid>,
    ledger: &mut Ledger,
) -> Result<(), Fault> {
    for row in all(connection, JOBS_BY_REQUEST, hex(requests)).await? {
        let job = know(ledger, &row)?;
        let index = u32::try_from(row.try_get::<i64, _>(7)?)
            .map_err(|_| Fault::Corrupt("a job's place in its request".to_owned()))?;
        ledger.know_place(request_id(row.try_get(6)?).map_err(damage)?, index, job);
    }
    Ok(())
}

async fn load_live(
    connection: &mut SqliteConnection,
    targets: BTreeSet<String>,
    ledger: &mut Ledger,
) -> Result<(), Fault> {
    for row in all(connection, LIVE_BY_TARGET, serde_json::json!(targets).to_string()).await? {
        let target = Target::parse_name(row.try_get(2)?)
            .map_err(|error| Fault::Corrupt(format!("a job's target: {error}")))?;
        ledger.know_live(target, job_id(row.try_get(0)?).map_err(damage)?, row.try_get(1)?);
    }
    Ok(())
}

/// Tells the ledger of a job. One that cannot be read is told too, so that it harms its own writes alone.
fn know(ledger: &mut Ledger, row: &SqliteRow) -> Result<JobId, Fault> {
    let row = job_row(row)?;
    let id = row.id;
    match row.into_job() {
        Ok(job) => ledger.know_job(job),
        Err(error) => ledger.know_damage(id, error.to_string()),
    }
    Ok(id)
}

/// The first six columns of a row, in the order of [`JobRow`].
pub(super) fn job_row(row: &SqliteRow) -> Result<JobRow, Fault> {
    Ok(JobRow {
        id: job_id(row.try_get(0)?).map_err(damage)?,
        version: row.try_get(1)?,
        sequence: row.try_get(2)?,
        spec: row.try_get(3)?,
        status: row.try_get(4)?,
        control: row.try_get(5)?,
    })
}

fn hex(ids: &BTreeSet<Uuid>) -> String {
    serde_json::json!(ids.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>()).to_string()
}

async fn all(
    connection: &mut SqliteConnection,
    sql: &'static str,
    list: String,
) -> Result<Vec<SqliteRow>, Fault> {
    Ok(sqlx::query(sql).bind(list).fetch_all(connection).await?)
}
