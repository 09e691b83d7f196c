//! Reads what a group of writes may touch into its [`Ledger`], in the same breath as the transaction begins.
//!
//! All statements go to SQLite's thread as one text: its way there and back costs as much as they do. Lists of ids go
//! in as one JSON array of hex texts, so that the text stays the same and stays prepared; of an empty array nothing is
//! looked up. `CROSS JOIN` makes SQLite walk the array and look up each row by its index.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _};
use uuid::Uuid;

use crate::store::columns::{Columns, know_job, know_live, know_place, know_request};
use crate::store::fault::Fault;
use crate::store::group::Work;
use crate::store::ledger::Ledger;
use crate::store::wanted::Wanted;

/// Takes the right to write now, rather than fail at the first write.
const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const REQUESTS_BY_ID: &str = "\
    SELECT r.id, r.digest FROM json_each(?) AS w CROSS JOIN requests AS r ON r.id = unhex(w.value)";
pub(super) const JOBS_BY_REQUEST: &str = "\
    SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control, j.request_id, j.request_index \
    FROM json_each(?) AS w CROSS JOIN jobs AS j ON j.request_id = unhex(w.value)";
pub(super) const JOBS_BY_ID: &str = "\
    SELECT j.id, j.version, j.sequence, j.spec, j.status, j.control \
    FROM json_each(?) AS w CROSS JOIN jobs AS j ON j.id = unhex(w.value)";
pub(super) const LIVE_BY_TARGET: &str = "\
    SELECT j.id, j.holds, w.value FROM json_each(?) AS w CROSS JOIN jobs AS j \
    ON j.target = w.value AND j.ended = 0";
/// Live jobs on the targets that jobs want to take.
pub(super) const LIVE_BY_TAKER: &str = "\
    SELECT j.id, j.holds, j.target FROM json_each(?) AS w CROSS JOIN jobs AS t \
    ON t.id = unhex(w.value) AND t.holds = 0 CROSS JOIN jobs AS j ON j.target = t.target AND j.ended = 0";

/// The statements in one text. sqlx hands several to SQLite at once, and gives each its share of the values in turn.
static TEXT: LazyLock<Arc<str>> = LazyLock::new(|| {
    [BEGIN, REQUESTS_BY_ID, JOBS_BY_REQUEST, JOBS_BY_ID, LIVE_BY_TARGET, LIVE_BY_TAKER].join("; ").into()
});

/// Begins a transaction and reads what `works` may touch. `position` is the newest event's.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    works: &[Work],
    position: u64,
) -> Result<Ledger, Fault> {
    let mut ledger = Ledger::new(position);
    let wanted = Wanted::of(works);
    // Made of our own words alone.
    let query = sqlx::query(AssertSqlSafe(Arc::clone(&TEXT)))
        .bind(hex(&wanted.requests))
        .bind(hex(&wanted.requests))
        .bind(hex(&wanted.jobs))
        .bind(serde_json::json!(wanted.new_targets()).to_string())
        .bind(hex(&wanted.takers));
    let mut answers = connection.fetch_many(query);
    let mut done = 0;
    while let Some(answer) = answers.try_next().await? {
        match (answer, done) {
            (Either::Left(_), _) => done += 1,
            (Either::Right(row), 1) => know_request(&mut ledger, &row)?,
            (Either::Right(row), 2) => know_place(&mut ledger, &row)?,
            (Either::Right(row), 3) => know_job(&mut ledger, &row).map(drop)?,
            (Either::Right(row), _) => know_live(&mut ledger, &row)?,
        }
    }
    Ok(ledger)
}

fn hex(ids: &BTreeSet<Uuid>) -> String {
    serde_json::json!(ids.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>()).to_string()
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
