//! A database that loses commits under open watches, as after a restore or a failover to a standby that was behind:
//! no client is left in silence, and none is told a false continuation.

use std::time::Duration;

use drydock::api::pb;
use drydock::engine::EngineSettings;
use drydock::store::settings::StoreSettings;
use pb::job_service_client::JobServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use pb::watch_jobs_response::Message;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::fixture::House;
use crate::postgres::Database;

const PATIENCE: Duration = Duration::from_secs(20);

/// A backup of everything that commits change.
const BACK_UP: &str = "CREATE TABLE backup_jobs AS TABLE jobs; \
    CREATE TABLE backup_requests AS TABLE requests; \
    CREATE TABLE backup_events AS TABLE events";
/// Puts it back, in one moment.
const RESTORE: &str = "BEGIN; \
    DELETE FROM events; DELETE FROM jobs; DELETE FROM requests; \
    INSERT INTO requests TABLE backup_requests; \
    INSERT INTO jobs TABLE backup_jobs; \
    INSERT INTO events TABLE backup_events; \
    COMMIT";

struct Client {
    jobs: JobServiceClient<Channel>,
    upgrades: UpgradeServiceClient<Channel>,
}

impl Client {
    async fn of(house: &House) -> Self {
        let channel = house.channel().await;
        Self { jobs: JobServiceClient::new(channel.clone()), upgrades: UpgradeServiceClient::new(channel) }
    }

    async fn upgrade(&mut self, cluster: &str) -> String {
        let request = pb::UpgradeClusterRequest {
            target: format!("providers/silent/clusters/{cluster}"),
            version: "9.1".to_owned(),
            ..Default::default()
        };
        self.upgrades.upgrade_cluster(request).await.unwrap().into_inner().job.unwrap().name
    }

    async fn watch(&mut self, resume_token: &str) -> Result<Watch, Status> {
        let request = pb::WatchJobsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
        let stream = self.jobs.watch_jobs(request).await?.into_inner();
        Ok(Watch { stream, token: resume_token.to_owned() })
    }
}

/// A watch and its newest token.
struct Watch {
    stream: Streaming<pb::WatchJobsResponse>,
    token: String,
}

impl Watch {
    async fn next(&mut self) -> Result<Message, Status> {
        let next = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("a message or an end");
        let message = next?.expect("a watch of many jobs has no end of its own");
        if !message.resume_token.is_empty() {
            self.token = message.resume_token;
        }
        Ok(message.message.expect("a message that says something"))
    }

    /// Reads until this job was told to run, in the snapshot or by an event.
    async fn until_running(&mut self, job: &str) {
        loop {
            let runs = |status: Option<pb::JobStatus>| status.unwrap().state() == pb::JobState::Running;
            let told = match self.next().await.unwrap() {
                Message::Events(batch) => batch.events.into_iter().any(|e| e.job == job && runs(e.status)),
                Message::Snapshot(shown) => shown.name == job && runs(shown.status),
                Message::Synced(_) | Message::Heartbeat(_) => false,
            };
            if told {
                return;
            }
        }
    }

    /// Reads until the snapshot is over; the names in it.
    async fn snapshot(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            match self.next().await.unwrap() {
                Message::Snapshot(job) => names.push(job.name),
                Message::Synced(_) => return names,
                Message::Events(_) | Message::Heartbeat(_) => {}
            }
        }
    }

    /// Reads until the stream ends, and how it does. Nothing but signs of life may come before.
    async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Message::Heartbeat(_)) => {}
                Ok(told) => panic!("of another history: {told:?}"),
                Err(status) => return status,
            }
        }
    }
}

fn assert_expired(status: &Status) {
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("drydock", "RESUME_TOKEN_EXPIRED"));
}

async fn house(database: &Database) -> House {
    let settings = StoreSettings { poll_ms: Some(50), ..database.settings() };
    let engine = EngineSettings { heartbeat_ms: 100, ..EngineSettings::default() };
    House::on(drydock::store::open(&settings).await.unwrap(), engine).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_watch_ends_when_postgres_lost_what_it_was_told() {
    let database = Database::new();
    database.made().await;
    let house = house(&database).await;
    let mut client = Client::of(&house).await;
    let kept = client.upgrade("kept").await;
    let mut watch = client.watch("").await.unwrap();
    watch.until_running(&kept).await;
    let before = watch.token.clone();
    database.tamper(BACK_UP).await;
    let lost = client.upgrade("lost").await;
    watch.until_running(&lost).await;

    database.tamper(RESTORE).await;
    assert_expired(&watch.end().await);
    // So is a token of the lost time, and one from before it: what came after that one is another history now.
    for token in [&watch.token, &before] {
        let told = match client.watch(token).await {
            Ok(mut again) => again.end().await,
            Err(status) => status,
        };
        assert_expired(&told);
    }
    // As the documents say: anew, in place of all that the client knew.
    let mut anew = client.watch("").await.unwrap();
    assert_eq!(anew.snapshot().await, [kept]);
    let next = client.upgrade("next").await;
    anew.until_running(&next).await;
    let mut resumed = client.watch(&anew.token).await.unwrap();
    let last = client.upgrade("last").await;
    resumed.until_running(&last).await;
}
