//! Reads what a group of writes may touch into its [`Ledger`]: a few statements, however many writes.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::domain::id::ProviderId;
use crate::store::columns::{Columns, know_job, know_live, know_place, know_request};
use crate::store::error::StoreError;
use crate::store::fault::Fault;
use crate::store::group::Work;
use crate::store::lease::Guard;
use crate::store::ledger::Ledger;
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
    "SELECT provider, fence, holder FROM leases WHERE provider = ANY($1) ORDER BY provider FOR KEY SHARE";

/// The fences of leases and who holds them, locked until the end of the transaction.
#[derive(Debug, Default)]
pub(super) struct Fences(BTreeMap<String, (i64, Option<Uuid>)>);

impl Fences {
    /// Whether a write may be made under `guard`: its fence is still the last one given, and was given to its holder
    /// (after a failover to a standby that had not heard of it, another one may have the same). That its time ran out
    /// does no harm while nobody else took the provider.
    pub(super) fn permit(&self, guard: Option<&Guard>) -> Result<(), StoreError> {
        let Some(guard) = guard else { return Ok(()) };
        let known = self.0.get(guard.provider.as_str());
        if known.is_some_and(|(fence, holder)| {
            u64::try_from(*fence) == Ok(guard.fence.0) && *holder == Some(guard.holder.uuid())
        }) {
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
        for row in all(connection, JOBS_BY_REQUEST, &wanted.requests).await? {
            know_place(&mut ledger, &row)?;
        }
    }
    if !wanted.jobs.is_empty() {
        for row in all(connection, JOBS_BY_ID, &wanted.jobs).await? {
            know_job(&mut ledger, &row)?;
        }
    }
    let targets = wanted.targets(works, &ledger);
    if !targets.is_empty() {
        let names: Vec<String> = targets.into_iter().collect();
        for row in sqlx::query(LIVE_BY_TARGET).bind(names).fetch_all(connection).await? {
            know_live(&mut ledger, &row)?;
        }
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
        rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect();
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
        know_request(ledger, row)?;
    }
    Ok(!rows.is_empty())
}

async fn all(
    connection: &mut PgConnection,
    sql: &'static str,
    ids: &BTreeSet<Uuid>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    sqlx::query(sql).bind(ids).fetch_all(connection).await
}

impl Columns for PgRow {
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
        Ok(self.try_get(column)?)
    }
}
