//! A subscriber that goes from one replica to the other and back misses nothing and hears nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::id::ProviderId;
use drydock::engine::calls::{WatchFilter, WatchRequest};
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::store::Store;

use crate::follower::{Follower, Place, everything};
use crate::ground::Ground;
use crate::house::{PATIENCE, request, upgrade};
use crate::scripted::Scripted;

/// One replica with its own way to the store.
struct Replica {
    engine: Arc<Engine>,
    store: Arc<dyn Store>,
}

impl Place for Replica {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn store(&self) -> &dyn Store {
        &*self.store
    }
}

impl Replica {
    async fn new(name: &str, store: Arc<dyn Store>, vendor: &Scripted) -> Self {
        let provider = Provider {
            id: ProviderId::parse("a").unwrap(),
            endpoint: "http://scripted".into(),
            labels: BTreeMap::new(),
            cadence: Cadence { min: Duration::from_millis(10), max: Duration::from_millis(40) },
            warnings: Vec::new(),
            vendor: Arc::new(vendor.clone()),
        };
        let settings = EngineSettings {
            heartbeat_ms: 100,
            watch_ring_events: 64,
            replica_name: name.to_owned(),
            ..EngineSettings::default()
        };
        let engine =
            Engine::start_up(Arc::clone(&store), vec![provider], settings, None, Clock::system()).await;
        Self { engine: engine.unwrap(), store }
    }
}

/// Waits until all jobs have ended and each replica has seen the end.
async fn settled(replicas: &[Replica; 2]) {
    let wait = async {
        while !replicas[0].store.count_live().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for replica in replicas {
            while !replica
                .store
                .events(*replica.store.newest_position().borrow(), 1)
                .await
                .unwrap()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("an end of all jobs");
}

async fn back_and_forth(ground: Ground) {
    let vendor = Scripted::new();
    let (one, two) = (ground.store().await, ground.store().await);
    let replicas = [Replica::new("one", one, &vendor).await, Replica::new("two", two, &vendor).await];
    let mut every = Follower::all(&replicas[0], WatchFilter::default(), everything()).await;
    let latest = WatchRequest { snapshot: true, latest_only: true, ..WatchRequest::default() };
    let mut latest = Follower::new(&replicas[1], latest, everything()).await;
    // It reads nothing until all is over, then the one half here and the other there.
    let mut slow = Follower::all(&replicas[0], WatchFilter::default(), everything()).await;
    for follower in [&mut every, &mut latest, &mut slow] {
        follower.read_some(1).await;
    }
    for round in 0..16 {
        let entries = (0..5).map(|n| upgrade(&format!("c{round}-{n}"))).collect();
        replicas[round % 2].engine.start(request(entries)).await.unwrap();
        every.read_some(1 + round % 4).await;
        latest.read_some(1).await;
        let next = &replicas[(round + 1) % 2];
        if round % 5 == 4 {
            // Any token that was ever given will do.
            every.reopen_anywhere(next).await;
        } else {
            let token = every.recorder.last_token();
            every.open(next, token).await;
        }
        let token = latest.recorder.last_token();
        latest.open(&replicas[round % 2], token).await;
    }
    settled(&replicas).await;
    slow.read_some(30).await;
    let token = slow.recorder.last_token();
    slow.open(&replicas[1], token).await;
    for follower in [&mut every, &mut latest, &mut slow] {
        follower.read_to_the_end(&replicas[1]).await;
        let truth = follower.judge(&*replicas[0].store, true).await;
        assert!(truth.facts.len() >= 80 * 4, "{}", truth.facts.len());
    }
    for replica in replicas {
        replica.engine.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnect_on_another_replica_goes_on_exactly_on_sqlite() {
    back_and_forth(Ground::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnect_on_another_replica_goes_on_exactly_on_postgres() {
    back_and_forth(Ground::postgres().await).await;
}
