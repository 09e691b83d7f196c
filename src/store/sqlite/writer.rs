//! The one writer: commits waiting writes in groups ([`crate::store::group`]), so that one fsync serves many.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::leases::MemoryLeases;
use super::load::begin;
use super::open::newest;
use super::purge;
use super::readers::Readers;
use super::rows::Rows;
use super::save::{Text, commit, save};
use super::shown::Shown;
use crate::store::durable::{self, Durable};
use crate::store::fault::Fault;
use crate::store::group::{Commit, Waiting, Work, about_to_commit, committed, decide, serve};
use crate::store::ledger::Ledger;
use crate::store::metrics::Metrics;

/// How many groups may go by before an erasure interrupts a busy writer to reach the disk.
const ERASE_WITHIN: u32 = 64;

/// How long a reader may keep an erased password in the log before the writer tries again.
const ERASE_AGAIN: Duration = Duration::from_secs(1);

/// The writer's task.
pub(super) struct Writer {
    pub(super) queue: Waiting,
    /// `None` after a fault, until the next group opens a new one.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) options: SqliteConnectOptions,
    pub(super) newest: watch::Sender<u64>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readers: Arc<Readers>,
    pub(super) leases: Arc<MemoryLeases>,
    pub(super) shown: Arc<Shown>,
    pub(super) rows: Rows,
    /// Let go last of all.
    pub(super) lock: File,
    /// Groups since a password was erased that may still stand in the log.
    pub(super) erased: Option<u32>,
}

impl Commit for Writer {
    /// One transaction: read what is not at hand, decide, save, commit. After a fault the connection is thrown away, and with it
    /// whatever the transaction had done.
    async fn commit(&mut self, group: &mut [Work]) -> Result<(), Fault> {
        let started = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reconnect().await?,
        };
        let position = *self.newest.borrow();
        match transact(&mut connection, group, position, &self.leases, &self.shown, &mut self.rows).await {
            Ok(ledger) => {
                self.shown.release();
                self.connection = Some(connection);
                self.metrics.committed(group.len(), started.elapsed());
                if ledger.position() > position {
                    self.newest.send_replace(ledger.position());
                }
                if !ledger.saves().erased.is_empty() {
                    self.erased.get_or_insert(0);
                }
                Ok(())
            }
            Err(fault) => {
                self.shown.doubt();
                self.rows.doubt();
                tracing::error!(error = %fault, writes = group.len(), "a commit failed");
                // A close that fails too tells nothing new.
                let _ = connection.close().await;
                Err(fault)
            }
        }
    }
}

impl Writer {
    /// Serves the queue until `stop`, then what still waits, then closes everything.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let group = tokio::select! {
                biased;
                group = self.queue.group(&stop) => group,
                () = tokio::time::sleep(ERASE_AGAIN), if self.erased.is_some() => {
                    self.forget_erased().await;
                    continue;
                }
            };
            let Some(group) = group else { break };
            serve(group, &mut self).await;
            self.forget_erased().await;
        }
        // Readers first: the last connection to close folds the log into the file.
        self.readers.close().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the writing connection did not close well");
        }
        drop(self.lock);
    }

    /// A fresh connection after a fault. A commit that failed may be there after all, so the newest position is
    /// read again.
    async fn reconnect(&self) -> Result<SqliteConnection, Fault> {
        let mut connection = self.options.connect().await?;
        let position = newest(&mut connection).await?;
        self.newest.send_if_modified(|known| {
            let later = position > *known;
            *known = position.max(*known);
            later
        });
        Ok(connection)
    }

    /// Empties the log after an erasure: until then, an erased password still stands in it, sealed.
    ///
    /// Waits for no reader: when one is in the way, the next group tries again.
    async fn forget_erased(&mut self) {
        let Some(groups) = self.erased else { return };
        if !self.queue.is_empty() && groups < ERASE_WITHIN {
            self.erased = Some(groups + 1);
            return;
        }
        let Some(connection) = self.connection.as_mut() else { return };
        durable::about_to(Durable::EmptyLog);
        match empty_log(connection).await {
            Ok(true) => {
                durable::done(Durable::EmptyLog);
                self.erased = None;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the log could not be emptied after an erasure"),
        }
    }
}

/// Says whether the log is empty now.
async fn empty_log(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query("PRAGMA busy_timeout = 0").execute(&mut *connection).await?;
    let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await?;
    sqlx::query("PRAGMA busy_timeout = 5000").execute(connection).await?;
    Ok(busy == 0)
}

async fn transact(
    connection: &mut SqliteConnection,
    group: &mut [Work],
    position: u64,
    leases: &MemoryLeases,
    shown: &Shown,
    rows: &mut Rows,
) -> Result<Ledger, Fault> {
    let (mut ledger, text) = match rows.ledger(group, position) {
        Some(ledger) => (ledger, Text::beginning()),
        None => (begin(connection, group, position).await?, Text::default()),
    };
    decide(&mut ledger, group, |guard| leases.permit(guard));
    let mut gone = Vec::new();
    for work in group.iter_mut() {
        match work {
            Work::Purge(ask) => {
                ask.decided = Some(Ok(purge::run(&mut *connection, &ask.what, &mut gone).await?));
            }
            // It proves that a row can be written.
            Work::Ping(_) => {
                sqlx::query(PING).execute(&mut *connection).await?;
            }
            Work::Create(_) | Work::Write(_) => {}
        }
    }
    let last = save(connection, &ledger, text).await?;
    about_to_commit(group);
    shown.hold(ledger.changed_jobs().map(|job| job.id).chain(gone.iter().copied()));
    commit(connection, last).await?;
    committed(group)?;
    rows.committed(&ledger, &gone);
    Ok(ledger)
}

const PING: &str = "\
    INSERT INTO meta (key, value) VALUES ('ping', '') ON CONFLICT (key) DO UPDATE SET value = excluded.value";
