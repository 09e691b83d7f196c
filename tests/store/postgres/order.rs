//! Positions: no gap, no late arrival, whoever commits when and whatever else runs in the database.

use std::sync::Arc;
use std::time::Duration;

use drydock::store::StoreError;
use sqlx::Row as _;
use tokio::time::timeout;

use super::{Postgres, run, start};
use crate::fixture::*;

const SOON: Duration = Duration::from_secs(20);

/// Waits until a session of the store's user waits for a lock.
async fn until_one_waits(database: &Postgres) {
    let mut admin = database.admin().await;
    loop {
        let waiting = sqlx::query(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'",
        )
        .bind(&database.user)
        .fetch_one(&mut admin)
        .await
        .unwrap()
        .get::<i64, _>(0);
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_locks_the_counter_first_commits_first_and_gets_the_lower_position() {
    let database = Postgres::new();
    let store = database.open().await;
    create_one(&store, new_job(1, "vc/a")).await;

    // Another replica's transaction: it has the lock and has written, but has not committed.
    let mut first = database.beside().await;
    run(&mut first, "BEGIN; SELECT one FROM counters FOR UPDATE").await;
    run(
        &mut first,
        "INSERT INTO events SELECT position + 1, position + 1, job, sequence + 1, time, kind, message, status \
         FROM events",
    )
    .await;
    let second = {
        let store = Arc::clone(&store);
        start(async move { create_one(&store, new_job(2, "vc/b")).await })
    };
    until_one_waits(&database).await;
    // Readers wait for nobody and see neither of the two.
    let seen = timeout(SOON, store.events(0, 10)).await.unwrap().unwrap();
    assert_eq!(seen.iter().map(|e| e.position).collect::<Vec<_>>(), [1]);
    assert!(!second.is_finished(), "the second may not commit before the first");

    run(&mut first, "COMMIT").await;
    let second = timeout(SOON, second).await.unwrap().unwrap();
    let seen = store.events(1, 10).await.unwrap();
    assert_eq!(seen.iter().map(|e| (e.position, e.job)).collect::<Vec<_>>(), [(2, id(1)), (3, second.id)]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_gives_up_leaves_no_gap() {
    let database = Postgres::new();
    let store = database.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    let mut gives_up = database.beside().await;
    run(&mut gives_up, "BEGIN; SELECT one FROM counters FOR UPDATE").await;
    run(&mut gives_up, "INSERT INTO events SELECT 2, 2, job, 2, time, kind, message, status FROM events")
        .await;
    let waits = {
        let store = Arc::clone(&store);
        start(async move { create_one(&store, new_job(2, "vc/b")).await })
    };
    until_one_waits(&database).await;
    run(&mut gives_up, "ROLLBACK").await;
    timeout(SOON, waits).await.unwrap().unwrap();
    let seen = store.events(0, 10).await.unwrap();
    assert_eq!(seen.iter().map(|e| (e.position, e.job)).collect::<Vec<_>>(), [(1, id(1)), (2, id(2))]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transactions_of_others_hold_nothing_up() {
    let database = Postgres::new();
    let store = database.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    // One that has written elsewhere (so it has a transaction id), one that reads our tables under an old snapshot.
    let mut writes = database.beside().await;
    run(&mut writes, "BEGIN; CREATE TABLE foreign_work (x int); INSERT INTO foreign_work VALUES (1)").await;
    let mut reads = database.beside().await;
    run(&mut reads, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events").await;

    let mut newest = store.newest_position();
    for n in 2..20 {
        let job = timeout(SOON, create_one(&store, new_job(n, &format!("vc/c{n}")))).await.unwrap();
        let seen = timeout(SOON, store.events(n - 1, 10)).await.unwrap().unwrap();
        assert_eq!(seen.iter().map(|e| (e.position, e.job)).collect::<Vec<_>>(), [(n, job.id)]);
        timeout(SOON, newest.wait_for(|position| *position >= n)).await.unwrap().unwrap();
    }
    run(&mut writes, "COMMIT").await;
    run(&mut reads, "COMMIT").await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_replicas_number_without_gaps_and_no_reader_sees_one_late() {
    const WRITERS: u64 = 3;
    const JOBS: u64 = 40;
    let database = Postgres::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = database.open().await;
        writers.spawn(async move {
            for n in 0..JOBS {
                let n = writer * JOBS + n;
                let job = create_one(&store, new_job(n, &format!("vc/c{n}"))).await;
                end(&store, &job).await;
            }
            store.close().await;
        });
    }
    let store = database.open().await;
    let reader = start(async move {
        let mut last = 0;
        let mut newest = store.newest_position();
        while last < WRITERS * JOBS * 2 {
            // A gap that fills later would be an arrival at or below what was seen.
            for event in store.events(last, 3).await.unwrap() {
                assert_eq!(event.position, last + 1);
                last = event.position;
            }
            let _ = timeout(Duration::from_millis(50), newest.changed()).await;
        }
        store.close().await;
    });
    writers.join_all().await;
    timeout(SOON, reader).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_sleeps_with_the_lock_is_cut_off() {
    let database = Postgres::new();
    let store = database.open().await;
    // As a stopped process leaves it: in the middle of a transaction, with the settings of our sessions.
    let mut asleep = database.beside().await;
    run(&mut asleep, "SET idle_in_transaction_session_timeout = 2000").await;
    run(&mut asleep, "BEGIN; SELECT one FROM counters FOR UPDATE").await;
    timeout(Duration::from_secs(4), create_one(&store, new_job(1, "vc/a"))).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_somebody_keeps_is_told_and_harms_nothing() {
    let database = Postgres::new();
    let store = database.open().await;
    let mut keeps = database.beside().await;
    run(&mut keeps, "BEGIN; SELECT one FROM counters FOR UPDATE").await;
    let refused = try_one(&store, jobs(vec![new_job(1, "vc/a")])).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("lock")), "{refused:?}");
    run(&mut keeps, "COMMIT").await;
    create_one(&store, new_job(1, "vc/a")).await;
    store.close().await;
}
