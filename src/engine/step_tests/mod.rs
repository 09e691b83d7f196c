//! Tests of what moves a job, by concept; what they share.

mod before;
mod cancels;
mod heard;
mod lapsed;
mod lost;
mod model;
mod overdue;

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::error::VendorFault;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobControl, JobSpec, JobStatus, Provenance, VendorView};
use crate::domain::operation::{Operation, OperationKind, Upgrade};
use crate::domain::state::JobState;
use crate::domain::target::{Target, TargetKind};
use crate::domain::texts::Texts;
use crate::engine::step::{Around, Heard, Step, cancelable_at_first};
use crate::vendors::contract::{Observation, Phase};
use crate::vendors::error::{Reached, VendorError};

/// How long an operation may be with the vendor before it is overdue.
const LIMIT: Duration = Duration::from_secs(86_400);

fn capabilities(cancel: CancelSupport) -> Capabilities {
    Capabilities {
        targets: vec![Capability {
            target: TargetKind::Cluster,
            operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel,
            prechecks: true,
            progress: true,
            lists_versions: true,
            lists_images: false,
            batch_size: 1,
            lost_answer: "asked",
            success_proof: "reported",
            retry: "a new one",
        }],
        check_batch: 256,
        observe_batch: 100,
        lost_answer_grace: Duration::from_secs(10),
        lost_answer_limit: Duration::from_secs(100),
    }
}

fn job(operation: Operation) -> Job {
    let scheduled_start = match &operation {
        Operation::ScheduledUpgrade(scheduled) => scheduled.start_time,
        Operation::Upgrade(_) | Operation::Reinstall(_) => None,
    };
    Job {
        id: JobId::new(Uuid::from_u128(7)),
        spec: JobSpec {
            target: Target::parse_name("providers/p/clusters/c").unwrap(),
            operation,
            labels: Texts::default(),
            request: None,
            trace_parent: None,
            create_time: Timestamp::UNIX_EPOCH,
            retry_of: None,
        },
        status: JobStatus {
            state: JobState::Pending,
            provenance: Provenance::Own,
            observe_time: None,
            update_time: Timestamp::UNIX_EPOCH,
            submit_time: None,
            end_time: None,
            scheduled_start,
            progress: None,
            findings: Vec::new(),
            waiting_for: Vec::new(),
            failure: None,
            parts: Vec::new(),
            cancelable: cancelable_at_first(),
            cancel_request_time: None,
            vendor: VendorView::default(),
            retried_by: None,
        },
        control: JobControl { holds_target: true, ..JobControl::new(Uuid::from_u128(9)) },
        version: 1,
        sequence: 1,
    }
}

pub(in crate::engine) fn upgrade() -> Job {
    job(Operation::Upgrade(Upgrade::default()))
}

fn apply(job: &Job, heard: &Heard, capabilities: &Capabilities, now: Timestamp) -> Step {
    let around = Around { paused: None, overdue_after: LIMIT };
    super::step::apply(job, heard, capabilities, around, now)
}

fn write(job: &mut Job, step: Step) {
    job.status = step.status;
    job.control = step.control;
    job.version += 1;
}

fn lost() -> VendorError {
    VendorError::new(VendorFault::Unreachable, Reached::Maybe, "connection reset")
}

fn running() -> Observation {
    Observation::new(Phase::Running, Provenance::Reported)
}
