//! A whole engine over a real SQLite file and a scripted vendor.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::error::Error;
use drydock::domain::id::{JobId, ProviderId, RequestId};
use drydock::domain::job::Job;
use drydock::domain::operation::{Operation, Reinstall, Upgrade};
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{OnBusy, StartEntry, StartRequest, Started, WatchBody, WatchItem, WatchRequest};
use drydock::engine::{Engine, EngineSettings, Provider, Watch};
use drydock::kit::clock::Clock;
use drydock::kit::seal::Sealer;
use drydock::kit::secret::Secret;
use drydock::store::Store;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;
use futures_util::StreamExt;

use crate::flaky::Flaky;
use crate::scripted::Scripted;

/// Long enough that a busy machine does not fail a test, short enough that a hang is seen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct House {
    pub dir: tempfile::TempDir,
    pub vendor: Scripted,
    pub engine: Arc<Engine>,
    pub store: Arc<dyn Store>,
    sealed: bool,
    settings: EngineSettings,
    clock: Clock,
}

impl House {
    pub async fn new(vendor: Scripted) -> Self {
        Self::build(vendor, tempfile::tempdir().unwrap(), false, quick()).await
    }

    /// A house that keeps few recent events for watches.
    pub async fn forgetful(vendor: Scripted) -> Self {
        let settings = EngineSettings { watch_ring_events: 16, ..quick() };
        Self::build(vendor, tempfile::tempdir().unwrap(), false, settings).await
    }

    pub async fn sealing(vendor: Scripted) -> Self {
        Self::build(vendor, tempfile::tempdir().unwrap(), true, quick()).await
    }

    /// A house on a store that fails when told.
    pub async fn flaky(vendor: Scripted) -> (Self, Arc<Flaky>) {
        let dir = tempfile::tempdir().unwrap();
        let flaky = Arc::new(Flaky::new(Self::open(&dir).await));
        let store: Arc<dyn Store> = Arc::clone(&flaky) as _;
        (Self::furnish(vendor, dir, false, store, quick(), Clock::system()).await, flaky)
    }

    /// The same, with leases and rounds that outlast half a minute.
    pub async fn flaky_and_patient(vendor: Scripted) -> (Self, Arc<Flaky>) {
        let dir = tempfile::tempdir().unwrap();
        let flaky = Arc::new(Flaky::new(Self::open(&dir).await));
        let store: Arc<dyn Store> = Arc::clone(&flaky) as _;
        let settings = EngineSettings { lease_ms: 600_000, round_limit_ms: 600_000, ..quick() };
        (Self::furnish(vendor, dir, false, store, settings, Clock::system()).await, flaky)
    }

    /// A house on a store that stalls when told, which keeps few recent events for watches.
    pub async fn flaky_and_forgetful(vendor: Scripted) -> (Self, Arc<Flaky>) {
        let dir = tempfile::tempdir().unwrap();
        let flaky = Arc::new(Flaky::new(Self::open(&dir).await));
        let store: Arc<dyn Store> = Arc::clone(&flaky) as _;
        let settings = EngineSettings { watch_ring_events: 16, ..quick() };
        (Self::furnish(vendor, dir, false, store, settings, Clock::system()).await, flaky)
    }

    async fn build(vendor: Scripted, dir: tempfile::TempDir, sealed: bool, settings: EngineSettings) -> Self {
        let store = Self::open(&dir).await;
        Self::furnish(vendor, dir, sealed, store, settings, Clock::system()).await
    }

    async fn open(dir: &tempfile::TempDir) -> Arc<dyn Store> {
        let path: PathBuf = dir.path().join("drydock.db");
        let settings =
            StoreSettings { url: format!("sqlite://{}", path.display()), ..StoreSettings::default() };
        SqliteStore::open(&settings).await.unwrap()
    }

    async fn furnish(
        vendor: Scripted,
        dir: tempfile::TempDir,
        sealed: bool,
        store: Arc<dyn Store>,
        settings: EngineSettings,
        clock: Clock,
    ) -> Self {
        let provider = Provider {
            id: ProviderId::parse("a").unwrap(),
            endpoint: "http://scripted".into(),
            labels: BTreeMap::new(),
            cadence: Cadence { min: Duration::from_millis(10), max: Duration::from_millis(40) },
            warnings: Vec::new(),
            vendor: Arc::new(vendor.clone()),
        };
        let sealer = sealed.then(|| {
            Sealer::from_base64(&Secret::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()))
                .unwrap()
        });
        let engine =
            Engine::start_up(Arc::clone(&store), vec![provider], settings.clone(), sealer, clock.clone())
                .await
                .unwrap();
        Self { dir, vendor, engine, store, sealed, settings, clock }
    }

    /// Ends this engine in order and starts another one on the same file, which keeps so many ended jobs, however lately
    /// they ended.
    pub async fn restart_keeping(mut self, keep_ended_jobs: u64) -> Self {
        self.settings.keep_ended_at_least = Duration::ZERO;
        self.settings.keep_ended_jobs = keep_ended_jobs;
        self.restart().await
    }

    /// The same, without a word on those that ended lately.
    pub async fn restart_keeping_few(mut self, keep_ended_jobs: u64) -> Self {
        self.settings.keep_ended_jobs = keep_ended_jobs;
        self.restart().await
    }

    /// Ends this engine in order and starts another one on the same file, whose clock is ahead.
    pub async fn restart_ahead(mut self, by: Duration) -> Self {
        self.clock = Clock::paused_at(drydock::kit::clock::after(Clock::system().now(), by));
        self.restart().await
    }

    /// Ends this engine in order and starts another one on the same file.
    pub async fn restart(self) -> Self {
        self.restart_after(|| ()).await
    }

    /// The same, with something to be done in between.
    pub async fn restart_after(self, between: impl FnOnce()) -> Self {
        let Self { dir, vendor, engine, store, sealed, settings, clock } = self;
        engine.shutdown(Duration::from_secs(5)).await;
        drop(engine);
        store.close().await;
        drop(store);
        between();
        let store = Self::open(&dir).await;
        Self::furnish(vendor, dir, sealed, store, settings, clock).await
    }

    pub async fn start(&self, entries: Vec<StartEntry>) -> Result<Vec<Result<Started, Error>>, Error> {
        self.engine.start(request(entries)).await
    }

    pub async fn upgrade(&self, target: &str) -> Job {
        self.start(vec![upgrade(target)]).await.unwrap().remove(0).unwrap().job
    }

    /// Waits until a job is as wanted.
    pub async fn until(&self, id: JobId, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        let wait = async {
            loop {
                let job = self.engine.job(id).await.unwrap();
                if wanted(&job) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(job) => job,
            Err(_) => panic!("{what} never came: {:#?}", self.engine.job(id).await.unwrap().status),
        }
    }

    pub async fn ended(&self, id: JobId) -> Job {
        self.until(id, "an end", |j| j.status.state.is_ended()).await
    }

    pub async fn in_state(&self, id: JobId, state: JobState) -> Job {
        self.until(id, state.as_str(), |j| j.status.state == state).await
    }

    pub async fn watch(&self, request: WatchRequest) -> Watch {
        self.engine.watch(request).await.unwrap()
    }
}

/// Paces at which tests pass quickly.
fn quick() -> EngineSettings {
    EngineSettings {
        pause_first_ms: 30,
        pause_max_ms: 60,
        heartbeat_ms: 100,
        queue_limit: 2,
        round_limit_ms: 2_000,
        ..EngineSettings::default()
    }
}

pub fn target(id: &str) -> Target {
    Target::parse_name(&format!("providers/a/clusters/{id}")).unwrap()
}

pub fn upgrade(id: &str) -> StartEntry {
    let operation = Operation::Upgrade(Upgrade { version: Some("v2".into()), ..Upgrade::default() });
    StartEntry { target: target(id), operation, password: None, field_prefix: String::new() }
}

pub fn reinstall(id: &str, password: &str) -> StartEntry {
    StartEntry {
        target: Target::parse_name(&format!("providers/a/instances/{id}")).unwrap(),
        operation: Operation::Reinstall(Reinstall::default()),
        password: Some(Secret::from(password.to_owned())),
        field_prefix: String::new(),
    }
}

pub fn request(entries: Vec<StartEntry>) -> StartRequest {
    StartRequest {
        request: None,
        entries,
        on_busy: OnBusy::Reject,
        labels: BTreeMap::new(),
        trace_parent: None,
    }
}

pub fn with_key(key: u128, digest: u8, entries: Vec<StartEntry>) -> StartRequest {
    let id = RequestId::parse(&uuid::Uuid::from_u128(key).to_string()).unwrap();
    StartRequest { request: Some((id, [digest; 32])), ..request(entries) }
}

/// The next message of a watch, within the test's patience.
pub async fn next(watch: &mut Watch) -> Option<Result<WatchItem, Error>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("a message of the watch")
}

/// The positions of an item's events.
pub fn positions(item: &WatchItem) -> Vec<u64> {
    match &item.body {
        WatchBody::Events(events) => events.events().map(|e| e.position).collect(),
        WatchBody::Snapshot(_) | WatchBody::Synced | WatchBody::Heartbeat => Vec::new(),
    }
}
