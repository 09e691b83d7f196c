//! Watches: requests inwards, messages outwards.

use std::time::Duration;

use prost::Message;

use super::event::event;
use super::filter::read_filter;
use super::job::job;
use super::time::read_duration;
use super::{Faults, page};
use crate::api::pb;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::engine::calls::{WatchBody, WatchFilter, WatchItem, WatchRequest};

const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// A commit larger than this is sent in several messages; clients refuse messages above 4 MiB unless told otherwise.
const ENOUGH_BYTES: usize = 1 << 20;

impl TryFrom<pb::WatchJobRequest> for WatchRequest {
    type Error = Error;

    fn try_from(request: pb::WatchJobRequest) -> Result<Self, Error> {
        let mut faults = Faults::new();
        let jobs: Vec<_> = faults.take("name", JobId::parse_name(&request.name)).into_iter().collect();
        let filter = WatchFilter { jobs, ..WatchFilter::default() };
        let resume_token = token(&mut faults, request.resume_token);
        let latest_only = latest_only(&mut faults, request.mode);
        let heartbeat = read_duration(&mut faults, "heartbeat", request.heartbeat, HEARTBEAT);
        let snapshot = !request.skip_snapshot;
        faults.check(Self { filter, snapshot, resume_token, latest_only, heartbeat, until_end: true })
    }
}

impl TryFrom<pb::WatchJobsRequest> for WatchRequest {
    type Error = Error;

    fn try_from(request: pb::WatchJobsRequest) -> Result<Self, Error> {
        let mut faults = Faults::new();
        let filter = read_filter(&mut faults, request.filter);
        let resume_token = token(&mut faults, request.resume_token);
        let latest_only = latest_only(&mut faults, request.mode);
        let heartbeat = read_duration(&mut faults, "heartbeat", request.heartbeat, HEARTBEAT);
        let snapshot = !request.skip_snapshot;
        faults.check(Self { filter, snapshot, resume_token, latest_only, heartbeat, until_end: false })
    }
}

fn token(faults: &mut Faults, token: String) -> Option<String> {
    if token.len() > page::MAX_TOKEN {
        faults.add("resume_token", "is longer than any token that Drydock gives");
    }
    Some(token).filter(|t| !t.is_empty())
}

fn latest_only(faults: &mut Faults, mode: i32) -> bool {
    match pb::WatchMode::try_from(mode) {
        Ok(pb::WatchMode::Unspecified | pb::WatchMode::EveryEvent) => false,
        Ok(pb::WatchMode::LatestState) => true,
        Err(_) => {
            faults.add("mode", "must be a known value");
            false
        }
    }
}

/// A message of a watch: one, or for a large commit several, of which only the last has the token.
pub fn messages(item: WatchItem) -> Vec<pb::WatchJobsResponse> {
    use pb::watch_jobs_response::Message as Body;
    let last = |message, resume_token| pb::WatchJobsResponse { message: Some(message), resume_token };
    match item.body {
        WatchBody::Snapshot(shown) => vec![last(Body::Snapshot(job(&shown)), item.resume_token)],
        WatchBody::Synced => vec![last(Body::Synced(pb::WatchSynced {}), item.resume_token)],
        WatchBody::Heartbeat => vec![last(Body::Heartbeat(pb::WatchHeartbeat {}), item.resume_token)],
        WatchBody::Events(events) => {
            let mut out = Vec::new();
            let mut batch = pb::EventBatch::default();
            let mut bytes = 0;
            for next in events {
                let next = event(&next);
                let size = next.encoded_len();
                if bytes + size > ENOUGH_BYTES && !batch.events.is_empty() {
                    out.push(last(Body::Events(std::mem::take(&mut batch)), String::new()));
                    bytes = 0;
                }
                bytes += size;
                batch.events.push(next);
            }
            out.push(last(Body::Events(batch), item.resume_token));
            out
        }
    }
}

/// The same message for `WatchJob`.
pub fn single(message: pb::WatchJobsResponse) -> pb::WatchJobResponse {
    use pb::watch_job_response::Message as One;
    use pb::watch_jobs_response::Message as Many;
    let body = message.message.map(|body| match body {
        Many::Snapshot(shown) => One::Snapshot(shown),
        Many::Synced(mark) => One::Synced(mark),
        Many::Events(batch) => One::Events(batch),
        Many::Heartbeat(mark) => One::Heartbeat(mark),
    });
    pb::WatchJobResponse { message: body, resume_token: message.resume_token }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::tests::full_event;
    use super::super::job::tests::full_job;
    use super::super::tests::paths;
    use super::*;

    const NAME: &str = "jobs/0197f36d-0000-7000-8000-000000000001";

    #[test]
    fn a_watch_of_one_job_is_read() {
        let request = pb::WatchJobRequest {
            name: NAME.to_owned(),
            resume_token: "t".to_owned(),
            skip_snapshot: true,
            mode: pb::WatchMode::LatestState.into(),
            heartbeat: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        };
        let read = WatchRequest::try_from(request).unwrap();
        assert_eq!(read.filter.jobs.iter().map(ToString::to_string).collect::<Vec<_>>(), [NAME]);
        assert!(read.until_end && read.latest_only && !read.snapshot);
        assert_eq!(read.resume_token.as_deref(), Some("t"));
        assert_eq!(read.heartbeat, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_watch_of_many_begins_with_a_snapshot_and_does_not_end() {
        let read = WatchRequest::try_from(pb::WatchJobsRequest::default()).unwrap();
        assert!(read.snapshot && !read.until_end && !read.latest_only);
        assert_eq!(read.filter, WatchFilter::default());
        assert_eq!((read.resume_token, read.heartbeat), (None, None));
    }

    #[test]
    fn every_fault_of_a_watch_is_told() {
        let heartbeat = Some(prost_types::Duration { seconds: 0, nanos: 1 });
        let resume_token = "x".repeat(page::MAX_TOKEN + 1);
        let one = pb::WatchJobRequest {
            mode: 9,
            heartbeat,
            resume_token: resume_token.clone(),
            ..Default::default()
        };
        let error = WatchRequest::try_from(one).unwrap_err();
        assert_eq!(paths(error), ["name", "resume_token", "mode", "heartbeat"]);
        let filter = Some(pb::JobFilter { states: vec![0], ..Default::default() });
        let many = pb::WatchJobsRequest { filter, mode: -1, heartbeat, resume_token, ..Default::default() };
        let error = WatchRequest::try_from(many).unwrap_err();
        assert_eq!(paths(error), ["filter.states[0]", "resume_token", "mode", "heartbeat"]);
    }

    fn item(body: WatchBody) -> WatchItem {
        WatchItem { body, resume_token: "token".to_owned() }
    }

    #[test]
    fn both_watches_have_the_same_bytes() {
        let bodies = [
            WatchBody::Snapshot(Box::new(full_job())),
            WatchBody::Synced,
            WatchBody::Events(vec![Arc::new(full_event(1)), Arc::new(full_event(2))]),
            WatchBody::Heartbeat,
        ];
        for body in bodies {
            for message in messages(item(body)) {
                assert_eq!(message.encode_to_vec(), single(message).encode_to_vec());
            }
        }
    }

    #[test]
    fn a_large_commit_is_cut_and_only_its_end_has_a_token() {
        let mut large = full_event(0);
        large.message = "x".repeat(300_000);
        let events = (1..=10)
            .map(|sequence| Arc::new(crate::domain::event::Event { sequence, ..large.clone() }))
            .collect();
        let messages = messages(item(WatchBody::Events(events)));
        assert!(messages.len() > 1);
        let mut sequences = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            assert!(message.encoded_len() < 2 << 20);
            let is_last = index + 1 == messages.len();
            assert_eq!(message.resume_token, if is_last { "token" } else { "" });
            let Some(pb::watch_jobs_response::Message::Events(batch)) = &message.message else { panic!() };
            sequences.extend(batch.events.iter().map(|e| e.sequence));
        }
        assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
    }
}
