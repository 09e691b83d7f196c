//! What becomes of ended jobs, and of watches that want to hear of them.

use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::id::JobId;
use drydock::engine::calls::{WatchBody, WatchRequest};

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
            && delivery.events().iter().any(|e| e.status.state.is_ended())
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
    assert!(matches!(&item.body, WatchBody::Events(e) if e.events()[0].job == next_job), "{item:?}");
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
