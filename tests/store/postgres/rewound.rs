//! A database that was put back to an earlier moment under a running replica: nobody is left in silence.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::state::JobState;
use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Store, StoreError};

use super::Postgres;
use super::support::proxy::{Cut, Proxy};
use crate::fixture::*;

/// The last two of three events are lost.
const LOSE: &str =
    "DELETE FROM events WHERE position > 1; DELETE FROM jobs WHERE id NOT IN (SELECT job FROM events)";

async fn polled(database: &Postgres, poll_ms: u32) -> Arc<dyn Store> {
    database.made().await;
    let settings = StoreSettings { poll_ms: Some(poll_ms), ..database.settings() };
    PostgresStore::open(&settings).await.unwrap()
}

async fn three(store: &Arc<dyn Store>) {
    for n in 1..=3 {
        create_one(store, new_job(n, &format!("vc/c{n}"))).await;
    }
    assert_eq!(*store.newest_position().borrow(), 3);
}

async fn assert_told(store: &Arc<dyn Store>) {
    for after in 0..=3 {
        let told = store.events(after, 10).await;
        assert!(matches!(told, Err(StoreError::PositionGone { .. })), "{after}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_finds_less_than_was_known_tells_every_reader() {
    let database = Postgres::new();
    let store = polled(&database, 20).await;
    // One that was not there when the lost events were committed.
    three(&store).await;
    let mut newest = store.newest_position();
    database.tamper(LOSE).await;
    let woken = newest.wait_for(|position| *position > 3);
    tokio::time::timeout(Duration::from_secs(20), woken).await.unwrap().unwrap();
    assert_told(&store).await;
    let late = database.open().await;
    assert_told(&late).await;
    // What comes now stands above all that was ever seen.
    create_one(&late, new_job(4, "vc/c4")).await;
    let seen = late.events(4, 10).await.unwrap();
    assert_eq!(seen.iter().map(|e| (e.position, e.job)).collect::<Vec<_>>(), [(5, id(4))]);
    late.close().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_gives_no_position_a_second_time() {
    let database = Postgres::new();
    // It does not poll within this test.
    let store = polled(&database, 60_000).await;
    three(&store).await;
    database.tamper(LOSE).await;
    let job = store.job(id(1)).await.unwrap().unwrap();
    write_one(&store, change(&job, JobState::Running)).await.unwrap();
    assert_told(&store).await;
    let seen = store.events(4, 10).await.unwrap();
    assert_eq!(seen.iter().map(|e| (e.position, e.job)).collect::<Vec<_>>(), [(5, id(1))]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_whose_commit_is_cut_is_made_again() {
    for cut in [Cut::Before, Cut::After] {
        let database = Postgres::new();
        database.made().await;
        let proxy = Proxy::before(&database.place()).await;
        // It does not poll within this test.
        let settings = StoreSettings {
            url: database.url(Some(&proxy.place)),
            poll_ms: Some(60_000),
            ..StoreSettings::default()
        };
        let store: Arc<dyn Store> = PostgresStore::open(&settings).await.unwrap();
        three(&store).await;
        database.tamper(LOSE).await;
        let job = store.job(id(1)).await.unwrap().unwrap();
        proxy.cut_next_commit(cut);
        let lost = store.write(vec![change(&job, JobState::Running)], None).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{cut:?}: {lost:?}");
        // No later write gives a position that was seen.
        create_one(&store, new_job(4, "vc/c4")).await;
        assert_told(&store).await;
        let seen = store.events(4, 10).await.unwrap();
        assert!(seen.iter().all(|event| event.position > 4), "{seen:?}");
        assert!(seen.iter().any(|event| event.job == id(4)), "{seen:?}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_of_the_newest_is_no_loss() {
    let database = Postgres::new();
    let store = polled(&database, 20).await;
    let job = create_one(&store, new_job(1, "vc/c1")).await;
    end(&store, &job).await;
    let all = drydock::store::retention::Through::ended_before(at(1_000_000));
    let step = drydock::store::retention::Step { jobs: 10, events: 10 };
    assert_eq!(store.purge(all, step).await.unwrap().events, 2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(*store.newest_position().borrow(), 2);
    assert!(store.events(2, 10).await.unwrap().is_empty());
    store.close().await;
}
