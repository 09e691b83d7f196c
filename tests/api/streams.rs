//! Open watches give back what they hold, however their clients go away; and who does not read disturbs nobody.

use std::net::SocketAddr;
use std::time::Duration;

use drydock::api::{GrpcSettings, pb};
use drydock::engine::EngineSettings;
use drydock::kit::tasks::Tasks;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use pb::job_service_client::JobServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use pb::watch_jobs_response::Message;
use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};
use tonic_types::StatusExt;

use crate::fixture::House;
use crate::watch_checks::{Body, Recorder, assert_kept, wire};

const PATIENCE: Duration = Duration::from_secs(20);

/// The metrics of this process: each test has its own, as nextest runs them.
struct Metrics(Registry);

impl Metrics {
    fn install() -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().unwrap();
        opentelemetry::global::set_meter_provider(SdkMeterProvider::builder().with_reader(exporter).build());
        Self(registry)
    }

    fn value(&self, name: &str) -> f64 {
        let families = self.0.gather();
        let family = families.iter().find(|f| f.name() == name);
        family.map_or(0.0, |f| f.get_metric().iter().map(|m| m.get_gauge().get_value()).sum())
    }

    /// Waits until so many watches are open, and as many calls are under way.
    async fn until(&self, open: f64) {
        let begun = tokio::time::Instant::now();
        loop {
            let now = (self.value("drydock_watch_subscribers"), self.value("drydock_rpc_active"));
            if now == (open, open) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{now:?} instead of {open}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn open(channel: Channel) -> Streaming<pb::WatchJobsResponse> {
    JobServiceClient::new(channel).watch_jobs(pb::WatchJobsRequest::default()).await.unwrap().into_inner()
}

fn upgrades(names: impl Iterator<Item = String>) -> pb::BatchUpgradeClustersRequest {
    let request = |name| pb::UpgradeClusterRequest {
        target: format!("providers/silent/clusters/{name}"),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    pb::BatchUpgradeClustersRequest { requests: names.map(request).collect(), ..Default::default() }
}

/// A client that grants the server room for little before it reads.
async fn narrow(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    endpoint.initial_stream_window_size(1 << 10).connect().await.unwrap()
}

#[tokio::test]
async fn a_client_that_cancels_frees_its_watch() {
    let metrics = Metrics::install();
    let house = House::open().await;
    let channel = house.channel().await;
    let streams = [open(channel.clone()).await, open(channel.clone()).await];
    metrics.until(2.0).await;
    drop(streams);
    metrics.until(0.0).await;
    let stream = open(channel).await;
    metrics.until(1.0).await;
    drop(stream);
    metrics.until(0.0).await;
}

#[tokio::test]
async fn a_watch_ends_at_its_callers_deadline_with_a_token() {
    let metrics = Metrics::install();
    let house = House::open().await;
    let mut request = Request::new(pb::WatchJobsRequest::default());
    // As text, so that only the server keeps the time.
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut jobs = JobServiceClient::new(house.channel().await);
    let mut stream = jobs.watch_jobs(request).await.unwrap().into_inner();
    let synced = stream.message().await.unwrap().unwrap();
    let end = stream.message().await.unwrap_err();
    assert_eq!(end.code(), Code::DeadlineExceeded);
    let info = end.get_details_error_info().unwrap();
    assert_eq!(info.reason, "DEADLINE_EXCEEDED");
    assert_eq!(info.metadata["resume_token"], synced.resume_token);
    metrics.until(0.0).await;
}

/// Forwards bytes between a client and the server until it is frozen; then it keeps both sockets and forwards nothing.
async fn proxy(to: SocketAddr, tasks: &Tasks, frozen: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("proxy", async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        let mut frozen = frozen;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = frozen.changed() => {}
        }
        // Both sockets stay open.
        std::future::pending::<()>().await;
    });
    address
}

#[tokio::test]
async fn a_client_that_vanished_without_a_word_is_found() {
    let metrics = Metrics::install();
    let settings =
        GrpcSettings { keepalive_interval_ms: 200, keepalive_timeout_ms: 200, ..GrpcSettings::default() };
    let house = House::open_with(settings).await;
    let (freeze, frozen) = watch::channel(false);
    let proxies = Tasks::new();
    let address = proxy(house.serving.address, &proxies, frozen).await;
    let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut stream = open(channel).await;
    stream.message().await.unwrap().unwrap();
    metrics.until(1.0).await;
    // Pings are answered: idle is not gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    metrics.until(1.0).await;
    freeze.send(true).unwrap();
    metrics.until(0.0).await;
    proxies.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_at_its_age_too() {
    let metrics = Metrics::install();
    let engine = EngineSettings { watch_max_age_ms: 2_000, ..EngineSettings::default() };
    let house = House::open_on(GrpcSettings::default(), engine).await;
    let channel = narrow(house.serving.address).await;
    let batch = upgrades((0..50).map(|n| format!("c{n}")));
    UpgradeServiceClient::new(channel.clone()).batch_upgrade_clusters(batch).await.unwrap();
    let mut stream = open(channel).await;
    metrics.until(1.0).await;
    let begun = tokio::time::Instant::now();
    while metrics.value("drydock_watch_subscribers") > 0.0 {
        assert!(begun.elapsed() < PATIENCE, "it holds its subscription for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // When it reads at last, it is told like any other.
    let end = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(end.get_details_error_info().unwrap().reason, "WATCH_AGED");
    metrics.until(0.0).await;
}

async fn listed(channel: &Channel, names: &[String]) -> Vec<pb::JobEvent> {
    let mut jobs = JobServiceClient::new(channel.clone());
    let mut events = Vec::new();
    for name in names {
        let request = pb::ListJobEventsRequest { parent: name.clone(), ..Default::default() };
        events.extend(jobs.list_job_events(request).await.unwrap().into_inner().events);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_everything_beside_many_that_never_read() {
    let metrics = Metrics::install();
    let engine = EngineSettings { watch_ring_events: 64, ..EngineSettings::default() };
    let house = House::open_on(GrpcSettings::default(), engine).await;
    let mut silent = Vec::new();
    let one = narrow(house.serving.address).await;
    for _ in 0..50 {
        silent.push(open(one.clone()).await);
    }
    let channel = house.channel().await;
    let mut readers = Vec::new();
    for _ in 0..50 {
        let mut recorder = Recorder::new(false, PATIENCE);
        let stream = open(channel.clone()).await;
        recorder.open(None, true);
        readers.push((stream, recorder));
    }
    let mut upgrades_client = UpgradeServiceClient::new(channel.clone());
    let mut names = Vec::new();
    for round in 0..20 {
        let batch = upgrades((0..10).map(|n| format!("c{round}-{n}")));
        for result in upgrades_client.batch_upgrade_clusters(batch).await.unwrap().into_inner().results {
            let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("{result:?}") };
            names.push(job.name);
        }
    }
    // The vendor never answers: what is under way comes to rest.
    let mut events = listed(&channel, &names).await;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let again = listed(&channel, &names).await;
        if again.len() == events.len() {
            break;
        }
        events = again;
    }
    let all = |_: &str, _: &str, _: pb::JobState| true;
    let truth = wire::truth(&events, &all, true, &house.commits().await);
    for (stream, recorder) in &mut readers {
        while recorder.recording().told() < events.len() {
            let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
            recorder.note(wire::body(&message, &all).unwrap(), wire::token(&message));
        }
        assert_kept(recorder.recording(), &truth);
    }
    metrics.until(100.0).await;
    // And who reads late has lost nothing.
    let mut late = Recorder::new(false, PATIENCE);
    late.open(None, true);
    while late.recording().told() < events.len() {
        let message = silent[0].message().await.unwrap().unwrap();
        assert!(!matches!(message.message, Some(Message::Snapshot(_))), "it began before the first job");
        let body = wire::body(&message, &all).unwrap();
        assert_ne!(body, Body::Heartbeat, "it is not idle");
        late.note(body, wire::token(&message));
    }
    assert_kept(late.recording(), &truth);
    drop((silent, readers));
    metrics.until(0.0).await;
}
