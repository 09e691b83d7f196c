//! Databases that go away: what was answered is there, what was not is not known, and a retry is exact.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::state::JobState;
use drydock::store::postgres::PostgresStore;
use drydock::store::retention::{Purged, Step, Through};
use drydock::store::settings::StoreSettings;
use drydock::store::{Store, StoreError};

use super::support::proxy::{Cut, Proxy};
use super::support::server::Server;
use super::{Postgres, run};
use crate::fixture::*;

/// A store whose way to the server goes through a proxy.
async fn behind_a_proxy(database: &Postgres) -> (Proxy, Arc<dyn Store>) {
    database.made().await;
    let proxy = Proxy::before(&database.place()).await;
    let url = database.url(Some(&proxy.place));
    let settings = StoreSettings { url, poll_ms: Some(50), ..StoreSettings::default() };
    let store = PostgresStore::open(&settings).await.unwrap();
    (proxy, store)
}

/// Asks again until the database is there.
async fn back<T>(what: impl AsyncFn() -> Result<T, StoreError>) -> T {
    for _ in 0..200 {
        match what().await {
            Ok(value) => return value,
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the database did not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_cut_is_not_known_and_the_retry_is_exact() {
    let database = Postgres::new();
    let (proxy, store) = behind_a_proxy(&database).await;
    for (n, cut) in [(1, Cut::Before), (2, Cut::After)] {
        let request = || keyed(key(n.into()), 1, vec![new_job(n, &format!("vc/c{n}"))]);
        proxy.cut_next_commit(cut);
        let answer = store.create(request()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{cut:?}: {answer:?}");
        assert_eq!(store.job(id(n)).await.unwrap().is_some(), cut == Cut::After, "{cut:?}");
        let accepted = try_one(&store, request()).await.unwrap();
        assert_eq!(accepted.reused, cut == Cut::After, "{cut:?}");

        let run = change(&accepted.job, JobState::Running);
        proxy.cut_next_commit(cut);
        let answer = store.write(vec![run.clone()], None).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{cut:?}: {answer:?}");
        let again = write_one(&store, run).await;
        match cut {
            Cut::Before => assert_eq!(again.unwrap().version, 2),
            Cut::After => assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}"),
        }
        assert_eq!(store.job(id(n)).await.unwrap().unwrap().version, 2, "{cut:?}");
    }
    let seen: Vec<_> = all_events(&store, 10).await.iter().map(|e| (e.position, e.job, e.sequence)).collect();
    assert_eq!(seen, [(1, id(1), 1), (2, id(1), 2), (3, id(2), 1), (4, id(2), 2)]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_is_cut_is_made_whole_or_not_at_all() {
    let all = Through::ended_before(at(1_000_000));
    let step = Step { jobs: 10, events: 10 };
    for cut in [Cut::Before, Cut::After] {
        let database = Postgres::new();
        let (proxy, store) = behind_a_proxy(&database).await;
        let ended = try_one(&store, keyed(key(1), 1, vec![new_job(1, "vc/a")])).await.unwrap();
        end(&store, &ended.job).await;
        let live = try_one(&store, keyed(key(2), 1, vec![new_job(2, "vc/b")])).await.unwrap();
        // All its entries were refused.
        assert!(try_one(&store, keyed(key(3), 1, vec![new_job(3, "vc/b")])).await.is_err());
        let made = cut == Cut::After;

        proxy.cut_next_commit(cut);
        assert!(matches!(store.purge(all, step).await, Err(StoreError::Unavailable(_))), "{cut:?}");
        assert_eq!(store.job(id(1)).await.unwrap().is_none(), made, "{cut:?}");
        assert_eq!(store.job_events(id(1), 0, 10).await.unwrap().is_empty(), made, "{cut:?}");
        assert_eq!(store.knows_request(key(1)).await.unwrap(), !made, "{cut:?}");
        let told = store.events(0, 10).await;
        assert_eq!(matches!(told, Err(StoreError::PositionGone { .. })), made, "{cut:?}: {told:?}");
        let jobs = u64::from(!made);
        assert_eq!(store.purge(all, step).await.unwrap(), Purged { jobs, events: 2 * jobs, keys: jobs });

        proxy.cut_next_commit(cut);
        let keys = store.purge_bare_keys(at(1_000_000), 10).await;
        assert!(matches!(keys, Err(StoreError::Unavailable(_))), "{cut:?}: {keys:?}");
        assert_eq!(store.knows_request(key(3)).await.unwrap(), !made, "{cut:?}");
        assert_eq!(store.purge_bare_keys(at(1_000_000), 10).await.unwrap(), u64::from(!made), "{cut:?}");

        // What lives is whole.
        assert!(store.knows_request(key(2)).await.unwrap(), "{cut:?}");
        assert_eq!(store.job(id(2)).await.unwrap(), Some(live.job));
        assert_eq!(store.job_events(id(2), 0, 10).await.unwrap().len(), 1);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_told_and_found_again() {
    let database = Postgres::new();
    let (proxy, store) = behind_a_proxy(&database).await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    proxy.gone(true);
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.job(id(1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(try_one(&store, jobs(vec![new_job(2, "vc/b")])).await, Err(StoreError::Unavailable(_))));
    // Meanwhile another replica writes.
    let other = database.open().await;
    end(&other, &job).await;
    other.close().await;

    let mut newest = store.newest_position();
    proxy.gone(false);
    back(async || store.ping().await).await;
    create_one(&store, new_job(2, "vc/b")).await;
    assert_eq!(store.job(id(1)).await.unwrap().unwrap().status.state, JobState::Succeeded);
    // The listener comes back, too, and polling does without it.
    tokio::time::timeout(Duration::from_secs(20), newest.wait_for(|p| *p >= 3)).await.unwrap().unwrap();
    store.close().await;
}

/// A firewall that forgot the connection: no end of it is ever told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_cut_off_in_silence_connects_again() {
    let database = Postgres::new();
    let (proxy, store) = behind_a_proxy(&database).await;
    let mut changes = store.lease_changes();
    // The first connection was made.
    tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    proxy.swallow();
    // It says so once it listens again; nothing else happens that could wake us.
    tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_database_that_is_cut_off() {
    let database = Postgres::new();
    let (proxy, store) = behind_a_proxy(&database).await;
    create_one(&store, new_job(1, "vc/a")).await;
    store.job(id(1)).await.unwrap();
    proxy.swallow();
    let closing = tokio::time::timeout(Duration::from_secs(10), store.close());
    assert!(closing.await.is_ok(), "closing hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_an_administrator_ends_are_made_anew() {
    let database = Postgres::new();
    let store = database.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    let mut admin = database.admin().await;
    let end_all = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{}'",
        database.user
    );
    run(&mut admin, &end_all).await;
    // Nothing of it was begun, so the writer tries a fresh connection by itself.
    create_one(&store, new_job(2, "vc/b")).await;
    back(async || store.job(id(1)).await).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_loses_nothing() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let database = Postgres::on(server.url.clone());
    database.made().await;
    let settings = StoreSettings { poll_ms: Some(50), ..database.settings() };
    let store: Arc<dyn Store> = PostgresStore::open(&settings).await.unwrap();
    let mut job = create_one(&store, new_job(1, "vc/a")).await;
    let mut changes = store.lease_changes();
    for state in [JobState::Checking, JobState::Running] {
        server = stop_or_start(server, "stop").await;
        let refused = store.write(vec![change(&job, state)], None).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
        server = stop_or_start(server, "start").await;
        back(async || store.ping().await).await;
        assert_eq!(back(async || store.job(id(1)).await).await.as_ref(), Some(&job));
        job = write_one(&store, change(&job, state)).await.unwrap();
        // Whoever waits for news of leases is woken to look.
        tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    }
    store.close().await;
    let store = database.open().await;
    assert_eq!(store.job(id(1)).await.unwrap(), Some(job));
    assert_eq!(all_events(&store, 10).await.len(), 3);
    store.close().await;
}

async fn stop_or_start(mut server: Server, word: &'static str) -> Server {
    tokio::task::spawn_blocking(move || {
        server.tell(word);
        server
    })
    .await
    .unwrap()
}
