//! What a purge removes, what it leaves, and what readers are told of it.

use std::sync::Arc;

use drydock::domain::state::JobState;
use drydock::store::retention::{Purged, Step, Through};
use drydock::store::{Store, StoreError};

use crate::fixture::{
    Backend, all_events, at, change, create, create_one, end, id, key, keyed, new_job, try_one, write_one,
};

/// Everything may go.
fn all() -> Through {
    Through::ended_before(at(1_000_000))
}

/// A step of so many jobs.
fn step(jobs: u32) -> Step {
    Step { jobs, events: 1000 }
}

async fn kept(store: &Arc<dyn Store>, of: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let mut kept = Vec::new();
    for n in of {
        if store.job(id(n)).await.unwrap().is_some() {
            kept.push(n);
        }
    }
    kept
}

/// Jobs 1 to `n`, ended in that order a second apart.
async fn ended(store: &Arc<dyn Store>, n: u64) {
    for n in 1..=n {
        let job = create_one(store, new_job(n, &format!("ams/c{n}"))).await;
        let mut change = change(&job, JobState::Succeeded);
        change.status.end_time = Some(at(5000 + n));
        store.write(vec![change], None).await.unwrap().remove(0).unwrap();
    }
}

pub async fn a_purge_leaves_live_jobs_alone(on: &impl Backend) {
    let store = on.open().await;
    let made = create(&store, vec![new_job(1, "ams/c1"), new_job(2, "ams/c2")]).await;
    end(&store, &made[0]).await;
    assert_eq!(store.purge(all(), step(10)).await.unwrap(), Purged { jobs: 1, events: 2, keys: 0 });
    assert_eq!(kept(&store, 1..=2).await, [2]);
    assert_eq!(store.purge(all(), step(10)).await.unwrap(), Purged::default());
    assert!(store.job_events(id(1), 0, 10).await.unwrap().is_empty());
    assert_eq!(store.job_events(id(2), 0, 10).await.unwrap().len(), 1);
    store.close().await;
}

pub async fn old_jobs_go_first_and_in_steps(on: &impl Backend) {
    let store = on.open().await;
    ended(&store, 6).await;
    let until_five = Through::ended_before(at(5005));
    assert_eq!(store.purge(until_five, step(3)).await.unwrap().jobs, 3);
    assert_eq!(kept(&store, 1..=6).await, [4, 5, 6]);
    assert_eq!(store.purge(until_five, step(3)).await.unwrap().jobs, 1);
    assert_eq!(store.purge(until_five, step(3)).await.unwrap().jobs, 0);
    assert_eq!(kept(&store, 1..=6).await, [5, 6]);
    store.close().await;
}

pub async fn only_so_many_ended_jobs_are_kept(on: &impl Backend) {
    let store = on.open().await;
    ended(&store, 6).await;
    let two = store.too_many(2).await.unwrap().unwrap();
    assert_eq!(store.purge(two, step(3)).await.unwrap().jobs, 3);
    assert_eq!(kept(&store, 1..=6).await, [4, 5, 6]);
    assert_eq!(store.purge(two, step(3)).await.unwrap().jobs, 1);
    assert_eq!(kept(&store, 1..=6).await, [5, 6]);
    assert_eq!(store.too_many(2).await.unwrap(), None);
    let none = store.too_many(0).await.unwrap().unwrap();
    assert_eq!(store.purge(none, step(10)).await.unwrap().jobs, 2);
    assert_eq!(kept(&store, 1..=6).await, Vec::<u64>::new());
    store.close().await;
}

pub async fn a_reader_behind_a_purge_is_told(on: &impl Backend) {
    let store = on.open().await;
    ended(&store, 2).await;
    let last = create_one(&store, new_job(3, "ams/c3")).await;
    let events = all_events(&store, 100).await;
    let of_one = events.iter().rfind(|e| e.job == id(1)).unwrap().position;
    store.purge(Through::ended_before(at(5002)), step(10)).await.unwrap();
    for before in 0..of_one {
        let gone = store.events(before, 10).await;
        assert!(matches!(gone, Err(StoreError::PositionGone { wanted, .. }) if wanted == before), "{gone:?}");
    }
    let rest = store.events(of_one, 10).await.unwrap();
    assert!(rest.iter().all(|e| e.job != id(1)));
    assert_eq!(rest.last().unwrap().job, last.id);
    store.close().await;
    // It is still told after a restart, and positions go on.
    let store = on.open().await;
    assert!(matches!(store.events(0, 10).await, Err(StoreError::PositionGone { .. })));
    let newest = *store.newest_position().borrow();
    assert_eq!(newest, events.last().unwrap().position);
    store.close().await;
}

pub async fn a_purged_request_key_is_new_again(on: &impl Backend) {
    let store = on.open().await;
    let made = store.create(keyed(key(7), 1, vec![new_job(1, "ams/c1")])).await.unwrap().remove(0).unwrap();
    end(&store, &made.job).await;
    store.purge(all(), step(10)).await.unwrap();
    assert!(!store.knows_request(key(7)).await.unwrap());
    assert!(!try_one(&store, keyed(key(7), 2, vec![new_job(3, "ams/c1")])).await.unwrap().reused);
    store.close().await;
}

pub async fn the_jobs_of_one_request_go_together(on: &impl Backend) {
    let store = on.open().await;
    let both = || keyed(key(7), 1, vec![new_job(1, "ams/c1"), new_job(2, "ams/c2")]);
    let made = store.create(both()).await.unwrap();
    let made: Vec<_> = made.into_iter().map(|a| a.unwrap().job).collect();
    let ended_at = async |job, second| {
        let mut change = change(job, JobState::Succeeded);
        change.status.end_time = Some(at(second));
        store.write(vec![change], None).await.unwrap().remove(0).unwrap();
    };
    ended_at(&made[0], 5001).await;
    assert_eq!(store.purge(all(), step(10)).await.unwrap(), Purged::default(), "the other one lives");
    let again = store.create(both()).await.unwrap();
    assert!(again.iter().all(|one| one.as_ref().is_ok_and(|one| one.reused)), "nothing is made twice");
    ended_at(&made[1], 5010).await;
    let until_five = Through::ended_before(at(5005));
    assert_eq!(
        store.purge(until_five, step(10)).await.unwrap(),
        Purged::default(),
        "the other ended too lately"
    );
    let mut keys = 0;
    for _ in 0..2 {
        let purged = store.purge(all(), step(1)).await.unwrap();
        assert_eq!(purged.jobs, 1);
        keys += purged.keys;
    }
    assert_eq!((keys, kept(&store, 1..=2).await), (1, vec![]));
    store.close().await;
}

pub async fn a_key_that_made_no_job_goes_by_its_age(on: &impl Backend) {
    let store = on.open().await;
    create_one(&store, new_job(1, "ams/c1")).await;
    assert!(try_one(&store, keyed(key(8), 1, vec![new_job(2, "ams/c1")])).await.is_err());
    assert!(store.knows_request(key(8)).await.unwrap());
    assert!(try_one(&store, keyed(key(9), 1, vec![new_job(3, "ams/c3")])).await.is_ok());
    assert_eq!(store.purge_bare_keys(at(2), 10).await.unwrap(), 0);
    assert!(store.knows_request(key(8)).await.unwrap());
    assert_eq!(store.purge_bare_keys(at(1_000_000), 10).await.unwrap(), 1);
    assert!(store.knows_request(key(9)).await.unwrap(), "it stands for a job");
    assert!(!store.knows_request(key(8)).await.unwrap());
    store.close().await;
}

pub async fn a_job_of_many_events_goes_in_several_steps(on: &impl Backend) {
    let store = on.open().await;
    let made = store.create(keyed(key(7), 1, vec![new_job(1, "ams/c1")])).await.unwrap().remove(0).unwrap();
    let mut job = made.job;
    for _ in 0..5 {
        job = write_one(&store, change(&job, JobState::Running)).await.unwrap();
    }
    end(&store, &job).await;
    let positions: Vec<_> = all_events(&store, 100).await.iter().map(|e| e.position).collect();
    let few = Step { jobs: 10, events: 3 };
    assert_eq!(store.purge(all(), few).await.unwrap(), Purged { jobs: 0, events: 3, keys: 0 });
    // It is told from where on events are whole, and its key still stands for it.
    assert!(matches!(store.events(positions[1], 10).await, Err(StoreError::PositionGone { .. })));
    assert_eq!(store.events(positions[2], 10).await.unwrap().len(), 4);
    assert_eq!(kept(&store, 1..=1).await, [1]);
    assert!(store.knows_request(key(7)).await.unwrap());
    assert_eq!(store.purge(all(), few).await.unwrap(), Purged { jobs: 0, events: 3, keys: 0 });
    assert_eq!(store.purge(all(), few).await.unwrap(), Purged { jobs: 1, events: 1, keys: 1 });
    assert_eq!(store.purge(all(), few).await.unwrap(), Purged::default());
    store.close().await;
}

pub async fn a_step_ends_between_jobs_when_their_events_are_too_many(on: &impl Backend) {
    let store = on.open().await;
    ended(&store, 4).await;
    let mut steps = Vec::new();
    loop {
        let purged = store.purge(all(), Step { jobs: 3, events: 4 }).await.unwrap();
        assert!(purged.jobs <= 3 && purged.events <= 4, "{purged:?}");
        if purged == Purged::default() {
            break;
        }
        steps.push(purged);
    }
    assert_eq!(steps.iter().map(|s| s.jobs).sum::<u64>(), 4);
    assert_eq!(steps.iter().map(|s| s.events).sum::<u64>(), 8);
    store.close().await;
}
