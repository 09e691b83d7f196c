//! Cancels a Supervisor's upgrade: its task is asked to end, as best it can.

use super::client::Client;
use super::fault;
use super::notes::Notes;
use crate::domain::error::VendorFault;
use crate::vendors::contract::{CancelAnswer, Planned};
use crate::vendors::error::VendorError;

/// Asks vCenter to cancel the upgrade's task.
pub(super) async fn cancel(client: &Client, planned: &Planned) -> Result<CancelAnswer, VendorError> {
    let Some(task) = Notes::read(planned.handle.as_ref()).task else {
        let text =
            "the task's id was lost with the answer to the start, so vCenter cannot be asked to cancel it";
        return Ok(CancelAnswer::Refused(text.to_owned()));
    };
    let reply = client.cancel(&task, &planned.permit).await?;
    if reply.status.is_success() {
        return Ok(CancelAnswer::Accepted);
    }
    let error = fault::of(&reply);
    match answer(&error) {
        Known::Is(answer) => Ok(answer),
        Known::AskTheTask => {
            let status = client.task(&task).await.ok().and_then(|task| task.status);
            Ok(match status.as_deref() {
                Some("PENDING" | "RUNNING" | "BLOCKED") => CancelAnswer::Refused(format!(
                    "vCenter takes no cancel for the task now (it may be ending already): {}",
                    error.message
                )),
                Some(_) | None => CancelAnswer::AlreadyOver,
            })
        }
        Known::Nothing => Err(error),
    }
}

/// What a refused cancel tells by itself.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Is(CancelAnswer),
    /// "Already completed or already cancelled": the task's status tells which.
    AskTheTask,
    Nothing,
}

fn answer(error: &VendorError) -> Known {
    match (error.kind, error.code.as_deref()) {
        (VendorFault::Rejected, Some(fault::NOT_ALLOWED)) => Known::AskTheTask,
        // A task that is gone has ended; the next look at the Supervisor tells how.
        (VendorFault::NotFound, _) => Known::Is(CancelAnswer::AlreadyOver),
        (VendorFault::Rejected | VendorFault::PermissionDenied, _) => {
            Known::Is(CancelAnswer::Refused(error.message.clone()))
        }
        (
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Unauthenticated
            | VendorFault::Garbled,
            _,
        ) => Known::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::error::Reached;

    #[test]
    fn each_refusal_has_its_meaning() {
        let told = |kind, code: &str| answer(&VendorError::new(kind, Reached::No, "why").with_code(code));
        assert_eq!(told(VendorFault::Rejected, fault::NOT_ALLOWED), Known::AskTheTask);
        assert_eq!(
            told(VendorFault::Rejected, fault::UNSUPPORTED),
            Known::Is(CancelAnswer::Refused("why".to_owned()))
        );
        assert_eq!(told(VendorFault::NotFound, "NOT_FOUND"), Known::Is(CancelAnswer::AlreadyOver));
        assert_eq!(told(VendorFault::Unreachable, "SERVICE_UNAVAILABLE"), Known::Nothing);
    }
}
