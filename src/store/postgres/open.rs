//! Opening the database: reached, new enough, writable, of a schema that we know.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Row as _, SqlSafeStr as _};
use uuid::Uuid;

use super::session::{Session, close};
use crate::store::durable::{self, Durable};
use crate::store::error::StoreError;
use crate::store::fault::Fault;

/// PostgreSQL 14: the oldest whose syntax and settings are used.
const OLDEST_SERVER: i32 = 140_000;
/// How long replicas that start at once wait for the one that brings the schema up to date.
const MIGRATE_WITHIN: Duration = Duration::from_secs(600);
/// The advisory lock of migrations: "drydock" in ASCII.
const MIGRATE_LOCK: i64 = 0x0064_7279_646f_636b;

/// The migrations, oldest first. Append only.
pub(super) fn migrations() -> Vec<Migration> {
    [
        (1, "jobs", include_str!("../../../migrations/postgres/0001_jobs.sql")),
        (2, "attention", include_str!("../../../migrations/postgres/0002_attention.sql")),
        (3, "requests go whole", include_str!("../../../migrations/postgres/0003_requests_go_whole.sql")),
    ]
    .into_iter()
    .map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    })
    .collect()
}

/// An opened database.
#[derive(Debug)]
pub(super) struct Opened {
    pub id: Uuid,
    /// The newest position ever given.
    pub position: u64,
}

/// Opens the database and brings its schema up to date.
pub(super) async fn open(session: &Session) -> Result<Opened, StoreError> {
    let mut connection = session.patient(MIGRATE_WITHIN).connect().await?;
    check_server(&mut connection).await?;
    migrate(&mut connection).await?;
    durable::about_to(Durable::MakeId);
    let id = store_id(&mut connection).await?;
    let position = newest(&mut connection).await.map_err(Fault::from)?;
    // Whatever it says, everything is committed.
    close(connection).await;
    durable::done(Durable::MakeId);
    Ok(Opened { id, position })
}

async fn check_server(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
         pg_is_in_recovery(), current_schema()::text",
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::from)?;
    let version: i32 = row.try_get(0).map_err(Fault::from)?;
    if version < OLDEST_SERVER {
        let version: String = row.try_get(1).map_err(Fault::from)?;
        return Err(too_old(&version));
    }
    if row.try_get(2).map_err(Fault::from)? {
        return Err(StoreError::Unwritable(
            "the database is a read-only standby; `store.url` must lead to the primary".to_owned(),
        ));
    }
    if row.try_get::<Option<String>, _>(3).map_err(Fault::from)?.is_none() {
        return Err(StoreError::Unwritable(
            "the database user may use no schema of its search_path; create one and grant USAGE and CREATE on it"
                .to_owned(),
        ));
    }
    Ok(())
}

fn too_old(version: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "the server is PostgreSQL {version}; Drydock needs PostgreSQL 14 or later"
    ))
}

async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut migrator = Migrator::with_migrations(migrations());
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    // The next replica finds the schema made. The lock ends with the connection, however that ends.
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(MIGRATE_LOCK)
        .execute(&mut *connection)
        .await
        .map_err(Fault::from)?;
    let found = schema(connection).await?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    // A schema that is up to date is not touched, so that a user without CREATE can run Drydock.
    migrator.set_locking(false);
    let missing = migrator.iter().map(|migration| migration.version).filter(|version| *version > found);
    for version in missing {
        durable::about_to(Durable::Migrate);
        migrator.run_direct(Some(version), connection, false).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                Fault::from(error).into()
            }
            MigrateError::VersionMismatch(version) => StoreError::Corrupt(format!(
                "its schema {version} was made by another build of Drydock and differs from ours"
            )),
            other => StoreError::Corrupt(other.to_string()),
        })?;
        durable::done(Durable::Migrate);
    }
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(MIGRATE_LOCK)
        .execute(connection)
        .await
        .map_err(Fault::from)?;
    Ok(())
}

/// The newest schema that was applied; 0 for none.
async fn schema(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, to_regclass('counters') IS NOT NULL, \
         to_regclass('jobs') IS NOT NULL OR to_regclass('events') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(Fault::from)?;
    let has = |column| row.try_get::<bool, usize>(column).map_err(Fault::from);
    let (migrated, ours, named_alike) = (has(0)?, has(1)?, has(2)?);
    if migrated && ours {
        let found = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await
            .map_err(Fault::from)?;
        return Ok(found);
    }
    if migrated && !ours && !named_alike && !any_applied(connection).await? {
        // The list of migrations is made before the first of them: whoever did that died in between.
        return Ok(0);
    }
    if migrated || ours || named_alike {
        return Err(StoreError::Corrupt(
            "the schema holds tables of another program; give Drydock a database or schema of its own"
                .to_owned(),
        ));
    }
    Ok(0)
}

/// Whether any migration, of any program, was ever applied here.
async fn any_applied(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let any =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM _sqlx_migrations)").fetch_one(connection).await;
    Ok(any.map_err(Fault::from)?)
}

/// The database's own id, made once.
async fn store_id(connection: &mut PgConnection) -> Result<Uuid, StoreError> {
    const READ: &str = "SELECT value FROM meta WHERE key = 'store_id'";
    sqlx::query("INSERT INTO meta (key, value) VALUES ('store_id', $1) ON CONFLICT (key) DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *connection)
        .await
        .map_err(Fault::from)?;
    let id: String = sqlx::query_scalar(READ).fetch_one(connection).await.map_err(Fault::from)?;
    Uuid::try_parse(&id).map_err(|_| StoreError::Corrupt("the store's own id".to_owned()))
}

/// The newest position ever given, also when its event is gone.
pub(super) const NEWEST: &str = "\
    SELECT greatest(position, (SELECT max(position) FROM events)) FROM counters";

/// See [`NEWEST`].
pub(super) async fn newest(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let position: i64 = sqlx::query_scalar(NEWEST).fetch_one(connection).await?;
    u64::try_from(position).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_told_what_is_needed() {
        let text = too_old("13.11").to_string();
        assert!(text.contains("13.11") && text.contains("14 or later"), "{text}");
    }
}
