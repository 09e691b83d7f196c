//! Events: numbered, complete, whole commits.

use std::sync::Arc;

use drydock::domain::event::{Event, EventKind};
use drydock::domain::operation::OperationKind;
use drydock::domain::state::JobState;

use crate::fixture::*;

pub async fn events_are_numbered_per_job_and_over_all(backend: &impl Backend) {
    let store = backend.open().await;
    let a = create_one(&store, new_job(1, "vc/a")).await;
    let b = create_one(&store, new_job(2, "vc/b")).await;
    let a = write_one(&store, change(&a, JobState::Running)).await.unwrap();
    let a = end(&store, &a).await;

    let all = store.events(0, 100).await.unwrap();
    let told: Vec<_> = all.iter().map(|e| (e.job, e.sequence, e.kind)).collect();
    let moved = EventKind::StateChanged;
    assert_eq!(
        told,
        [(a.id, 1, EventKind::Created), (b.id, 1, EventKind::Created), (a.id, 2, moved), (a.id, 3, moved)]
    );
    assert!(all.is_sorted_by(|x, y| x.position < y.position));
    assert!(all[0].position >= 1);

    let of_a = store.job_events(a.id, 0, 100).await.unwrap();
    assert_eq!(of_a.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(of_a[2].status, a.status, "an event carries the status after the change");
    assert_eq!((of_a[0].time, of_a[0].message.as_str()), (at(1), "at 1"));
    assert_eq!(store.job_events(a.id, 1, 1).await.unwrap(), of_a[1..2]);
    assert_eq!(store.job_events(a.id, 3, 9).await.unwrap(), []);
    assert_eq!(store.job_events(id(77), 0, 9).await.unwrap(), []);
}

pub async fn a_request_is_one_commit(backend: &impl Backend) {
    let store = backend.open().await;
    let made = create(&store, vec![new_job(1, "vc/a"), new_job(2, "vc/b"), new_job(3, "vc/c")]).await;
    store.write(made.iter().take(2).map(|job| change(job, JobState::Running)).collect(), None).await.unwrap();
    let events = store.events(0, 100).await.unwrap();
    let commits: Vec<_> = events.iter().map(|e| e.commit).collect();
    let (first, second) = (events[0].position, events[3].position);
    assert_eq!(commits, [first, first, first, second, second]);
}

pub async fn a_commit_is_never_cut(backend: &impl Backend) {
    let store = backend.open().await;
    let mut n = 0;
    for size in [3_u64, 1, 4, 2] {
        let some = (0..size).map(|i| new_job(n + i, &format!("vc/c{}", n + i))).collect();
        create(&store, some).await;
        n += size;
    }
    let whole = store.events(0, 1000).await.unwrap();
    assert_eq!(whole.len(), 10);
    for limit in 1..=11 {
        let mut after = 0;
        let mut found: Vec<Event> = Vec::new();
        loop {
            let some = store.events(after, limit).await.unwrap();
            let Some(last) = some.last() else { break };
            let over: Vec<_> = some.iter().skip(limit as usize).map(|e| e.commit).collect();
            assert!(over.iter().all(|c| *c == last.commit), "longer than asked only by one commit's rest");
            let of_last = whole.iter().filter(|e| e.commit == last.commit).map(|e| e.position).max();
            assert_eq!(of_last, Some(last.position), "limit {limit} cut a commit");
            after = last.position;
            found.extend(some);
        }
        assert_eq!(found, whole, "limit {limit}");
    }
}

pub async fn positions_go_on_after_a_restart(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, vec![new_job(1, "vc/a"), new_job(2, "vc/b")]).await;
    let newest = *store.newest_position().borrow();
    store.close().await;

    let store = backend.open().await;
    assert_eq!(*store.newest_position().borrow(), newest);
    create_one(&store, new_job(3, "vc/c")).await;
    let events = store.events(newest, 10).await.unwrap();
    assert_eq!(events.iter().map(|e| e.job).collect::<Vec<_>>(), [id(3)]);
    assert!(events[0].position > newest);
}

pub async fn the_newest_position_wakes(backend: &impl Backend) {
    let store = backend.open().await;
    let mut newest = store.newest_position();
    assert_eq!(*newest.borrow_and_update(), 0);
    let writer = Arc::clone(&store);
    let (made, woken) =
        tokio::join!(async { create_one(&writer, new_job(1, "vc/a")).await }, newest.changed());
    woken.unwrap();
    let events = store.events(0, 10).await.unwrap();
    assert_eq!(events[0].job, made.id);
    assert_eq!(*newest.borrow(), events[0].position);
}

pub async fn events_carry_what_filters_need(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    end(&store, &job).await;
    for events in [store.events(0, 9).await.unwrap(), store.job_events(job.id, 0, 9).await.unwrap()] {
        assert_eq!(events.len(), 2);
        for event in &events {
            assert_eq!(event.about.target, job.spec.target);
            assert_eq!(event.about.operation, OperationKind::Upgrade);
            assert_eq!(event.about.labels, job.spec.labels);
        }
        assert!(Arc::ptr_eq(&events[0].about, &events[1].about), "events of one job share it");
    }
}

pub async fn refused_writes_leave_no_event(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let mut stale = change(&job, JobState::Running);
    stale.version = 7;
    assert!(write_one(&store, stale).await.is_err());
    assert!(try_one(&store, jobs(vec![new_job(2, "vc/a")])).await.is_err());
    end(&store, &job).await;
    let events = store.events(0, 10).await.unwrap();
    assert_eq!(events.iter().map(|e| (e.job, e.sequence)).collect::<Vec<_>>(), [(job.id, 1), (job.id, 2)]);
}
