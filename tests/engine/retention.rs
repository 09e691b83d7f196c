//! What becomes of ended jobs, and of watches that want to hear of them.

use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::id::JobId;
use drydock::engine::calls::{WatchBody, WatchRequest};
use drydock::store::contract::Change;

use crate::house::{House, PATIENCE, next, upgrade, with_key};
use crate::scripted::Scripted;

async fn gone(house: &House, id: JobId) {
    let wait = async {
        while house.engine.job(id).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("an ended job that is purged");
}

#[tokio::test]
async fn ended_jobs_go_and_live_ones_stay() {
    let house = House::new(Scripted::new()).await;
    let old = house.upgrade("c1").await.id;
    house.ended(old).await;
    let newer = house.upgrade("c2").await.id;
    house.ended(newer).await;
    let house = house.restart_keeping(1).await;
    gone(&house, old).await;
    assert!(house.engine.job(newer).await.is_ok());
    assert!(matches!(house.engine.job(old).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_watch_from_before_what_is_kept_is_told_so() {
    let house = House::new(Scripted::new()).await;
    let mut watch = house.watch(WatchRequest { snapshot: true, ..WatchRequest::default() }).await;
    let before = next(&mut watch).await.unwrap().unwrap().resume_token.unwrap().to_string();
    let id = house.upgrade("c1").await.id;
    house.ended(id).await;
    // Its last event's token is the first that misses nothing.
    let after = loop {
        let item = next(&mut watch).await.unwrap().unwrap();
        if let WatchBody::Events(delivery) = &item.body
            && delivery.events().any(|e| e.status.state.is_ended())
        {
            break item.resume_token.unwrap().to_string();
        }
    };
    let house = house.restart_keeping(0).await;
    gone(&house, id).await;
    let late = WatchRequest { resume_token: Some(before), ..WatchRequest::default() };
    assert!(matches!(house.engine.watch(late).await, Err(Error::ResumeTokenExpired)));
    let request = WatchRequest { resume_token: Some(after), ..WatchRequest::default() };
    let mut watch = house.watch(request).await;
    let next_job = house.upgrade("c2").await.id;
    let item = next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(&item.body, WatchBody::Events(e) if e.events().all(|e| e.job == next_job)), "{item:?}");
}

#[tokio::test]
async fn a_key_lives_as_long_as_its_jobs() {
    let house = House::new(Scripted::new()).await;
    let first = house.engine.start(with_key(1, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    house.ended(first.job.id).await;
    let again = house.engine.start(with_key(1, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(again.reused);
    let house = house.restart_keeping(0).await;
    gone(&house, first.job.id).await;
    let anew = house.engine.start(with_key(1, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(!anew.reused && anew.job.id != first.job.id);
}

/// Has a job end so many days ago. The engine is told nothing of it, so the job is one that nobody drives.
async fn ended_days_ago(house: &House, target: &str, days: i64) -> JobId {
    let id = house.upgrade(target).await.id;
    let job = house.ended(id).await;
    let mut status = job.status.clone();
    status.end_time = status.end_time.map(|end| end - jiff::SignedDuration::from_hours(24 * days));
    let change = Change {
        id,
        version: job.version,
        status,
        control: job.control.clone(),
        erase_password: false,
        event: None,
    };
    house.store.write(vec![change], None).await.unwrap().remove(0).unwrap();
    id
}

#[tokio::test]
async fn what_ended_lately_is_kept_however_many_there_are() {
    let house = House::new(Scripted::new()).await;
    let old = ended_days_ago(&house, "c1", 2).await;
    let first = house.engine.start(with_key(1, 1, vec![upgrade("c2")])).await.unwrap().remove(0).unwrap();
    house.ended(first.job.id).await;
    let house = house.restart_keeping_few(0).await;
    gone(&house, old).await;
    let again = house.engine.start(with_key(1, 1, vec![upgrade("c2")])).await.unwrap().remove(0).unwrap();
    assert!(
        again.reused && again.job.id == first.job.id,
        "a caller whose answer was lost starts nothing twice"
    );
}

#[tokio::test]
async fn a_replica_whose_clock_is_months_ahead_forgets_nothing_early() {
    let house = House::new(Scripted::new()).await;
    let old = ended_days_ago(&house, "c1", 91).await;
    let lately = ended_days_ago(&house, "c2", 2).await;
    let house = house.restart_ahead(Duration::from_secs(100 * 86_400)).await;
    gone(&house, old).await;
    assert!(house.engine.job(lately).await.is_ok());
}
