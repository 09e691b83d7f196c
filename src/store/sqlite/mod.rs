//! The store in one SQLite file: for one Drydock on one machine.
//!
//! * WAL and `synchronous=FULL`: a commit is on the disk when it is answered.
//! * One writer ([`writer`]) commits waiting writes in groups; readers ([`readers`]) never wait for it.
//! * A group is read, decided in memory ([`crate::store::ledger`]) and saved. A small one goes to SQLite's thread twice:
//!   to begin and read, to save and commit. The way there and back costs as much as the statements do, so a group whose
//!   rows the writer itself wrote last ([`rows`]) goes there once.
//! * What callers were shown of a job is kept until the writer touches it ([`shown`]).
//! * One process at a time: a lock on the file `<database>.lock`.

pub(super) mod export;
pub(super) mod fault;
mod leases;
mod list;
mod load;
mod lookups;
mod open;
#[cfg(test)]
mod plans;
mod purge;
mod read;
mod readers;
mod rows;
mod save;
mod shown;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use self::leases::MemoryLeases;
use self::lookups::Lookups;
use self::readers::Readers;
use self::rows::Rows;
use self::shown::Shown;
use self::writer::Writer;
use super::contract::{Accepted, Change, JobFilter, NewRequest, Show, Store};
use super::error::StoreError;
use super::group::{Door, Guarded, Work, queue};
use super::lease::{Attendance, Fence, Guard, Leases, Presence, ReplicaId};
use super::metrics::{CommitCount, Metrics};
use super::retention::{Purge, Purged, Step, Through};
use super::settings::StoreSettings;
use crate::domain::event::Event;
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::Job;
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::JobState;
use crate::kit::clock::Clock;
use crate::kit::tasks::Tasks;

/// How long closing waits for writes that were let in.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// Jobs, events and requests in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    id: Uuid,
    readers: Arc<Readers>,
    lookups: Lookups,
    shown: Arc<Shown>,
    door: Door,
    newest: watch::Receiver<u64>,
    metrics: Arc<Metrics>,
    leases: Arc<MemoryLeases>,
    tasks: Tasks,
}

impl SqliteStore {
    /// Opens the database that `settings` name, makes it when there is none, and brings its schema up to date.
    /// Call it inside a tokio runtime, after telemetry is installed.
    ///
    /// # Errors
    /// `Locked`, `NewerSchema`, `Unwritable`, `Corrupt`, and `Unavailable` for anything else in the way.
    pub async fn open(settings: &StoreSettings) -> Result<Arc<Self>, StoreError> {
        let mut opened = open::open(settings).await?;
        open::refuse_moved(&mut opened.writer).await?;
        let readers = Arc::new(Readers::new(opened.reader_options));
        let metrics = Arc::new(Metrics::new());
        let (door, waiting) = queue();
        let (tell, newest) = watch::channel(opened.position);
        let leases = Arc::new(MemoryLeases::new());
        let shown = Arc::new(Shown::new());
        let tasks = Tasks::new();
        let writer = Writer {
            queue: waiting,
            connection: Some(opened.writer),
            options: opened.writer_options,
            newest: tell,
            metrics: Arc::clone(&metrics),
            readers: Arc::clone(&readers),
            leases: Arc::clone(&leases),
            shown: Arc::clone(&shown),
            rows: Rows::new(),
            lock: opened.lock,
            // The last process may have died between an erasure and the emptying of its log.
            erased: Some(0),
        };
        tasks.spawn("store writer", writer.run(tasks.token().clone()));
        Ok(Arc::new(Self {
            id: opened.id,
            readers,
            lookups: Lookups::default(),
            shown,
            door,
            newest,
            metrics,
            leases,
            tasks,
        }))
    }

    /// How much was committed since the store was opened.
    pub fn commit_count(&self) -> CommitCount {
        self.metrics.count()
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn attend(&self, presence: &Presence) -> Result<Attendance, StoreError> {
        Ok(self.leases.attend(presence))
    }

    async fn take_lease(
        &self,
        provider: &ProviderId,
        replica: ReplicaId,
        lease: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        Ok(self.leases.take(provider, replica, lease))
    }

    async fn release_leases(&self, replica: ReplicaId, guards: &[Guard]) -> Result<(), StoreError> {
        self.leases.release(replica, guards);
        Ok(())
    }

    async fn leave(&self, replica: ReplicaId) -> Result<(), StoreError> {
        self.leases.leave(replica);
        Ok(())
    }

    fn lease_changes(&self) -> watch::Receiver<u64> {
        self.leases.changes()
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn id(&self) -> Uuid {
        self.id
    }

    async fn create(&self, request: NewRequest) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        self.door.ask(request, Work::Create).await
    }

    async fn knows_request(&self, id: RequestId) -> Result<bool, StoreError> {
        self.read_knows_request(id).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.lookups.job(&self.readers, id).await
    }

    async fn shown(&self, id: JobId, show: Show) -> Result<Option<Bytes>, StoreError> {
        self.shown.get(id, async { Ok(self.job(id).await?.map(|job| show(&job))) }).await
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        self.list_jobs(filter, page).await
    }

    async fn live_jobs(
        &self,
        provider: &ProviderId,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        self.read_live_jobs(provider, after, limit).await
    }

    async fn write(
        &self,
        changes: Vec<Change>,
        guard: Option<Guard>,
    ) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
        self.door.ask(Guarded { changes, guard }, Work::Write).await
    }

    async fn sealed_password(&self, id: JobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_sealed(id).await
    }

    async fn job_events(&self, id: JobId, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read_job_events(id, after, limit).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read_events(after, limit).await
    }

    fn newest_position(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    async fn count_live(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError> {
        self.count_live_jobs().await
    }

    async fn too_many(&self, keep: u64) -> Result<Option<Through>, StoreError> {
        purge::too_many(&self.readers, keep).await
    }

    /// One process has the file, so its machine's clock is the store's.
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(Clock::system().now())
    }

    async fn purge(&self, through: Through, step: Step) -> Result<Purged, StoreError> {
        self.door.ask(Purge::Jobs(through, step), Work::Purge).await
    }

    async fn purge_bare_keys(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let purge = Purge::BareKeys { before: before.as_microsecond(), limit };
        Ok(self.door.ask(purge, Work::Purge).await?.keys)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ping_reader().await?;
        self.door.ask((), Work::Ping).await
    }

    async fn close(&self) {
        let ended = self.tasks.shutdown(CLOSE_WITHIN).await;
        if !ended.joined {
            tracing::error!("the store did not close in time; what was answered is safe on the disk");
        }
    }
}
