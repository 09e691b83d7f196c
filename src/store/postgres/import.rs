//! Fills an empty database, in one transaction, for [`crate::store::moving`].

use sqlx::Executor as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::save::each;
use super::session::{Session, close};
use super::{address, open, save};
use crate::store::durable::{self, Durable};
use crate::store::error::StoreError;
use crate::store::fault::Fault;
use crate::store::moving::row::{Event, Job, Label, Request, Sealed};
use crate::store::record::int;
use crate::store::settings::StoreSettings;

/// A gateway's transaction may idle for moments only. This one waits while the file is read and marked, and what is slow
/// there must not end it; nobody else may use the database meanwhile.
const PATIENCE: &str = "\
    SET LOCAL idle_in_transaction_session_timeout = 120000; SET LOCAL statement_timeout = 3600000";
const LOCK: &str = "SELECT position FROM counters FOR UPDATE";
/// A gateway that starts meanwhile waits here, before it drives anything.
const LOCK_REPLICAS: &str = "LOCK TABLE replicas IN SHARE MODE";
const RUNNING: &str = "SELECT name FROM replicas WHERE expires_at > clock_timestamp() ORDER BY name LIMIT 1";
const HOLDS_SOMETHING: &str = "\
    SELECT EXISTS (SELECT 1 FROM jobs) OR EXISTS (SELECT 1 FROM requests) OR EXISTS (SELECT 1 FROM events)";

/// The transaction that fills the database. Dropped before its commit, it leaves nothing behind.
pub(in crate::store) struct Import {
    connection: PgConnection,
}

impl Import {
    fn session(settings: &StoreSettings) -> Result<Session, StoreError> {
        let options = address::parse(&settings.url)
            .map_err(|rule| StoreError::Unavailable(format!("the new store's url {rule}")))?;
        Ok(Session::new(options, settings.statement_timeout()))
    }

    /// Which database the url names, without a secret.
    pub(in crate::store) fn place(settings: &StoreSettings) -> Result<String, StoreError> {
        let session = Self::session(settings)?;
        Ok(format!("{}/{}", session.place(), session.options().get_database().unwrap_or_default()))
    }

    /// Brings the schema up to date and begins. `file` is the id of the store that is moved.
    ///
    /// # Errors
    /// Also when a Drydock runs on the database, or it holds jobs, requests or events already; those of `file` are
    /// told from others.
    pub(in crate::store) async fn begin(settings: &StoreSettings, file: Uuid) -> Result<Self, StoreError> {
        let session = Self::session(settings)?;
        open::open(&session).await?;
        let mut connection = session.connect().await?;
        sqlx::query("BEGIN").execute(&mut connection).await.map_err(Fault::from)?;
        sqlx::raw_sql(PATIENCE).execute(&mut connection).await.map_err(Fault::from)?;
        sqlx::query(LOCK).execute(&mut connection).await.map_err(Fault::from)?;
        sqlx::query(LOCK_REPLICAS).execute(&mut connection).await.map_err(Fault::from)?;
        let running: Option<String> =
            sqlx::query_scalar(RUNNING).fetch_optional(&mut connection).await.map_err(Fault::from)?;
        if let Some(name) = running {
            return Err(StoreError::Unavailable(format!(
                "a Drydock runs on the database (replica `{name}`); stop it first, or wait until its lease has run out \
                 if it was killed"
            )));
        }
        let full: bool =
            sqlx::query_scalar(HOLDS_SOMETHING).fetch_one(&mut connection).await.map_err(Fault::from)?;
        // Read behind the lock: a move that was being committed meanwhile has changed it.
        let id: String = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'store_id'")
            .fetch_one(&mut connection)
            .await
            .map_err(Fault::from)?;
        if full && id == file.to_string() {
            return Err(StoreError::Unavailable(
                "the database holds this file's jobs already: they were moved before; let `store.url` name the \
                 database, and start Drydock"
                    .to_owned(),
            ));
        }
        if full {
            return Err(StoreError::Unavailable(
                "the database holds jobs already, and two histories cannot be put together; give an empty one"
                    .to_owned(),
            ));
        }
        Ok(Self { connection })
    }

    pub(in crate::store) async fn requests(&mut self, rows: &[Request]) -> Result<(), StoreError> {
        let query = sqlx::query(save::INSERT_REQUESTS)
            .bind(each(rows, |r| r.0))
            .bind(each(rows, |r| r.1.clone()))
            .bind(each(rows, |r| r.2));
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn jobs(&mut self, rows: &[Job]) -> Result<(), StoreError> {
        let query = sqlx::query(save::INSERT_JOBS)
            .bind(each(rows, |j| j.id))
            .bind(each(rows, |j| j.provider.clone()))
            .bind(each(rows, |j| j.target.clone()))
            .bind(each(rows, |j| j.operation.clone()))
            .bind(each(rows, |j| j.create_time))
            .bind(each(rows, |j| j.request_id))
            .bind(each(rows, |j| j.request_index))
            .bind(each(rows, |j| j.spec.clone()))
            .bind(each(rows, |j| j.state.clone()))
            .bind(each(rows, |j| j.ended))
            .bind(each(rows, |j| j.holds))
            .bind(each(rows, |j| j.end_time))
            .bind(each(rows, |j| j.version))
            .bind(each(rows, |j| j.sequence))
            .bind(each(rows, |j| j.status.clone()))
            .bind(each(rows, |j| j.control.clone()));
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn labels(&mut self, rows: &[Label]) -> Result<(), StoreError> {
        let query = sqlx::query(save::INSERT_LABELS)
            .bind(each(rows, |l| l.0.clone()))
            .bind(each(rows, |l| l.1.clone()))
            .bind(each(rows, |l| l.2))
            .bind(each(rows, |l| l.3));
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn sealed(&mut self, rows: &[Sealed]) -> Result<(), StoreError> {
        let query =
            sqlx::query(save::INSERT_SEALED).bind(each(rows, |s| s.0)).bind(each(rows, |s| s.1.clone()));
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    pub(in crate::store) async fn events(&mut self, rows: &[Event]) -> Result<(), StoreError> {
        let query = sqlx::query(save::INSERT_EVENTS)
            .bind(each(rows, |e| e.position))
            .bind(each(rows, |e| e.commit_no))
            .bind(each(rows, |e| e.job))
            .bind(each(rows, |e| e.sequence))
            .bind(each(rows, |e| e.time))
            .bind(each(rows, |e| e.kind.clone()))
            // The one character that PostgreSQL keeps in no text.
            .bind(each(rows, |e| e.message.replace('\0', "\u{fffd}")))
            .bind(each(rows, |e| e.status.clone()));
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        Ok(())
    }

    /// The old store's id and counters: resume tokens go on, and no position is given twice.
    pub(in crate::store) async fn counters(
        &mut self,
        id: Uuid,
        position: u64,
        purged_through: i64,
    ) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE counters SET position = $1, purged_through = $2");
        let query = query.bind(int(position)).bind(purged_through);
        query.execute(&mut self.connection).await.map_err(Fault::from)?;
        let query = sqlx::query("UPDATE meta SET value = $1 WHERE key = 'store_id'").bind(id.to_string());
        let changed = query.execute(&mut self.connection).await.map_err(Fault::from)?.rows_affected();
        if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("the database has no id".to_owned())) }
    }

    pub(in crate::store) async fn commit(mut self) -> Result<(), StoreError> {
        durable::about_to(Durable::CommitMove);
        self.connection.execute("COMMIT").await.map_err(Fault::from)?;
        durable::done(Durable::CommitMove);
        // The rows are there, however the connection ends.
        close(self.connection).await;
        Ok(())
    }
}
