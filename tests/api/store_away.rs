//! What callers and watchers meet while the store is away, full, or read-only: the truth, and a way on.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drydock::api::pb;
use drydock::engine::EngineSettings;
use drydock::kit::clock::Clock;
use drydock::store::settings::StoreSettings;
use pb::job_service_client::JobServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use pb::watch_jobs_response::Message;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::fixture::House;
use crate::postgres::Database;
use crate::postgres::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(20);

/// Checks what a caller is told, and gives the message.
fn away(status: &Status) -> &str {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("drydock", "STORE_UNAVAILABLE"));
    let retry = status.get_details_retry_info().expect("RetryInfo").retry_delay.expect("a delay");
    assert!(!retry.is_zero(), "{status:?}");
    status.message()
}

fn asked(cluster: &str) -> pb::UpgradeClusterRequest {
    pb::UpgradeClusterRequest {
        target: format!("providers/silent/clusters/{cluster}"),
        version: "9.1".to_owned(),
        ..Default::default()
    }
}

/// A client of a house.
struct Caller {
    jobs: JobServiceClient<Channel>,
    upgrades: UpgradeServiceClient<Channel>,
    schedules: ScheduleServiceClient<Channel>,
}

impl Caller {
    async fn of(house: &House) -> Self {
        let channel = house.channel().await;
        Self {
            jobs: JobServiceClient::new(channel.clone()),
            upgrades: UpgradeServiceClient::new(channel.clone()),
            schedules: ScheduleServiceClient::new(channel),
        }
    }

    async fn upgrade(&mut self, cluster: &str) -> Result<String, Status> {
        let answer = self.upgrades.upgrade_cluster(asked(cluster)).await?;
        Ok(answer.into_inner().job.unwrap().name)
    }

    async fn get(&mut self, name: &str) -> Result<pb::Job, Status> {
        let answer = self.jobs.get_job(pb::GetJobRequest { name: name.to_owned() }).await?;
        Ok(answer.into_inner().job.unwrap())
    }

    async fn until(&mut self, name: &str, state: pb::JobState) {
        let wait = async {
            while self.get(name).await.unwrap().status.unwrap().state() != state {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{name} never was {state:?}"));
    }

    /// A watch of everything that has told what there is.
    async fn watch(&mut self) -> Watch {
        let mut watch =
            Watch(self.jobs.watch_jobs(pb::WatchJobsRequest::default()).await.unwrap().into_inner());
        while !matches!(watch.next().await.message, Some(Message::Synced(_))) {}
        watch
    }
}

struct Watch(Streaming<pb::WatchJobsResponse>);

impl Watch {
    async fn next(&mut self) -> pb::WatchJobsResponse {
        let message = tokio::time::timeout(PATIENCE, self.0.message()).await.expect("a message");
        message.expect("the stream stays open").expect("the stream stays open")
    }

    /// The tokens of so many messages, all of which must be heartbeats.
    async fn beats(&mut self, count: usize) -> BTreeSet<String> {
        let mut tokens = BTreeSet::new();
        for _ in 0..count {
            let message = self.next().await;
            assert!(matches!(message.message, Some(Message::Heartbeat(_))), "{message:?}");
            tokens.insert(message.resume_token);
        }
        tokens
    }

    async fn until(&mut self, name: &str, state: pb::JobState) {
        loop {
            let Some(Message::Events(batch)) = self.next().await.message else { continue };
            let hit = |event: pb::JobEvent| event.job == name && event.status.unwrap().state() == state;
            if batch.events.into_iter().any(hit) {
                return;
            }
        }
    }
}

fn quick() -> EngineSettings {
    EngineSettings { heartbeat_ms: 100, lease_ms: 1_000, pause_max_ms: 200, ..EngineSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_callers_are_told_watches_stay_and_nothing_is_started() {
    let database = Database::new();
    database.made().await;
    let proxy = Proxy::before(&database.place()).await;
    let url = database.url(Some(&proxy.place));
    let settings = StoreSettings { url, poll_ms: Some(50), ..StoreSettings::default() };
    let house = House::on(drydock::store::open(&settings).await.unwrap(), quick()).await;
    let mut caller = Caller::of(&house).await;
    let running = caller.upgrade("c1").await.unwrap();
    caller.until(&running, pb::JobState::Running).await;
    // Its time comes while the database is away.
    let now = Clock::system().now();
    let start = pb::ScheduleUpgradeRequest {
        target: "providers/silent/clusters/c2".to_owned(),
        version: "9.1".to_owned(),
        start_time: Some(prost_types::Timestamp { seconds: now.as_second() + 3, nanos: 0 }),
        ..Default::default()
    };
    let due = caller.schedules.schedule_upgrade(start).await.unwrap().into_inner().job.unwrap().name;
    caller.until(&due, pb::JobState::Scheduled).await;
    let mut watch = caller.watch().await;

    proxy.gone(true);
    away(&caller.upgrade("c3").await.unwrap_err());
    away(&caller.get(&running).await.unwrap_err());
    away(&caller.jobs.list_jobs(pb::ListJobsRequest::default()).await.unwrap_err());
    let name = running.clone();
    away(&caller.jobs.cancel_job(pb::CancelJobRequest { name: name.clone() }).await.unwrap_err());
    let events = pb::ListJobEventsRequest { parent: name, ..Default::default() };
    away(&caller.jobs.list_job_events(events).await.unwrap_err());
    // The time passes, and the last heartbeats say that nothing was missed.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(house.starts.load(Ordering::SeqCst), 1, "a start without a durable intent");
    let tokens = watch.beats(5).await;
    assert_eq!(tokens.len(), 1, "a token of what nobody could read: {tokens:?}");

    proxy.gone(false);
    watch.until(&due, pb::JobState::Running).await;
    assert_eq!(house.starts.load(Ordering::SeqCst), 2);
    let again = caller.upgrade("c3").await.unwrap();
    watch.until(&again, pb::JobState::Running).await;
    assert_eq!(house.starts.load(Ordering::SeqCst), 3);
}

fn file(dir: &Path) -> StoreSettings {
    let url = format!("sqlite://{}", dir.join("drydock.db").display());
    StoreSettings { url, max_size_mib: Some(1), ..StoreSettings::default() }
}

/// Runs SQL on the file beside the store.
async fn tamper(dir: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("drydock.db"));
    sqlx::raw_sql(sql).execute(&mut options.connect().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_callers_and_gets_well_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let settings = file(dir.path());
    drydock::store::open(&settings).await.unwrap().close().await;
    tamper(dir.path(), "CREATE TABLE filler AS SELECT zeroblob(700000)").await;
    let house = House::on(drydock::store::open(&settings).await.unwrap(), quick()).await;
    let mut caller = Caller::of(&house).await;
    let first = caller.upgrade("c0").await.unwrap();
    caller.until(&first, pb::JobState::Running).await;
    let mut watch = caller.watch().await;
    let mut n = 0;
    let refused = loop {
        n += 1;
        assert!(n < 1000, "the quota never bit");
        if let Err(status) = caller.upgrade(&format!("c{n}")).await {
            break status;
        }
    };
    let words = away(&refused);
    assert!(words.contains("full"), "{words}");
    // Reads go on, and so does the watch.
    assert_eq!(caller.get(&first).await.unwrap().name, first);
    while !matches!(watch.next().await.message, Some(Message::Heartbeat(_))) {}

    tamper(dir.path(), "DROP TABLE filler").await;
    let after = caller.upgrade("after").await.unwrap();
    watch.until(&after, pb::JobState::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_turned_read_only_is_told_to_callers_and_gets_well_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::on(drydock::store::open(&file(dir.path())).await.unwrap(), quick()).await;
    let mut caller = Caller::of(&house).await;
    let first = caller.upgrade("c0").await.unwrap();
    caller.until(&first, pb::JobState::Running).await;
    // Rights do not hold root back, so the file says of itself that it is not to be written
    // (https://www.sqlite.org/fileformat.html#file_format_version_numbers). With the log folded in, its first page is
    // read anew.
    tamper(dir.path(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let file = OpenOptions::new().read(true).write(true).open(dir.path().join("drydock.db")).unwrap();
    let mut version = [0];
    file.read_exact_at(&mut version, 18).unwrap();
    assert_eq!(version, [2], "the write version of a file with a write-ahead log");
    file.write_all_at(&[3], 18).unwrap();
    let refused = caller.upgrade("c1").await.unwrap_err();
    let words = away(&refused);
    assert!(words.contains("read-only"), "{words}");
    assert_eq!(caller.get(&first).await.unwrap().name, first);
    assert_eq!(house.starts.load(Ordering::SeqCst), 1);
    let mut watch = caller.watch().await;

    // Every try opens the file anew, so nothing remembers what it was.
    away(&caller.upgrade("c1").await.unwrap_err());
    file.write_all_at(&[2], 18).unwrap();
    let after = caller.upgrade("c2").await.unwrap();
    watch.until(&after, pb::JobState::Running).await;
    assert_eq!(house.starts.load(Ordering::SeqCst), 2);
}
