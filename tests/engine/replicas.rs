//! Several replicas: engines over one store, in one process. What each of them can lose is its way to the store, and
//! that is what the flaky store in front of each takes away.
//!
//! A behaviour is a function over the [`Ground`] that the replicas stand on, and a test of each is made on every ground.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::error::Error;
use drydock::domain::failure::FailureReason;
use drydock::domain::id::{JobId, ProviderId};
use drydock::domain::job::{Job, WaitReason};
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{CancelOutcome, ProviderView, StartEntry, WatchBody, WatchFilter, WatchRequest};
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::store::Store;
use drydock::store::retention::{Step, Through};
use tokio::time::Instant;

use crate::flaky::Flaky;
use crate::ground::Ground;
use crate::house::{PATIENCE, next, reinstall, request, upgrade};
use crate::scripted::Scripted;

/// Long enough that a busy machine does not lose a lease by accident, short enough to wait for.
const SHORT: Duration = Duration::from_millis(1500);
/// Nobody waits for this one to run out.
const LONG: Duration = Duration::from_secs(60);
/// A provider whose running jobs are looked at so seldom that only a nudge can have moved them.
const SELDOM: Cadence = Cadence { min: Duration::from_secs(300), max: Duration::from_secs(300) };
const OFTEN: Cadence = Cadence { min: Duration::from_millis(10), max: Duration::from_millis(40) };

struct Fleet {
    ground: Ground,
    /// The test's own.
    store: Arc<dyn Store>,
    vendors: BTreeMap<&'static str, Scripted>,
    cadence: Cadence,
    lease: Duration,
}

struct Replica {
    engine: Arc<Engine>,
    way: Arc<Flaky>,
}

impl Fleet {
    async fn new(ground: Ground, providers: &[&'static str], lease: Duration) -> Self {
        let store = ground.store().await;
        let vendors = providers.iter().map(|id| (*id, Scripted::without_grace())).collect();
        Self { ground, store, vendors, cadence: OFTEN, lease }
    }

    async fn replica(&self, name: &str) -> Replica {
        let providers = self.vendors.iter().map(|(id, vendor)| Provider {
            id: ProviderId::parse(id).unwrap(),
            endpoint: "http://scripted".into(),
            labels: BTreeMap::new(),
            cadence: self.cadence,
            warnings: Vec::new(),
            vendor: Arc::new(vendor.clone()),
        });
        let settings = EngineSettings {
            heartbeat_ms: 100,
            round_limit_ms: 10_000,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap(),
            replica_name: name.to_owned(),
            ..EngineSettings::default()
        };
        let way = Arc::new(Flaky::new(self.ground.store().await));
        let store: Arc<dyn Store> = Arc::clone(&way) as _;
        let engine =
            Engine::start_up(store, providers.collect(), settings, None, Clock::system()).await.unwrap();
        Replica { engine, way }
    }

    fn vendor(&self, id: &str) -> &Scripted {
        &self.vendors[id]
    }

    async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap()
    }

    async fn until(&self, id: JobId, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        eventually(what, async || Some(self.job(id).await).filter(|job| wanted(job))).await
    }

    async fn ended(&self, id: JobId) -> Job {
        self.until(id, "an end", |job| job.status.state.is_ended()).await
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Replica {
    fn view(&self, provider: &str) -> ProviderView {
        self.engine.provider(&ProviderId::parse(provider).unwrap()).unwrap()
    }

    fn driver_of(&self, provider: &str) -> Option<String> {
        self.view(provider).driver.map(|driver| driver.replica)
    }

    /// Waits until this replica sees `name` drive `provider`.
    async fn sees(&self, name: &str, provider: &str) {
        eventually("that driver", async || self.driver_of(provider).filter(|driver| driver == name)).await;
    }

    async fn start(&self, entry: StartEntry) -> Job {
        self.engine.start(request(vec![entry])).await.unwrap().remove(0).unwrap().job
    }

    async fn stop(self) {
        assert!(self.engine.shutdown(Duration::from_secs(10)).await.joined);
    }
}

fn on(provider: &str, cluster: &str) -> StartEntry {
    let name = format!("providers/{provider}/clusters/{cluster}");
    StartEntry { target: Target::parse_name(&name).unwrap(), ..upgrade("c") }
}

async fn providers_are_spread_and_every_replica_tells_who_drives_what(ground: Ground) {
    let fleet = Fleet::new(ground, &["a", "b", "c", "d"], LONG).await;
    let one = fleet.replica("one").await;
    for id in fleet.vendors.keys() {
        assert_eq!(one.driver_of(id).as_deref(), Some("one"), "driven as soon as it has started");
    }
    let two = fleet.replica("two").await;
    let spread = |seen_by: &Replica| {
        let drivers: Vec<_> = fleet.vendors.keys().map(|id| seen_by.driver_of(id)).collect();
        let of = |name: &str| drivers.iter().flatten().filter(|driver| *driver == name).count();
        (of("one") == 2 && of("two") == 2).then_some(drivers)
    };
    let drivers = eventually("an even spread", async || spread(&one)).await;
    eventually("the same view", async || spread(&two).filter(|seen| *seen == drivers)).await;
    // Any replica takes any job, and each runs once.
    let mut jobs = Vec::new();
    for (n, id) in fleet.vendors.keys().enumerate() {
        jobs.push(if n % 2 == 0 { one.start(on(id, "c1")).await } else { two.start(on(id, "c1")).await });
    }
    for (job, vendor) in jobs.iter().zip(fleet.vendors.values()) {
        assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
        assert_eq!(vendor.starts("c1"), 1);
    }
    // What the driver knows, the other replica tells, too.
    for id in fleet.vendors.keys() {
        for replica in [&one, &two] {
            eventually("health", async || {
                let view = replica.view(id);
                let known = view.health.reachable == Some(true) && view.health.last_heard.is_some();
                let driver = view.driver?;
                (known && driver.since.is_some() && driver.fence >= 1).then_some(())
            })
            .await;
        }
    }
    let ids: BTreeSet<_> =
        fleet.vendors.keys().filter_map(|id| one.view(id).driver).map(|d| d.replica_id).collect();
    assert_eq!(ids.len(), 2, "each run has its own id");
}

async fn after_a_clean_stop_another_replica_drives_at_once(ground: Ground) {
    let mut fleet = Fleet::new(ground, &["a", "b"], LONG).await;
    fleet.cadence = SELDOM;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    eventually("a share each", async || {
        let drivers: BTreeSet<_> = ["a", "b"].into_iter().map(|id| one.driver_of(id)).collect();
        (drivers.len() == 2 && !drivers.contains(&None)).then_some(())
    })
    .await;
    one.stop().await;
    let stopped = Instant::now();
    let jobs = [two.start(on("a", "c1")).await, two.start(on("b", "c1")).await];
    for job in jobs {
        fleet.until(job.id, "a start", |job| job.status.state == JobState::Running).await;
    }
    // With room for a busy machine: waiting for the lease would have taken a minute.
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    for id in ["a", "b"] {
        two.sees("two", id).await;
    }
}

async fn a_clean_stop_waits_for_the_start_that_is_out(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], LONG).await;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    fleet.vendor("a").state.lock().unwrap().slow_submit = Duration::from_millis(400);
    let job = one.start(on("a", "c1")).await;
    eventually("a start", async || (fleet.vendor("a").starts("c1") == 1).then_some(())).await;
    one.stop().await;
    two.sees("two", "a").await;
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(fleet.vendor("a").starts("c1"), 1);
    assert_eq!(fleet.vendor("a").state.lock().unwrap().finds, 0, "its answer was not lost");
}

async fn a_replica_that_is_cut_off_loses_its_providers_and_starts_nothing_any_more(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], SHORT).await;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    assert_eq!(one.driver_of("a").as_deref(), Some("one"));
    // It stands still between the durable intent and the call, as under SIGSTOP.
    one.way.hold_intent.store(true, Ordering::SeqCst);
    let job = two.start(on("a", "c1")).await;
    one.way.held.notified().await;
    one.way.gone.store(true, Ordering::SeqCst);
    two.sees("two", "a").await;
    let job = fleet.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Succeeded);
    assert_eq!(fleet.vendor("a").state.lock().unwrap().finds, 1, "the new driver asked first");
    // It wakes: its lease is over, so it sends nothing, and what it would write is refused.
    one.way.release.notify_one();
    one.way.gone.store(false, Ordering::SeqCst);
    one.sees("two", "a").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fleet.vendor("a").starts("c1"), 1);
    assert_eq!(fleet.job(job.id).await.version, job.version, "nobody wrote it again");
}

async fn a_start_whose_sender_vanished_is_not_believed_lost_before_its_grace_from_the_take_over(
    ground: Ground,
) {
    let mut fleet = Fleet::new(ground, &["a"], SHORT).await;
    // A grace of 50 ms: the old holder may have sent just before its lease ended.
    fleet.vendors.insert("a", Scripted::new());
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    one.way.hold_intent.store(true, Ordering::SeqCst);
    let job = two.start(on("a", "c1")).await;
    one.way.held.notified().await;
    one.way.gone.store(true, Ordering::SeqCst);
    let lost = |job: &Job| job.status.waiting_for.iter().any(|w| w.reason == WaitReason::LostAnswer);
    let waiting = fleet.until(job.id, "a look-up in its grace", lost).await;
    let since_intent = waiting.status.submit_time.unwrap().duration_until(waiting.control.lost_time.unwrap());
    assert!(since_intent.as_millis() >= 1000, "the grace counts from the take-over: {since_intent}");
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(fleet.vendor("a").starts("c1"), 1);
}

async fn what_is_asked_of_one_replica_reaches_the_driver_on_another(ground: Ground) {
    let mut fleet = Fleet::new(ground, &["a"], LONG).await;
    fleet.cadence = SELDOM;
    fleet.vendor("a").state.lock().unwrap().endless = true;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    two.sees("one", "a").await;
    let job = two.start(on("a", "c1")).await;
    fleet.until(job.id, "a start", |job| job.status.state == JobState::Running).await;
    let (outcome, _) = two.engine.cancel(job.id).await.unwrap();
    assert_eq!(outcome, CancelOutcome::Requested);
    eventually("the cancel at the vendor", async || {
        (fleet.vendor("a").state.lock().unwrap().cancelled == ["c1"]).then_some(())
    })
    .await;
    assert_eq!(one.driver_of("a").as_deref(), Some("one"));
}

async fn a_hint_that_was_lost_strands_no_job(ground: Ground) {
    let mut fleet = Fleet::new(ground, &["a"], Duration::from_secs(600)).await;
    fleet.cadence = SELDOM;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    two.sees("one", "a").await;
    one.way.hide_events.store(true, Ordering::SeqCst);
    let job = two.start(on("a", "c1")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fleet.job(job.id).await.status.state, JobState::Pending, "nobody told its driver");
    // Jobs are counted once a minute, and a count that is wrong twice is believed.
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fleet.until(job.id, "a start", |job| job.status.state == JobState::Running).await;
    assert_eq!(one.driver_of("a").as_deref(), Some("one"));
}

async fn without_the_store_nothing_is_started_and_everything_goes_on_when_it_is_back(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], SHORT).await;
    let vendor = fleet.vendor("a");
    vendor.state.lock().unwrap().endless = true;
    let one = fleet.replica("one").await;
    let running = one.start(on("a", "c1")).await;
    fleet.until(running.id, "a start", |job| job.status.state == JobState::Running).await;
    let filter = WatchFilter { jobs: vec![running.id], ..WatchFilter::default() };
    let mut watch =
        one.engine.watch(WatchRequest { filter, snapshot: true, ..WatchRequest::default() }).await.unwrap();
    while !matches!(next(&mut watch).await.unwrap().unwrap().body, WatchBody::Synced) {}
    one.way.gone.store(true, Ordering::SeqCst);
    let refused = one.engine.start(request(vec![on("a", "c2")])).await.unwrap_err();
    assert!(matches!(refused, Error::StoreUnavailable { .. }), "{refused:?}");
    tokio::time::sleep(SHORT).await;
    let looks = vendor.state.lock().unwrap().observe_calls;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let later = vendor.state.lock().unwrap().observe_calls;
    assert_eq!(later, looks, "the lease is over: the vendor is asked nothing");
    // The stream is open all the time, and its tokens stand still.
    let mut tokens = BTreeSet::new();
    for _ in 0..3 {
        eventually("a heartbeat", async || {
            let item = next(&mut watch).await.unwrap().unwrap();
            matches!(item.body, WatchBody::Heartbeat)
                .then(|| tokens.insert(item.resume_token.unwrap().to_string()))
        })
        .await;
    }
    assert_eq!(tokens.len(), 1);
    one.way.gone.store(false, Ordering::SeqCst);
    vendor.state.lock().unwrap().endless = false;
    assert_eq!(fleet.ended(running.id).await.status.state, JobState::Succeeded);
    let mut last = None;
    while last != Some(JobState::Succeeded) {
        if let WatchBody::Events(events) = next(&mut watch).await.unwrap().unwrap().body {
            last = events.events().last().map(|event| event.status.state);
        }
    }
    let job = one.start(on("a", "c2")).await;
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!((vendor.starts("c1"), vendor.starts("c2")), (1, 1));
}

async fn a_lease_that_ran_out_and_nobody_took_costs_no_answer(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], SHORT).await;
    let vendor = fleet.vendor("a");
    let one = fleet.replica("one").await;
    let fence = one.view("a").driver.unwrap().fence;
    vendor.state.lock().unwrap().slow_submit = SHORT * 2;
    let job = one.start(on("a", "c1")).await;
    eventually("a start", async || (vendor.starts("c1") == 1).then_some(())).await;
    one.way.leases_gone.store(true, Ordering::SeqCst);
    tokio::time::sleep(SHORT + SHORT / 4).await;
    one.way.leases_gone.store(false, Ordering::SeqCst);
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(vendor.starts("c1"), 1);
    assert_eq!(vendor.state.lock().unwrap().finds, 0, "nobody drove in between, so the answer counts");
    assert!(one.view("a").driver.unwrap().fence > fence, "it was taken anew");
}

async fn a_password_that_only_another_replica_remembers_is_said_to_be_out_of_reach(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], LONG).await;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    two.sees("one", "a").await;
    let job = two.start(reinstall("i1", "Canary-1")).await;
    let job = fleet.ended(job.id).await;
    assert_eq!(job.status.failure.unwrap().reason, FailureReason::SecretUnavailable);
    assert_eq!(one.driver_of("a").as_deref(), Some("one"));
    let job = one.start(reinstall("i2", "Canary-2")).await;
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(fleet.vendor("a").state.lock().unwrap().passwords, ["Canary-2"]);
}

async fn a_replica_that_slept_through_a_purge_goes_on_after_it(ground: Ground) {
    let fleet = Fleet::new(ground, &["a"], LONG).await;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    two.way.hide_events.store(true, Ordering::SeqCst);
    let old = one.start(on("a", "c1")).await;
    fleet.ended(old.id).await;
    let all = Through::ended_before(jiff::Timestamp::MAX);
    eventually("a purge", async || {
        fleet.store.purge(all, Step { jobs: 10, events: 100 }).await.unwrap();
        fleet.store.job(old.id).await.unwrap().is_none().then_some(())
    })
    .await;
    two.way.hide_events.store(false, Ordering::SeqCst);
    // Whoever stood before what is gone is told, once; from then on everything comes.
    let seen = eventually("an event of what is new", async || {
        let mut watch = two.engine.watch(WatchRequest::default()).await.ok()?;
        let job = one.start(on("a", "c2")).await;
        fleet.ended(job.id).await;
        let item = next(&mut watch).await?.ok()?;
        matches!(item.body, WatchBody::Events(_)).then_some(())
    })
    .await;
    assert_eq!(seen, ());
}

/// A failover to a standby that was behind forgets who took a provider, and gives its fence once more.
#[tokio::test]
async fn a_driver_on_postgres_ends_when_its_fence_was_given_to_another_one_too() {
    let fleet = Fleet::new(Ground::postgres().await, &["a"], LONG).await;
    let one = fleet.replica("one").await;
    let two = fleet.replica("two").await;
    two.sees("one", "a").await;
    let fence = one.view("a").driver.unwrap().fence;
    let Ground::Postgres(database) = &fleet.ground else { panic!("it was asked for") };
    database.tamper("UPDATE leases SET holder = (SELECT id FROM replicas WHERE name = 'two')").await;
    // Its own right to call the vendor has not run out, and will not within this test.
    one.sees("two", "a").await;
    two.sees("two", "a").await;
    assert_eq!(two.view("a").driver.unwrap().fence, fence, "the case that is tried");
    let job = one.start(on("a", "c1")).await;
    assert_eq!(fleet.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(fleet.vendor("a").starts("c1"), 1);
}

/// Makes a test of every behaviour on one ground. One that is not listed does not compile without a warning.
macro_rules! behaviours {
    ($ground:ident: $($name:ident),* $(,)?) => {
        mod $ground {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::ground::Ground::$ground().await).await;
                }
            )*
        }
    };
    ($($name:ident),* $(,)?) => {
        behaviours!(sqlite: $($name),*);
        behaviours!(postgres: $($name),*);
    };
}

behaviours!(
    providers_are_spread_and_every_replica_tells_who_drives_what,
    after_a_clean_stop_another_replica_drives_at_once,
    a_clean_stop_waits_for_the_start_that_is_out,
    a_replica_that_is_cut_off_loses_its_providers_and_starts_nothing_any_more,
    a_start_whose_sender_vanished_is_not_believed_lost_before_its_grace_from_the_take_over,
    what_is_asked_of_one_replica_reaches_the_driver_on_another,
    a_hint_that_was_lost_strands_no_job,
    without_the_store_nothing_is_started_and_everything_goes_on_when_it_is_back,
    a_lease_that_ran_out_and_nobody_took_costs_no_answer,
    a_password_that_only_another_replica_remembers_is_said_to_be_out_of_reach,
    a_replica_that_slept_through_a_purge_goes_on_after_it,
);
