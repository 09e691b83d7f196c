//! Several replicas on one database.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::state::JobState;
use drydock::store::lease::{Guard, Presence, ReplicaId};
use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Leases as _, Store, StoreError};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Postgres, run, start};
use crate::fixture::*;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_database_at_once() {
    let database = Postgres::new();
    let stores = join_all((0..6).map(|_| database.open())).await;
    for store in &stores {
        assert_eq!(store.id(), stores[0].id());
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_commits_wakes_the_other() {
    let database = Postgres::new();
    let (one, other) = (database.open().await, database.open().await);
    let mut newest = other.newest_position();
    // Polling is put off, so this comes by notification. The listener may still be connecting at first.
    for n in 1.. {
        create_one(&one, new_job(n, &format!("vc/c{n}"))).await;
        if timeout(Duration::from_millis(500), newest.changed()).await.is_ok() {
            break;
        }
        assert!(n < 40, "nothing was told");
    }
    let mut changes = other.lease_changes();
    changes.mark_unchanged();
    one.leave(ReplicaId::random()).await.unwrap();
    timeout(SOON, changes.changed()).await.unwrap().unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_notifications_polling_finds_the_same() {
    let database = Postgres::new();
    let one = database.open().await;
    let deaf = StoreSettings { poll_ms: Some(20), ..database.settings() };
    let other = PostgresStore::open(&deaf).await.unwrap();
    // A commit that tells nobody.
    let job = create_one(&one, new_job(1, "vc/a")).await;
    let mut newest = other.newest_position();
    database
        .tamper(
            "INSERT INTO events SELECT position + 1, position + 1, job, sequence + 1, time, kind, message, status \
             FROM events",
        )
        .await;
    timeout(SOON, newest.wait_for(|position| *position == 2)).await.unwrap().unwrap();
    assert_eq!(other.events(1, 10).await.unwrap()[0].job, job.id);
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_waits_for_a_write_under_it_and_then_refuses_the_next() {
    let database = Postgres::new();
    let store = database.open().await;
    let attend = |replica| Presence {
        replica,
        name: "r".to_owned(),
        providers: vec![provider("vc")],
        reports: Vec::new(),
        watched: Vec::new(),
        lease: Duration::from_millis(100),
    };
    let (old, new) = (ReplicaId::random(), ReplicaId::random());
    store.attend(&attend(old)).await.unwrap();
    let fence = store.take_lease(&provider("vc"), old, Duration::from_millis(100)).await.unwrap().unwrap();
    let guard = Guard { provider: provider("vc"), fence, holder: old };
    let job = create_one(&store, new_job(1, "vc/a")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.attend(&Presence { lease: SOON, ..attend(new) }).await.unwrap();

    // A write under the old fence that has looked at it and has not committed.
    let mut writing = database.beside().await;
    run(&mut writing, "BEGIN; SELECT fence FROM leases WHERE provider = 'vc' FOR KEY SHARE").await;
    let taking = {
        let store = Arc::clone(&store);
        start(async move { store.take_lease(&provider("vc"), new, SOON).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!taking.is_finished(), "the lease must not change hands under a write");
    run(&mut writing, "COMMIT").await;
    let taken = timeout(SOON, taking).await.unwrap().unwrap().unwrap();
    assert!(taken > fence);
    // Others of the group are unharmed.
    let under_it = store.write(vec![change(&job, JobState::Submitting)], Some(guard));
    let beside = try_one(&store, jobs(vec![new_job(2, "vc/b")]));
    let (refused, accepted) = tokio::join!(under_it, beside);
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    accepted.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_and_guarded_writes_do_not_wait_for_each_other() {
    let database = Postgres::new();
    let store = database.open().await;
    let replica = ReplicaId::random();
    let presence = Presence {
        replica,
        name: "r".to_owned(),
        providers: vec![provider("vc")],
        reports: Vec::new(),
        watched: Vec::new(),
        lease: SOON,
    };
    store.attend(&presence).await.unwrap();
    let fence = store.take_lease(&provider("vc"), replica, SOON).await.unwrap().unwrap();
    let guard = Guard { provider: provider("vc"), fence, holder: replica };
    let job = create_one(&store, new_job(1, "vc/a")).await;

    let mut writing = database.beside().await;
    run(&mut writing, "BEGIN; SELECT fence FROM leases FOR KEY SHARE").await;
    timeout(Duration::from_secs(3), store.attend(&presence)).await.unwrap().unwrap();
    run(&mut writing, "COMMIT").await;
    let mut renewing = database.beside().await;
    run(&mut renewing, "BEGIN; UPDATE leases SET expires_at = clock_timestamp() + interval '1 minute'").await;
    let written = store.write(vec![change(&job, JobState::Checking)], Some(guard));
    timeout(Duration::from_secs(3), written).await.unwrap().unwrap().remove(0).unwrap();
    run(&mut renewing, "COMMIT").await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_readers_costs_no_lease() {
    let database = Postgres::new();
    database.made().await;
    let settings = StoreSettings { max_connections: Some(5), ..database.settings() };
    let store = PostgresStore::open(&settings).await.unwrap();
    create_one(&(Arc::clone(&store) as Arc<dyn Store>), new_job(1, "vc/a")).await;
    // The one reading connection waits behind a lock on the table.
    let mut locks = database.beside().await;
    run(&mut locks, "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await;
    let stuck = {
        let store = Arc::clone(&store);
        start(async move { store.job(id(1)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let presence = Presence {
        replica: ReplicaId::random(),
        name: "r".to_owned(),
        providers: Vec::new(),
        reports: Vec::new(),
        watched: Vec::new(),
        lease: SOON,
    };
    timeout(Duration::from_secs(3), store.attend(&presence)).await.unwrap().unwrap();
    run(&mut locks, "COMMIT").await;
    stuck.await.unwrap().unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_presences_all_ran_out_come_back_together() {
    let database = Postgres::new();
    let stores = [database.open().await, database.open().await, database.open().await];
    let presences = [(); 3].map(|()| Presence {
        replica: ReplicaId::random(),
        name: "r".to_owned(),
        providers: Vec::new(),
        reports: Vec::new(),
        watched: Vec::new(),
        lease: Duration::from_millis(1),
    });
    for round in 0..60 {
        let all = stores.iter().zip(&presences).map(|(store, presence)| store.attend(presence));
        for attended in futures_util::future::join_all(all).await {
            attended.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_is_given_twice_after_a_failover_serves_its_new_holder_alone() {
    let database = Postgres::new();
    let store = database.open().await;
    let [before, after] = [(); 2].map(|()| ReplicaId::random());
    for replica in [before, after] {
        let presence = Presence {
            replica,
            name: "r".to_owned(),
            providers: vec![provider("vc")],
            reports: Vec::new(),
            watched: Vec::new(),
            lease: SOON,
        };
        store.attend(&presence).await.unwrap();
    }
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let first = store.take_lease(&provider("vc"), before, SOON).await.unwrap().unwrap();
    // The standby that took over had not heard of it yet.
    database.tamper("UPDATE leases SET fence = fence - 1, holder = NULL").await;
    let second = store.take_lease(&provider("vc"), after, SOON).await.unwrap().unwrap();
    assert_eq!(first, second);
    let guard = |holder| Some(Guard { provider: provider("vc"), fence: first, holder });
    let refused = store.write(vec![change(&job, JobState::Submitting)], guard(before)).await;
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    store.write(vec![change(&job, JobState::Checking)], guard(after)).await.unwrap().remove(0).unwrap();
    store.close().await;
}
