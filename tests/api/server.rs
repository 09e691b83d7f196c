//! A real client over a real port: what every call has in common.

use std::sync::Arc;
use std::time::Duration;

use drydock::api::pb;
use drydock::api::settings::TlsSettings;
use drydock::api::{Drained, GrpcSettings};
use pb::job_service_client::JobServiceClient;
use pb::provider_service_client::ProviderServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

use crate::fixture::House;

const SERVICES: [&str; 6] = [
    "drydock.v1.JobService",
    "drydock.v1.ProviderService",
    "drydock.v1.ReinstallService",
    "drydock.v1.ScheduleService",
    "drydock.v1.UpgradeService",
    "google.longrunning.Operations",
];
const KEY: &str = "6f1e8bb2-3c2e-4d5b-9a70-6f0a6f0f2c11";

fn upgrade(cluster: &str) -> pb::UpgradeClusterRequest {
    pb::UpgradeClusterRequest {
        target: format!("providers/silent/clusters/{cluster}"),
        version: "9.1".to_owned(),
        ..Default::default()
    }
}

fn reason(status: &tonic::Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "drydock");
    info.reason
}

async fn watch_all(channel: Channel) -> Streaming<pb::WatchJobsResponse> {
    JobServiceClient::new(channel).watch_jobs(pb::WatchJobsRequest::default()).await.unwrap().into_inner()
}

#[tokio::test]
async fn health_tells_of_each_service_and_of_the_whole() {
    let house = House::open().await;
    let mut health = HealthClient::new(house.channel().await);
    for service in SERVICES.iter().chain(&[""]) {
        let request = HealthCheckRequest { service: (*service).to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "drydock.v1.Nothing".to_owned() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_tells_of_every_service_and_of_the_details_of_errors() {
    let house = House::open().await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(house.channel().await);
    let ask = |message| v1::ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let list = ask(v1::server_reflection_request::MessageRequest::ListServices(String::new()));
    let details = ask(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
        "google.rpc.ErrorInfo".to_owned(),
    ));
    let mut answers = client
        .server_reflection_info(futures_util::stream::iter([list, details]))
        .await
        .unwrap()
        .into_inner();
    let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}")
    };
    let names: Vec<_> = listed.service.into_iter().map(|s| s.name).collect();
    for service in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
        assert!(names.iter().any(|n| n == service), "{service} is not in {names:?}");
    }
    let found = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(found, v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)));

    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(house.channel().await);
    let list = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers =
        old.server_reflection_info(futures_util::stream::iter([list])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
}

#[tokio::test]
async fn a_job_is_made_once_followed_and_cancelled() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let mut jobs = JobServiceClient::new(house.channel().await);
    let asked = pb::UpgradeClusterRequest { request_id: KEY.to_owned(), ..upgrade("c1") };

    let first = upgrades.upgrade_cluster(asked.clone()).await.unwrap().into_inner();
    let job = first.job.unwrap();
    assert!(!first.reused && first.plan.is_none());
    assert_eq!(job.request_id, KEY);
    let again = upgrades.upgrade_cluster(asked.clone()).await.unwrap().into_inner();
    assert!(again.reused);
    assert_eq!(again.job.unwrap().name, job.name);

    let other = pb::UpgradeClusterRequest { version: "9.2".to_owned(), ..asked };
    let status = upgrades.upgrade_cluster(other).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let status = upgrades.upgrade_cluster(upgrade("c1")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TARGET_BUSY"));
    assert_eq!(status.get_details_error_info().unwrap().metadata["holder"], job.name);

    let request = pb::WatchJobRequest { name: job.name.clone(), ..Default::default() };
    let mut watch = jobs.watch_job(request).await.unwrap().into_inner();
    let snapshot = watch.message().await.unwrap().unwrap();
    assert!(
        matches!(snapshot.message, Some(pb::watch_job_response::Message::Snapshot(shown)) if shown.name == job.name)
    );

    let cancelled =
        jobs.cancel_job(pb::CancelJobRequest { name: job.name.clone() }).await.unwrap().into_inner();
    assert_eq!(cancelled.outcome(), pb::CancelOutcome::Prevented);
    let mut last = None;
    while let Some(message) = watch.message().await.unwrap() {
        if let Some(pb::watch_job_response::Message::Events(batch)) = message.message {
            last = batch.events.last().cloned();
        }
    }
    let last = last.unwrap();
    assert_eq!(last.status.unwrap().state(), pb::JobState::Cancelled);

    let request = pb::ListJobEventsRequest { parent: job.name.clone(), ..Default::default() };
    let events = jobs.list_job_events(request).await.unwrap().into_inner().events;
    assert_eq!(
        events.iter().map(|e| e.sequence).collect::<Vec<_>>(),
        (1..=last.sequence).collect::<Vec<_>>()
    );
    let filter = pb::JobFilter { states: vec![pb::JobState::Cancelled.into()], ..Default::default() };
    let request = pb::ListJobsRequest { filter: Some(filter), ..Default::default() };
    let listed = jobs.list_jobs(request).await.unwrap().into_inner();
    assert_eq!(listed.jobs.len(), 1);
    assert_eq!(listed.jobs[0].name, job.name);
    let read = jobs.get_job(pb::GetJobRequest { name: job.name }).await.unwrap().into_inner();
    assert_eq!(read.job.unwrap().status.unwrap().state(), pb::JobState::Cancelled);
}

#[tokio::test]
async fn a_cancelled_job_is_retried_and_the_link_is_readable_everywhere() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let mut jobs = JobServiceClient::new(house.channel().await);
    let labels = std::collections::BTreeMap::from([("team".to_owned(), "db".to_owned())]);
    let asked = pb::UpgradeClusterRequest { labels: labels.clone(), ..upgrade("c1") };
    let old = upgrades.upgrade_cluster(asked).await.unwrap().into_inner().job.unwrap().name;
    let retry = |key: &str| pb::RetryJobRequest {
        name: old.clone(),
        request_id: key.to_owned(),
        ..Default::default()
    };
    let status = jobs.retry_job(retry(KEY)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    jobs.cancel_job(pb::CancelJobRequest { name: old.clone() }).await.unwrap();

    let mut request = Request::new(retry(KEY));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let first = jobs.retry_job(request).await.unwrap().into_inner();
    let new = first.job.unwrap();
    assert!(!first.reused && first.plan.is_none());
    assert_eq!((&new.retry_of, &new.labels, new.request_id.as_str()), (&old, &labels, KEY));
    assert_eq!(new.trace_id, "0af7651916cd43dd8448eb211c80319c");
    let again = jobs.retry_job(retry(KEY)).await.unwrap().into_inner();
    assert_eq!((again.reused, again.job.unwrap().name), (true, new.name.clone()));
    let status = jobs.retry_job(retry("")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "ALREADY_RETRIED"));
    assert_eq!(status.get_details_error_info().unwrap().metadata["retried_by"], new.name);

    let read = jobs.get_job(pb::GetJobRequest { name: old.clone() }).await.unwrap().into_inner();
    assert_eq!(read.job.unwrap().status.unwrap().retried_by, new.name);
    let listed = jobs.list_jobs(pb::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| job.retry_of.as_str()).collect::<Vec<_>>(), [old.as_str(), ""]);
    let events = async |parent: &str| {
        let request = pb::ListJobEventsRequest { parent: parent.to_owned(), ..Default::default() };
        JobServiceClient::new(house.channel().await)
            .list_job_events(request)
            .await
            .unwrap()
            .into_inner()
            .events
    };
    let last = events(&old).await.pop().unwrap();
    assert_eq!(last.kind(), pb::EventKind::Retried);
    assert_eq!(last.status.unwrap().retried_by, new.name);
    assert_eq!(events(&new.name).await[0].retry_of, old);

    let wrong = pb::RetryJobRequest {
        start_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        password: "CANARY-Passw0rd".to_owned(),
        ..retry("")
    };
    jobs.cancel_job(pb::CancelJobRequest { name: new.name.clone() }).await.unwrap();
    let wrong = pb::RetryJobRequest { name: new.name, ..wrong };
    let status = jobs.retry_job(wrong).await.unwrap_err();
    let faults = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = faults.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["start_time", "password"]);
    assert!(!format!("{status:?}").contains("CANARY"));
}

#[tokio::test]
async fn faults_of_the_contract_and_of_the_vendor_come_together() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let request = pb::BatchUpgradeClustersRequest {
        requests: vec![
            pb::UpgradeClusterRequest { version: "bad".to_owned(), ..upgrade("c1") },
            pb::UpgradeClusterRequest { target: "c2".to_owned(), ..Default::default() },
            pb::UpgradeClusterRequest {
                vendor_options: Some(pb::upgrade_cluster_request::VendorOptions::Zstack(
                    pb::ZstackUpgradeOptions::default(),
                )),
                ..upgrade("c3")
            },
        ],
        request_id: "x".to_owned(),
        ..Default::default()
    };
    let status = upgrades.batch_upgrade_clusters(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let faults = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = faults.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["request_id", "requests[1].target", "requests[0].version", "requests[2].zstack"]);
}

#[tokio::test]
async fn a_batch_answers_each_target_by_itself() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    upgrades.upgrade_cluster(upgrade("busy")).await.unwrap();
    let elsewhere =
        pb::UpgradeClusterRequest { target: "providers/nobody/clusters/a".to_owned(), ..upgrade("") };
    let request = pb::BatchUpgradeClustersRequest {
        requests: vec![upgrade("free"), upgrade("busy"), elsewhere],
        ..Default::default()
    };
    let results = upgrades.batch_upgrade_clusters(request).await.unwrap().into_inner().results;
    let codes: Vec<_> = results
        .iter()
        .map(|r| match r.outcome.as_ref().unwrap() {
            pb::start_result::Outcome::Job(_) => 0,
            pb::start_result::Outcome::Error(error) => error.code,
            pb::start_result::Outcome::Plan(plan) => panic!("{plan:?}"),
        })
        .collect();
    assert_eq!(codes, [0, Code::FailedPrecondition as i32, Code::NotFound as i32]);
}

#[tokio::test]
async fn the_callers_trace_is_on_the_job() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let mut request = Request::new(upgrade("c1"));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let job = upgrades.upgrade_cluster(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.trace_id, "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn a_schedule_can_be_moved() {
    let house = House::open().await;
    let mut schedules = ScheduleServiceClient::new(house.channel().await);
    let now = drydock::kit::clock::Clock::system().now();
    let at = |hours: i64| Some(prost_types::Timestamp { seconds: now.as_second() + hours * 3600, nanos: 0 });
    let request = pb::ScheduleUpgradeRequest {
        target: "providers/silent/clusters/c1".to_owned(),
        start_time: at(2),
        ..Default::default()
    };
    let job = schedules.schedule_upgrade(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.status.unwrap().scheduled_start, at(2));
    let request = pb::RescheduleUpgradeRequest {
        name: job.name.clone(),
        start_time: at(5),
        ignore_maintenance_windows: None,
    };
    let moved = schedules.reschedule_upgrade(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!((moved.name, moved.status.unwrap().scheduled_start), (job.name, at(5)));
}

#[tokio::test]
async fn an_unreachable_provider_is_named_and_fails_no_list() {
    let house = House::open().await;
    let mut providers = ProviderServiceClient::new(house.channel().await);
    let all = pb::ListTargetsRequest { parent: "providers/-".to_owned(), ..Default::default() };
    let found = providers.list_targets(all).await.unwrap().into_inner();
    assert_eq!(found.targets, []);
    assert_eq!(found.unreachable[0].provider, "providers/silent");
    let listed = providers.list_providers(pb::ListProvidersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.providers[0].name, "providers/silent");
    let unknown = pb::GetProviderRequest { name: "providers/nobody".to_owned() };
    let status = providers.get_provider(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    let faulty =
        pb::ListTargetsRequest { parent: "-".to_owned(), kind: 9, page_size: -1, ..Default::default() };
    let status = providers.list_targets(faulty).await.unwrap_err();
    let faults = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(faults.iter().map(|f| f.field.as_str()).collect::<Vec<_>>(), ["parent", "kind", "page_size"]);
}

#[tokio::test]
async fn no_call_outlives_the_servers_longest() {
    let house = House::open_with(GrpcSettings { max_deadline_ms: 100, ..GrpcSettings::default() }).await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let request = pb::CheckUpgradeRequest {
        target: "providers/silent/clusters/c1".to_owned(),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    let status = upgrades.check_upgrade(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn a_request_too_large_is_refused() {
    let house = House::open().await;
    let mut upgrades = UpgradeServiceClient::new(house.channel().await);
    let request = pb::UpgradeClusterRequest { version: "x".repeat(65 << 10), ..upgrade("c1") };
    let status = upgrades.upgrade_cluster(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "REQUEST_TOO_LARGE"));
}

/// What the gRPC library refuses by itself, called by a client that says whatever it likes.
#[tokio::test]
async fn what_never_reaches_a_handler_has_a_reason_too() {
    let house = House::open().await;
    let channel = house.channel().await;
    let refused = async |path: &'static str, encoding: Option<&'static str>| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        // No method takes this: its first field is a number, and theirs are texts or messages.
        let mut request = Request::new(prost_types::Timestamp { seconds: 7, nanos: 0 });
        if let Some(name) = encoding {
            request.metadata_mut().insert("grpc-encoding", name.parse().unwrap());
        }
        let codec = tonic_prost::ProstCodec::<_, prost_types::Timestamp>::default();
        client.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.unwrap_err()
    };
    for (path, encoding, code, told) in [
        ("/drydock.v1.Nothing/GetJob", None, Code::Unimplemented, "METHOD_UNKNOWN"),
        ("/drydock.v1.JobService/Nothing", None, Code::Unimplemented, "METHOD_UNKNOWN"),
        ("/nothing", None, Code::Unimplemented, "METHOD_UNKNOWN"),
        ("/drydock.v1.JobService/GetJob", None, Code::Internal, "REQUEST_UNREADABLE"),
        ("/drydock.v1.JobService/WatchJobs", None, Code::Internal, "REQUEST_UNREADABLE"),
        ("/drydock.v1.JobService/GetJob", Some("zstd"), Code::Unimplemented, "ENCODING_UNSUPPORTED"),
    ] {
        let status = refused(path, encoding).await;
        assert_eq!((status.code(), reason(&status).as_str()), (code, told), "{path}: {status:?}");
        assert!(!status.message().is_empty(), "{path}");
        let taken = status.metadata().get("grpc-accept-encoding").map(|names| names.to_str().unwrap());
        assert_eq!(taken.is_some_and(|names| names.contains("gzip")), encoding.is_some(), "{path}");
    }
}

#[tokio::test]
async fn the_end_comes_in_two_phases() {
    let house = House::open().await;
    let mut health = HealthClient::new(house.channel().await);
    let request = HealthCheckRequest { service: SERVICES[0].to_owned() };
    let mut states = health.watch(request).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut watch = watch_all(house.channel().await).await;
    let synced = watch.message().await.unwrap().unwrap();
    assert!(matches!(synced.message, Some(pb::watch_jobs_response::Message::Synced(_))));

    house.serving.announce_end().await;
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    house.engine.stop_watches();
    let end = watch.message().await.unwrap_err();
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], synced.resume_token);

    let address = house.serving.address;
    // Both connections are still open, and so is the health watch: neither may hold the end up.
    assert_eq!(house.serving.shutdown(Duration::from_secs(20)).await, Drained::InTime);
    assert_eq!(states.message().await.unwrap_err().code(), Code::Unavailable);
    assert!(Endpoint::new(format!("http://{address}")).unwrap().connect().await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_deadline() {
    let house = House::open().await;
    let mut watch = watch_all(house.channel().await).await;
    watch.message().await.unwrap().unwrap();
    // Nobody told the engine to end its watches.
    assert_eq!(house.serving.shutdown(Duration::from_millis(50)).await, Drained::Cut);
    assert!(watch.message().await.is_err());
    assert!(house.tasks.shutdown(Duration::from_secs(20)).await.joined);
}

fn tls_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/tls").join(name)
}

async fn house_with_tls() -> House {
    let tls = Some(TlsSettings { cert_file: tls_file("cert.pem"), key_file: tls_file("key.pem") });
    House::open_with(GrpcSettings { tls, ..GrpcSettings::default() }).await
}

/// The last word of a handshake that fails is written without a flush, and must reach the client.
#[tokio::test]
async fn a_client_that_speaks_another_protocol_over_tls_is_told_so() {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, RootCertStore, crypto};

    let house = house_with_tls().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls_file("cert.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"spdy/1".to_vec()];
    let stream = tokio::net::TcpStream::connect(house.serving.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let refused = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap_err();
    let told = refused.get_ref().and_then(|error| error.downcast_ref::<Error>());
    assert_eq!(told, Some(&Error::AlertReceived(AlertDescription::NoApplicationProtocol)), "{refused:?}");
}

#[tokio::test]
async fn tls_serves_its_certificate_and_no_plaintext() {
    let house = house_with_tls().await;
    let trusted = Certificate::from_pem(std::fs::read(tls_file("cert.pem")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
    let endpoint =
        Endpoint::new(format!("https://{}", house.serving.address)).unwrap().tls_config(tls).unwrap();
    let mut providers = ProviderServiceClient::new(endpoint.connect().await.unwrap());
    let listed = providers.list_providers(pb::ListProvidersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.providers.len(), 1);

    let plain = Endpoint::new(format!("http://{}", house.serving.address)).unwrap().connect_lazy();
    let refused = ProviderServiceClient::new(plain).list_providers(pb::ListProvidersRequest::default()).await;
    assert!(refused.is_err());
}
