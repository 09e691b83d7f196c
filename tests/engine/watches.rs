//! The watch contract: ordered, unique, complete, atomic, resumable, bookmarked, filtered.

use std::collections::{BTreeMap, HashMap};

use drydock::domain::error::Error;
use drydock::domain::id::JobId;
use drydock::domain::page::PageRequest;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchRequest};

use crate::house::{House, next, positions, upgrade};
use crate::scripted::Scripted;

#[tokio::test]
async fn a_watch_cut_fifty_times_misses_and_repeats_nothing() {
    let house = House::new(Scripted::new()).await;
    let origin = house.watch(WatchRequest { snapshot: true, ..WatchRequest::default() }).await;
    let mut watch = origin;
    let synced = next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(synced.body, WatchBody::Synced));
    let mut jobs: Vec<JobId> = Vec::new();
    let mut token = synced.resume_token.unwrap().to_string();
    let mut seen: HashMap<JobId, Vec<u64>> = HashMap::new();
    let (mut ended, mut last, mut cuts) = (0, 0, 0);
    while jobs.len() < 60 || ended < jobs.len() {
        // Each connection lasts for one or two messages, while new jobs keep coming.
        if jobs.len() < 60 {
            jobs.push(house.upgrade(&format!("c{cuts}")).await.id);
        }
        let request = WatchRequest { resume_token: Some(token.clone()), ..WatchRequest::default() };
        let mut watch = house.watch(request).await;
        for _ in 0..=(cuts % 2) {
            let item = next(&mut watch).await.unwrap().unwrap();
            token = item.resume_token.unwrap().to_string();
            if let WatchBody::Events(events) = &item.body {
                assert!(
                    events.events().windows(2).all(|w| w[0].commit == w[1].commit),
                    "one commit at a time"
                );
                for event in events.events() {
                    assert!(event.position > last, "in order and never twice");
                    last = event.position;
                    seen.entry(event.job).or_default().push(event.sequence);
                    ended += usize::from(event.status.state.is_ended());
                }
            }
        }
        cuts += 1;
    }
    assert!(cuts >= 50, "only {cuts} cuts");
    for job in jobs {
        let listed = house.engine.job_events(job, &PageRequest { size: 1000, token: None }).await.unwrap();
        let listed: Vec<_> = listed.items.iter().map(|e| e.sequence).collect();
        assert_eq!(seen.remove(&job).unwrap_or_default(), listed);
    }
}

#[tokio::test]
async fn a_snapshot_and_what_follows_tell_each_change_once() {
    let house = House::new(Scripted::new()).await;
    let entries = (0..30).map(|n| upgrade(&format!("c{n}"))).collect();
    let jobs = house.start(entries).await.unwrap().len();
    let mut watch = house.watch(WatchRequest { snapshot: true, ..WatchRequest::default() }).await;
    let mut known: HashMap<JobId, u64> = HashMap::new();
    let mut synced = false;
    let mut ended = 0;
    while !synced || ended < jobs {
        let item = next(&mut watch).await.unwrap().unwrap();
        assert_eq!(item.resume_token.is_none(), !synced && !matches!(item.body, WatchBody::Synced));
        match item.body {
            WatchBody::Snapshot(job) => {
                assert!(!synced && known.insert(job.id, job.sequence).is_none());
                ended += usize::from(job.status.state.is_ended());
            }
            WatchBody::Synced => synced = true,
            WatchBody::Events(events) => {
                for event in events.events() {
                    let before = known.insert(event.job, event.sequence).unwrap_or(0);
                    assert_eq!(event.sequence, before + 1, "no gap and no repeat after the snapshot");
                    ended += usize::from(event.status.state.is_ended());
                }
            }
            WatchBody::Heartbeat => {}
        }
    }
}

#[tokio::test]
async fn a_watch_of_one_job_ends_with_the_job() {
    let house = House::new(Scripted::new()).await;
    let job = house.upgrade("c1").await;
    house.upgrade("c2").await;
    let one = |resume_token: Option<String>, snapshot| WatchRequest {
        filter: WatchFilter { jobs: vec![job.id], ..WatchFilter::default() },
        until_end: true,
        snapshot,
        resume_token,
        ..WatchRequest::default()
    };
    let mut watch = house.watch(one(None, true)).await;
    let mut last = None;
    while let Some(item) = next(&mut watch).await {
        let item = item.unwrap();
        if let WatchBody::Events(events) = &item.body {
            assert!(events.events().iter().all(|e| e.job == job.id), "only what matches");
        }
        last = Some(item);
    }
    let last = last.unwrap();
    assert!(house.ended(job.id).await.status.state.is_ended());
    // Everything was seen: resumed at the end, the stream ends at once; on an ended job, after its snapshot.
    assert!(
        next(&mut house.watch(one(Some(last.resume_token.unwrap().to_string()), false)).await)
            .await
            .is_none()
    );
    let mut late = house.watch(one(None, true)).await;
    assert!(matches!(next(&mut late).await.unwrap().unwrap().body, WatchBody::Snapshot(_)));
    assert!(matches!(next(&mut late).await.unwrap().unwrap().body, WatchBody::Synced));
    assert!(next(&mut late).await.is_none());
}

#[tokio::test]
async fn filters_let_nothing_else_through() {
    let house = House::new(Scripted::new()).await;
    let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let filter = WatchFilter { labels: labels.clone(), ..WatchFilter::default() };
    let mut watch = house.watch(WatchRequest { filter, ..WatchRequest::default() }).await;
    house.upgrade("c1").await;
    let mut request = crate::house::request(vec![upgrade("c2")]);
    request.labels = labels;
    let blue = house.engine.start(request).await.unwrap().remove(0).unwrap().job.id;
    loop {
        let item = next(&mut watch).await.unwrap().unwrap();
        if let WatchBody::Events(events) = item.body {
            assert!(events.events().iter().all(|e| e.job == blue));
            if events.events().iter().any(|e| e.status.state.is_ended()) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_idle_watch_gets_fresh_tokens_and_a_stop_ends_it() {
    let house = House::new(Scripted::new()).await;
    let mut watch = house.watch(WatchRequest::default()).await;
    let beat = next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(beat.body, WatchBody::Heartbeat) && beat.resume_token.is_some());
    assert!(positions(&beat).is_empty());
    house.engine.stop_watches();
    assert_eq!(next(&mut watch).await.unwrap().unwrap_err(), Error::ShuttingDown);
    assert!(next(&mut watch).await.is_none());
    // The token is good on the next engine over the same store.
    let house = house.restart().await;
    let resumed = WatchRequest {
        resume_token: Some(beat.resume_token.unwrap().to_string()),
        ..WatchRequest::default()
    };
    let mut watch = house.watch(resumed).await;
    let job = house.upgrade("c1").await;
    loop {
        let item = next(&mut watch).await.unwrap().unwrap();
        if let WatchBody::Events(events) = item.body {
            assert_eq!((events.events()[0].job, events.events()[0].sequence), (job.id, 1));
            break;
        }
    }
}

#[tokio::test]
async fn a_merged_watch_ends_on_the_newest_state() {
    let house = House::new(Scripted::new()).await;
    let token = {
        let mut watch = house.watch(WatchRequest::default()).await;
        next(&mut watch).await.unwrap().unwrap().resume_token.unwrap().to_string()
    };
    let job = house.upgrade("c1").await;
    // Once another watch has told the end, everything is there to be merged.
    let every = WatchRequest { resume_token: Some(token.clone()), ..WatchRequest::default() };
    let mut every = house.watch(every).await;
    loop {
        if let WatchBody::Events(events) = next(&mut every).await.unwrap().unwrap().body
            && events.events().iter().any(|e| e.job == job.id && e.status.state.is_ended())
        {
            break;
        }
    }
    let merged = WatchRequest { resume_token: Some(token), latest_only: true, ..WatchRequest::default() };
    let mut watch = house.watch(merged).await;
    let mut states = Vec::new();
    while !states.last().is_some_and(|s: &drydock::domain::state::JobState| s.is_ended()) {
        if let WatchBody::Events(events) = next(&mut watch).await.unwrap().unwrap().body {
            states.extend(events.events().iter().map(|e| e.status.state));
        }
    }
    assert_eq!(states.len(), 1, "what nobody read was merged");
}

#[tokio::test]
async fn foreign_and_malformed_tokens_are_refused() {
    let (house, other) = (House::new(Scripted::new()).await, House::new(Scripted::new()).await);
    let token = {
        let mut watch = other.watch(WatchRequest::default()).await;
        next(&mut watch).await.unwrap().unwrap().resume_token.unwrap().to_string()
    };
    for bad in [token.as_str(), "nonsense", ""] {
        let request = WatchRequest { resume_token: Some(bad.to_owned()), ..WatchRequest::default() };
        assert_eq!(house.engine.watch(request).await.err(), Some(Error::ResumeTokenInvalid), "{bad}");
    }
}
