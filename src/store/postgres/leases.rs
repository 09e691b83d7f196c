//! Presence and leases, all on the database's clock.
//!
//! `clock_timestamp()` and not `now()`: the latter stands still within a transaction, and a statement may have waited
//! for a lock. Taking a lease locks its row fully, so it waits for writes that are being made under the old fence;
//! prolonging one locks the row without its key, so it does not.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};
use uuid::Uuid;

use super::connections::Connections;
use super::tail::{Channel, Word};
use crate::domain::id::{JobId, ProviderId};
use crate::store::durable::{self, Durable};
use crate::store::error::StoreError;
use crate::store::fault::read_fault;
use crate::store::lease::{Attendance, Attendant, Fence, Guard, Lease, Presence, ReplicaId};

/// Others may be removing the same rows just now; nobody waits for that.
const FORGET: &str = "\
    DELETE FROM replicas WHERE id IN (SELECT id FROM replicas WHERE expires_at <= clock_timestamp() AND id <> $1 \
    FOR UPDATE SKIP LOCKED)";
/// Says whether it was there before.
const ATTEND: &str = "\
    WITH before AS (SELECT expires_at > clock_timestamp() AS there FROM replicas WHERE id = $1), \
    attended AS (INSERT INTO replicas (id, name, providers, expires_at, watched) \
    VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond', $5) \
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, providers = excluded.providers, watched = excluded.watched, \
    expires_at = clock_timestamp() + $4 * interval '1 millisecond') \
    SELECT coalesce((SELECT there FROM before), false)";
const PROLONG: &str = "\
    UPDATE leases SET expires_at = clock_timestamp() + $2 * interval '1 millisecond', \
    report = coalesce((SELECT r.report FROM unnest($3::text[], $4::text[]) AS r (provider, report) \
    WHERE r.provider = leases.provider LIMIT 1), leases.report) \
    WHERE holder = $1 AND expires_at > clock_timestamp()";
const REPLICAS: &str =
    "SELECT id, name, providers, watched FROM replicas WHERE expires_at > clock_timestamp() ORDER BY id";
const LEASES: &str = "\
    SELECT provider, fence, CASE WHEN expires_at > clock_timestamp() THEN holder END, report, holder FROM leases \
    WHERE fence > 0 ORDER BY provider";
const MAKE_LEASE: &str = "\
    INSERT INTO leases (provider, fence, expires_at) VALUES ($1, 0, clock_timestamp()) \
    ON CONFLICT (provider) DO NOTHING";
const TAKE: &str = "\
    WITH free AS (SELECT provider FROM leases WHERE provider = $1 \
    AND (holder IS NULL OR expires_at <= clock_timestamp()) FOR UPDATE) \
    UPDATE leases SET fence = leases.fence + 1, holder = $2, \
    expires_at = clock_timestamp() + $3 * interval '1 millisecond' \
    FROM free WHERE leases.provider = free.provider \
    AND EXISTS (SELECT 1 FROM replicas WHERE id = $2 AND expires_at > clock_timestamp()) \
    RETURNING leases.fence";
const RELEASE: &str = "\
    UPDATE leases SET holder = NULL FROM unnest($2::text[], $3::bigint[]) AS g (provider, fence) \
    WHERE leases.provider = g.provider AND leases.fence = g.fence AND leases.holder = $1";
const LEAVE: &str = "\
    WITH gone AS (DELETE FROM replicas WHERE id = $1) UPDATE leases SET holder = NULL WHERE holder = $1";

/// See [`crate::store::Leases::attend`]. Says as well whether somebody came or went.
pub(super) async fn attend(
    connections: &Connections,
    channel: &Channel,
    presence: &Presence,
) -> Result<(Attendance, bool), StoreError> {
    let lease = millis(presence.lease);
    let providers: Vec<&str> = presence.providers.iter().map(ProviderId::as_str).collect();
    let watched: Vec<_> = presence.watched.iter().map(|job| job.uuid()).collect();
    let (of, reports): (Vec<&str>, Vec<&str>) =
        presence.reports.iter().map(|(of, report)| (of.as_str(), report.as_str())).unzip();
    let (replicas, leases, changed) = connections
        .run(async |connection: &mut PgConnection| {
            connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            let replica = presence.replica.uuid();
            // The own row is locked first: whoever forgets another that attends just now passes it by, and so nobody
            // waits for a row while holding one that its owner waits for.
            let there: bool = sqlx::query_scalar(ATTEND)
                .bind(replica)
                .bind(&presence.name)
                .bind(&providers)
                .bind(lease)
                .bind(&watched)
                .fetch_one(&mut *connection)
                .await?;
            let gone = sqlx::query(FORGET).bind(replica).execute(&mut *connection).await?.rows_affected();
            let prolong = sqlx::query(PROLONG).bind(replica).bind(lease).bind(&of).bind(&reports);
            prolong.execute(&mut *connection).await?;
            let replicas = sqlx::query(REPLICAS).fetch_all(&mut *connection).await?;
            let leases = sqlx::query(LEASES).fetch_all(&mut *connection).await?;
            let changed = gone > 0 || !there;
            if changed {
                channel.tell(connection, Word::Leases).await?;
            }
            durable::about_to(Durable::Attend);
            connection.execute("COMMIT").await?;
            durable::done(Durable::Attend);
            Ok((replicas, leases, changed))
        })
        .await?;
    let attendance = Attendance {
        replicas: replicas.iter().map(attendant).collect::<Result<_, _>>()?,
        leases: leases.iter().map(lease_of).collect::<Result<_, _>>()?,
    };
    Ok((attendance, changed))
}

/// See [`crate::store::Leases::take_lease`].
pub(super) async fn take(
    connections: &Connections,
    provider: &ProviderId,
    replica: ReplicaId,
    lease: Duration,
) -> Result<Option<Fence>, StoreError> {
    let fence: Option<i64> = connections
        .run(async |connection: &mut PgConnection| {
            sqlx::query(MAKE_LEASE).bind(provider.as_str()).execute(&mut *connection).await?;
            durable::about_to(Durable::TakeLease);
            let taken = sqlx::query_scalar(TAKE)
                .bind(provider.as_str())
                .bind(replica.uuid())
                .bind(millis(lease))
                .fetch_optional(connection)
                .await?;
            durable::done(Durable::TakeLease);
            Ok(taken)
        })
        .await?;
    fence.map(fence_of).transpose()
}

/// See [`crate::store::Leases::release_leases`].
pub(super) async fn release(
    connections: &Connections,
    channel: &Channel,
    replica: ReplicaId,
    guards: &[Guard],
) -> Result<(), StoreError> {
    let providers: Vec<&str> = guards.iter().map(|guard| guard.provider.as_str()).collect();
    let fences: Vec<i64> =
        guards.iter().map(|guard| i64::try_from(guard.fence.0).unwrap_or(i64::MAX)).collect();
    connections
        .run(async |connection: &mut PgConnection| {
            let release = sqlx::query(RELEASE).bind(replica.uuid()).bind(&providers).bind(&fences);
            durable::about_to(Durable::ReleaseLeases);
            release.execute(&mut *connection).await?;
            durable::done(Durable::ReleaseLeases);
            channel.tell(connection, Word::Leases).await
        })
        .await
}

/// See [`crate::store::Leases::leave`].
pub(super) async fn leave(
    connections: &Connections,
    channel: &Channel,
    replica: ReplicaId,
) -> Result<(), StoreError> {
    connections
        .run(async |connection: &mut PgConnection| {
            durable::about_to(Durable::Leave);
            sqlx::query(LEAVE).bind(replica.uuid()).execute(&mut *connection).await?;
            durable::done(Durable::Leave);
            channel.tell(connection, Word::Leases).await
        })
        .await
}

fn attendant(row: &PgRow) -> Result<Attendant, StoreError> {
    let providers: Vec<String> = row.try_get(2).map_err(read_fault)?;
    let watched: Vec<Uuid> = row.try_get(3).map_err(read_fault)?;
    Ok(Attendant {
        replica: ReplicaId::new(row.try_get(0).map_err(read_fault)?),
        name: row.try_get(1).map_err(read_fault)?,
        providers: providers.iter().map(|id| provider(id)).collect::<Result<_, _>>()?,
        watched: watched.into_iter().map(JobId::new).collect(),
    })
}

fn lease_of(row: &PgRow) -> Result<Lease, StoreError> {
    Ok(Lease {
        provider: provider(row.try_get(0).map_err(read_fault)?)?,
        fence: fence_of(row.try_get(1).map_err(read_fault)?)?,
        holder: row.try_get::<Option<_>, _>(2).map_err(read_fault)?.map(ReplicaId::new),
        report: row.try_get(3).map_err(read_fault)?,
        last_holder: row.try_get::<Option<_>, _>(4).map_err(read_fault)?.map(ReplicaId::new),
    })
}

fn provider(id: &str) -> Result<ProviderId, StoreError> {
    ProviderId::parse(id).map_err(|_| StoreError::Corrupt("a lease's provider".to_owned()))
}

fn fence_of(fence: i64) -> Result<Fence, StoreError> {
    u64::try_from(fence).map(Fence).map_err(|_| StoreError::Corrupt("a lease's fence".to_owned()))
}

/// A year is more than any lease; PostgreSQL's intervals end somewhere.
fn millis(lease: Duration) -> i64 {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    i64::try_from(lease.min(YEAR).as_millis()).unwrap_or(i64::MAX)
}
