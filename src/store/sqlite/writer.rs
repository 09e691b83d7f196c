//! The one writer: takes waiting writes off a queue and commits them in groups, so that one fsync serves many.
//!
//! A group is whatever waits when the writer gets round to it, up to a bound; nobody waits for a group to fill.
//! Callers are answered after the commit is durable. A refused write (stale, busy) has touched nothing. When a
//! row breaks a rule of the schema, which is a bug, or a row that is needed is damaged, the group is undone and
//! its writes are made one by one, so that only the faulty one fails.
//!
//! `Unwritable` and `Unavailable` say that a write is not known to be there. It may be: a disk that fails to
//! confirm may still have written. Versions and request keys make it safe to ask again.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::leases::MemoryLeases;
use super::load::load;
use super::open::newest;
use super::purge::{self, Purge};
use super::readers::Readers;
use super::save::save;
use crate::domain::job::Job;
use crate::kit::crash_point::{self, CrashPoint};
use crate::store::contract::{Accepted, Change, NewRequest};
use crate::store::error::StoreError;
use crate::store::lease::Guard;
use crate::store::ledger::Ledger;
use crate::store::metrics::Metrics;
use crate::store::retention::Purged;

/// How many writes may wait; further callers wait to be let in.
pub(super) const QUEUE: usize = 1024;
/// How many writes share a commit at most.
const GROUP_WRITES: usize = 256;
/// A group that has this many rows takes no further write in; one write may have more.
const GROUP_ROWS: usize = 2048;
/// How many groups may go by before an erasure interrupts a busy writer to reach the disk.
const ERASE_WITHIN: u32 = 64;

/// How long a reader may keep an erased password in the log before the writer tries again.
const ERASE_AGAIN: Duration = Duration::from_secs(1);

/// What a caller asked to be written, what was decided about it, and whom to answer once that is durable.
/// A caller that went away does not undo it.
#[derive(Debug)]
pub(super) struct Ask<T, R> {
    pub what: T,
    decided: Option<Result<R, StoreError>>,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<T, R> Ask<T, R> {
    pub(super) fn new(what: T, reply: oneshot::Sender<Result<R, StoreError>>) -> Self {
        Self { what, decided: None, reply }
    }

    fn answer(self, outcome: &Result<(), Fault>) {
        let result = match (outcome, self.decided) {
            (Ok(()), Some(decided)) => decided,
            (Ok(()), None) => Err(StoreError::Corrupt("a write was never decided; a bug".to_owned())),
            (Err(fault), _) => Err(fault.clone().into()),
        };
        drop(self.reply.send(result));
    }
}

/// Changes, and the lease that they are made under.
#[derive(Debug)]
pub(super) struct Guarded {
    pub changes: Vec<Change>,
    pub guard: Option<Guard>,
}

/// One waiting write.
#[derive(Debug)]
pub(super) enum Work {
    Create(Ask<NewRequest, Vec<Result<Accepted, StoreError>>>),
    Write(Ask<Guarded, Vec<Result<Job, StoreError>>>),
    Purge(Ask<Purge, Purged>),
    /// Writes a row that says nothing.
    Ping(Ask<(), ()>),
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Self::Create(ask) => ask.what.touched().count(),
            Self::Write(ask) => ask.what.changes.len(),
            // It takes no other write into its group.
            Self::Purge(_) => GROUP_ROWS,
            Self::Ping(_) => 1,
        }
    }

    fn answer(self, outcome: &Result<(), Fault>) {
        match self {
            Self::Create(ask) => ask.answer(outcome),
            Self::Write(ask) => ask.answer(outcome),
            Self::Purge(ask) => ask.answer(outcome),
            Self::Ping(ask) => ask.answer(outcome),
        }
    }
}

/// The writer's task.
pub(super) struct Writer {
    pub(super) queue: mpsc::Receiver<Work>,
    /// `None` after a fault, until the next group opens a new one.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) options: SqliteConnectOptions,
    pub(super) newest: watch::Sender<u64>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readers: Arc<Readers>,
    pub(super) leases: Arc<MemoryLeases>,
    /// Let go last of all.
    pub(super) lock: File,
    /// Groups since a password was erased that may still stand in the log.
    pub(super) erased: Option<u32>,
}

impl Writer {
    /// Serves the queue until `stop`, then what still waits, then closes everything.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                work = self.queue.recv() => work,
                () = tokio::time::sleep(ERASE_AGAIN), if self.erased.is_some() => {
                    self.forget_erased().await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let group = self.gather(first);
            self.serve(group).await;
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

    fn gather(&mut self, first: Work) -> Vec<Work> {
        let mut rows = first.rows();
        let mut group = vec![first];
        while group.len() < GROUP_WRITES && rows < GROUP_ROWS {
            let Ok(work) = self.queue.try_recv() else { break };
            rows += work.rows();
            group.push(work);
        }
        group
    }

    async fn serve(&mut self, mut group: Vec<Work>) {
        let outcome = self.commit(&mut group).await;
        if let Err(Fault::Refused(text) | Fault::Corrupt(text)) = &outcome
            && group.len() > 1
        {
            tracing::warn!(%text, writes = group.len(), "the writes of a group are made one by one");
            for mut work in group {
                let outcome = self.commit(std::slice::from_mut(&mut work)).await;
                work.answer(&outcome);
            }
            return;
        }
        for work in group {
            work.answer(&outcome);
        }
    }

    /// One transaction: read, decide, save, commit. After a fault the connection is thrown away, and with it
    /// whatever the transaction had done.
    async fn commit(&mut self, group: &mut [Work]) -> Result<(), Fault> {
        let started = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reconnect().await?,
        };
        let position = *self.newest.borrow();
        match transact(&mut connection, group, position, &self.leases).await {
            Ok(ledger) => {
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
                tracing::error!(error = %fault, writes = group.len(), "a commit failed");
                // A close that fails too tells nothing new.
                let _ = connection.close().await;
                Err(fault)
            }
        }
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
        crash_point::reach(CrashPoint::LogUnemptied);
        match empty_log(connection).await {
            Ok(true) => self.erased = None,
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
) -> Result<Ledger, Fault> {
    // IMMEDIATE: takes the right to write now, rather than fail at the first write.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let mut ledger = load(connection, group, position).await?;
    for work in group {
        match work {
            Work::Create(ask) => ask.decided = Some(ledger.create(&ask.what)),
            Work::Write(ask) => {
                let permit = leases.permit(ask.what.guard.as_ref());
                ask.decided =
                    Some(permit.and_then(|()| ledger.write(&ask.what.changes, ask.what.guard.as_ref())));
            }
            Work::Purge(ask) => ask.decided = Some(Ok(purge::run(&mut *connection, &ask.what).await?)),
            Work::Ping(ask) => {
                sqlx::query(PING).execute(&mut *connection).await?;
                ask.decided = Some(Ok(()));
            }
        }
    }
    save(connection, &ledger).await?;
    crash_point::reach(CrashPoint::CommitOpen);
    sqlx::query("COMMIT").execute(connection).await?;
    crash_point::reach(CrashPoint::CommitDone);
    if crash_point::loses(CrashPoint::CommitDone) {
        return Err(Fault::Unavailable("a test lost the answer to this commit".to_owned()));
    }
    Ok(ledger)
}

const PING: &str = "\
    INSERT INTO meta (key, value) VALUES ('ping', '') ON CONFLICT (key) DO UPDATE SET value = excluded.value";
