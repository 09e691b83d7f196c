//! Who is there, who drives what, and what an old holder can still write.

use std::sync::Arc;
use std::time::Duration;

use drydock::domain::state::JobState;
use drydock::store::lease::{Attendance, Guard, Presence, ReplicaId};
use drydock::store::{Store, StoreError};
use uuid::Uuid;

use crate::fixture::{Backend, change, create_one, id, new_job, provider};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

fn replica(n: u128) -> ReplicaId {
    ReplicaId::new(Uuid::from_u128(n))
}

fn presence(n: u128, lease: Duration) -> Presence {
    Presence {
        replica: replica(n),
        name: format!("host-{n}"),
        providers: vec![provider("ams"), provider("fra")],
        reports: Vec::new(),
        watched: Vec::new(),
        lease,
    }
}

async fn attend(store: &Arc<dyn Store>, n: u128, lease: Duration) -> Attendance {
    store.attend(&presence(n, lease)).await.unwrap()
}

fn holders(attendance: &Attendance) -> Vec<(&str, Option<ReplicaId>)> {
    attendance.leases.iter().map(|l| (l.provider.as_str(), l.holder)).collect()
}

pub async fn replicas_see_each_other(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    let seen = attend(&store, 2, LONG).await;
    let names: Vec<_> = seen.replicas.iter().map(|r| (r.replica, r.name.as_str())).collect();
    assert_eq!(names, [(replica(1), "host-1"), (replica(2), "host-2")]);
    assert_eq!(seen.replicas[0].providers, [provider("ams"), provider("fra")]);
    store.leave(replica(1)).await.unwrap();
    assert_eq!(attend(&store, 2, LONG).await.replicas.len(), 1);
    store.close().await;
}

pub async fn what_is_watched_through_a_replica_is_shown_to_all(on: &impl Backend) {
    let store = on.open().await;
    let jobs: Vec<_> = (1..=64).map(id).collect();
    store.attend(&Presence { watched: jobs.clone(), ..presence(1, LONG) }).await.unwrap();
    let watched = |seen: Attendance| seen.replicas.into_iter().map(|r| r.watched).collect::<Vec<_>>();
    assert_eq!(watched(attend(&store, 2, LONG).await), [jobs, vec![]]);
    store.attend(&Presence { watched: vec![id(9)], ..presence(1, LONG) }).await.unwrap();
    assert_eq!(watched(attend(&store, 2, LONG).await), [vec![id(9)], vec![]]);
    attend(&store, 1, LONG).await;
    assert_eq!(watched(attend(&store, 2, LONG).await), [vec![], vec![]]);
    store.close().await;
}

pub async fn a_lease_has_one_holder(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    attend(&store, 2, LONG).await;
    let first = store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap();
    assert!(first.is_some());
    assert_eq!(store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap(), None);
    assert_eq!(store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap(), None);
    assert!(store.take_lease(&provider("fra"), replica(2), LONG).await.unwrap().is_some());
    let seen = attend(&store, 1, LONG).await;
    assert_eq!(holders(&seen), [("ams", Some(replica(1))), ("fra", Some(replica(2)))]);
    assert_eq!(Some(seen.leases[0].fence), first);
    store.close().await;
}

pub async fn one_of_many_wins_a_lease(on: &impl Backend) {
    let store = on.open().await;
    for n in 1..=8 {
        attend(&store, n, LONG).await;
    }
    let takers = (1..=8).map(|n| {
        let store = Arc::clone(&store);
        async move { store.take_lease(&provider("ams"), replica(n), LONG).await.unwrap() }
    });
    let fences = futures_util::future::join_all(takers).await;
    assert_eq!(fences.iter().flatten().count(), 1, "{fences:?}");
    store.close().await;
}

pub async fn who_is_not_there_takes_nothing(on: &impl Backend) {
    let store = on.open().await;
    assert_eq!(store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap(), None);
    attend(&store, 1, LONG).await;
    store.leave(replica(1)).await.unwrap();
    store.leave(replica(1)).await.unwrap();
    assert_eq!(store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap(), None);
    store.close().await;
}

pub async fn a_lease_runs_out_and_passes_on_with_a_higher_fence(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, SHORT).await;
    attend(&store, 2, LONG).await;
    let first = store.take_lease(&provider("ams"), replica(1), SHORT).await.unwrap().unwrap();
    tokio::time::sleep(SHORT * 2).await;
    // Attending again does not revive it.
    assert_eq!(holders(&attend(&store, 1, LONG).await), [("ams", None)]);
    let second = store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap().unwrap();
    assert!(second > first);
    store.close().await;
}

pub async fn attending_prolongs_what_is_held(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    attend(&store, 2, LONG).await;
    store.take_lease(&provider("ams"), replica(1), Duration::from_millis(600)).await.unwrap().unwrap();
    attend(&store, 1, LONG).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap(), None);
    store.close().await;
}

pub async fn giving_up_lets_the_next_one_in_at_once(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    attend(&store, 2, LONG).await;
    let fence = store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap().unwrap();
    let guard = Guard { provider: provider("ams"), fence, holder: replica(1) };
    // Another's word, or an old fence, gives nothing up.
    store.release_leases(replica(2), std::slice::from_ref(&guard)).await.unwrap();
    assert_eq!(store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap(), None);
    let mut changes = store.lease_changes();
    changes.mark_unchanged();
    store.release_leases(replica(1), &[guard]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
    assert!(store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap().unwrap() > fence);
    store.close().await;
}

pub async fn leaving_gives_everything_up(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    attend(&store, 2, LONG).await;
    store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap().unwrap();
    store.take_lease(&provider("fra"), replica(1), LONG).await.unwrap().unwrap();
    store.leave(replica(1)).await.unwrap();
    assert_eq!(holders(&attend(&store, 2, LONG).await), [("ams", None), ("fra", None)]);
    store.close().await;
}

pub async fn a_write_under_an_old_fence_is_refused(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    attend(&store, 2, LONG).await;
    let job = create_one(&store, new_job(1, "ams/c1")).await;
    let old = store.take_lease(&provider("ams"), replica(1), SHORT).await.unwrap().unwrap();
    let old = Guard { provider: provider("ams"), fence: old, holder: replica(1) };
    // It ran out, but nobody took it: nothing is wrong yet.
    tokio::time::sleep(SHORT * 2).await;
    let written = store.write(vec![change(&job, JobState::Checking)], Some(old.clone())).await.unwrap();
    let job = written.into_iter().next().unwrap().unwrap();
    let new = store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap().unwrap();
    let refused = store.write(vec![change(&job, JobState::Submitting)], Some(old)).await;
    assert!(matches!(refused, Err(StoreError::Fenced(of)) if of == provider("ams")));
    assert_eq!(store.job(job.id).await.unwrap().unwrap().status.state, JobState::Checking);
    let new = Guard { provider: provider("ams"), fence: new, holder: replica(2) };
    store.write(vec![change(&job, JobState::Submitting)], Some(new)).await.unwrap().remove(0).unwrap();
    store.close().await;
}

pub async fn a_guard_covers_its_own_provider_only(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    let ours = create_one(&store, new_job(1, "ams/c1")).await;
    let theirs = create_one(&store, new_job(2, "fra/c1")).await;
    let fence = store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap().unwrap();
    let guard = Guard { provider: provider("ams"), fence, holder: replica(1) };
    let both = vec![change(&ours, JobState::Checking), change(&theirs, JobState::Checking)];
    let refused = store.write(both, Some(guard)).await;
    assert!(matches!(refused, Err(StoreError::Fenced(_))));
    assert_eq!(store.job(ours.id).await.unwrap().unwrap().version, ours.version);
    // A provider that nobody ever leased.
    let never = Guard { provider: provider("fra"), fence, holder: replica(1) };
    let refused = store.write(vec![change(&theirs, JobState::Checking)], Some(never)).await;
    assert!(matches!(refused, Err(StoreError::Fenced(_))));
    store.close().await;
}

pub async fn reports_of_the_holder_are_shown_to_all(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap().unwrap();
    let reports = vec![(provider("ams"), "{\"a\":1}".to_owned()), (provider("fra"), "x".to_owned())];
    store.attend(&Presence { reports, ..presence(1, LONG) }).await.unwrap();
    let seen = attend(&store, 2, LONG).await;
    let reports: Vec<_> = seen.leases.iter().map(|l| (l.provider.as_str(), l.report.as_deref())).collect();
    assert_eq!(reports, [("ams", Some("{\"a\":1}"))]);
    store.close().await;
}

pub async fn a_fence_is_good_for_its_holder_alone(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, LONG).await;
    let job = create_one(&store, new_job(1, "ams/c1")).await;
    let fence = store.take_lease(&provider("ams"), replica(1), LONG).await.unwrap().unwrap();
    let held = Guard { provider: provider("ams"), fence, holder: replica(1) };
    let other = Guard { holder: replica(2), ..held.clone() };
    let refused = store.write(vec![change(&job, JobState::Checking)], Some(other)).await;
    assert!(matches!(refused, Err(StoreError::Fenced(of)) if of == provider("ams")));
    store.write(vec![change(&job, JobState::Checking)], Some(held)).await.unwrap().remove(0).unwrap();
    store.close().await;
}

pub async fn who_held_a_lease_that_ran_out_is_told_and_who_gave_it_up_is_not(on: &impl Backend) {
    let store = on.open().await;
    attend(&store, 1, SHORT).await;
    let fence = store.take_lease(&provider("ams"), replica(1), SHORT).await.unwrap().unwrap();
    tokio::time::sleep(SHORT * 2).await;
    let seen = attend(&store, 2, LONG).await.leases.remove(0);
    assert_eq!((seen.fence, seen.holder, seen.last_holder), (fence, None, Some(replica(1))));
    let taken = store.take_lease(&provider("ams"), replica(2), LONG).await.unwrap().unwrap();
    let guard = Guard { provider: provider("ams"), fence: taken, holder: replica(2) };
    store.release_leases(replica(2), &[guard]).await.unwrap();
    let seen = attend(&store, 1, LONG).await.leases.remove(0);
    assert_eq!((seen.fence, seen.holder, seen.last_holder), (taken, None, None));
    store.close().await;
}
