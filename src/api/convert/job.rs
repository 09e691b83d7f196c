//! Jobs and their status, outwards.

use super::operation::operation;
use super::structure::structure;
use super::time::timestamp;
use crate::api::pb;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity, Verdict};
use crate::domain::id::JobId;
use crate::domain::job::{
    Job, JobStatus, Part, PartOutcome, Progress, Provenance, VendorView, WaitReason, Waiting,
};
use crate::domain::state::JobState;
use crate::kit::trace::TraceParent;

/// A job as callers see it. Nothing of `JobControl` is in it.
pub fn job(job: &Job) -> pb::Job {
    let trace = job.spec.trace_parent.as_deref().and_then(TraceParent::parse);
    pb::Job {
        name: job.id.to_string(),
        target: job.spec.target.to_string(),
        operation: Some(operation(&job.spec.operation)),
        labels: job.spec.labels.to_map(),
        request_id: job.spec.request.map(|r| r.id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(job.spec.create_time)),
        status: Some(status(&job.status)),
        sequence: job.sequence,
        trace_id: trace.map(|t| t.trace_id().to_owned()).unwrap_or_default(),
        retry_of: name(job.spec.retry_of),
    }
}

/// A job's status.
pub fn status(status: &JobStatus) -> pb::JobStatus {
    pb::JobStatus {
        state: state(status.state).into(),
        provenance: provenance(status.provenance).into(),
        observe_time: status.observe_time.map(timestamp),
        update_time: Some(timestamp(status.update_time)),
        submit_time: status.submit_time.map(timestamp),
        end_time: status.end_time.map(timestamp),
        scheduled_start: status.scheduled_start.map(timestamp),
        progress: status.progress.as_ref().map(progress),
        findings: status.findings.iter().map(finding).collect(),
        waiting_for: status.waiting_for.iter().map(waiting).collect(),
        failure: status.failure.as_deref().map(failure),
        parts: status.parts.iter().map(part).collect(),
        cancelability: Some(pb::Cancelability {
            possible: status.cancelable.possible,
            reason: status.cancelable.reason.clone(),
        }),
        cancel_request_time: status.cancel_request_time.map(timestamp),
        vendor: Some(vendor(&status.vendor)),
        retried_by: name(status.retried_by),
    }
}

/// The name of a job that may be missing.
pub fn name(job: Option<JobId>) -> String {
    job.map(|id| id.to_string()).unwrap_or_default()
}

/// A state, outwards.
pub const fn state(state: JobState) -> pb::JobState {
    match state {
        JobState::Pending => pb::JobState::Pending,
        JobState::Scheduled => pb::JobState::Scheduled,
        JobState::Checking => pb::JobState::Checking,
        JobState::Submitting => pb::JobState::Submitting,
        JobState::Running => pb::JobState::Running,
        JobState::Suspended => pb::JobState::Suspended,
        JobState::Cancelling => pb::JobState::Cancelling,
        JobState::Succeeded => pb::JobState::Succeeded,
        JobState::Failed => pb::JobState::Failed,
        JobState::Cancelled => pb::JobState::Cancelled,
        JobState::Rejected => pb::JobState::Rejected,
        JobState::Superseded => pb::JobState::Superseded,
        JobState::Missed => pb::JobState::Missed,
        JobState::Indeterminate => pb::JobState::Indeterminate,
    }
}

/// A state, inwards; `None` for unspecified or unknown.
pub fn read_state(value: i32) -> Option<JobState> {
    JobState::ALL.into_iter().find(|s| state(*s) as i32 == value)
}

const fn provenance(provenance: Provenance) -> pb::Provenance {
    match provenance {
        Provenance::Own => pb::Provenance::Own,
        Provenance::Reported => pb::Provenance::Reported,
        Provenance::Inferred => pb::Provenance::Inferred,
    }
}

fn progress(progress: &Progress) -> pb::Progress {
    pb::Progress {
        percent: progress.percent,
        message: progress.message.clone().unwrap_or_default(),
        completed: progress.completed,
        total: progress.total,
    }
}

/// A finding, outwards.
pub fn finding(finding: &Finding) -> pb::Finding {
    let severity = match finding.severity {
        Severity::Info => pb::Severity::Info,
        Severity::Warning => pb::Severity::Warning,
        Severity::Error => pb::Severity::Error,
    };
    pb::Finding {
        id: finding.id.clone(),
        severity: severity.into(),
        message: finding.message.clone(),
        subject: finding.subject.clone().unwrap_or_default(),
        accepted: finding.accepted,
    }
}

/// A verdict, outwards.
pub const fn verdict(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Clear => pb::Verdict::Clear,
        Verdict::UnacceptedWarning => pb::Verdict::UnacceptedWarning,
        Verdict::Blocked => pb::Verdict::Blocked,
    }
}

const fn wait_reason(reason: WaitReason) -> pb::WaitReason {
    match reason {
        WaitReason::StartTime => pb::WaitReason::StartTime,
        WaitReason::MaintenanceWindow => pb::WaitReason::MaintenanceWindow,
        WaitReason::TargetBusy => pb::WaitReason::TargetBusy,
        WaitReason::VendorUnreachable => pb::WaitReason::VendorUnreachable,
        WaitReason::VendorCredentialsRefused => pb::WaitReason::VendorCredentialsRefused,
        WaitReason::RateBudget => pb::WaitReason::RateBudget,
        WaitReason::LostAnswer => pb::WaitReason::LostAnswer,
        WaitReason::Overdue => pb::WaitReason::Overdue,
    }
}

fn waiting(waiting: &Waiting) -> pb::Waiting {
    pb::Waiting {
        reason: wait_reason(waiting.reason).into(),
        message: waiting.message.clone(),
        since: Some(timestamp(waiting.since)),
        until: waiting.until.map(timestamp),
    }
}

const fn failure_reason(reason: FailureReason) -> pb::FailureReason {
    match reason {
        FailureReason::VendorFailed => pb::FailureReason::VendorFailed,
        FailureReason::PartialFailure => pb::FailureReason::PartialFailure,
        FailureReason::VendorRejected => pb::FailureReason::VendorRejected,
        FailureReason::PrecheckFailed => pb::FailureReason::PrecheckFailed,
        FailureReason::TargetNotFound => pb::FailureReason::TargetNotFound,
        FailureReason::PermissionDenied => pb::FailureReason::PermissionDenied,
        FailureReason::SecretUnavailable => pb::FailureReason::SecretUnavailable,
        FailureReason::TimedOut => pb::FailureReason::TimedOut,
        FailureReason::SubmissionUnknown => pb::FailureReason::SubmissionUnknown,
        FailureReason::Settled => pb::FailureReason::Settled,
        FailureReason::Internal => pb::FailureReason::Internal,
        FailureReason::TargetBusy => pb::FailureReason::TargetBusy,
    }
}

fn failure(failure: &Failure) -> pb::Failure {
    pb::Failure {
        reason: failure_reason(failure.reason).into(),
        message: failure.message.clone(),
        vendor_code: failure.vendor_code.clone().unwrap_or_default(),
        metadata: failure.metadata.clone(),
    }
}

fn part(part: &Part) -> pb::Part {
    let outcome = match part.outcome {
        PartOutcome::Succeeded => pb::PartOutcome::Succeeded,
        PartOutcome::Failed => pb::PartOutcome::Failed,
        PartOutcome::Unknown => pb::PartOutcome::Unknown,
    };
    pb::Part {
        id: part.id.clone(),
        outcome: outcome.into(),
        message: part.message.clone().unwrap_or_default(),
    }
}

fn vendor(vendor: &VendorView) -> pb::VendorView {
    pb::VendorView {
        state: vendor.state.clone().unwrap_or_default(),
        ids: vendor.ids.to_map(),
        answer: vendor.answer.as_deref().map(structure),
        last_error: vendor.last_error.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::RequestId;
    use crate::domain::job::{Cancelable, JobControl, JobSpec, RequestRef};
    use crate::domain::operation::{Operation, Reinstall};
    use crate::domain::target::Target;
    use crate::domain::texts::Texts;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A status in which every field says something.
    pub fn full_status() -> JobStatus {
        JobStatus {
            state: JobState::Failed,
            provenance: Provenance::Reported,
            observe_time: Some(at(1)),
            update_time: at(2),
            submit_time: Some(at(3)),
            end_time: Some(at(4)),
            scheduled_start: Some(at(5)),
            progress: Some(Progress {
                percent: 42.5,
                message: Some("half".to_owned()),
                completed: Some(0),
                total: Some(2),
            }),
            findings: vec![Finding {
                id: "zstack.hook".to_owned(),
                severity: Severity::Warning,
                message: "a hook".to_owned(),
                subject: Some("host-1".to_owned()),
                accepted: true,
            }],
            waiting_for: vec![Waiting {
                reason: WaitReason::Overdue,
                message: "long".to_owned(),
                since: at(6),
                until: Some(at(7)),
            }],
            failure: Some(Box::new(Failure {
                reason: FailureReason::PartialFailure,
                message: "one host".to_owned(),
                vendor_code: Some("SYS.1007".to_owned()),
                metadata: BTreeMap::from([("http_status".to_owned(), "503".to_owned())]),
            })),
            parts: vec![Part {
                id: "host-1".to_owned(),
                outcome: PartOutcome::Failed,
                message: Some("no space".to_owned()),
            }],
            cancelable: Cancelable { possible: true, reason: "it has not begun".to_owned() },
            cancel_request_time: Some(at(8)),
            vendor: VendorView {
                state: Some("Suspended".to_owned()),
                ids: Texts::from([("longJobUuid".to_owned(), "u".to_owned())]),
                answer: Some(r#"{"state":"Suspended"}"#.to_owned()),
                last_error: Some("boom".to_owned()),
            },
            retried_by: Some(JobId::new(Uuid::from_u128(8))),
        }
    }

    /// A job in which every field says something.
    pub fn full_job() -> Job {
        let request = RequestId::parse("6f1e8bb2-3c2e-4d5b-9a70-6f0a6f0f2c11").unwrap();
        Job {
            id: JobId::new(Uuid::from_u128(7)),
            spec: JobSpec {
                target: Target::parse_name("providers/hw/instances/i-1").unwrap(),
                operation: Operation::Reinstall(Reinstall {
                    image_id: Some("img".to_owned()),
                    accepted_risks: vec!["huawei.data_loss".to_owned()],
                }),
                labels: Texts::from([("team".to_owned(), "db".to_owned())]),
                request: Some(RequestRef { id: request, index: 3 }),
                trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
                create_time: at(0),
                retry_of: Some(JobId::new(Uuid::from_u128(6))),
            },
            status: full_status(),
            control: serde_json::from_value::<JobControl>(serde_json::json!({
                "key": Uuid::from_u128(1),
                "handle": "HANDLE-CANARY",
                "holds_target": true,
            }))
            .unwrap(),
            version: 9,
            sequence: 12,
        }
    }

    #[test]
    fn every_field_of_a_job_is_shown() {
        insta::assert_debug_snapshot!(job(&full_job()));
    }

    #[test]
    fn drydocks_own_memory_is_not_shown() {
        assert!(!format!("{:?}", job(&full_job())).contains("HANDLE-CANARY"));
    }

    #[test]
    fn names_are_those_of_the_domain() {
        for known in JobState::ALL {
            assert_eq!(state(known).as_str_name(), format!("JOB_STATE_{}", known.as_str()));
            assert_eq!(read_state(state(known) as i32), Some(known));
        }
        assert_eq!(read_state(0), None);
        assert_eq!(read_state(99), None);
        for known in FailureReason::ALL {
            let name = failure_reason(known).as_str_name();
            assert_eq!(name, format!("FAILURE_REASON_{}", known.as_str()));
        }
    }
}
