//! Jobs as long-running operations: the same job under the same name, in the shape that stock clients know.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::Faults;
use super::filter::JobList;
use super::job::job;
use super::page::read_page;
use crate::api::pb::longrunning::{ListOperationsRequest, Operation, operation};
use crate::api::status::as_message;
use crate::domain::error::Error;
use crate::domain::failure::FailureReason;
use crate::domain::job::Job;
use crate::domain::state::JobState;
use crate::engine::JobFilter;

/// The domain of the reasons in an operation's error. They tell how a job ended, where `drydock` tells why a call failed.
const DOMAIN: &str = "drydock.job";
/// The type of what is packed into an operation.
const JOB: &str = "type.googleapis.com/drydock.v1.Job";
/// Why a page of operations cannot be partly successful.
const NO_PARTS: &str =
    "return_partial_success must be false: there is one collection, and it is always reachable";

/// An operation as callers see it.
pub fn operation(found: &Job) -> Operation {
    let shown = job(found);
    let packed = Any { type_url: JOB.to_owned(), value: shown.encode_to_vec() };
    let result = result(found, &packed);
    Operation { name: shown.name, metadata: Some(packed), done: result.is_some(), result }
}

fn result(job: &Job, packed: &Any) -> Option<operation::Result> {
    let state = job.status.state;
    let (code, otherwise) = match state {
        JobState::Succeeded => return Some(operation::Result::Response(packed.clone())),
        JobState::Failed | JobState::Rejected => {
            (job.status.failure.as_ref().map_or(Code::Unknown, |f| code(f.reason)), "it did not succeed")
        }
        JobState::Cancelled => (Code::Cancelled, "it was cancelled"),
        JobState::Superseded => (Code::Aborted, "another start at the vendor took its place"),
        JobState::Missed => (Code::DeadlineExceeded, "its time passed before it could start"),
        JobState::Pending
        | JobState::Scheduled
        | JobState::Checking
        | JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Indeterminate => return None,
    };
    let failure = job.status.failure.as_ref();
    let reason = failure.map_or(state.as_str(), |f| f.reason.as_str());
    let mut metadata = std::collections::HashMap::from([
        ("job".to_owned(), job.id.to_string()),
        ("state".to_owned(), state.as_str().to_owned()),
    ]);
    metadata.extend(
        failure
            .and_then(|f| f.vendor_code.clone())
            .map(|vendor_code| ("vendor_code".to_owned(), vendor_code)),
    );
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    let message = failure.map_or(otherwise, |f| f.message.as_str());
    Some(operation::Result::Error(as_message(&Status::with_error_details(code, message, details))))
}

const fn code(reason: FailureReason) -> Code {
    match reason {
        FailureReason::TargetNotFound => Code::NotFound,
        FailureReason::PermissionDenied => Code::PermissionDenied,
        FailureReason::TimedOut => Code::DeadlineExceeded,
        FailureReason::VendorRejected | FailureReason::PrecheckFailed | FailureReason::SecretUnavailable => {
            Code::FailedPrecondition
        }
        FailureReason::Internal => Code::Internal,
        // The vendor's trouble, not the caller's and not ours: the reason says which.
        FailureReason::VendorFailed
        | FailureReason::PartialFailure
        | FailureReason::SubmissionUnknown
        | FailureReason::Settled => Code::Unknown,
    }
}

impl TryFrom<ListOperationsRequest> for JobList {
    type Error = Error;

    fn try_from(request: ListOperationsRequest) -> Result<Self, Error> {
        if request.return_partial_success {
            return Err(Error::Unsupported(NO_PARTS.to_owned()));
        }
        let mut faults = Faults::new();
        if !matches!(request.name.as_str(), "" | "jobs") {
            faults.add("name", "must be empty or `jobs`");
        }
        let filter: String = request.filter.split_whitespace().collect();
        let ended = |wanted: bool| JobState::ALL.into_iter().filter(|s| s.is_ended() == wanted).collect();
        let states = match filter.as_str() {
            "" => Vec::new(),
            "done=true" => ended(true),
            "done=false" => ended(false),
            _ => {
                faults.add("filter", "must be empty, `done=true` or `done=false`; `ListJobs` can do more");
                Vec::new()
            }
        };
        let page = read_page(&mut faults, request.page_size, request.page_token);
        faults.check(Self { filter: JobFilter { states, ..JobFilter::default() }, page })
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::RpcStatusExt;

    use super::super::job::tests::full_job;
    use super::super::tests::paths;
    use super::*;
    use crate::api::pb;

    fn ended(state: JobState) -> Operation {
        let mut job = full_job();
        job.status.state = state;
        if !matches!(state, JobState::Failed | JobState::Rejected) {
            job.status.failure = None;
        }
        operation(&job)
    }

    #[test]
    fn an_operation_is_done_when_its_job_has_ended_and_then_says_how() {
        for state in JobState::ALL {
            let shown = ended(state);
            assert_eq!(shown.done, state.is_ended(), "{state:?}");
            let metadata = shown.metadata.unwrap();
            assert_eq!(metadata.type_url, "type.googleapis.com/drydock.v1.Job");
            let job = pb::Job::decode(metadata.value.as_slice()).unwrap();
            assert_eq!(job.name, shown.name);
            match shown.result {
                None => assert!(!state.is_ended(), "{state:?}"),
                Some(operation::Result::Response(packed)) => {
                    assert_eq!((state, packed), (JobState::Succeeded, metadata));
                }
                Some(operation::Result::Error(error)) => {
                    assert_ne!(error.code, 0);
                    let info = error.get_details_error_info().unwrap();
                    assert_eq!(
                        (info.domain.as_str(), info.metadata["state"].as_str()),
                        (DOMAIN, state.as_str())
                    );
                }
            }
        }
    }

    #[test]
    fn a_failure_keeps_its_reason_and_the_vendors_code() {
        let Some(operation::Result::Error(error)) = ended(JobState::Failed).result else { panic!() };
        let info = error.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["vendor_code"].as_str()),
            ("PARTIAL_FAILURE", "SYS.1007")
        );
        assert_eq!((error.code, error.message.as_str()), (i32::from(Code::Unknown), "one host"));
        let Some(operation::Result::Error(error)) = ended(JobState::Cancelled).result else { panic!() };
        assert_eq!(error.code, i32::from(Code::Cancelled));
        assert_eq!(error.get_details_error_info().unwrap().reason, "CANCELLED");
    }

    #[test]
    fn a_list_says_what_it_cannot_do() {
        let request = ListOperationsRequest {
            name: "operations".to_owned(),
            filter: "state=RUNNING".to_owned(),
            page_size: -1,
            ..Default::default()
        };
        assert_eq!(paths(JobList::try_from(request).unwrap_err()), ["name", "filter", "page_size"]);
        let request = ListOperationsRequest { return_partial_success: true, ..Default::default() };
        assert!(matches!(JobList::try_from(request), Err(Error::Unsupported(_))));
        let request = ListOperationsRequest { filter: " done = false".to_owned(), ..Default::default() };
        let list = JobList::try_from(request).unwrap();
        assert!(list.filter.states.contains(&JobState::Indeterminate));
        assert!(!list.filter.states.contains(&JobState::Failed));
    }
}
