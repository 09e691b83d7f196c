//! Reads what a group of writes may touch into its [`Ledger`]: a few statements, however many writes.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::domain::id::{JobId, ProviderId};
use crate::domain::target::Target;
use crate::store::error::StoreError;
use crate::store::fault::{Fault, damage};
use crate::store::group::Work;
use crate::store::lease::Guard;
use crate::store::ledger::Ledger;
use crate::store::record::{JobRow, request_of};
use crate::store::wanted::Wanted;

pub(super) const JOBS_BY_ID: &str =
    "SELECT id, version, sequence, spec, status, control FROM jobs WHERE id = ANY($1)";
pub(super) const LIVE_BY_TARGET: &str =
    "SELECT id, holds, target FROM jobs WHERE target = ANY($1) AND NOT ended";
pub(super) const REQUESTS_BY_ID: &str = "SELECT id, digest FROM requests WHERE id = ANY($1)";
pub(super) const JOBS_BY_REQUEST: &str = "\
    SELECT id, version, sequence, spec, status, control, request_id, request_index FROM jobs \
    WHERE request_id = ANY($1)";
/// Waits for a lease that changes hands just now, and keeps it from changing hands until the commit. Renewals go on
/// beside it: they leave the key alone.
pub(super) const FENCES: &str =
    "SELECT provider, fence FROM leases WHERE provider = ANY($1) ORDER BY provider FOR KEY SHARE";

/// The fences of leases, locked until the end of the transaction.
#[derive(Debug, Default)]
pub(super) struct Fences(BTreeMap<String, i64>);

impl Fences {
    /// Whether a write may be made under `guard`: its fence is still the last one given. That its time ran out does
    /// no harm while nobody else took the provider.
    pub(super) fn permit(&self, guard: Option<&Guard>) -> Result<(), StoreError> {
        let Some(guard) = guard else { return Ok(()) };
        let known = self.0.get(guard.provider.as_str());
        if known.is_some_and(|fence| u64::try_from(*fence) == Ok(guard.fence.0)) {
            return Ok(());
        }
        Err(StoreError::Fenced(guard.provider.clone()))
    }
}

/// Reads what `works` may touch. `position` is the newest event's.
pub(super) async fn load(
    connection: &mut PgConnection,
    works: &[Work],
    position: u64,
) -> Result<(Ledger, Fences), Fault> {
    let mut ledger = Ledger::new(position);
    let wanted = Wanted::of(works);
    let fences = load_fences(connection, &wanted.guarded).await?;
    if !wanted.requests.is_empty() && load_requests(connection, &wanted.requests, &mut ledger).await? {
        load_places(connection, &wanted.requests, &mut ledger).await?;
    }
    if !wanted.jobs.is_empty() {
        for row in all(connection, JOBS_BY_ID, &wanted.jobs).await? {
            know(&mut ledger, &row)?;
        }
    }
    let targets = wanted.targets(works, &ledger);
    if !targets.is_empty() {
        load_live(connection, targets, &mut ledger).await?;
    }
    Ok((ledger, fences))
}

async fn load_fences(connection: &mut PgConnection, of: &BTreeSet<ProviderId>) -> Result<Fences, Fault> {
    if of.is_empty() {
        return Ok(Fences::default());
    }
    let names: Vec<&str> = of.iter().map(ProviderId::as_str).collect();
    let rows = sqlx::query(FENCES).bind(names).fetch_all(connection).await?;
    let fences: Result<_, sqlx::Error> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
    Ok(Fences(fences?))
}

/// Says whether any was known.
async fn load_requests(
    connection: &mut PgConnection,
    requests: &BTreeSet<Uuid>,
    ledger: &mut Ledger,
) -> Result<bool, Fault> {
    let rows = all(connection, REQUESTS_BY_ID, requests).await?;
    for row in &rows {
        let digest = <[u8; 32]>::try_from(row.try_get::<&[u8], _>(1)?)
            .map_err(|_| Fault::Corrupt("a request's digest".to_owned()))?;
        ledger.know_request(request_of(row.try_get(0)?).map_err(damage)?, digest);
    }
    Ok(!rows.is_empty())
}

async fn load_places(
    connection: &mut PgConnection,
    requests: &BTreeSet<Uuid>,
    ledger: &mut Ledger,
) -> Result<(), Fault> {
    for row in all(connection, JOBS_BY_REQUEST, requests).await? {
        let job = know(ledger, &row)?;
        let index = u32::try_from(row.try_get::<i64, _>(7)?)
            .map_err(|_| Fault::Corrupt("a job's place in its request".to_owned()))?;
        ledger.know_place(request_of(row.try_get(6)?).map_err(damage)?, index, job);
    }
    Ok(())
}

async fn load_live(
    connection: &mut PgConnection,
    targets: BTreeSet<String>,
    ledger: &mut Ledger,
) -> Result<(), Fault> {
    let names: Vec<String> = targets.into_iter().collect();
    for row in sqlx::query(LIVE_BY_TARGET).bind(names).fetch_all(connection).await? {
        let target = Target::parse_name(row.try_get(2)?)
            .map_err(|error| Fault::Corrupt(format!("a job's target: {error}")))?;
        ledger.know_live(target, JobId::new(row.try_get(0)?), row.try_get(1)?);
    }
    Ok(())
}

/// Tells the ledger of a job. One that cannot be read is told too, so that it harms its own writes alone.
fn know(ledger: &mut Ledger, row: &PgRow) -> Result<JobId, Fault> {
    let row = job_row(row)?;
    let id = row.id;
    match row.into_job() {
        Ok(job) => ledger.know_job(job),
        Err(error) => ledger.know_damage(id, error.to_string()),
    }
    Ok(id)
}

/// The first six columns of a row, in the order of [`JobRow`].
pub(super) fn job_row(row: &PgRow) -> Result<JobRow, Fault> {
    Ok(JobRow {
        id: JobId::new(row.try_get(0)?),
        version: row.try_get(1)?,
        sequence: row.try_get(2)?,
        spec: row.try_get(3)?,
        status: row.try_get(4)?,
        control: row.try_get(5)?,
    })
}

async fn all(
    connection: &mut PgConnection,
    sql: &'static str,
    ids: &BTreeSet<Uuid>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    sqlx::query(sql).bind(ids).fetch_all(connection).await
}
