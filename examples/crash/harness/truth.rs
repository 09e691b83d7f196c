//! Which states of a job agree with what its vendor wrote down. Pure.

use drydock::api::pb::{FailureReason, JobState};
use drydock::simulators::vsphere;

use super::fleet::Kind;
use super::record::{Ended, Happened};

/// The final words of all vendors, and the states that they allow. An unknown word allows none, so that it is seen.
fn allowed(kind: Kind, word: &str, partial: bool) -> &'static [JobState] {
    match (kind, word) {
        (Kind::Zstack, "Succeeded") if partial => &[JobState::Failed],
        (Kind::Zstack, "Succeeded")
        | (Kind::Cluster | Kind::Supervisor | Kind::Avisi, "SUCCEEDED")
        | (Kind::Huawei, "reinstall-succeed") => &[JobState::Succeeded],
        (Kind::Zstack, "Failed")
        | (Kind::Cluster | Kind::Supervisor | Kind::Avisi, "FAILED")
        | (Kind::Cluster | Kind::Supervisor, "GAVE_UP")
        | (Kind::Huawei, "reinstall-failed" | "terminated" | "(gone)") => &[JobState::Failed],
        // It began, and its own prechecks ended it.
        (Kind::Cluster | Kind::Supervisor, "PRECHECK_FAILED") => &[JobState::Failed, JobState::Rejected],
        (Kind::Zstack, "Canceled") | (Kind::Supervisor, "CANCELED") | (Kind::Avisi, "CANCELLED") => {
            &[JobState::Cancelled]
        }
        (Kind::Cluster | Kind::Supervisor, "OVERTAKEN") | (Kind::Avisi, "SUPERSEDED") => {
            &[JobState::Superseded]
        }
        (Kind::Avisi, "MISSED") => &[JobState::Missed],
        _ => &[],
    }
}

/// Whether a job may stand as it does when a start of it ended with `word` (`None`: has not ended).
pub fn agrees(happened: &Happened, word: Option<&str>, job: &Ended) -> bool {
    // Nobody but a person could say; the person was told by the vendor's record.
    job.settled
        || word.is_some_and(|word| {
            allowed(happened.kind, word, happened.partial).contains(&job.state)
                || is_excused(happened.kind, word, job)
        })
}

/// What a vendor shows can be less than what it did.
fn is_excused(kind: Kind, word: &str, job: &Ended) -> bool {
    match (kind, word) {
        // Whoever overtook it brought the target to the version that was asked for.
        (Kind::Cluster | Kind::Supervisor, "OVERTAKEN") => {
            job.state == JobState::Succeeded && job.version == vsphere::LATER_VERSION
        }
        // An upgrade that nobody may read, and that came and went while no gateway was up. It says so: INFERRED.
        (Kind::Avisi, "FAILED") => job.state == JobState::Missed && job.inferred,
        _ => false,
    }
}

/// Whether a job may stand as it does although none of its starts took effect.
pub fn agrees_unstarted(job: &Ended) -> bool {
    job.settled
        || match job.state {
            JobState::Cancelled | JobState::Rejected => true,
            // The password went with the process, or the vendor said later that the start never arrived.
            JobState::Failed => {
                matches!(job.failure, FailureReason::SecretUnavailable | FailureReason::SubmissionUnknown)
            }
            JobState::Unspecified
            | JobState::Pending
            | JobState::Scheduled
            | JobState::Checking
            | JobState::Submitting
            | JobState::Running
            | JobState::Suspended
            | JobState::Cancelling
            | JobState::Succeeded
            | JobState::Superseded
            | JobState::Missed
            | JobState::Indeterminate => false,
        }
}

/// Whether a state is an end.
pub fn is_end(state: JobState) -> bool {
    match state {
        JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Rejected
        | JobState::Superseded
        | JobState::Missed => true,
        JobState::Unspecified
        | JobState::Pending
        | JobState::Scheduled
        | JobState::Checking
        | JobState::Submitting
        | JobState::Running
        | JobState::Suspended
        | JobState::Cancelling
        | JobState::Indeterminate => false,
    }
}
