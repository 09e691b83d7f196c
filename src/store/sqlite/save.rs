//! Saves the rows that a group of writes changed, many rows to a statement.
//!
//! Each statement is made for a few fixed numbers of rows, so that its text repeats and stays prepared: 70 rows
//! go in as 64 + 4 + 1 + 1.

use std::sync::{Arc, LazyLock};

use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

use crate::domain::id::JobId;
use crate::domain::job::{Job, RequestRef};
use crate::store::fault::{Fault, unwritten};
use crate::store::ledger::{Ledger, NewEventRow, NewKey};
use crate::store::record::{end_time, int, to_json};

type Bound = Query<'static, Sqlite, SqliteArguments>;

/// A statement over many rows: `head (?, …), (?, …) tail`.
pub(super) struct Bulk {
    /// By number of rows, most first.
    pub(super) texts: [(usize, Arc<str>); 4],
}

impl Bulk {
    fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self {
            texts: [64, 16, 4, 1].map(|rows| {
                let rows_text = vec![row.as_str(); rows].join(", ");
                (rows, format!("{head} {rows_text} {tail}").into())
            }),
        }
    }

    /// Runs the statement for all of `rows`.
    async fn run<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(Bound, &T) -> Result<Bound, Fault>,
    ) -> Result<(), Fault> {
        let mut rest = rows;
        for (size, text) in &self.texts {
            while let Some((now, later)) = rest.split_at_checked(*size) {
                // The text is made of our own words and question marks alone.
                let query = sqlx::query(AssertSqlSafe(Arc::clone(text)));
                now.iter().try_fold(query, &bind)?.execute(&mut *connection).await?;
                rest = later;
            }
        }
        Ok(())
    }
}

static INSERT_REQUESTS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("INSERT INTO requests (id, digest, create_time) VALUES", 3, ""));

static INSERT_JOBS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO jobs (id, provider, target, operation, state, ended, holds, create_time, version, sequence, \
         request_id, request_index, spec, status, control, end_time) VALUES",
        16,
        "",
    )
});

pub(super) static UPDATE_JOBS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE jobs SET state = v.column2, ended = v.column3, holds = v.column4, version = v.column5, \
         sequence = v.column6, status = v.column7, control = v.column8, \
         end_time = v.column9 FROM (VALUES",
        9,
        ") AS v WHERE jobs.id = v.column1",
    )
});

static INSERT_LABELS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("INSERT INTO job_labels (key, value, create_time, job) VALUES", 4, ""));

static INSERT_SEALED: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("INSERT INTO sealed_passwords (job, sealed) VALUES", 2, ""));

pub(super) static DELETE_SEALED: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("DELETE FROM sealed_passwords WHERE job IN (VALUES", 1, ")"));

static INSERT_EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO events (position, commit_no, job, sequence, time, kind, message, status) VALUES",
        8,
        "",
    )
});

/// Saves what changed in `ledger`, inside the transaction that `connection` is in.
pub(super) async fn save(connection: &mut SqliteConnection, ledger: &Ledger) -> Result<(), Fault> {
    let saves = ledger.saves();
    INSERT_REQUESTS.run(connection, &saves.requests, request).await?;

    let changed: Vec<&Job> = ledger.changed_jobs().collect();
    UPDATE_JOBS.run(connection, &changed, changed_job).await?;
    let new: Vec<(&Job, Option<RequestRef>)> = ledger.new_jobs().collect();
    INSERT_JOBS.run(connection, &new, new_job).await?;
    let labels: Vec<(&Job, &String, &String)> = new
        .iter()
        .flat_map(|(job, _)| job.spec.labels.iter().map(move |(key, value)| (*job, key, value)))
        .collect();
    INSERT_LABELS.run(connection, &labels, label).await?;

    INSERT_SEALED.run(connection, &saves.sealed, sealed).await?;
    let erased: Vec<JobId> = saves.erased.iter().copied().collect();
    DELETE_SEALED.run(connection, &erased, |query, job| Ok(query.bind(bytes(*job)))).await?;
    INSERT_EVENTS.run(connection, &saves.events, event).await
}

fn request(query: Bound, key: &NewKey) -> Result<Bound, Fault> {
    Ok(query
        .bind(key.id.uuid().into_bytes().to_vec())
        .bind(key.digest.to_vec())
        .bind(key.create_time.as_microsecond()))
}

fn new_job(query: Bound, (job, request): &(&Job, Option<RequestRef>)) -> Result<Bound, Fault> {
    let (spec, status) = (&job.spec, &job.status);
    Ok(query
        .bind(bytes(job.id))
        .bind(spec.target.provider.as_str().to_owned())
        .bind(spec.target.to_string())
        .bind(spec.operation.kind().as_str())
        .bind(status.state.as_str())
        .bind(status.state.is_ended())
        .bind(job.control.holds_target)
        .bind(spec.create_time.as_microsecond())
        .bind(int(job.version))
        .bind(int(job.sequence))
        .bind(request.map(|at| at.id.uuid().into_bytes().to_vec()))
        .bind(request.map(|at| i64::from(at.index)))
        .bind(to_json(job.id, "spec", spec).map_err(unwritten)?)
        .bind(to_json(job.id, "status", status).map_err(unwritten)?)
        .bind(to_json(job.id, "control", &job.control).map_err(unwritten)?)
        .bind(end_time(job)))
}

fn changed_job(query: Bound, job: &&Job) -> Result<Bound, Fault> {
    Ok(query
        .bind(bytes(job.id))
        .bind(job.status.state.as_str())
        .bind(job.status.state.is_ended())
        .bind(job.control.holds_target)
        .bind(int(job.version))
        .bind(int(job.sequence))
        .bind(to_json(job.id, "status", &job.status).map_err(unwritten)?)
        .bind(to_json(job.id, "control", &job.control).map_err(unwritten)?)
        .bind(end_time(job)))
}

fn label(query: Bound, (job, key, value): &(&Job, &String, &String)) -> Result<Bound, Fault> {
    Ok(query
        .bind((*key).clone())
        .bind((*value).clone())
        .bind(job.spec.create_time.as_microsecond())
        .bind(bytes(job.id)))
}

fn sealed(query: Bound, (job, sealed): &(JobId, Vec<u8>)) -> Result<Bound, Fault> {
    Ok(query.bind(bytes(*job)).bind(sealed.clone()))
}

fn event(query: Bound, row: &NewEventRow) -> Result<Bound, Fault> {
    Ok(query
        .bind(int(row.position))
        .bind(int(row.commit))
        .bind(bytes(row.job))
        .bind(int(row.sequence))
        .bind(row.event.time.as_microsecond())
        .bind(row.event.kind.as_str())
        .bind(row.event.message.clone())
        .bind(to_json(row.job, "event's status", &row.status).map_err(unwritten)?))
}

pub(super) fn bytes(job: JobId) -> Vec<u8> {
    job.uuid().into_bytes().to_vec()
}
