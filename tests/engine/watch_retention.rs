//! What a purge means for watches that stand before it, at it and after it; and for one that is just reading.

use drydock::domain::error::Error;
use drydock::domain::id::JobId;
use drydock::domain::state::JobState;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchRequest};
use drydock::store::retention::{Step, Through};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::follower::{Chronicle, Follower, everything, settled};
use crate::house::{House, upgrade};
use crate::scripted::Scripted;

async fn batch(house: &House, name: &str, jobs: usize) -> Vec<JobId> {
    let entries = (0..jobs).map(|n| upgrade(&format!("{name}{n}"))).collect();
    let started = house.start(entries).await.unwrap();
    started.into_iter().map(|one| one.unwrap().job.id).collect()
}

/// Removes every ended job with its events.
async fn purge(house: &House) {
    let all = Through::ended_before(jiff::Timestamp::MAX);
    let step = Step { jobs: 1000, events: 10_000 };
    while house.store.purge(all, step).await.unwrap().jobs > 0 {}
}

#[tokio::test]
async fn retention_cuts_before_at_and_after_the_place_to_go_on_from() {
    let house = House::forgetful(Scripted::new()).await;
    let open = || Follower::all(&house, WatchFilter::default(), everything());
    let (mut before, mut at, mut after) = (open().await, open().await, open().await);
    let mut reading = open().await;
    for follower in [&mut before, &mut at, &mut after, &mut reading] {
        follower.read_some(1).await;
    }
    batch(&house, "old", 12).await;
    settled(&house).await;
    before.read_some(3).await;
    at.read_to_the_end(&house).await;
    let cut = at.position;

    // These stay: they have not ended.
    house.vendor.state.lock().unwrap().endless = true;
    for job in batch(&house, "new", 12).await {
        house.in_state(job, JobState::Running).await;
    }
    after.read_to_the_end(&house).await;
    assert!(before.position < cut && cut < after.position);
    let mut chronicle = Chronicle::of(&*house.store).await;
    purge(&house).await;

    // Too old: told so, before any message. It begins anew, as another subscription.
    let token = before.recorder.last_token();
    let late = WatchRequest { resume_token: token, ..WatchRequest::default() };
    assert!(matches!(house.engine.watch(late).await, Err(Error::ResumeTokenExpired)));
    let mut anew = open().await;
    // The last of what was purged, and later: nothing is missing.
    for follower in [&mut at, &mut after] {
        let token = follower.recorder.last_token();
        follower.open(&house, token).await;
    }
    // An open stream that has fallen behind is told in its midst, and never given a history with a hole.
    while reading.read().await.is_some() {}
    assert_eq!(reading.ended_by, Some(Error::ResumeTokenExpired));
    assert!(reading.position < cut);

    house.vendor.state.lock().unwrap().endless = false;
    settled(&house).await;
    chronicle.read(&*house.store).await;
    for follower in [&mut at, &mut after] {
        follower.read_to_the_end(&house).await;
        follower.judge_by(&chronicle, true);
    }
    anew.read_to_the_end(&house).await;
    anew.judge_by(&Chronicle::after(&*house.store, cut).await, true);
    before.judge_by(&chronicle, false);
    reading.judge_by(&chronicle, false);
}

/// Damages an event of a target in the moment in which it is written.
async fn damage(house: &House, target: &str) {
    let mut file =
        SqliteConnectOptions::new().filename(house.dir.path().join("drydock.db")).connect().await.unwrap();
    let sql = format!(
        "CREATE TRIGGER rot AFTER INSERT ON events WHEN (SELECT target FROM jobs WHERE id = NEW.job) LIKE '%/{target}' \
         BEGIN UPDATE events SET status = '{{' WHERE position = NEW.position; END"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_event_is_told_to_every_watch_that_comes_to_it_and_stops_none_that_begins_after() {
    let house = House::new(Scripted::new()).await;
    let mut open = Follower::all(&house, WatchFilter::default(), everything()).await;
    open.read_some(1).await;
    house.upgrade("c1").await;
    settled(&house).await;
    open.read_to_the_end(&house).await;
    let mut chronicle = Chronicle::of(&*house.store).await;

    damage(&house, "c2").await;
    house.upgrade("c2").await;
    while open.read().await.is_some() {}
    assert_eq!(open.ended_by, Some(Error::ResumeTokenExpired), "never skipped in silence");
    let again = WatchRequest { resume_token: open.recorder.last_token(), ..WatchRequest::default() };
    assert!(matches!(house.engine.watch(again).await, Err(Error::ResumeTokenExpired)));
    open.judge_by(&chronicle, false);

    // The job itself is well, and so is everything after it.
    while !house.store.count_live().await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut anew = open_until_synced(&house).await;
    let job = house.upgrade("c3").await;
    house.ended(job.id).await;
    anew.read_to_the_end(&house).await;
    assert!(anew.recorder.recording().told() >= 4);
    chronicle = Chronicle::after(&*house.store, anew.began()).await;
    anew.judge_by(&chronicle, true);
}

/// A watch that has its snapshot. While damage is just being written, one may be told to begin anew once more.
async fn open_until_synced(house: &House) -> Follower {
    for _ in 0..100 {
        let mut follower = Follower::all(house, WatchFilter::default(), everything()).await;
        while let Some(item) = follower.read().await {
            if matches!(item.body, WatchBody::Synced) {
                return follower;
            }
        }
    }
    panic!("no watch could begin");
}
