//! Reads what a group of writes may touch into its [`Ledger`], in the same breath as the transaction begins.
//!
//! All statements go to SQLite's thread as one text: its way there and back costs as much as they do. Lists of ids go
//! in as one JSON array of hex texts, so that the texts are few and stay prepared. `CROSS JOIN` makes SQLite walk the array
//! and look up each row by its index.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, Row as _};
use uuid::Uuid;

use crate::store::columns::{Columns, know_job, know_live, know_place, know_request};
use crate::store::fault::Fault;
use crate::store::group::Work;
use crate::store::ledger::Ledger;
use crate::store::wanted::Wanted;

/// Takes the right to write now, rather than fail at the first write.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
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

/// What the rows of a statement are.
#[derive(Clone, Copy, Debug)]
enum Rows {
    None,
    Requests,
    Places,
    Jobs,
    Live,
}

/// Begins a transaction and reads what `works` may touch. `position` is the newest event's.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    works: &[Work],
    position: u64,
) -> Result<Ledger, Fault> {
    let mut ledger = Ledger::new(position);
    let wanted = Wanted::of(works);
    // Only what there is to ask: each statement has its answer, which may wake this task. sqlx hands the statements of a
    // text to SQLite at once, and gives each its share of the values in turn.
    let (mut text, mut rows, mut values) = (BEGIN.to_owned(), vec![Rows::None], SqliteArguments::default());
    let mut ask = |statement: &str, of: Rows, names: String| {
        text.push_str("; ");
        text.push_str(statement);
        rows.push(of);
        values.add(names)
    };
    let asked = [
        (!wanted.requests.is_empty(), REQUESTS_BY_ID, Rows::Requests, &wanted.requests),
        (!wanted.requests.is_empty(), JOBS_BY_REQUEST, Rows::Places, &wanted.requests),
        (!wanted.jobs.is_empty(), JOBS_BY_ID, Rows::Jobs, &wanted.jobs),
        (!wanted.takers.is_empty(), LIVE_BY_TAKER, Rows::Live, &wanted.takers),
    ];
    for (_, statement, of, ids) in asked.into_iter().filter(|(asked, ..)| *asked) {
        ask(statement, of, hex(ids)).map_err(sqlx::Error::Encode)?;
    }
    let targets = wanted.new_targets();
    if !targets.is_empty() {
        ask(LIVE_BY_TARGET, Rows::Live, serde_json::json!(targets).to_string())
            .map_err(sqlx::Error::Encode)?;
    }
    // Made of our own words alone.
    let mut answers = connection.fetch_many(sqlx::query_with(AssertSqlSafe(text), values));
    let mut rows = rows.into_iter();
    let mut of = rows.next();
    while let Some(answer) = answers.try_next().await? {
        match (answer, of) {
            (Either::Left(_), _) => of = rows.next(),
            (Either::Right(row), Some(Rows::Requests)) => know_request(&mut ledger, &row)?,
            (Either::Right(row), Some(Rows::Places)) => know_place(&mut ledger, &row)?,
            (Either::Right(row), Some(Rows::Jobs)) => know_job(&mut ledger, &row).map(drop)?,
            (Either::Right(row), Some(Rows::Live)) => know_live(&mut ledger, &row)?,
            (Either::Right(_), Some(Rows::None) | None) => {
                return Err(Fault::Corrupt("a row that nobody asked for".to_owned()));
            }
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
