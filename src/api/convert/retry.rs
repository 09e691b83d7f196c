//! A request to try an ended job again, inwards.

use super::Faults;
use super::operation::read_risks;
use super::start::{digest, on_busy};
use super::time::read_timestamp;
use crate::api::pb;
use crate::domain::error::Error;
use crate::domain::id::{JobId, RequestId};
use crate::engine::calls::{Retrial, RetryRequest};
use crate::kit::secret::Secret;
use crate::kit::trace::TraceParent;

/// A request to try an ended job again.
#[derive(Debug)]
pub struct Retry {
    /// What the engine is asked.
    pub request: RetryRequest,
    /// Whether only the plan is wanted.
    pub validate_only: bool,
}

/// Reads `RetryJob`.
///
/// # Errors
/// `InvalidRequest` with every fault.
pub fn retry(mut asked: pb::RetryJobRequest, trace_parent: Option<TraceParent>) -> Result<Retry, Error> {
    // Into the type that cannot be printed, before anything else can fail.
    let password = Some(std::mem::take(&mut asked.password)).filter(|p| !p.is_empty()).map(Secret::from);
    let key = std::mem::take(&mut asked.request_id);
    let digest = digest("RetryJob", &asked);
    let mut faults = Faults::new();
    let job = faults.take("name", JobId::parse_name(&asked.name));
    let key = if key.is_empty() { None } else { faults.take("request_id", RequestId::parse(&key)) };
    let on_busy = on_busy(&mut faults, asked.on_busy);
    let accepted_risks = read_risks(&mut faults, "", asked.accepted_risks);
    let start_time = read_timestamp(&mut faults, "start_time", asked.start_time);
    let (Some(job), true) = (job, faults.is_empty()) else { return Err(faults.into_error()) };
    Ok(Retry {
        request: RetryRequest {
            job,
            request: key.map(|key| (key, digest)),
            asked: Retrial { start_time, accepted_risks, password },
            on_busy,
            trace_parent,
        },
        validate_only: asked.validate_only,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::paths;
    use super::*;
    use crate::engine::calls::OnBusy;
    use crate::kit::secret::ExposeSecret;

    const KEY: &str = "6f1e8bb2-3c2e-4d5b-9a70-6f0a6f0f2c11";

    fn request() -> pb::RetryJobRequest {
        pb::RetryJobRequest {
            name: "jobs/0197f36d-0000-7000-8000-000000000001".to_owned(),
            request_id: KEY.to_owned(),
            validate_only: true,
            on_busy: pb::OnBusy::Queue.into(),
            password: "CANARY-Passw0rd".to_owned(),
            accepted_risks: vec!["huawei.data_loss".to_owned()],
            start_time: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
        }
    }

    #[test]
    fn every_field_is_read_and_the_password_is_never_printed() {
        assert!(!format!("{:?}", request()).contains("CANARY"));
        let read = retry(request(), None).unwrap();
        assert!(!format!("{read:?}").contains("CANARY"));
        let Retry { request: read, validate_only } = read;
        assert!(validate_only);
        assert_eq!(read.job.to_string(), request().name);
        assert_eq!(read.request.unwrap().0.to_string(), KEY);
        assert_eq!(read.on_busy, OnBusy::Queue);
        assert_eq!(read.asked.password.unwrap().expose_secret(), "CANARY-Passw0rd");
        assert_eq!(read.asked.accepted_risks, ["huawei.data_loss"]);
        assert_eq!(read.asked.start_time.unwrap().as_second(), 1_900_000_000);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let bad = pb::RetryJobRequest {
            name: "x".to_owned(),
            request_id: "y".to_owned(),
            on_busy: 9,
            accepted_risks: vec![String::new()],
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            ..Default::default()
        };
        let faults = paths(retry(bad, None).unwrap_err());
        assert_eq!(faults, ["name", "request_id", "on_busy", "accepted_risks[0]", "start_time"]);
    }

    #[test]
    fn the_digest_tells_requests_apart_but_not_keys_and_passwords() {
        let of = |change: fn(&mut pb::RetryJobRequest)| {
            let mut request = request();
            change(&mut request);
            retry(request, None).unwrap().request.request.unwrap().1
        };
        let same = of(|_| {});
        assert_eq!(same, of(|r| r.request_id = "11111111-1111-4111-8111-111111111111".to_owned()));
        assert_eq!(same, of(|r| r.password = "another".to_owned()));
        assert_ne!(same, of(|r| r.name = "jobs/0197f36d-0000-7000-8000-000000000002".to_owned()));
        assert_ne!(same, of(|r| r.accepted_risks.clear()));
        assert_ne!(same, of(|r| r.start_time = None));
    }
}
