//! The watch contract: ordered, unique, complete, atomic, resumable, bookmarked, filtered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use drydock::domain::error::Error;
use drydock::domain::id::ProviderId;
use drydock::domain::operation::OperationKind;
use drydock::domain::state::JobState;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchRequest};

use crate::follower::{Facts, Follower, Wanted, everything, settled};
use crate::house::{House, next, positions, reinstall, request, target, upgrade};
use crate::scripted::Scripted;

#[tokio::test]
async fn a_watch_cut_fifty_times_misses_and_repeats_nothing() {
    let house = House::new(Scripted::new()).await;
    let mut follower = Follower::all(&house, WatchFilter::default(), everything()).await;
    follower.read_some(1).await;
    for cut in 0..50 {
        // Each connection lasts for one to three messages, while new jobs keep coming, some of them together.
        let entries = (0..=cut % 3).map(|n| upgrade(&format!("c{cut}-{n}"))).collect();
        house.start(entries).await.unwrap();
        follower.read_some(1 + cut % 3).await;
        let last = follower.recorder.last_token();
        follower.open(&house, last).await;
    }
    settled(&house).await;
    follower.read_to_the_end(&house).await;
    let truth = follower.judge(&*house.store, true).await;
    assert!(truth.facts.len() > 300, "{}", truth.facts.len());
    assert_eq!(follower.recorder.recording().connections.len(), 51);
}

#[tokio::test]
async fn any_token_that_was_ever_given_continues_exactly_after_its_message() {
    let mut house = House::forgetful(Scripted::new()).await;
    let mut follower = Follower::all(&house, WatchFilter::default(), everything()).await;
    follower.read_some(1).await;
    for round in 0..12 {
        let entries = (0..6).map(|n| upgrade(&format!("c{round}-{n}"))).collect();
        house.start(entries).await.unwrap();
        follower.read_some(8).await;
        follower.reopen_anywhere(&house).await;
        if round == 6 {
            // And so it does after a restart.
            house = house.restart().await;
            follower.reopen_anywhere(&house).await;
        }
    }
    settled(&house).await;
    follower.reopen_anywhere(&house).await;
    follower.read_to_the_end(&house).await;
    follower.judge(&*house.store, true).await;
}

#[tokio::test]
async fn a_snapshot_tells_each_change_once_however_many_are_being_made() {
    let house = Arc::new(House::new(Scripted::new()).await);
    let mut followers = Vec::new();
    for round in 0..30 {
        let entries = (0..5).map(|n| upgrade(&format!("c{round}-{n}"))).collect();
        house.start(entries).await.unwrap();
        followers.push(Follower::all(&house, WatchFilter::default(), everything()).await);
        // Some read their snapshot at once, others when much has happened since.
        if round % 3 == 0 {
            followers[round].read_some(3).await;
        }
    }
    settled(&house).await;
    for follower in &mut followers {
        follower.read_to_the_end(&house).await;
        follower.judge(&*house.store, true).await;
    }
}

#[tokio::test]
async fn a_reader_that_fell_behind_gets_all_from_the_store() {
    let house = House::forgetful(Scripted::new()).await;
    let mut slow = Follower::all(&house, WatchFilter::default(), everything()).await;
    let mut quick = Follower::all(&house, WatchFilter::default(), everything()).await;
    slow.read_some(1).await;
    quick.read_some(1).await;
    let jobs = house.start((0..60).map(|n| upgrade(&format!("c{n}"))).collect()).await.unwrap();
    for job in jobs {
        house.ended(job.unwrap().job.id).await;
    }
    settled(&house).await;
    // The ring holds 16 events of the hundreds that nobody has read yet.
    slow.read_to_the_end(&house).await;
    quick.read_to_the_end(&house).await;
    assert!(slow.judge(&*house.store, true).await.facts.len() > 200);
    quick.judge(&*house.store, true).await;
}

#[tokio::test]
async fn latest_state_only_merges_what_was_not_read_and_ends_right() {
    let house = House::forgetful(Scripted::new()).await;
    let merged = WatchRequest { snapshot: true, latest_only: true, ..WatchRequest::default() };
    let mut slow = Follower::new(&house, merged.clone(), everything()).await;
    let mut quick = Follower::new(&house, merged, everything()).await;
    slow.read_some(1).await;
    quick.read_some(1).await;
    house.start((0..60).map(|n| upgrade(&format!("c{n}"))).collect()).await.unwrap();
    for _ in 0..20 {
        quick.read_some(1).await;
    }
    settled(&house).await;
    slow.read_to_the_end(&house).await;
    quick.read_to_the_end(&house).await;
    let truth = slow.judge(&*house.store, true).await;
    quick.judge(&*house.store, true).await;
    assert_eq!(slow.recorder.recording().told(), 60, "of {} events, one for each job", truth.facts.len());
}

#[tokio::test]
async fn filters_of_every_kind_let_nothing_else_through() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().fails.push("c3".into());
    let old = house.upgrade("old").await.id;
    house.ended(old).await;
    let blue = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let none = WatchFilter::default;
    let provider = |id| vec![ProviderId::parse(id).unwrap()];
    let cases: Vec<(WatchFilter, Wanted)> = vec![
        (none(), everything()),
        (WatchFilter { jobs: vec![old], ..none() }, Arc::new(move |f: &Facts<'_>| f.job == old.to_string())),
        (WatchFilter { providers: provider("a"), ..none() }, everything()),
        (WatchFilter { providers: provider("b"), ..none() }, Arc::new(|_: &Facts<'_>| false)),
        (
            WatchFilter { targets: vec![target("c1"), target("c3")], ..none() },
            Arc::new(|f: &Facts<'_>| *f.target == target("c1") || *f.target == target("c3")),
        ),
        (
            WatchFilter { states: vec![JobState::Running, JobState::Failed], ..none() },
            Arc::new(|f: &Facts<'_>| matches!(f.state, JobState::Running | JobState::Failed)),
        ),
        (
            WatchFilter { operations: vec![OperationKind::Reinstall], ..none() },
            Arc::new(|f: &Facts<'_>| f.operation == OperationKind::Reinstall),
        ),
        (
            WatchFilter { labels: blue.clone(), ..none() },
            Arc::new(|f: &Facts<'_>| f.labels.get("team").is_some_and(|t| t == "blue")),
        ),
        (
            WatchFilter {
                labels: blue.clone(),
                states: vec![JobState::Succeeded],
                operations: vec![OperationKind::Upgrade],
                ..none()
            },
            Arc::new(|f: &Facts<'_>| {
                f.labels.get("team").is_some()
                    && f.state == JobState::Succeeded
                    && f.operation == OperationKind::Upgrade
            }),
        ),
    ];
    let mut followers = Vec::new();
    for (filter, wanted) in cases {
        for latest_only in [false, true] {
            let request = WatchRequest {
                filter: filter.clone(),
                snapshot: true,
                latest_only,
                ..WatchRequest::default()
            };
            followers.push(Follower::new(&house, request, Arc::clone(&wanted)).await);
            followers.last_mut().unwrap().read_some(1).await;
        }
    }
    // One commit with jobs of which some match.
    house.start((0..6).map(|n| upgrade(&format!("c{n}"))).collect()).await.unwrap();
    let mut labelled = request(vec![upgrade("c7"), reinstall("i1", "secret"), upgrade("c8")]);
    labelled.labels = blue;
    house.engine.start(labelled).await.unwrap();
    house.start(vec![reinstall("i2", "secret")]).await.unwrap();
    settled(&house).await;
    let mut told = Vec::new();
    for follower in &mut followers {
        follower.read_to_the_end(&house).await;
        follower.judge(&*house.store, true).await;
        told.push(follower.recorder.recording().told());
    }
    assert!(told[0] > told[8] && told[8] > 0, "{told:?}");
    assert_eq!(told[16], 2, "{told:?}");
}

#[tokio::test]
async fn a_token_may_be_used_with_another_filter() {
    let house = House::new(Scripted::new()).await;
    let mut narrow = Follower::all(
        &house,
        WatchFilter { targets: vec![target("c1")], ..WatchFilter::default() },
        everything(),
    )
    .await;
    narrow.read_some(1).await;
    let token = narrow.recorder.last_token();
    house.upgrade("c1").await;
    house.upgrade("c2").await;
    settled(&house).await;
    let mut wide =
        Follower::foreign(&house, WatchRequest { resume_token: token, ..WatchRequest::default() }).await;
    wide.read_to_the_end(&house).await;
    let truth = wide.judge(&*house.store, true).await;
    let told = wide.recorder.recording().told();
    assert_eq!(told, truth.facts.len(), "both jobs, from their first event");
    narrow.read_to_the_end(&house).await;
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
    let name = job.id.to_string();
    let wanted: Wanted = Arc::new(move |f: &Facts<'_>| f.job == name);
    let mut follower = Follower::new(&house, one(None, true), wanted).await;
    while follower.read().await.is_some() {}
    assert_eq!(follower.ended_by, None, "it ends well");
    assert!(house.ended(job.id).await.status.state.is_ended());
    follower.judge(&*house.store, true).await;
    // Everything was seen: resumed at the end, the stream ends at once; on an ended job, after its snapshot.
    let last = follower.recorder.last_token();
    follower.open(&house, last).await;
    assert!(follower.read().await.is_none() && follower.ended_by.is_none());
    follower.judge(&*house.store, true).await;
    let mut late = house.watch(one(None, true)).await;
    assert!(matches!(next(&mut late).await.unwrap().unwrap().body, WatchBody::Snapshot(_)));
    assert!(matches!(next(&mut late).await.unwrap().unwrap().body, WatchBody::Synced));
    assert!(next(&mut late).await.is_none());
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
            let first = events.events().next().map(|event| (event.job, event.sequence));
            assert_eq!(first, Some((job.id, 1)));
            break;
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_takes_long_gives_signs_of_life() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    let job = house.upgrade("c1").await;
    flaky.hold_lists.store(true, Ordering::SeqCst);
    let mut watch = house.watch(WatchRequest { snapshot: true, ..WatchRequest::default() }).await;
    for _ in 0..2 {
        let beat = next(&mut watch).await.unwrap().unwrap();
        // No token: a resume in the middle of a snapshot could not be exact.
        assert!(matches!(beat.body, WatchBody::Heartbeat) && beat.resume_token.is_none(), "{beat:?}");
    }
    flaky.hold_lists.store(false, Ordering::SeqCst);
    flaky.release.notify_one();
    // The read went on meanwhile, and nothing of it is lost.
    let shown = next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(&shown.body, WatchBody::Snapshot(shown) if shown.id == job.id), "{shown:?}");
    loop {
        let item = next(&mut watch).await.unwrap().unwrap();
        if matches!(item.body, WatchBody::Synced) {
            assert!(item.resume_token.is_some());
            break;
        }
    }
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
