//! Opening the database file: found or made, locked, of a schema that we know.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _, SqlSafeStr as _};
use uuid::Uuid;

use crate::store::durable::{self, Durable};
use crate::store::error::StoreError;
use crate::store::fault::Fault;
use crate::store::settings::StoreSettings;

/// The migrations, oldest first. Append only.
pub(super) fn migrations() -> Vec<Migration> {
    [
        (1, "jobs", include_str!("../../../migrations/sqlite/0001_jobs.sql")),
        (2, "retention", include_str!("../../../migrations/sqlite/0002_retention.sql")),
        (3, "requests go whole", include_str!("../../../migrations/sqlite/0003_requests_go_whole.sql")),
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
    /// The newest event's position.
    pub position: u64,
    pub writer: SqliteConnection,
    pub writer_options: SqliteConnectOptions,
    pub reader_options: SqliteConnectOptions,
    /// Keeps other processes out for as long as it lives.
    pub lock: File,
}

/// Opens the database of `settings`, makes it when there is none, and brings its schema up to date.
pub(super) async fn open(settings: &StoreSettings) -> Result<Opened, StoreError> {
    let path = settings.sqlite_path().map_err(|fault| StoreError::Unavailable(fault.message))?;
    let path = resolve(&path)?;
    let lock = lock(&path)?;
    make(&path)?;

    let base = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let mut writer_options = base
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // An erased password leaves zeros behind, not itself.
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-16384")
        // The write-ahead log shrinks back to this after a burst.
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(128);
    if let Some(mib) = settings.max_size_mib {
        const PAGES_PER_MIB: u64 = 256; // SQLite's default page is 4 KiB
        writer_options =
            writer_options.pragma("max_page_count", (u64::from(mib) * PAGES_PER_MIB).to_string());
    }
    // A reader begins anew with an empty cache after each commit of the writer, so a large one is memory for nothing.
    let reader_options = base.read_only(true).pragma("query_only", "ON").pragma("cache_size", "-2048");

    let mut writer = writer_options.connect().await.map_err(Fault::from)?;
    migrate(&mut writer).await?;
    durable::about_to(Durable::MakeId);
    let id = store_id(&mut writer).await?;
    let position = newest(&mut writer).await?;
    durable::done(Durable::MakeId);
    Ok(Opened { id, position, writer, writer_options, reader_options, lock })
}

/// The one name of the file, so that two ways to write its path meet at one lock.
fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| StoreError::Unavailable("its url names no file".to_owned()))?;
    let folder = folder.canonicalize().map_err(|error| io_fault("its folder", folder, &error))?;
    Ok(folder.join(name))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = private()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(|error| io_fault("its lock file", &name, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(io_fault("its lock file", &name, &error)),
    }
}

/// Makes an empty file that only our user may read; SQLite gives its companions (`-wal`, `-shm`) the same mode.
fn make(path: &Path) -> Result<(), StoreError> {
    match private().write(true).create_new(true).open(path) {
        Ok(file) => {
            file.sync_all().map_err(|error| io_fault("the file", path, &error))?;
            // A file is durable once its folder is.
            let folder = path.parent().unwrap_or(path);
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| io_fault("its folder", folder, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_fault("the file", path, &error)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn io_fault(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("{what} `{}`: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded => StoreError::Unwritable(text),
        _ => StoreError::Unavailable(text),
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let migrator = Migrator::with_migrations(migrations());
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = schema(connection).await?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    let missing = migrator.iter().map(|migration| migration.version).filter(|version| *version > found);
    for version in missing {
        durable::about_to(Durable::Migrate);
        run(&migrator, Some(version), connection).await?;
        durable::done(Durable::Migrate);
    }
    // What was there before is compared, also when nothing was missing.
    run(&migrator, None, connection).await
}

/// Makes every migration up to `target` that was not made; each is a transaction of its own.
async fn run(
    migrator: &Migrator,
    target: Option<i64>,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    migrator.run_direct(target, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Fault::from(error).into(),
        MigrateError::VersionMismatch(version) => StoreError::Corrupt(format!(
            "its schema {version} was made by another build of Drydock and differs from ours"
        )),
        other => StoreError::Corrupt(other.to_string()),
    })
}

/// The newest schema that was applied to the file; 0 for a new one.
async fn schema(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(Fault::from)?;
    if tables.iter().any(|name| name == "_sqlx_migrations") {
        let found = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await
            .map_err(Fault::from)?;
        return Ok(found);
    }
    if tables.is_empty() {
        return Ok(0);
    }
    Err(StoreError::Corrupt("the file is the database of another program".to_owned()))
}

/// The database's own id, made once.
async fn store_id(connection: &mut SqliteConnection) -> Result<Uuid, StoreError> {
    sqlx::query("INSERT INTO meta (key, value) VALUES ('store_id', ?1) ON CONFLICT (key) DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *connection)
        .await
        .map_err(Fault::from)?;
    let id: String = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'store_id'")
        .fetch_one(connection)
        .await
        .map_err(Fault::from)?;
    Uuid::try_parse(&id).map_err(|_| StoreError::Corrupt("the store's own id".to_owned()))
}

/// The database that the jobs of this file were moved to, if they were.
pub(super) async fn moved(connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    let mark = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'moved'").fetch_optional(connection);
    Ok(mark.await.map_err(Fault::from)?)
}

/// Refuses a file whose jobs another store drives by now.
pub(super) async fn refuse_moved(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    match moved(connection).await? {
        None => Ok(()),
        Some(place) => Err(StoreError::Unavailable(format!(
            "the jobs of this file were moved to {place} by `drydock migrate-store`, and would be driven twice; let \
             `store.url` name that database, or, if that move was cut off, make it again"
        ))),
    }
}

/// The newest position ever given, also when its event is gone.
pub(super) async fn newest(connection: &mut SqliteConnection) -> Result<u64, Fault> {
    let row = sqlx::query("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(0) };
    u64::try_from(row.try_get::<i64, _>(0)?)
        .map_err(|_| Fault::Corrupt("the newest event's position".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> String {
        let row = sqlx::query(sql).fetch_one(connection).await.unwrap();
        row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string())).unwrap()
    }

    #[tokio::test]
    async fn connections_are_as_durable_as_promised() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/drydock.db", folder.path().display());
        let mut opened =
            open(&StoreSettings { url, max_size_mib: Some(2), ..StoreSettings::default() }).await.unwrap();
        for (sql, wanted) in [
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA synchronous", "2"), // FULL
            ("PRAGMA foreign_keys", "1"),
            ("PRAGMA secure_delete", "1"),
            ("PRAGMA page_size", "4096"),
            ("PRAGMA max_page_count", "512"),
            ("PRAGMA busy_timeout", "5000"),
        ] {
            assert_eq!(pragma(&mut opened.writer, sql).await, wanted, "{sql}");
        }
        let mut reader = opened.reader_options.connect().await.unwrap();
        assert_eq!(pragma(&mut reader, "PRAGMA query_only").await, "1");
        assert!(sqlx::query("DELETE FROM meta").execute(&mut reader).await.is_err());
    }
}
