//! Reads what a group of writes may touch into its [`Ledger`]: a few statements, however many writes.
//!
//! Lists of ids go in as one JSON array of hex texts, so that the statement's text stays the same and stays
//! prepared. `CROSS JOIN` makes SQLite walk the array and look up each row by its index.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use crate::store::columns::{Columns, know_job, know_live, know_place, know_request};
use crate::store::fault::Fault;
use crate::store::group::Work;
use crate::store::ledger::Ledger;
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
        for row in all(connection, JOBS_BY_REQUEST, hex(&wanted.requests)).await? {
            know_place(&mut ledger, &row)?;
        }
    }
    if !wanted.jobs.is_empty() {
        for row in all(connection, JOBS_BY_ID, hex(&wanted.jobs)).await? {
            know_job(&mut ledger, &row)?;
        }
    }
    let targets = wanted.targets(works, &ledger);
    if !targets.is_empty() {
        for row in all(connection, LIVE_BY_TARGET, serde_json::json!(targets).to_string()).await? {
            know_live(&mut ledger, &row)?;
        }
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
        know_request(ledger, row)?;
    }
    Ok(!rows.is_empty())
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

impl Columns for SqliteRow {
    fn int(&self, column: usize) -> Result<i64, Fault> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool, Fault> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, Fault> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Fault> {
        Ok(self.try_get(column)?)
    }

    fn uuid(&self, column: usize) -> Result<Uuid, Fault> {
        Uuid::from_slice(self.bytes(column)?).map_err(|_| Fault::Corrupt("an id that is no UUID".to_owned()))
    }
}
