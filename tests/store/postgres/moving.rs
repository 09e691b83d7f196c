//! Moving from SQLite: everything comes over, and nothing is driven twice.

use std::time::Duration;

use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::store::StoreError;
use drydock::store::contract::JobFilter;
use drydock::store::lease::{Presence, ReplicaId};
use drydock::store::moving::{Moved, migrate};

use super::Postgres;
use crate::fixture::*;
use crate::sqlite::Sqlite;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_over_once() {
    let (file, database) = (Sqlite::new(), Postgres::new());
    let store = file.open().await;
    let ended = create_one(&store, new_job(1, "ams/c1")).await;
    end(&store, &ended).await;
    let both =
        store.create(keyed(key(7), 1, vec![new_job(2, "ams/c2"), new_job(3, "fra/c3")])).await.unwrap();
    let both: Vec<_> = both.into_iter().map(|a| a.unwrap().job).collect();
    let mut sealed = new_job(4, "fra/c4");
    sealed.sealed_password = Some(b"sealed".to_vec());
    create_one(&store, sealed).await;
    write_one(&store, change(&both[0], JobState::Running)).await.unwrap();
    let (id, newest) = (store.id(), *store.newest_position().borrow());
    let events = all_events(&store, 100).await;
    let page = PageRequest { size: 100, token: None };
    let jobs = store.jobs(&JobFilter::default(), &page).await.unwrap().items;

    // Not while a Drydock runs on the file.
    database.made().await;
    let busy = migrate(&file.settings(), &database.settings()).await;
    assert!(matches!(busy, Err(StoreError::Locked { .. })), "{busy:?}");
    store.close().await;
    let moved = migrate(&file.settings(), &database.settings()).await.unwrap();
    assert_eq!(moved, Moved { jobs: 4, events: events.len() as u64, requests: 1 });

    let store = database.open().await;
    assert_eq!(store.jobs(&JobFilter::default(), &page).await.unwrap().items, jobs);
    assert_eq!(all_events(&store, 100).await, events);
    assert_eq!((store.id(), *store.newest_position().borrow()), (id, newest));
    assert!(store.knows_request(key(7)).await.unwrap());
    assert_eq!(store.sealed_password(crate::fixture::id(4)).await.unwrap().unwrap(), b"sealed");
    let labelled =
        JobFilter { labels: [("team".to_owned(), "harbour".to_owned())].into(), ..JobFilter::default() };
    assert_eq!(store.jobs(&labelled, &page).await.unwrap().items.len(), 4);
    // It goes on: the held target is held, and positions rise.
    assert!(matches!(
        try_one(&store, crate::fixture::jobs(vec![new_job(5, "ams/c2")])).await,
        Err(StoreError::TargetBusy { holder, .. }) if holder == both[0].id
    ));
    create_one(&store, new_job(6, "ams/c6")).await;
    assert_eq!(store.events(newest, 10).await.unwrap()[0].position, newest + 1);
    store.close().await;

    // The file's jobs are driven elsewhere now.
    let again = file.try_open().await;
    assert!(
        matches!(&again, Err(StoreError::Unavailable(text)) if text.contains("migrate-store")),
        "{again:?}"
    );
    let twice = migrate(&file.settings(), &database.settings()).await;
    assert!(
        matches!(&twice, Err(StoreError::Unavailable(text)) if text.contains("this file's jobs already")),
        "{twice:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_fails_leaves_the_file_in_use() {
    let (file, database) = (Sqlite::new(), Postgres::new());
    let store = file.open().await;
    let job = create_one(&store, new_job(1, "ams/c1")).await;
    store.close().await;
    let full = database.open().await;
    create_one(&full, new_job(2, "ams/c2")).await;
    full.close().await;
    assert!(migrate(&file.settings(), &database.settings()).await.is_err());
    let store = file.open().await;
    assert_eq!(store.job(job.id).await.unwrap().unwrap(), job);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_moved_under_a_running_gateway() {
    let (file, database) = (Sqlite::new(), Postgres::new());
    file.open().await.close().await;
    let store = database.open().await;
    let replica = ReplicaId::random();
    let presence = Presence {
        replica,
        name: "gateway-a".to_owned(),
        providers: Vec::new(),
        reports: Vec::new(),
        watched: Vec::new(),
        lease: Duration::from_secs(600),
    };
    store.attend(&presence).await.unwrap();
    let refused = migrate(&file.settings(), &database.settings()).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("`gateway-a`")),
        "{refused:?}"
    );
    store.leave(replica).await.unwrap();
    store.close().await;
    migrate(&file.settings(), &database.settings()).await.unwrap();
}

#[tokio::test]
async fn a_missing_file_is_not_made() {
    let file = Sqlite::new();
    let database = Postgres::new();
    let missing = migrate(&file.settings(), &database.settings()).await;
    assert!(
        matches!(&missing, Err(StoreError::Unavailable(text)) if text.contains("there is no file")),
        "{missing:?}"
    );
}
