//! The store in a PostgreSQL database: for several equal replicas, or one.
//!
//! * `synchronous_commit` is never below `on`: a commit is on the disk when it is answered.
//! * Each replica has one writer ([`writer`]), which commits waiting writes in groups; a lock orders the commits of
//!   all replicas, and with them the positions of events.
//! * Reads ([`read`]) go over a bounded number of connections and never wait for a writer.
//! * Leases ([`leases`]) live on the database's clock, beside the writer and without its lock.
//! * Notifications ([`tail`]) hurry what polling would find.
//!
//! It needs PostgreSQL 14 and sessions of its own: a pooler in between must work by session, not by transaction,
//! because of prepared statements, session settings and LISTEN.

pub(super) mod address;
mod connections;
pub(super) mod fault;
pub(super) mod import;
mod leases;
mod list;
mod listener;
mod load;
mod open;
#[cfg(test)]
mod plans;
mod purge;
mod read;
mod rewound;
mod save;
mod session;
mod tail;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use self::connections::Connections;
use self::listener::Listener;
use self::session::Session;
use self::tail::{Channel, Heard};
use self::writer::Writer;
use super::contract::{Accepted, Change, JobFilter, NewRequest, Store};
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
use crate::kit::tasks::Tasks;

/// How long closing waits for writes that were let in. A commit takes milliseconds; where the database is cut off, what
/// was not answered is not promised, and waiting longer would only have the process killed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Connections for leases and for asking what is new: a crowd of readers must not cost a lease.
const SIDE: u32 = 2;
/// The writer, the listener, and those on the side.
pub(super) const NOT_FOR_READS: u32 = 2 + SIDE;

/// Jobs, events, requests and leases in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    id: Uuid,
    readers: Arc<Connections>,
    side: Arc<Connections>,
    door: Door,
    channel: Channel,
    heard: Heard,
    metrics: Arc<Metrics>,
    tasks: Tasks,
}

impl PostgresStore {
    /// Opens the database that `settings` name and brings its schema up to date; several replicas may do so at once.
    /// Call it inside a tokio runtime, after telemetry is installed.
    ///
    /// # Errors
    /// `NewerSchema`, `Unwritable` (a standby, a missing right), `Corrupt` (a schema that is not ours), and
    /// `Unavailable` for anything else in the way. The message says what to do.
    pub async fn open(settings: &StoreSettings) -> Result<Arc<Self>, StoreError> {
        let options = address::parse(&settings.url)
            .map_err(|rule| StoreError::Unavailable(format!("`store.url` {rule}")))?;
        let session = Session::new(options, settings.statement_timeout());
        let opened = open::open(&session).await?;

        let places = settings.max_connections().saturating_sub(NOT_FOR_READS).max(1);
        let readers = Arc::new(Connections::new(session.clone(), places));
        let side = Arc::new(Connections::new(session.clone(), SIDE));
        let metrics = Arc::new(Metrics::new());
        let channel = Channel::of(opened.id);
        let heard = Heard { newest: watch::Sender::new(opened.position), leases: watch::Sender::new(0) };
        let (door, waiting) = queue();
        let tasks = Tasks::new();
        let renew = Arc::new(Notify::new());
        let stop = || tasks.token().clone();
        let listener = Listener {
            session: session.clone(),
            channel: channel.clone(),
            heard: heard.clone(),
            renew: Arc::clone(&renew),
            poll: settings.poll(),
        };
        tasks.spawn("store listener", listener.run(stop()));
        let poll = tail::poll(Arc::clone(&side), heard.clone(), settings.poll(), renew, stop());
        tasks.spawn("store poll", poll);
        let writer = Writer {
            queue: waiting,
            connection: None,
            session,
            channel: channel.clone(),
            heard: heard.clone(),
            metrics: Arc::clone(&metrics),
            others: [Arc::clone(&readers), Arc::clone(&side)],
        };
        tasks.spawn("store writer", writer.run(stop()));
        Ok(Arc::new(Self { id: opened.id, readers, side, door, channel, heard, metrics, tasks }))
    }

    /// How much was committed since the store was opened.
    pub fn commit_count(&self) -> CommitCount {
        self.metrics.count()
    }
}

#[async_trait]
impl Leases for PostgresStore {
    async fn attend(&self, presence: &Presence) -> Result<Attendance, StoreError> {
        let (attendance, changed) = leases::attend(&self.side, &self.channel, presence).await?;
        if changed {
            self.heard.leases();
        }
        Ok(attendance)
    }

    async fn take_lease(
        &self,
        provider: &ProviderId,
        replica: ReplicaId,
        lease: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        leases::take(&self.side, provider, replica, lease).await
    }

    async fn release_leases(&self, replica: ReplicaId, guards: &[Guard]) -> Result<(), StoreError> {
        leases::release(&self.side, &self.channel, replica, guards).await?;
        self.heard.leases();
        Ok(())
    }

    async fn leave(&self, replica: ReplicaId) -> Result<(), StoreError> {
        leases::leave(&self.side, &self.channel, replica).await?;
        self.heard.leases();
        Ok(())
    }

    fn lease_changes(&self) -> watch::Receiver<u64> {
        self.heard.leases.subscribe()
    }
}

#[async_trait]
impl Store for PostgresStore {
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
        self.read_job(id).await
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
        self.heard.newest.subscribe()
    }

    async fn count_live(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError> {
        self.count_live_jobs().await
    }

    async fn too_many(&self, keep: u64) -> Result<Option<Through>, StoreError> {
        purge::too_many(&self.readers, keep).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        purge::now(&self.readers).await
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
            tracing::error!("the store did not close in time; what was answered is safe in the database");
        }
    }
}
