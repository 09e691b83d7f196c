//! Saves the rows that a group of writes changed, many rows to a statement, many statements to a text.
//!
//! A text goes to SQLite's thread and back as a whole, since the way costs as much as a statement does. Each statement is
//! made for a few fixed numbers of rows, and filled up with rows of nothing, so that the texts repeat and stay prepared:
//! 70 rows go in as 64 and 16, ten of which are nothing.

use std::sync::{Arc, LazyLock};

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Type};

use super::load::BEGIN;
use crate::domain::id::JobId;
use crate::domain::job::{Job, RequestRef};
use crate::store::fault::{Fault, unwritten};
use crate::store::ledger::{Extent, Ledger, NewEventRow, NewKey};
use crate::store::record::{end_time, int, to_json};

/// How many rows one text has at most. A group of a few jobs goes in as one text, its commit included; the more rows,
/// the less does the way count.
const TEXT_ROWS: usize = 64;

/// A statement over many rows: `head (?, …), (?, …) tail`. A row whose first value is NULL does nothing.
pub(super) struct Bulk {
    columns: usize,
    /// By number of rows, fewest first.
    pub(super) texts: [(usize, Arc<str>); 4],
}

impl Bulk {
    fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let text = |rows| format!("{head} (VALUES {}) {tail}", vec![row.as_str(); rows].join(", "));
        Self { columns, texts: [1, 4, 16, TEXT_ROWS].map(|rows| (rows, text(rows).into())) }
    }

    /// Sets these columns of jobs whose ids come first.
    fn update(columns: &[&str]) -> Self {
        let set: Vec<_> = columns.iter().zip(2..).map(|(name, n)| format!("{name} = v.column{n}")).collect();
        let head = format!("UPDATE jobs SET {} FROM", set.join(", "));
        Self::new(&head, 1 + columns.len(), "AS v WHERE jobs.id = v.column1")
    }

    fn insert(table: &str, columns: &[&str]) -> Self {
        let head = format!("INSERT INTO {table} ({}) SELECT * FROM", columns.join(", "));
        Self::new(&head, columns.len(), "WHERE column1 IS NOT NULL")
    }
}

/// Statements that go to SQLite together, and their values.
#[derive(Default)]
pub(super) struct Text {
    statements: String,
    values: Values,
    rows: usize,
}

/// The values of a text, in order. The first fault is kept until they are used.
#[derive(Default)]
struct Values(SqliteArguments, Option<Fault>);

impl Values {
    fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite> + 'v) -> &mut Self {
        if let Err(error) = self.0.add(value) {
            self.1.get_or_insert(Fault::Refused(error.to_string()));
        }
        self
    }

    fn json(&mut self, job: JobId, part: &str, value: &impl serde::Serialize) -> &mut Self {
        match to_json(job, part, value) {
            Ok(json) => self.bind(json),
            Err(error) => {
                self.1.get_or_insert(unwritten(error));
                self
            }
        }
    }
}

impl Text {
    /// A text that begins a transaction first: of a group that needs nothing read.
    pub(super) fn beginning() -> Self {
        Self { statements: format!("{BEGIN};"), ..Self::default() }
    }

    /// Adds a statement for all of `rows`. What is there already is run first when there is no room for more.
    async fn add<T>(
        &mut self,
        connection: &mut SqliteConnection,
        bulk: &Bulk,
        rows: &[T],
        bind: impl Fn(&mut Values, &T),
    ) -> Result<(), Fault> {
        for chunk in rows.chunks(TEXT_ROWS) {
            let Some((size, text)) = bulk.texts.iter().find(|(size, _)| *size >= chunk.len()) else {
                continue;
            };
            if self.rows > 0 && self.rows + size > TEXT_ROWS {
                std::mem::take(self).run(connection).await?;
            }
            self.rows += size;
            self.statements.push_str(text);
            self.statements.push(';');
            chunk.iter().for_each(|row| bind(&mut self.values, row));
            for _ in 0..bulk.columns * (size - chunk.len()) {
                self.values.bind(None::<i64>);
            }
        }
        Ok(())
    }

    async fn run(self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let Values(values, fault) = self.values;
        if let Some(fault) = fault {
            return Err(fault);
        }
        // The text is made of our own words and question marks alone.
        sqlx::query_with(AssertSqlSafe(self.statements), values).execute(connection).await?;
        Ok(())
    }
}

static INSERT_REQUESTS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("requests", &["id", "digest", "create_time"]));

static INSERT_JOBS: LazyLock<Bulk> = LazyLock::new(|| {
    let asked =
        ["id", "provider", "target", "operation", "create_time", "request_id", "request_index", "spec"];
    Bulk::insert("jobs", &[&asked[..], &TOLD, &MOVED, &SETTLED].concat())
});

/// Of jobs of which little changed, little is named: a named column costs every index that it stands in.
pub(super) static UPDATE_TOLD: LazyLock<Bulk> = LazyLock::new(|| Bulk::update(&TOLD));
pub(super) static UPDATE_MOVED: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::update(&[&TOLD, &MOVED[..]].concat()));
pub(super) static UPDATE_SETTLED: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::update(&[&TOLD, &MOVED[..], &SETTLED].concat()));

/// In which indexes nothing of these stands.
const TOLD: [&str; 4] = ["version", "sequence", "status", "control"];
const MOVED: [&str; 1] = ["state"];
const SETTLED: [&str; 3] = ["ended", "holds", "end_time"];

static INSERT_LABELS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("job_labels", &["key", "value", "create_time", "job"]));

static INSERT_SEALED: LazyLock<Bulk> = LazyLock::new(|| Bulk::insert("sealed_passwords", &["job", "sealed"]));

pub(super) static DELETE_SEALED: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("DELETE FROM sealed_passwords WHERE job IN", 1, ""));

static INSERT_EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("events", &["position", "commit_no", "job", "sequence", "time", "kind", "message", "status"])
});

/// Saves what changed in `ledger`, inside the transaction that `connection` is in or that `text` begins, but for a last
/// text: that goes with the [`commit`].
pub(super) async fn save(
    connection: &mut SqliteConnection,
    ledger: &Ledger,
    mut text: Text,
) -> Result<Text, Fault> {
    let saves = ledger.saves();
    text.add(connection, &INSERT_REQUESTS, &saves.requests, request).await?;

    // One statement for all, by what changed most: a statement for each kind would make so many texts that none stays
    // prepared, and a group of many jobs does not save by it.
    if let Some(extent) = ledger.extent() {
        let bulk = match extent {
            Extent::Told => &UPDATE_TOLD,
            Extent::Moved => &UPDATE_MOVED,
            Extent::Settled => &UPDATE_SETTLED,
        };
        let changed: Vec<&Job> = ledger.changed_jobs().collect();
        text.add(connection, bulk, &changed, |values, job| {
            standing(values.bind(bytes(job.id)), job, extent);
        })
        .await?;
    }
    let mut new: Vec<(&Job, Option<RequestRef>)> = ledger.new_jobs().collect();
    // SQLite updates rows in the order in which they came in: who gives a target up must come before who takes it.
    new.sort_unstable_by_key(|(job, _)| job.id);
    text.add(connection, &INSERT_JOBS, &new, new_job).await?;
    let labels: Vec<(&Job, &str, &str)> = new
        .iter()
        .flat_map(|(job, _)| job.spec.labels.iter().map(move |(key, value)| (*job, key, value)))
        .collect();
    text.add(connection, &INSERT_LABELS, &labels, label).await?;

    text.add(connection, &INSERT_SEALED, &saves.sealed, |values, (job, sealed)| {
        values.bind(bytes(*job)).bind(sealed.clone());
    })
    .await?;
    let erased: Vec<JobId> = saves.erased.iter().copied().collect();
    text.add(connection, &DELETE_SEALED, &erased, |values, job| {
        values.bind(bytes(*job));
    })
    .await?;
    text.add(connection, &INSERT_EVENTS, &saves.events, event).await?;
    Ok(text)
}

/// Runs what [`save`] left, and makes all of it durable.
pub(super) async fn commit(connection: &mut SqliteConnection, mut last: Text) -> Result<(), Fault> {
    last.statements.push_str("COMMIT");
    last.run(connection).await
}

fn request(values: &mut Values, key: &NewKey) {
    values
        .bind(key.id.uuid().into_bytes().to_vec())
        .bind(key.digest.to_vec())
        .bind(key.create_time.as_microsecond());
}

fn new_job(values: &mut Values, (job, request): &(&Job, Option<RequestRef>)) {
    let spec = &job.spec;
    values
        .bind(bytes(job.id))
        .bind(spec.target.provider.as_str().to_owned())
        .bind(spec.target.to_string())
        .bind(spec.operation.kind().as_str())
        .bind(spec.create_time.as_microsecond())
        .bind(request.map(|at| at.id.uuid().into_bytes().to_vec()))
        .bind(request.map(|at| i64::from(at.index)))
        .json(job.id, "spec", spec);
    standing(values, job, Extent::Settled);
}

/// What changes in a job's row over its life, as far as it changed.
fn standing(values: &mut Values, job: &Job, extent: Extent) {
    values.bind(int(job.version)).bind(int(job.sequence)).json(job.id, "status", &job.status).json(
        job.id,
        "control",
        &job.control,
    );
    if extent >= Extent::Moved {
        values.bind(job.status.state.as_str());
    }
    if extent >= Extent::Settled {
        values.bind(job.status.state.is_ended()).bind(job.control.holds_target).bind(end_time(job));
    }
}

fn label(values: &mut Values, (job, key, value): &(&Job, &str, &str)) {
    values
        .bind((*key).to_owned())
        .bind((*value).to_owned())
        .bind(job.spec.create_time.as_microsecond())
        .bind(bytes(job.id));
}

fn event(values: &mut Values, row: &NewEventRow) {
    values
        .bind(int(row.position))
        .bind(int(row.commit))
        .bind(bytes(row.job))
        .bind(int(row.sequence))
        .bind(row.event.time.as_microsecond())
        .bind(row.event.kind.as_str())
        .bind(row.event.message.clone())
        .json(row.job, "event's status", &row.status);
}

pub(super) fn bytes(job: JobId) -> Vec<u8> {
    job.uuid().into_bytes().to_vec()
}
