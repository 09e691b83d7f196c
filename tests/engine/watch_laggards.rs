//! Many subscribers that have fallen behind read the store, and nobody waits for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::state::JobState;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchRequest};
use drydock::kit::tasks::Tasks;

use crate::follower::{Follower, everything, settled};
use crate::house::{House, PATIENCE, next, upgrade};
use crate::scripted::Scripted;

#[tokio::test]
async fn laggards_take_two_of_the_stores_places_and_the_others_go_on() {
    let (house, flaky) = House::flaky_and_forgetful(Scripted::new()).await;
    let mut laggards = Vec::new();
    for _ in 0..40 {
        laggards.push(house.watch(WatchRequest::default()).await);
    }
    let mut live = Follower::all(&house, WatchFilter::default(), everything()).await;
    // More than the ring keeps.
    house.start((0..20).map(|n| upgrade(&format!("old{n}"))).collect()).await.unwrap();
    settled(&house).await;
    live.read_to_the_end(&house).await;
    let newest = *house.store.newest_position().borrow();
    assert!(newest > 40);

    // The store is slow with the past.
    flaky.hold_events_before.send_replace(newest);
    let tasks = Tasks::new();
    let (told, mut all_told) = tokio::sync::mpsc::channel(laggards.len());
    for mut laggard in laggards {
        let told = told.clone();
        tasks.spawn("laggard", async move {
            let mut position = 0;
            while position < newest {
                let item = next(&mut laggard).await.unwrap().unwrap();
                position = item.resume_token.unwrap().position();
            }
            told.send(position).await.unwrap();
        });
    }
    let waiting = || flaky.waiting_reads.0.load(Ordering::SeqCst);
    while waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Drivers drive, the tail tells, callers are answered.
    let job = house.upgrade("new").await;
    house.ended(job.id).await;
    live.read_to_the_end(&house).await;
    let named = WatchFilter { jobs: vec![job.id], ..WatchFilter::default() };
    let mut late = house.watch(WatchRequest { filter: named, ..WatchRequest::default() }).await;
    // It may still be told the job's last event, which is committed before it is published.
    while !matches!(next(&mut late).await.unwrap().unwrap().body, WatchBody::Heartbeat) {}
    assert_eq!((waiting(), flaky.waiting_reads.1.load(Ordering::SeqCst)), (2, 2));
    assert!(all_told.try_recv().is_err(), "nothing was held up");

    // And the laggards come to the end, each in its turn.
    flaky.hold_events_before.send_replace(0);
    for _ in 0..40 {
        tokio::time::timeout(PATIENCE, all_told.recv()).await.unwrap().unwrap();
    }
    live.judge(&*house.store, true).await;
    tasks.shutdown(Duration::from_secs(5)).await;
}

/// What a stream has to say by itself does not wait for the line: not for those who read, not for those who stand behind
/// them, and not for one that merges or asks whether its job is over.
#[tokio::test]
async fn who_stands_in_line_gives_signs_of_life_and_ends_at_its_age() {
    let (house, flaky) = House::flaky_and_forgetful(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("one").await;
    house.in_state(job.id, JobState::Running).await;
    let named = || WatchFilter { jobs: vec![job.id], ..WatchFilter::default() };
    let single = || WatchRequest { filter: named(), until_end: true, ..WatchRequest::default() };
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(house.watch(WatchRequest::default()).await);
        waiting.push(house.watch(WatchRequest { latest_only: true, ..WatchRequest::default() }).await);
        waiting.push(house.watch(single()).await);
    }
    let mut aging = [house.watch(WatchRequest::default()).await, house.watch(single()).await];
    let mut live = house.watch(WatchRequest::default()).await;
    let others = house.start((0..20).map(|n| upgrade(&format!("old{n}"))).collect()).await.unwrap();
    for other in others {
        house.in_state(other.unwrap().job.id, JobState::Running).await;
    }
    let newest = *house.store.newest_position().borrow();
    // The tail must have told it: it reads the store too.
    while next(&mut live).await.unwrap().unwrap().resume_token.unwrap().position() < newest {}
    flaky.hold_events_before.send_replace(newest);
    // Nothing of the job happens any more: whoever follows it alone stands in line to ask whether it is over.
    let mut asking = house.watch(single()).await;

    let mut stood = Vec::new();
    for watch in &mut waiting {
        let first = next(watch).await.unwrap().unwrap();
        assert!(matches!(first.body, WatchBody::Heartbeat), "{first:?}");
        stood.push(first.resume_token.expect("the place where it stands"));
    }
    for _ in 0..2 {
        for (watch, stood) in waiting.iter_mut().zip(&stood) {
            let beat = next(watch).await.unwrap().unwrap();
            assert!(matches!(beat.body, WatchBody::Heartbeat), "{beat:?}");
            assert_eq!(beat.resume_token, Some(*stood), "nothing was told meanwhile");
        }
        assert!(matches!(next(&mut asking).await.unwrap().unwrap().body, WatchBody::Heartbeat));
    }
    assert_eq!(flaky.waiting_reads.0.load(Ordering::SeqCst), 2);

    // Each still has its turn, and is told everything.
    flaky.hold_events_before.send_replace(0);
    for watch in &mut waiting {
        let mut position = 0;
        while position < newest {
            position = next(watch).await.unwrap().unwrap().resume_token.unwrap().position();
        }
    }

    flaky.hold_events_before.send_replace(newest);
    for watch in &mut aging {
        assert!(matches!(next(watch).await.unwrap().unwrap().body, WatchBody::Heartbeat));
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(4_000)).await;
    tokio::time::resume();
    for watch in &mut aging {
        assert_eq!(next(watch).await.unwrap().err(), Some(Error::WatchAged));
        assert!(next(watch).await.is_none());
    }
}
