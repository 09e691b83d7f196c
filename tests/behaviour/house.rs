//! A whole engine over a real store, with one provider for each cell, so that no fault strikes a neighbour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::id::ProviderId;
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::simulators::Simulator;
use drydock::store::Store;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;

use crate::adapter::adapter;
use crate::faults::{DEADLINE_MS, Kind};
use crate::subject::Subject;

pub struct House {
    pub engine: Arc<Engine>,
    store: Arc<dyn Store>,
    pub dir: tempfile::TempDir,
}

impl House {
    pub async fn open(providers: Vec<Provider>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("jobs.db").display());
        let store: Arc<dyn Store> =
            SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        let settings = EngineSettings { pause_first_ms: 50, pause_max_ms: 200, ..EngineSettings::default() };
        let engine =
            Engine::start_up(Arc::clone(&store), providers, settings, None, Clock::system()).await.unwrap();
        Self { engine, store, dir }
    }

    pub async fn close(&self) {
        self.engine.shutdown(Duration::from_secs(5)).await;
        self.store.close().await;
    }
}

/// A provider that speaks to the simulator, as the program would build it.
pub fn provider(id: &str, subject: &dyn Subject, simulator: &dyn Simulator, kind: Kind) -> Provider {
    let mut table = subject.table(simulator);
    let mut limits = toml::toml! {
        requests_per_second = 5000.0
        burst = 1000
        max_concurrent_requests = 16
        request_timeout_ms = 10000
        lost_answer_grace_ms = 150
        lost_answer_limit_ms = 5000
    };
    if kind == Kind::Late {
        limits.insert("request_timeout_ms".to_owned(), i64::try_from(DEADLINE_MS).unwrap().into());
    }
    table.insert("limits".to_owned(), limits.into());
    let poll = toml::toml! {
        min_ms = 120
        max_ms = 400
    };
    table.insert("poll".to_owned(), poll.into());
    let (common, vendor) = adapter(id, table);
    Provider {
        id: ProviderId::parse(id).unwrap(),
        endpoint: common.endpoint.to_string(),
        labels: BTreeMap::new(),
        cadence: common.poll.cadence(),
        warnings: Vec::new(),
        vendor,
    }
}
