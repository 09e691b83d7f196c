//! Polling follows attention: what somebody watches is looked at more often, within the provider's pace.

use std::collections::BTreeMap;
use std::time::Duration;

use drydock::domain::id::{JobId, ProviderId};
use drydock::domain::target::Target;
use drydock::engine::calls::{WatchFilter, WatchRequest};
use drydock::engine::{Engine, Watch};
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::stage::{PACE, Stage};

/// A watch of these jobs that has said all that it has to say so far.
async fn watch(engine: &Engine, jobs: &[JobId]) -> Watch {
    let filter = WatchFilter { jobs: jobs.to_vec(), ..WatchFilter::default() };
    engine.watch(WatchRequest { filter, snapshot: true, ..WatchRequest::default() }).await.unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_watched_job_is_looked_at_at_the_providers_pace_until_its_watch_ends() {
    let stage = Stage::new().await;
    let engine = stage.replica("one").await;
    let jobs = stage.old_upgrades(&engine, 3).await;
    let [watched, other] = stage.looks(MINUTE, [0, 1]).await;
    assert!(watched <= 2 && other <= 2, "{watched} {other}");

    let first = watch(&engine, &jobs[..1]).await;
    let second = watch(&engine, &jobs[..1]).await;
    let [watched, other] = stage.looks(MINUTE, [0, 1]).await;
    assert!((40..=61).contains(&watched), "once for each pace, whoever watches: {watched}");
    assert!(other <= 2, "nobody watches it: {other}");
    {
        let state = stage.vendor.state.lock().unwrap();
        assert!(state.looked.iter().flatten().all(|(target, watched)| *watched == (target == "c0")));
    }

    // The one that is left is enough; with the last the attention goes, without a word being read.
    drop(first);
    let [watched] = stage.looks(MINUTE / 4, [0]).await;
    assert!(watched >= 10, "{watched}");
    drop(second);
    let [watched] = stage.looks(MINUTE, [0]).await;
    assert!(watched <= 2, "{watched}");
}

#[tokio::test]
async fn a_filter_that_leaves_few_jobs_marks_them_and_one_that_leaves_many_none() {
    let stage = Stage::new().await;
    let engine = stage.replica("one").await;
    stage.old_upgrades(&engine, 40).await;
    let by_target = WatchRequest {
        filter: WatchFilter {
            targets: vec![Target::parse_name("providers/a/clusters/c7").unwrap()],
            ..WatchFilter::default()
        },
        snapshot: true,
        ..WatchRequest::default()
    };
    let mut narrow = engine.watch(by_target).await.unwrap();
    let mut wide = engine.watch(WatchRequest { snapshot: true, ..WatchRequest::default() }).await.unwrap();
    // What a watch is about, it learns as its client reads.
    narrow.next().await.unwrap().unwrap();
    for _ in 0..40 {
        wide.next().await.unwrap().unwrap();
    }
    let [watched, other] = stage.looks(MINUTE, [7, 8]).await;
    assert!(watched >= 40 && other <= 2, "{watched} {other}");
    drop((narrow, wide));
}

#[tokio::test]
async fn a_resumed_watch_marks_again_what_its_filter_leaves() {
    let stage = Stage::new().await;
    let engine = stage.replica("one").await;
    stage.old_upgrades(&engine, 40).await;
    let one = Target::parse_name("providers/a/clusters/c7").unwrap();
    let narrow = WatchFilter { targets: vec![one], ..WatchFilter::default() };
    let many = WatchFilter { providers: vec![ProviderId::parse("a").unwrap()], ..WatchFilter::default() };
    let request = |filter: &WatchFilter| WatchRequest {
        filter: filter.clone(),
        snapshot: true,
        ..WatchRequest::default()
    };
    let token = {
        let mut watch = engine.watch(request(&narrow)).await.unwrap();
        watch.next().await.unwrap().unwrap();
        watch.next().await.unwrap().unwrap().resume_token.unwrap().to_string()
    };
    let mut open = Vec::new();
    for filter in [&narrow, &many] {
        let resumed = WatchRequest { resume_token: Some(token.clone()), ..request(filter) };
        let mut watch = engine.watch(resumed).await.unwrap();
        // Nothing has happened: the first message is a sign of life.
        let (beat, ()) = tokio::join!(watch.next(), stage.pass(MINUTE / 2, PACE));
        assert!(beat.unwrap().is_ok());
        open.push(watch);
    }
    let [watched, other] = stage.looks(MINUTE, [7, 8]).await;
    assert!(watched >= 40 && other <= 2, "{watched} {other}");
    drop(open);
}

#[tokio::test]
async fn an_unread_watch_gives_back_what_it_held_at_its_callers_deadline() {
    let stage = Stage::new().await;
    let engine = stage.replica("one").await;
    let jobs = stage.old_upgrades(&engine, 1).await;
    let unread = engine
        .watch(WatchRequest {
            filter: WatchFilter { jobs, ..WatchFilter::default() },
            deadline: Some(Instant::now() + MINUTE),
            ..WatchRequest::default()
        })
        .await
        .unwrap();
    let [watched] = stage.looks(MINUTE / 2, [0]).await;
    assert!(watched >= 20, "{watched}");
    stage.pass(MINUTE, PACE).await;
    let [watched] = stage.looks(MINUTE, [0]).await;
    assert!(watched <= 2, "{watched}");
    drop(unread);
}

#[tokio::test]
async fn attention_costs_one_round_for_each_pace_and_never_more_than_one_at_a_time() {
    let stage = Stage::new().await;
    let engine = stage.replica("one").await;
    let jobs = stage.old_upgrades(&engine, 100).await;
    let watches: Vec<Watch> = {
        let mut watches = Vec::new();
        for few in jobs.chunks(20) {
            watches.push(watch(&engine, few).await);
        }
        watches
    };
    stage.pass(MINUTE, PACE / 4).await;
    stage.looks(MINUTE, [0]).await;
    {
        let state = stage.vendor.state.lock().unwrap();
        assert!(state.looked.len() <= 61, "{} rounds in a minute", state.looked.len());
        assert!(state.looked.iter().all(|round| round.len() <= 32), "a round is bounded");
        let mut looks: BTreeMap<&str, usize> = BTreeMap::new();
        state.looked.iter().flatten().for_each(|(target, _)| *looks.entry(target).or_default() += 1);
        assert_eq!(looks.len(), 100);
        assert!(looks.values().all(|looks| (10..=25).contains(looks)), "in turn: {looks:?}");
    }
    // A provider that answers slowly, as when its request budget is used up, is not pressed.
    {
        let mut state = stage.vendor.state.lock().unwrap();
        state.slow_observe = 10 * PACE;
        state.observing.1 = 0;
    }
    stage.looks(MINUTE, [0]).await;
    let state = stage.vendor.state.lock().unwrap();
    assert!(state.looked.len() <= 8, "{} rounds in a minute", state.looked.len());
    assert!(state.observing.1 <= 2, "{} at once", state.observing.1);
    drop(watches);
}

#[tokio::test]
async fn the_replica_that_drives_hears_of_watches_on_another() {
    let stage = Stage::new().await;
    let one = stage.replica("one").await;
    let jobs = stage.old_upgrades(&one, 2).await;
    let two = stage.replica("two").await;
    stage.pass(5 * PACE, PACE / 4).await;
    let view = |engine: &Engine| engine.provider(&ProviderId::parse("a").unwrap()).unwrap().driver.unwrap();
    assert_eq!(view(&two).replica, "one");
    let there = watch(&two, &jobs[..1]).await;
    let [watched, other] = stage.looks(MINUTE, [0, 1]).await;
    assert!(watched >= 40 && other <= 2, "{watched} {other}");
    drop(there);
    // It is told with the next attendance.
    stage.pass(3 * PACE, PACE / 4).await;
    let [watched] = stage.looks(MINUTE, [0]).await;
    assert!(watched <= 2, "{watched}");
    // A replica that dies takes its attention with it, once its presence has run out.
    let lost = watch(&two, &jobs[..1]).await;
    stage.pass(3 * PACE, PACE / 4).await;
    let [watched] = stage.looks(MINUTE / 4, [0]).await;
    assert!(watched >= 10, "{watched}");
    two.shutdown(Duration::ZERO).now_or_never();
    drop((lost, two));
    stage.pass(2 * MINUTE, PACE / 4).await;
    let [watched] = stage.looks(MINUTE, [0]).await;
    assert!(watched <= 2, "{watched}");
}
