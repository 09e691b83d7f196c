//! Many subscribers that have fallen behind read the store, and nobody waits for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

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
