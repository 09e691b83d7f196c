//! Moving from SQLite: everything comes over, and nothing is driven twice.

use std::time::Duration;

use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::store::contract::JobFilter;
use drydock::store::lease::{Presence, ReplicaId};
use drydock::store::moving::{Moved, migrate};
use drydock::store::settings::StoreSettings;
use drydock::store::{Store as _, StoreError};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use tokio::task::JoinHandle;

use super::support::proxy::{Cut, Proxy};
use super::{Postgres, run, start};
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

/// Begins a move, and waits until the whole file is copied and only its mark is missing: another program writes in the
/// file just then, as a backup may. Answers the move and that program's connection.
async fn before_the_mark(
    file: &Sqlite,
    database: &Postgres,
) -> (JoinHandle<Result<Moved, StoreError>>, SqliteConnection) {
    let store = file.open().await;
    create_one(&store, new_job(1, "ams/c1")).await;
    store.close().await;
    database.open().await.close().await;
    // The move waits here, after it opened the file.
    let mut gate = database.beside().await;
    run(&mut gate, "BEGIN; SELECT position FROM counters FOR UPDATE").await;
    let moving = {
        let (from, to) = (file.settings(), database.settings());
        start(async move { migrate(&from, &to).await })
    };
    until(database, "wait_event_type = 'Lock'").await;
    let mut writer = file.beside().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    run(&mut gate, "COMMIT").await;
    until(database, "state = 'idle in transaction' AND query LIKE '%meta%'").await;
    (moving, writer)
}

/// Waits until a session of the database's user is like this.
async fn until(database: &Postgres, like: &str) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND {like}", database.user);
    let mut admin = database.admin().await;
    for _ in 0..400 {
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&mut admin).await.unwrap();
        if found > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no session with {like}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_slow_is_waited_for() {
    let (file, database) = (Sqlite::new(), Postgres::new());
    let (moving, writer) = before_the_mark(&file, &database).await;
    // A gateway's own transaction would be ended after two seconds of this.
    tokio::time::sleep(Duration::from_millis(3000)).await;
    drop(writer);
    assert_eq!(moving.await.unwrap().unwrap(), Moved { jobs: 1, events: 1, requests: 0 });
    let store = database.open().await;
    assert!(store.job(id(1)).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_too_slow_for_the_database_is_given_back() {
    let (file, database) = (Sqlite::new(), Postgres::new());
    let (moving, writer) = before_the_mark(&file, &database).await;
    // What the server does when a transaction has been idle for too long: it ends the session.
    let end = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{}' AND state = 'idle in transaction'",
        database.user
    );
    run(&mut database.admin().await, &end).await;
    drop(writer);
    let failed = moving.await.unwrap();
    assert!(matches!(&failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    // Nothing is there, and the mark is off.
    let store = database.open().await;
    assert!(store.job(id(1)).await.unwrap().is_none());
    store.close().await;
    let store = file.open().await;
    assert!(store.job(id(1)).await.unwrap().is_some());
    store.close().await;
    migrate(&file.settings(), &database.settings()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_whose_commit_is_cut_ends_in_one_store() {
    for cut in [Cut::Before, Cut::After] {
        let (file, database) = (Sqlite::new(), Postgres::new());
        let store = file.open().await;
        create_one(&store, new_job(1, "ams/c1")).await;
        store.close().await;
        database.open().await.close().await;
        let proxy = Proxy::before(&database.place()).await;
        let through = StoreSettings { url: database.url(Some(&proxy.place)), ..StoreSettings::default() };
        proxy.cut_next_commit(cut);
        let lost = migrate(&file.settings(), &through).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{cut:?}: {lost:?}");
        assert!(!proxy.take_cut(), "no commit was made");
        let (there, here) = (database.open().await, file.try_open().await);
        assert_eq!(there.job(id(1)).await.unwrap().is_some(), cut == Cut::After, "{cut:?}");
        assert_eq!(here.is_ok(), cut == Cut::Before, "{cut:?}: {:?}", here.err());
        there.close().await;
        if let Ok(here) = here {
            here.close().await;
        }
        if cut == Cut::After {
            let elsewhere = migrate(&file.settings(), &Postgres::new().settings()).await;
            assert!(
                matches!(&elsewhere, Err(StoreError::Unavailable(text)) if text.contains("or may have been")),
                "{elsewhere:?}"
            );
        }
        let again = migrate(&file.settings(), &through).await;
        match cut {
            Cut::Before => assert_eq!(again.unwrap().jobs, 1),
            Cut::After => assert!(
                matches!(&again, Err(StoreError::Unavailable(text)) if text.contains("start Drydock")),
                "{again:?}"
            ),
        }
    }
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
