//! Follows jobs by one watch, and resumes it when it breaks.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::transport::Channel;

use super::DemoError;
use super::operations::Started;
use super::view::View;
use crate::api::pb;
use crate::api::pb::job_service_client::JobServiceClient;
use crate::api::pb::watch_jobs_response::Message;
use crate::kit::retry::{Backoff, jitter};

/// How often in a row a broken watch is resumed.
const MAX_BREAKS: u32 = 8;

/// Follows `jobs` until all have ended; answers how.
pub(super) async fn follow(
    channel: Channel,
    jobs: &[Started],
    view: &mut View,
) -> Result<BTreeMap<String, pb::JobState>, DemoError> {
    let mut states: BTreeMap<String, pb::JobState> =
        jobs.iter().map(|started| (started.job.name.clone(), pb::JobState::Pending)).collect();
    let mut client = JobServiceClient::new(channel);
    let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(2) };
    let mut resume_token = String::new();
    let mut breaks = 0;
    loop {
        let filter = pb::JobFilter { jobs: states.keys().cloned().collect(), ..Default::default() };
        let request = pb::WatchJobsRequest {
            filter: Some(filter),
            resume_token: resume_token.clone(),
            ..Default::default()
        };
        let broken = match client.watch_jobs(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => {
                            breaks = 0;
                            if !message.resume_token.is_empty() {
                                resume_token.clone_from(&message.resume_token);
                            }
                            show(message, view, &mut states);
                            if states.values().all(|state| is_end(*state)) {
                                return Ok(states);
                            }
                        }
                        Ok(None) => break tonic::Status::unavailable("the stream ended"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        breaks += 1;
        if broken.code() != tonic::Code::Unavailable || breaks > MAX_BREAKS {
            return Err(DemoError::call("WatchJobs")(broken));
        }
        tokio::time::sleep(backoff.delay(breaks, jitter())).await;
    }
}

fn show(message: pb::WatchJobsResponse, view: &mut View, states: &mut BTreeMap<String, pb::JobState>) {
    match message.message {
        Some(Message::Snapshot(job)) => {
            if let Some(status) = &job.status {
                states.insert(job.name.clone(), status.state());
                view.show(&job.name, status);
            }
        }
        Some(Message::Events(batch)) => {
            for event in batch.events {
                if let Some(status) = &event.status {
                    states.insert(event.job.clone(), status.state());
                    view.show(&event.job, status);
                }
            }
        }
        Some(Message::Synced(_) | Message::Heartbeat(_)) | None => {}
    }
}

/// Whether nothing more happens to a job in this state.
pub(super) fn is_end(state: pb::JobState) -> bool {
    match state {
        pb::JobState::Succeeded
        | pb::JobState::Failed
        | pb::JobState::Cancelled
        | pb::JobState::Rejected
        | pb::JobState::Superseded
        | pb::JobState::Missed => true,
        // Watched on: the vendor's later word or a person settles it.
        pb::JobState::Indeterminate
        | pb::JobState::Unspecified
        | pb::JobState::Pending
        | pb::JobState::Scheduled
        | pb::JobState::Checking
        | pb::JobState::Submitting
        | pb::JobState::Running
        | pb::JobState::Suspended
        | pb::JobState::Cancelling => false,
    }
}
