//! gzip: for requests and answers where the client wants it, for watches where the operator does; and bounded.

use std::time::Duration;

use drydock::api::{GrpcSettings, pb};
use pb::job_service_client::JobServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use tonic::Code;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::fixture::House;
use crate::watch_checks::{Body, Recorder, assert_kept, wire};

fn packed(headers: &MetadataMap) -> bool {
    headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip")
}

/// Starts so many upgrades; the names of their jobs.
async fn start(channel: Channel, jobs: usize) -> Vec<String> {
    let request = |n| pb::UpgradeClusterRequest {
        target: format!("providers/silent/clusters/c{n}"),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    let batch =
        pb::BatchUpgradeClustersRequest { requests: (0..jobs).map(request).collect(), ..Default::default() };
    let results = UpgradeServiceClient::new(channel).batch_upgrade_clusters(batch).await.unwrap();
    let job = |result: pb::StartResult| match result.outcome {
        Some(pb::start_result::Outcome::Job(job)) => job.name,
        other => panic!("{other:?}"),
    };
    results.into_inner().results.into_iter().map(job).collect()
}

#[tokio::test]
async fn an_answer_is_packed_for_who_asks_and_says_the_same() {
    let house = House::open().await;
    let channel = house.channel().await;
    let names = start(channel.clone(), 20).await;
    let get = || pb::ListJobEventsRequest { parent: names[0].clone(), ..Default::default() };
    // Its check hangs, and with it all that happens.
    let plain = loop {
        let plain = JobServiceClient::new(channel.clone()).list_job_events(get()).await.unwrap();
        if plain.get_ref().events.len() == 2 {
            break plain;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut client = JobServiceClient::new(channel).accept_compressed(Gzip);
    let small = client.list_job_events(get()).await.unwrap();
    assert!(!packed(plain.metadata()) && packed(small.metadata()));
    assert_eq!(plain.into_inner(), small.into_inner());
}

#[tokio::test]
async fn a_watch_is_packed_only_where_the_operator_says_so() {
    for compress_watches in [false, true] {
        let house = House::open_with(GrpcSettings { compress_watches, ..GrpcSettings::default() }).await;
        let channel = house.channel().await;
        let all = |_: &str, _: &str, _: pb::JobState| true;
        let mut recorder = Recorder::new(false, Duration::from_secs(20));
        let mut client = JobServiceClient::new(channel.clone()).accept_compressed(Gzip);
        let answer = client.watch_jobs(pb::WatchJobsRequest::default()).await.unwrap();
        recorder.open(None, true);
        assert_eq!(packed(answer.metadata()), compress_watches);
        let mut stream = answer.into_inner();
        let names = start(channel.clone(), 20).await;
        let mut checking = 0;
        // The vendor never answers its checks: what happens ends there.
        while checking < names.len() {
            let message = stream.message().await.unwrap().unwrap();
            let body = wire::body(&message, &all).unwrap();
            if let Body::Events(events) = &body {
                checking += events.iter().filter(|event| event.sequence == 2).count();
            }
            recorder.note(body, wire::token(&message));
        }
        let mut events = Vec::new();
        let mut jobs = JobServiceClient::new(channel);
        for name in &names {
            let request = pb::ListJobEventsRequest { parent: name.clone(), ..Default::default() };
            events.extend(jobs.list_job_events(request).await.unwrap().into_inner().events);
        }
        assert_kept(recorder.recording(), &wire::truth(&events, &all, true, &house.commits().await));
    }
}

#[tokio::test]
async fn a_packed_request_is_taken_and_one_that_unpacks_to_too_much_is_not() {
    // 64 KiB at most.
    let house = House::open().await;
    let mut client = UpgradeServiceClient::new(house.channel().await)
        .send_compressed(Gzip)
        .max_encoding_message_size(1 << 30);
    let request = |version: String| pb::UpgradeClusterRequest {
        target: "providers/silent/clusters/c1".to_owned(),
        version,
        ..Default::default()
    };
    // A thousandth of its size on the way: far below the bound, until it is unpacked.
    let bomb = request("9".repeat(32 << 20));
    let refused = client.upgrade_cluster(bomb).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "REQUEST_TOO_LARGE");
    client.upgrade_cluster(request("9.1".to_owned())).await.unwrap();
}
