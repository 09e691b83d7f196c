//! How long an end may take, and how a caller's questions count for a provider's health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::id::ProviderId;
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::store::Store;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;
use tokio::time::Instant;

use crate::house::{House, upgrade};
use crate::scripted::Scripted;

#[tokio::test]
async fn vendors_that_do_not_end_their_sessions_share_one_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("drydock.db").display());
    let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
    let vendor = Scripted::new();
    vendor.state.lock().unwrap().hang_close = true;
    let providers = (0..12).map(|n| Provider {
        id: ProviderId::parse(&format!("p{n}")).unwrap(),
        endpoint: "http://scripted".into(),
        labels: BTreeMap::new(),
        cadence: Cadence { min: Duration::from_millis(10), max: Duration::from_millis(40) },
        warnings: Vec::new(),
        vendor: Arc::new(vendor.clone()),
    });
    let settings = EngineSettings::default();
    let kept: Arc<dyn Store> = Arc::clone(&store) as _;
    let engine = Engine::start_up(kept, providers.collect(), settings, None, Clock::system()).await.unwrap();
    let began = Instant::now();
    let deadline = Duration::from_secs(2);
    let ended = engine.shutdown(deadline).await;
    assert!(ended.joined, "{ended:?}");
    assert!(began.elapsed() < deadline, "took {:?}", began.elapsed());
    store.close().await;
}

#[tokio::test]
async fn one_question_about_many_targets_is_one_outage() {
    let house = House::new(Scripted::new()).await;
    let id = ProviderId::parse("a").unwrap();
    let health = || house.engine.provider(&id).unwrap().health;
    while health().version.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.vendor.state.lock().unwrap().down = true;
    let entries: Vec<_> = (0..50).map(|n| upgrade(&format!("c{n}"))).collect();
    let answers = house.engine.check(entries).await.unwrap();
    assert!(answers.iter().all(Result::is_err) && answers.len() == 50);
    assert_eq!((health().reachable, health().paused_until), (Some(false), None));
}
