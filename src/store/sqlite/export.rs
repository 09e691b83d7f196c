//! Reads a whole file, table by table, for [`crate::store::moving`].

use std::fs::File;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::open;
use crate::store::error::StoreError;
use crate::store::fault::Fault;
use crate::store::moving::row::{Event, Job, Label, Request, Sealed};
use crate::store::settings::StoreSettings;

const REQUESTS: &str =
    "SELECT id, digest, create_time FROM requests WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2";
const JOBS: &str = "\
    SELECT id, provider, target, operation, state, ended, holds, create_time, end_time, version, sequence, \
    request_id, request_index, spec, status, control FROM jobs WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2";
const EVENTS: &str = "\
    SELECT position, commit_no, job, sequence, time, kind, message, status FROM events WHERE position > ?1 \
    ORDER BY position LIMIT ?2";
const LABELS: &str = "\
    SELECT l.key, l.value, l.create_time, l.job FROM json_each(?1) AS w CROSS JOIN job_labels AS l \
    ON l.job = unhex(w.value)";
const SEALED: &str = "\
    SELECT s.job, s.sealed FROM json_each(?1) AS w CROSS JOIN sealed_passwords AS s ON s.job = unhex(w.value)";

/// A file that is read to be moved; locked until it is closed.
pub(in crate::store) struct Export {
    connection: SqliteConnection,
    id: Uuid,
    position: u64,
    lock: File,
}

impl Export {
    pub(in crate::store) async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let opened = open::open(settings).await?;
        Ok(Self { connection: opened.writer, id: opened.id, position: opened.position, lock: opened.lock })
    }

    pub(in crate::store) const fn id(&self) -> Uuid {
        self.id
    }

    /// The newest position ever given.
    pub(in crate::store) const fn position(&self) -> u64 {
        self.position
    }

    pub(in crate::store) async fn purged_through(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'purged_through'";
        let value = sqlx::query_scalar(sql).fetch_one(&mut self.connection).await;
        Ok(value.map_err(Fault::from)?)
    }

    pub(in crate::store) async fn requests(
        &mut self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Request>, StoreError> {
        let rows = self.page(REQUESTS, after, limit).await?;
        let read = |row: &SqliteRow| Ok((id(row, 0)?, row.try_get(1)?, row.try_get(2)?));
        Ok(rows.iter().map(read).collect::<Result<_, Fault>>()?)
    }

    pub(in crate::store) async fn jobs(
        &mut self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let rows = self.page(JOBS, after, limit).await?;
        let read = |row: &SqliteRow| {
            let request: Option<Vec<u8>> = row.try_get(11)?;
            Ok(Job {
                id: id(row, 0)?,
                provider: row.try_get(1)?,
                target: row.try_get(2)?,
                operation: row.try_get(3)?,
                state: row.try_get(4)?,
                ended: row.try_get(5)?,
                holds: row.try_get(6)?,
                create_time: row.try_get(7)?,
                end_time: row.try_get(8)?,
                version: row.try_get(9)?,
                sequence: row.try_get(10)?,
                request_id: request.as_deref().map(uuid).transpose()?,
                request_index: row.try_get(12)?,
                spec: row.try_get(13)?,
                status: row.try_get(14)?,
                control: row.try_get(15)?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, Fault>>()?)
    }

    pub(in crate::store) async fn labels(&mut self, jobs: &[Uuid]) -> Result<Vec<Label>, StoreError> {
        let rows = self.of(LABELS, jobs).await?;
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, id(row, 3)?));
        Ok(rows.iter().map(read).collect::<Result<_, Fault>>()?)
    }

    pub(in crate::store) async fn sealed(&mut self, jobs: &[Uuid]) -> Result<Vec<Sealed>, StoreError> {
        let rows = self.of(SEALED, jobs).await?;
        let read = |row: &SqliteRow| Ok((id(row, 0)?, row.try_get(1)?));
        Ok(rows.iter().map(read).collect::<Result<_, Fault>>()?)
    }

    pub(in crate::store) async fn events(
        &mut self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query(EVENTS).bind(after).bind(limit);
        let rows = query.fetch_all(&mut self.connection).await.map_err(Fault::from)?;
        let read = |row: &SqliteRow| {
            Ok(Event {
                position: row.try_get(0)?,
                commit_no: row.try_get(1)?,
                job: id(row, 2)?,
                sequence: row.try_get(3)?,
                time: row.try_get(4)?,
                kind: row.try_get(5)?,
                message: row.try_get(6)?,
                status: row.try_get(7)?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, Fault>>()?)
    }

    /// Whether it may be moved to the database at `place`. A move whose end is not known is made again to where it went:
    /// two databases with the same jobs would drive them twice.
    ///
    /// # Errors
    /// It was moved, or may have been, to another.
    pub(in crate::store) async fn refuse_elsewhere(&mut self, place: &str) -> Result<(), StoreError> {
        match open::moved(&mut self.connection).await? {
            Some(before) if before != place => Err(StoreError::Unavailable(format!(
                "the jobs of this file were moved to {before}, or may have been; make the move again to that database, \
                 named in the same way, and it says whether they are there"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// From now on Drydock opens this file no more: its jobs go to the database at `place`.
    pub(in crate::store) async fn mark_moved(&mut self, place: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('moved', ?)";
        sqlx::query(sql).bind(place).execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn unmark_moved(&mut self) -> Result<(), StoreError> {
        let sql = "DELETE FROM meta WHERE key = 'moved'";
        sqlx::query(sql).execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn close(self) {
        // Everything is on the disk already.
        let _ = sqlx::Connection::close(self.connection).await;
        drop(self.lock);
    }

    async fn page(
        &mut self,
        sql: &'static str,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let query = sqlx::query(sql).bind(after.map(|id| id.into_bytes().to_vec())).bind(limit);
        Ok(query.fetch_all(&mut self.connection).await.map_err(Fault::from)?)
    }

    async fn of(&mut self, sql: &'static str, jobs: &[Uuid]) -> Result<Vec<SqliteRow>, StoreError> {
        let list: Vec<String> = jobs.iter().map(|id| id.simple().to_string()).collect();
        let query = sqlx::query(sql).bind(serde_json::json!(list).to_string());
        Ok(query.fetch_all(&mut self.connection).await.map_err(Fault::from)?)
    }
}

fn id(row: &SqliteRow, column: usize) -> Result<Uuid, Fault> {
    uuid(row.try_get(column)?)
}

fn uuid(bytes: &[u8]) -> Result<Uuid, Fault> {
    Uuid::from_slice(bytes).map_err(|_| Fault::Corrupt("an id that is no UUID".to_owned()))
}
