//! A stage on which time stands still and is moved by the test alone. The store's threads work in real time meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::id::{JobId, ProviderId};
use drydock::domain::state::JobState;
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::store::Store;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;

use crate::house::{request, upgrade};
use crate::scripted::Scripted;

/// The pace at which a provider's young and its watched jobs are looked at; old ones every minute.
pub const PACE: Duration = Duration::from_secs(1);
const CADENCE: Cadence = Cadence { min: PACE, max: Duration::from_secs(60) };

pub struct Stage {
    _dir: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    clock: Clock,
    pub vendor: Scripted,
    /// While it is there, time moves only when told: tokio moves a paused clock by itself unless a blocking task runs.
    _still: std::sync::mpsc::Sender<()>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Scripted::new()).await
    }

    pub async fn with(vendor: Scripted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("drydock.db").display());
        let (still, ended) = std::sync::mpsc::channel();
        drop(tokio::task::spawn_blocking(move || ended.recv()));
        tokio::time::pause();
        let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        vendor.state.lock().unwrap().endless = true;
        Self { _dir: dir, store, clock: Clock::paused_at(Clock::system().now()), vendor, _still: still }
    }

    pub async fn replica(&self, name: &str) -> Arc<Engine> {
        self.replica_with(EngineSettings {
            replica_name: name.to_owned(),
            watch_max_age_ms: 86_400_000,
            lease_ms: 60_000,
            ..EngineSettings::default()
        })
        .await
    }

    pub async fn replica_with(&self, settings: EngineSettings) -> Arc<Engine> {
        let provider = Provider {
            id: ProviderId::parse("a").unwrap(),
            endpoint: "http://scripted".into(),
            labels: BTreeMap::new(),
            cadence: CADENCE,
            warnings: Vec::new(),
            vendor: Arc::new(self.vendor.clone()),
        };
        let store = Arc::clone(&self.store);
        Engine::start_up(store, vec![provider], settings, None, self.clock.clone()).await.unwrap()
    }

    /// Lets time pass. After each step everybody does what there is to do.
    pub async fn pass(&self, time: Duration, step: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = step.min(left);
            tokio::time::advance(step).await;
            self.rest().await;
            left -= step;
        }
    }

    /// Waits, in real time, until nobody has anything to do: two looks at the store a moment apart are the same.
    async fn rest(&self) {
        let state = || {
            let vendor = self.vendor.state.lock().unwrap();
            (*self.store.newest_position().borrow(), vendor.observe_calls, vendor.observing.0)
        };
        let mut before = state();
        for _ in 0..200 {
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(3))).await.unwrap();
            let now = state();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Upgrades that run for ever, and so long already that they are looked at once a minute.
    pub async fn old_upgrades(&self, engine: &Engine, targets: usize) -> Vec<JobId> {
        let entries = (0..targets).map(|n| upgrade(&format!("c{n}"))).collect();
        let started = engine.start(request(entries)).await.unwrap();
        let jobs: Vec<_> = started.into_iter().map(|one| one.unwrap().job.id).collect();
        for _ in 0..100 {
            self.pass(PACE, PACE).await;
            let mut running = 0;
            for job in &jobs {
                running += usize::from(engine.job(*job).await.unwrap().status.state == JobState::Running);
            }
            if running == targets {
                self.pass(Duration::from_secs(700), Duration::from_secs(10)).await;
                return jobs;
            }
        }
        panic!("they do not run");
    }

    /// How often each of the targets was looked at while `time` passed.
    pub async fn looks<const N: usize>(&self, time: Duration, targets: [usize; N]) -> [usize; N] {
        self.vendor.state.lock().unwrap().looked.clear();
        self.pass(time, PACE / 4).await;
        let state = self.vendor.state.lock().unwrap();
        targets.map(|n| {
            let name = format!("c{n}");
            state.looked.iter().flatten().filter(|(target, _)| *target == name).count()
        })
    }
}
