//! Watches over a real connection: cut and resumed, also over a stop and a kill of the server.

use std::time::Duration;

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use pb::watch_jobs_response::Message;
use tonic::{Code, Streaming};

use crate::gateway::{Gateway, quick};
use crate::watch_checks::{Body, End, Recorder, assert_kept, wire};

/// Longer than any stream is silent while it is read: some heartbeats, and the rest for a busy machine.
const QUIET: Duration = Duration::from_secs(5);

/// What this client wants: upgrades of odd clusters, told apart by their target.
fn wanted(_: &str, target: &str, _: pb::JobState) -> bool {
    targets().iter().any(|t| t == target)
}

fn targets() -> Vec<String> {
    (0..40)
        .filter(|n| n % 2 == 1)
        .map(|n| format!("providers/zs/clusters/{}", zstack::target_id(n)))
        .collect()
}

async fn open(gateway: &Gateway, recorder: &mut Recorder) -> Streaming<pb::WatchJobsResponse> {
    let token = recorder.last_token();
    let filter = Some(pb::JobFilter { targets: targets(), ..Default::default() });
    let request = pb::WatchJobsRequest {
        filter,
        resume_token: token.clone().unwrap_or_default(),
        ..Default::default()
    };
    let stream = gateway.jobs().watch_jobs(request).await.unwrap().into_inner();
    recorder.open(token.as_deref(), true);
    stream
}

/// Reads one message; gives it back, or `None` after the end.
async fn read(stream: &mut Streaming<pb::WatchJobsResponse>, recorder: &mut Recorder) -> Option<Body> {
    recorder.ask();
    match stream.message().await {
        Ok(Some(message)) => {
            let body = wire::body(&message, &wanted).unwrap();
            recorder.note(body.clone(), wire::token(&message));
            Some(body)
        }
        Ok(None) => {
            recorder.close(End::Ok);
            None
        }
        Err(status) => {
            recorder.close(wire::end(&status));
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_cut_fifty_times_sees_exactly_what_is_listed() {
    let vendor = SimZstack::start(quick(40)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let mut recorder = Recorder::new(false, QUIET);
    let mut jobs = Vec::new();
    // The first connection begins before the first job: nothing may be missing.
    let mut stream = open(&gateway, &mut recorder).await;
    assert_eq!(read(&mut stream, &mut recorder).await, Some(Body::Synced));
    for cut in 0..50 {
        if cut < 20 {
            // Two at once: one that is wanted and one that is not.
            let request = |n: usize| pb::UpgradeClusterRequest {
                target: format!("providers/zs/clusters/{}", zstack::target_id(n)),
                ..Default::default()
            };
            let requests = vec![request(2 * cut), request(2 * cut + 1)];
            let request = pb::BatchUpgradeClustersRequest { requests, ..Default::default() };
            let results =
                gateway.upgrades().batch_upgrade_clusters(request).await.unwrap().into_inner().results;
            for result in results {
                let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("{result:?}") };
                jobs.push(job.name);
            }
        }
        read(&mut stream, &mut recorder).await.unwrap();
        if cut == 25 {
            // Stopped in order, the server says where to go on; and the token is good on the next one.
            let (code, ()) = tokio::join!(gateway.terminate(), async {
                while read(&mut stream, &mut recorder).await.is_some() {}
            });
            assert_eq!(code, 0);
            gateway.up().await;
        } else if cut == 35 {
            gateway.kill().await;
            while read(&mut stream, &mut recorder).await.is_some() {}
            gateway.up().await;
        }
        drop(stream);
        stream = open(&gateway, &mut recorder).await;
    }
    let mut events = Vec::new();
    for name in jobs {
        gateway.ended(&name).await;
        let request = pb::ListJobEventsRequest { parent: name, page_size: 1000, ..Default::default() };
        events.extend(gateway.jobs().list_job_events(request).await.unwrap().into_inner().events);
    }
    let truth = wire::truth(&events, &wanted, true, &gateway.commits().await);
    let due = truth.facts.iter().filter(|f| f.event.matches).count();
    while recorder.recording().told() < due {
        read(&mut stream, &mut recorder).await.unwrap();
    }
    let recording = recorder.recording();
    assert_eq!(recording.connections.len(), 51);
    let stopped = |c: &crate::watch_checks::Connection| matches!(&c.end, End::Status { reason, .. } if reason == "SHUTTING_DOWN");
    assert!(recording.connections.iter().any(stopped), "no stream was ended in order");
    assert_kept(recording, &truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_with_unavailable_and_a_token() {
    let vendor = SimZstack::start(quick(1)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let mut stream = gateway.jobs().watch_jobs(pb::WatchJobsRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.message, Some(Message::Synced(_))));
    let stop = gateway.terminate();
    let read = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended as if all were said"),
                Err(status) => return status,
            }
        }
    };
    let (code, status) = tokio::join!(stop, read);
    assert_eq!((code, status.code()), (0, Code::Unavailable), "{status:?}");
    let details = tonic_types::StatusExt::get_error_details(&status);
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!(info.reason, "SHUTTING_DOWN");
    assert!(!info.metadata["resume_token"].is_empty());
}
