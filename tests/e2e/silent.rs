//! Many subscribers that never read: what they hold is bounded, and those who read notice nothing.

use std::time::Duration;

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use pb::job_service_client::JobServiceClient;
use pb::watch_jobs_response::Message;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::gateway::{Gateway, PATIENCE, quick};
use crate::watch_checks::{Recorder, assert_kept, wire};

const SILENT: usize = 1_000;
/// In a build without optimisation each delivery costs this process more than it costs the server.
const READERS: usize = 50;
/// How many calls one connection carries; a server allows 1024.
const EACH: usize = 500;
/// What one of them may hold, whatever happens: the messages that are on their way to it, its buffers, and its share of what
/// the program itself takes for its work.
const HELD_KIB: u64 = 32;

fn all(_: &str, _: &str, _: pb::JobState) -> bool {
    true
}

/// Connections that grant each stream so much room before it is read.
async fn connections(gateway: &Gateway, streams: usize, window: u32) -> Vec<Channel> {
    // Each stream has its own room: what one does not read is not taken from the others.
    let endpoint = Endpoint::new(format!("http://{}", gateway.grpc))
        .unwrap()
        .initial_stream_window_size(window)
        .initial_connection_window_size(16 << 20);
    let mut channels = Vec::new();
    for _ in 0..streams.div_ceil(EACH) {
        channels.push(endpoint.connect().await.unwrap());
    }
    channels
}

async fn open(channel: &Channel, skip_snapshot: bool) -> Streaming<pb::WatchJobsResponse> {
    let request = pb::WatchJobsRequest { skip_snapshot, ..Default::default() };
    JobServiceClient::new(channel.clone()).watch_jobs(request).await.unwrap().into_inner()
}

/// Upgrades these clusters, to the end; the names of the jobs.
async fn upgrade(gateway: &Gateway, clusters: std::ops::Range<usize>) -> Vec<String> {
    let request = |n| pb::UpgradeClusterRequest {
        target: format!("providers/zs/clusters/{}", zstack::target_id(n)),
        ..Default::default()
    };
    let batch =
        pb::BatchUpgradeClustersRequest { requests: clusters.map(request).collect(), ..Default::default() };
    let results = gateway.upgrades().batch_upgrade_clusters(batch).await.unwrap().into_inner().results;
    let mut names = Vec::new();
    for result in results {
        let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("{result:?}") };
        names.push(job.name);
    }
    for name in &names {
        gateway.ended(name).await;
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_never_read_hold_little_and_disturb_nobody() {
    let vendor = SimZstack::start(quick(60)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    // What the program needs for the work itself is no part of the question.
    upgrade(&gateway, 0..10).await;

    let channels = connections(&gateway, SILENT, 1 << 10).await;
    let mut silent = Vec::new();
    for n in 0..SILENT {
        silent.push(open(&channels[n / EACH], true).await);
    }
    let channel = &connections(&gateway, READERS, 1 << 20).await[0];
    let (begin, begun) = tokio::sync::watch::channel(0usize);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let mut stream = open(channel, false).await;
        let mut due = begun.clone();
        readers.spawn(async move {
            let mut recorder = Recorder::new(false, PATIENCE);
            recorder.open(None, true);
            loop {
                let told = recorder.recording().told();
                if *due.borrow() > 0 && told >= *due.borrow() {
                    return recorder;
                }
                tokio::select! {
                    message = stream.message() => {
                        let message = message.unwrap().unwrap();
                        recorder.note(wire::body(&message, &all).unwrap(), wire::token(&message));
                    }
                    _ = due.changed() => {}
                }
            }
        });
    }
    let empty = gateway.resident_kib();
    let mut names = upgrade(&gateway, 10..35).await;
    let half = gateway.resident_kib();
    names.extend(upgrade(&gateway, 35..60).await);
    let full = gateway.resident_kib();

    // As much again has happened, and they hold no more for it.
    let bound = SILENT as u64 * HELD_KIB;
    assert!(full - empty.min(full) <= bound, "{empty} KiB, then {half}, then {full}");
    assert!(full - half.min(full) <= bound / 4, "{empty} KiB, then {half}, then {full}");

    let mut events = Vec::new();
    for name in names {
        let request = pb::ListJobEventsRequest { parent: name, page_size: 1000, ..Default::default() };
        events.extend(gateway.jobs().list_job_events(request).await.unwrap().into_inner().events);
    }
    begin.send_replace(events.len());
    let truth = wire::truth(&events, &all, true, &gateway.commits().await);
    // What was there before is in the snapshot, and no event of it comes.
    while let Some(recorder) = tokio::time::timeout(PATIENCE, readers.join_next()).await.unwrap() {
        assert_kept(recorder.unwrap().recording(), &truth);
    }
    // Whoever reads at last is served from where it stood.
    let mut late = silent.pop().unwrap();
    let first = loop {
        let next =
            tokio::time::timeout(Duration::from_secs(20), late.message()).await.unwrap().unwrap().unwrap();
        // Those of the time before anything happened.
        if !matches!(next.message, Some(Message::Heartbeat(_))) {
            break next;
        }
    };
    assert!(matches!(first.message, Some(Message::Events(_))), "{first:?}");
    drop((silent, late, channels));
}
