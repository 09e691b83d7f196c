//! Moves everything that a SQLite file holds into an empty PostgreSQL database.
//!
//! At no moment may two stores drive the same jobs. So the file is locked while it is read, and it is marked as moved
//! *before* the database's one transaction commits: Drydock opens a marked file no more. When the commit fails, the mark
//! is taken off; when the process dies between the two, the database is still empty, and the same move can be made
//! again. The store's id moves too, so that resume tokens go on, and so that a move that is made again after it was
//! committed can be told from one into somebody else's database.

use std::path::Path;

use super::durable::{self, Durable};
use super::error::StoreError;
use super::postgres::import::Import;
use super::settings::StoreSettings;
use super::sqlite::export::Export;
use crate::kit::crash_point::{self, CrashPoint};

/// How many rows go over at once.
const BATCH: u32 = 500;

/// How much was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Jobs, ended ones included.
    pub jobs: u64,
    /// Their events.
    pub events: u64,
    /// Request keys.
    pub requests: u64,
}

/// The rows of one batch, as both databases keep them.
pub(super) mod row {
    use uuid::Uuid;

    /// A row of `requests`.
    pub type Request = (Uuid, Vec<u8>, i64);
    /// A row of `job_labels`.
    pub type Label = (String, String, i64, Uuid);
    /// A row of `sealed_passwords`.
    pub type Sealed = (Uuid, Vec<u8>);

    /// A row of `jobs`.
    #[derive(Debug)]
    pub struct Job {
        pub id: Uuid,
        pub provider: String,
        pub target: String,
        pub operation: String,
        pub state: String,
        pub ended: bool,
        pub holds: bool,
        pub create_time: i64,
        pub end_time: Option<i64>,
        pub version: i64,
        pub sequence: i64,
        pub request_id: Option<Uuid>,
        pub request_index: Option<i64>,
        pub spec: String,
        pub status: String,
        pub control: String,
    }

    /// A row of `events`.
    #[derive(Debug)]
    pub struct Event {
        pub position: i64,
        pub commit_no: i64,
        pub job: Uuid,
        pub sequence: i64,
        pub time: i64,
        pub kind: String,
        pub message: String,
        pub status: String,
    }
}

/// Moves the store of `from` (SQLite) into that of `to` (PostgreSQL, without jobs or requests). No Drydock may run on
/// either.
///
/// # Errors
/// `Locked` while a Drydock runs on the file; `Unavailable` when there is no such file, the database holds something
/// already (saying so if that is this very file), or is away. Then nothing was moved, and the file can be used as before,
/// unless the database went away at the very end: then it is not known whether it was, the file stays marked, and the move
/// is made again, to the same database only.
pub async fn migrate(from: &StoreSettings, to: &StoreSettings) -> Result<Moved, StoreError> {
    let path =
        from.sqlite_path().map_err(|fault| StoreError::Unavailable(format!("`from` {}", fault.message)))?;
    exists(&path)?;
    let mut export = Export::open(from).await?;
    let place = Import::place(to)?;
    export.refuse_elsewhere(&place).await?;
    let mut import = Import::begin(to, export.id()).await?;
    let mut moved = Moved::default();
    // In the order in which they name each other.
    let mut after = None;
    loop {
        let rows = export.requests(after, BATCH).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.0);
        moved.requests += rows.len() as u64;
        import.requests(&rows).await?;
        crash_point::reach(CrashPoint::RowsCopied);
    }
    let mut after = None;
    loop {
        let rows = export.jobs(after, BATCH).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        moved.jobs += rows.len() as u64;
        import.jobs(&rows).await?;
        let ids: Vec<_> = rows.iter().map(|job| job.id).collect();
        let (labels, sealed) = (export.labels(&ids).await?, export.sealed(&ids).await?);
        import.labels(&labels).await?;
        import.sealed(&sealed).await?;
        crash_point::reach(CrashPoint::RowsCopied);
    }
    let mut after = 0;
    loop {
        let rows = export.events(after, BATCH).await?;
        let Some(last) = rows.last() else { break };
        after = last.position;
        moved.events += rows.len() as u64;
        import.events(&rows).await?;
        crash_point::reach(CrashPoint::RowsCopied);
    }
    import.counters(export.id(), export.position(), export.purged_through().await?).await?;
    durable::about_to(Durable::MarkMoved);
    export.mark_moved(&place).await?;
    durable::done(Durable::MarkMoved);
    if let Err(error) = import.commit().await {
        // The answer may be lost, and the rows be there all the same: only an empty database frees the file.
        if Import::begin(to, export.id()).await.is_ok() {
            durable::about_to(Durable::UnmarkMoved);
            export.unmark_moved().await?;
            durable::done(Durable::UnmarkMoved);
        }
        return Err(error);
    }
    export.close().await;
    Ok(moved)
}

fn exists(path: &Path) -> Result<(), StoreError> {
    if path.is_file() {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("there is no file `{}` to move", path.display())))
}
