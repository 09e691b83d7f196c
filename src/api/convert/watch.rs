//! Requests to watch, inwards. What goes out is in `frame`.

use std::time::Duration;

use super::filter::read_filter;
use super::time::read_duration;
use super::{Faults, page};
use crate::api::pb;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::engine::calls::{WatchFilter, WatchRequest};

const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

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
        faults.check(Self {
            filter,
            snapshot,
            resume_token,
            latest_only,
            heartbeat,
            deadline: None,
            until_end: true,
        })
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
        faults.check(Self {
            filter,
            snapshot,
            resume_token,
            latest_only,
            heartbeat,
            deadline: None,
            until_end: false,
        })
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

#[cfg(test)]
mod tests {
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
}
