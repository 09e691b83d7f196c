//! How waiting writes share commits: the part of a writer that is the same in every store.
//!
//! A group is whatever waits when the writer gets round to it, up to a bound; nobody waits for a group to fill.
//! Callers are answered after the commit is durable. A refused write (stale, busy, fenced) has touched nothing.
//! When a row breaks a rule of the schema, which is a bug, or a row that is needed is damaged, the group is undone
//! and its writes are made one by one, so that only the faulty one fails.
//!
//! `Unwritable` and `Unavailable` say that a write is not known to be there. It may be: a disk that fails to
//! confirm may still have written, and an answer may be lost on its way. Versions and request keys make it safe to
//! ask again.

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::contract::{Accepted, Change, NewRequest};
use super::durable::{self, Durable};
use super::error::StoreError;
use super::fault::Fault;
use super::lease::Guard;
use super::ledger::Ledger;
use super::loans::closed;
use super::retention::{Purge, Purged};
use crate::domain::job::Job;
use crate::kit::crash_point::{self, CrashPoint};

/// How many writes may wait; further callers wait to be let in.
const QUEUE: usize = 1024;
/// How many writes share a commit at most.
const GROUP_WRITES: usize = 256;
/// A group that has this many rows takes no further write in; one write may have more.
const GROUP_ROWS: usize = 2048;

/// What a caller asked to be written, what was decided about it, and whom to answer once that is durable.
/// A caller that went away does not undo it.
#[derive(Debug)]
pub(super) struct Ask<T, R> {
    pub what: T,
    pub decided: Option<Result<R, StoreError>>,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<T, R> Ask<T, R> {
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
    /// Commits, and says nothing.
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

    /// What its commit makes durable.
    const fn step(&self) -> Durable {
        match self {
            Self::Create(_) => Durable::Create,
            Self::Write(_) => Durable::Write,
            Self::Purge(ask) => match ask.what {
                Purge::Jobs(..) => Durable::Purge,
                Purge::BareKeys { .. } => Durable::PurgeBareKeys,
            },
            Self::Ping(_) => Durable::Ping,
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

/// Lets `ledger` decide everything of the group that is about jobs. `permit` says whether a guard's lease still
/// holds. A purge is left to the store.
pub(super) fn decide(
    ledger: &mut Ledger,
    group: &mut [Work],
    permit: impl Fn(Option<&Guard>) -> Result<(), StoreError>,
) {
    for work in group {
        match work {
            Work::Create(ask) => ask.decided = Some(ledger.create(&ask.what)),
            Work::Write(ask) => {
                let guard = ask.what.guard.as_ref();
                ask.decided = Some(permit(guard).and_then(|()| ledger.write(&ask.what.changes, guard)));
            }
            Work::Ping(ask) => ask.decided = Some(Ok(())),
            Work::Purge(_) => {}
        }
    }
}

/// The group is decided and saved; its commit is next.
pub(super) fn about_to_commit(group: &[Work]) {
    group.iter().for_each(|work| durable::about_to(work.step()));
}

/// The group's commit is durable; nobody was told. The answer to it may be lost all the same, when a test says so.
pub(super) fn committed(group: &[Work]) -> Result<(), Fault> {
    group.iter().for_each(|work| durable::done(work.step()));
    if crash_point::loses(CrashPoint::CommitDone) {
        return Err(Fault::Unavailable("a test lost the answer to this commit".to_owned()));
    }
    Ok(())
}

/// Where callers leave their writes.
#[derive(Debug)]
pub(super) struct Door(mpsc::Sender<Work>);

/// Where the writer takes them.
#[derive(Debug)]
pub(super) struct Waiting(mpsc::Receiver<Work>);

/// The two ends of a writer's queue.
pub(super) fn queue() -> (Door, Waiting) {
    let (door, waiting) = mpsc::channel(QUEUE);
    (Door(door), Waiting(waiting))
}

impl Door {
    /// Hands a write to the writer and waits until it is durable.
    pub(super) async fn ask<T, R>(
        &self,
        what: T,
        work: impl FnOnce(Ask<T, R>) -> Work,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(work(Ask { what, decided: None, reply })).await.map_err(|_| closed())?;
        answer.await.map_err(|_| StoreError::Unavailable("its writer ended".to_owned()))?
    }
}

impl Waiting {
    /// The next group. After `stop` nothing more is let in; `None` once what was let in is served. Loses nothing
    /// when it is dropped before it answers.
    pub(super) async fn group(&mut self, stop: &CancellationToken) -> Option<Vec<Work>> {
        let first = loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.0.is_closed() => self.0.close(),
                work = self.0.recv() => break work?,
            }
        };
        let mut rows = first.rows();
        let mut group = vec![first];
        while group.len() < GROUP_WRITES && rows < GROUP_ROWS {
            let Ok(work) = self.0.try_recv() else { break };
            rows += work.rows();
            group.push(work);
        }
        Some(group)
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes one commit of a group.
pub(super) trait Commit {
    /// Decides and saves a group, all of it or nothing.
    fn commit(&mut self, group: &mut [Work]) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Commits a group and answers it; after a refusal its writes are made one by one.
pub(super) async fn serve(mut group: Vec<Work>, writer: &mut impl Commit) {
    let outcome = writer.commit(&mut group).await;
    if let Err(Fault::Refused(text) | Fault::Corrupt(text)) = &outcome
        && group.len() > 1
    {
        tracing::warn!(%text, writes = group.len(), "the writes of a group are made one by one");
        for mut work in group {
            let outcome = writer.commit(std::slice::from_mut(&mut work)).await;
            work.answer(&outcome);
        }
        return;
    }
    for work in group {
        work.answer(&outcome);
    }
}
