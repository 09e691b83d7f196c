//! The one writer of a replica: commits waiting writes in groups ([`crate::store::group`]).
//!
//! Every writing transaction of every replica begins by locking the one row of `counters`, and holds it until its
//! commit is durable and visible. So what the ledger decides cannot be overtaken, and positions rise in the order of
//! commits: whoever gets the lock next reads a newest position that is committed, and a reader sees a prefix of all
//! positions, without gaps and without late arrivals.
//!
//! The usual other way is to take numbers from a sequence, to let transactions commit in any order, and to have
//! readers stop below the oldest transaction that still runs (`pg_snapshot_xmin`). Then one forgotten transaction,
//! of any program in the same database, holds up every watch for as long as it lives. With the lock nobody else's
//! transaction matters. It costs that replicas commit one after the other, which group commit makes up for.
//!
//! The row is locked, not changed: a counter that is counted up leaves a dead row behind with each commit, and under
//! somebody's long transaction these pile up, to be walked by each later commit. The newest position is read from the
//! end of the events' index instead, by a statement of its own: its snapshot is taken after the lock was got.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::fault::is_lost;
use super::load::load;
use super::purge;
use super::rewound;
use super::save::save;
use super::session::{Session, close};
use super::tail::{Channel, Heard, Word};
use crate::store::fault::Fault;
use crate::store::group::{Commit, Waiting, Work, about_to_commit, committed, decide, serve};
use crate::store::ledger::Ledger;
use crate::store::metrics::Metrics;

/// How long one group may take from its begin to its commit, beside what a single statement may take.
const TRANSACT_WITHIN: Duration = Duration::from_secs(15);

/// Three statements in one round trip. The last row of the answer is the newest position.
const BEGIN: &str = "\
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
    SELECT one::text FROM counters FOR UPDATE; \
    SELECT greatest(position, (SELECT max(position) FROM events))::text FROM counters";

/// The writer's task.
pub(super) struct Writer {
    pub(super) queue: Waiting,
    /// `None` at first and after a fault.
    pub(super) connection: Option<PgConnection>,
    pub(super) session: Session,
    pub(super) channel: Channel,
    pub(super) heard: Heard,
    pub(super) metrics: Arc<Metrics>,
    /// Closed after the last write.
    pub(super) others: [Arc<Connections>; 2],
}

impl Commit for Writer {
    /// One transaction: lock, read, decide, save, commit. After a fault the connection is thrown away, and with it
    /// whatever the transaction had done.
    async fn commit(&mut self, group: &mut [Work]) -> Result<(), Fault> {
        let started = Instant::now();
        let within = self.session.within() + TRANSACT_WITHIN;
        let outcome = match timeout(within, self.transact(group)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Unavailable(format!(
                "the database did not finish a commit within {} s; whether it was made is not known",
                within.as_secs()
            ))),
        };
        match outcome {
            Ok(ledger) => {
                self.metrics.committed(group.len(), started.elapsed());
                self.heard.position(ledger.position());
                Ok(())
            }
            Err(fault) => {
                tracing::error!(error = %fault, writes = group.len(), "a commit failed");
                Err(fault)
            }
        }
    }
}

impl Writer {
    /// Serves the queue until `stop`, then what still waits, then closes everything.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(group) = self.queue.group(&stop).await {
            serve(group, &mut self).await;
        }
        for connections in &self.others {
            connections.close().await;
        }
        if let Some(connection) = self.connection.take() {
            close(connection).await;
        }
    }

    async fn transact(&mut self, group: &mut [Work]) -> Result<Ledger, Fault> {
        let (mut connection, mut position) = self.begin().await?;
        // Whatever was heard was committed before this lock was got.
        let known = *self.heard.newest.borrow();
        if position < known {
            position = rewound::mark(&mut connection, position, known).await?;
        }
        let (mut ledger, fences) = load(&mut connection, group, position).await?;
        decide(&mut ledger, group, |guard| fences.permit(guard));
        save(&mut connection, &ledger).await?;
        for work in group.iter_mut() {
            match work {
                Work::Purge(ask) => {
                    let purged = purge::run(&mut connection, &ask.what, ledger.position()).await?;
                    ask.decided = Some(Ok(purged));
                }
                // The lock that was taken is a write.
                Work::Create(_) | Work::Write(_) | Work::Ping(_) => {}
            }
        }
        let word = (ledger.position() > position).then(|| Word::Events(ledger.position()));
        about_to_commit(group);
        self.channel.commit(&mut connection, word).await?;
        committed(group)?;
        self.connection = Some(connection);
        Ok(ledger)
    }

    /// Begins on the connection at hand, or on a fresh one if there is none or it turns out to be dead: nothing was
    /// written yet.
    async fn begin(&mut self) -> Result<(PgConnection, u64), Fault> {
        if let Some(mut connection) = self.connection.take() {
            match begin(&mut connection).await {
                Ok(position) => return Ok((connection, position)),
                Err(error) if is_lost(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut connection = self.session.connect().await?;
        let position = begin(&mut connection).await.map_err(|error| self.session.name(error))?;
        Ok((connection, position))
    }
}

async fn begin(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let rows = sqlx::raw_sql(BEGIN).fetch_all(connection).await?;
    let newest: String = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    newest.parse().map_err(|_| sqlx::Error::Decode("the newest position".into()))
}
