//! Watches over a real connection: cut and resumed, also over a stop of the server.

use std::collections::HashMap;

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use pb::watch_jobs_response::Message;
use tonic::Code;

use crate::gateway::{Gateway, is_ended, quick};

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_cut_fifty_times_sees_exactly_what_is_listed() {
    let vendor = SimZstack::start(quick(40)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let (mut token, mut started, mut ended, mut cuts) = (String::new(), Vec::new(), 0, 0);
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    while ended < 40 || cuts < 50 {
        if started.len() < 40 {
            let request = pb::UpgradeClusterRequest {
                target: format!("providers/zs/clusters/{}", zstack::target_id(started.len())),
                ..Default::default()
            };
            let job = gateway.upgrades().upgrade_cluster(request).await.unwrap().into_inner().job.unwrap();
            started.push(job.name);
        }
        if cuts == 25 {
            // Half-way the server itself is stopped in order; the token is good on the next one.
            gateway.terminate().await;
            gateway.up().await;
        }
        let request =
            pb::WatchJobsRequest { resume_token: token.clone(), skip_snapshot: true, ..Default::default() };
        // The first connection begins before the first job: nothing may be missing.
        let request =
            if token.is_empty() { pb::WatchJobsRequest { skip_snapshot: false, ..request } } else { request };
        let mut stream = gateway.jobs().watch_jobs(request).await.unwrap().into_inner();
        let mut messages = 0;
        while messages < 2 {
            let message = stream.message().await.unwrap().unwrap();
            if !message.resume_token.is_empty() {
                token = message.resume_token;
                messages += 1;
            }
            match message.message.unwrap() {
                Message::Snapshot(job) => {
                    seen.insert(job.name, (1..=job.sequence).collect());
                }
                Message::Events(batch) => {
                    for event in batch.events {
                        ended += usize::from(is_ended(event.status.unwrap().state()));
                        seen.entry(event.job).or_default().push(event.sequence);
                    }
                }
                Message::Synced(_) | Message::Heartbeat(_) => {}
            }
        }
        cuts += 1;
    }
    for job in started {
        let request = pb::ListJobEventsRequest { parent: job.clone(), page_size: 1000, ..Default::default() };
        let listed = gateway.jobs().list_job_events(request).await.unwrap().into_inner().events;
        let listed: Vec<_> = listed.iter().map(|e| e.sequence).collect();
        assert_eq!(seen.remove(&job).unwrap_or_default(), listed, "{job}");
    }
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
