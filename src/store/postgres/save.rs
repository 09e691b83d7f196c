//! Saves the rows that a group of writes changed: one statement a table, its columns as arrays.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::domain::job::{Job, RequestRef};
use crate::store::fault::{Fault, unwritten};
use crate::store::ledger::{Ledger, NewEventRow, NewKey};
use crate::store::record::{end_time, int, to_json};

pub(super) const INSERT_REQUESTS: &str = "\
    INSERT INTO requests (id, digest, create_time) SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bigint[])";
pub(super) const INSERT_JOBS: &str = "\
    INSERT INTO jobs (id, provider, target, operation, create_time, request_id, request_index, spec, \
    state, ended, holds, end_time, version, sequence, status, control) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::bigint[], \
    $8::text[], $9::text[], $10::boolean[], $11::boolean[], $12::bigint[], $13::bigint[], $14::bigint[], \
    $15::text[], $16::text[])";
pub(super) const UPDATE_JOBS: &str = "\
    UPDATE jobs SET state = v.state, ended = v.ended, holds = v.holds, end_time = v.end_time, \
    version = v.version, sequence = v.sequence, status = v.status, control = v.control \
    FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[], \
    $8::text[], $9::text[]) AS v (id, state, ended, holds, end_time, version, sequence, status, control) \
    WHERE jobs.id = v.id";
pub(super) const INSERT_LABELS: &str = "\
    INSERT INTO job_labels (key, value, create_time, job) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[])";
pub(super) const INSERT_SEALED: &str = "\
    INSERT INTO sealed_passwords (job, sealed) SELECT * FROM unnest($1::uuid[], $2::bytea[])";
pub(super) const DELETE_SEALED: &str = "DELETE FROM sealed_passwords WHERE job = ANY($1)";
pub(super) const INSERT_EVENTS: &str = "\
    INSERT INTO events (position, commit_no, job, sequence, time, kind, message, status) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], \
    $7::text[], $8::text[])";

/// Saves what changed in `ledger`, inside the transaction that `connection` is in.
pub(super) async fn save(connection: &mut PgConnection, ledger: &Ledger) -> Result<(), Fault> {
    let saves = ledger.saves();
    requests(connection, &saves.requests).await?;

    // One statement changes its rows in any order, so those that free a target go in one before those that may
    // take it.
    let (taking, freeing): (Vec<&Job>, Vec<&Job>) =
        ledger.changed_jobs().partition(|job| job.control.holds_target);
    changed_jobs(connection, &freeing).await?;
    changed_jobs(connection, &taking).await?;
    let new: Vec<(&Job, Option<RequestRef>)> = ledger.new_jobs().collect();
    new_jobs(connection, &new).await?;

    if !saves.sealed.is_empty() {
        let (jobs, sealed): (Vec<Uuid>, Vec<&[u8]>) =
            saves.sealed.iter().map(|(job, sealed)| (job.uuid(), sealed.as_slice())).unzip();
        sqlx::query(INSERT_SEALED).bind(jobs).bind(sealed).execute(&mut *connection).await?;
    }
    if !saves.erased.is_empty() {
        let jobs: Vec<Uuid> = saves.erased.iter().map(|job| job.uuid()).collect();
        sqlx::query(DELETE_SEALED).bind(jobs).execute(&mut *connection).await?;
    }
    events(connection, &saves.events).await
}

async fn requests(connection: &mut PgConnection, keys: &[NewKey]) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(INSERT_REQUESTS)
        .bind(each(keys, |key| key.id.uuid()))
        .bind(each(keys, |key| key.digest.to_vec()))
        .bind(each(keys, |key| key.create_time.as_microsecond()));
    query.execute(connection).await?;
    Ok(())
}

/// What changes in a job's row over its life, column by column.
#[derive(Default)]
struct Standing {
    state: Vec<&'static str>,
    ended: Vec<bool>,
    holds: Vec<bool>,
    end_time: Vec<Option<i64>>,
    version: Vec<i64>,
    sequence: Vec<i64>,
    status: Vec<String>,
    control: Vec<String>,
}

impl Standing {
    fn of<'j>(jobs: impl Iterator<Item = &'j Job>) -> Result<Self, Fault> {
        let mut columns = Self::default();
        for job in jobs {
            columns.state.push(job.status.state.as_str());
            columns.ended.push(job.status.state.is_ended());
            columns.holds.push(job.control.holds_target);
            columns.end_time.push(end_time(job));
            columns.version.push(int(job.version));
            columns.sequence.push(int(job.sequence));
            columns.status.push(to_json(job.id, "status", &job.status).map_err(unwritten)?);
            columns.control.push(to_json(job.id, "control", &job.control).map_err(unwritten)?);
        }
        Ok(columns)
    }
}

async fn changed_jobs(connection: &mut PgConnection, jobs: &[&Job]) -> Result<(), Fault> {
    if jobs.is_empty() {
        return Ok(());
    }
    let now = Standing::of(jobs.iter().copied())?;
    let query = sqlx::query(UPDATE_JOBS)
        .bind(each(jobs, |job| job.id.uuid()))
        .bind(now.state)
        .bind(now.ended)
        .bind(now.holds)
        .bind(now.end_time)
        .bind(now.version)
        .bind(now.sequence)
        .bind(now.status)
        .bind(now.control);
    let changed = query.execute(connection).await?.rows_affected();
    if changed != jobs.len() as u64 {
        return Err(Fault::Refused("a job vanished between its reading and its writing".to_owned()));
    }
    Ok(())
}

async fn new_jobs(connection: &mut PgConnection, jobs: &[(&Job, Option<RequestRef>)]) -> Result<(), Fault> {
    if jobs.is_empty() {
        return Ok(());
    }
    let specs: Result<Vec<String>, Fault> =
        jobs.iter().map(|(job, _)| to_json(job.id, "spec", &job.spec).map_err(unwritten)).collect();
    let now = Standing::of(jobs.iter().map(|(job, _)| *job))?;
    let query = sqlx::query(INSERT_JOBS)
        .bind(each(jobs, |(job, _)| job.id.uuid()))
        .bind(each(jobs, |(job, _)| job.spec.target.provider.as_str()))
        .bind(each(jobs, |(job, _)| job.spec.target.to_string()))
        .bind(each(jobs, |(job, _)| job.spec.operation.kind().as_str()))
        .bind(each(jobs, |(job, _)| job.spec.create_time.as_microsecond()))
        .bind(each(jobs, |(_, request)| request.map(|at| at.id.uuid())))
        .bind(each(jobs, |(_, request)| request.map(|at| i64::from(at.index))))
        .bind(specs?)
        .bind(now.state)
        .bind(now.ended)
        .bind(now.holds)
        .bind(now.end_time)
        .bind(now.version)
        .bind(now.sequence)
        .bind(now.status)
        .bind(now.control);
    query.execute(&mut *connection).await?;

    let labels: Vec<(&Job, &str, &str)> = jobs
        .iter()
        .flat_map(|(job, _)| job.spec.labels.iter().map(move |(key, value)| (*job, key, value)))
        .collect();
    if labels.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(INSERT_LABELS)
        .bind(each(&labels, |(_, key, _)| *key))
        .bind(each(&labels, |(_, _, value)| *value))
        .bind(each(&labels, |(job, _, _)| job.spec.create_time.as_microsecond()))
        .bind(each(&labels, |(job, _, _)| job.id.uuid()));
    query.execute(connection).await?;
    Ok(())
}

async fn events(connection: &mut PgConnection, rows: &[NewEventRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let statuses: Result<Vec<String>, Fault> =
        rows.iter().map(|row| to_json(row.job, "event's status", &row.status).map_err(unwritten)).collect();
    let query = sqlx::query(INSERT_EVENTS)
        .bind(each(rows, |row| int(row.position)))
        .bind(each(rows, |row| int(row.commit)))
        .bind(each(rows, |row| row.job.uuid()))
        .bind(each(rows, |row| int(row.sequence)))
        .bind(each(rows, |row| row.event.time.as_microsecond()))
        .bind(each(rows, |row| row.event.kind.as_str()))
        // PostgreSQL's text holds no zero; elsewhere JSON has it escaped.
        .bind(each(rows, |row| row.event.message.replace('\0', "\u{fffd}")))
        .bind(statuses?);
    query.execute(connection).await?;
    Ok(())
}

/// One column of all rows.
pub(super) fn each<'r, R, T>(rows: &'r [R], column: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(column).collect()
}
