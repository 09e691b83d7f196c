//! Turns faults from below into errors for callers.

use crate::domain::error::Error;
use crate::domain::id::ProviderId;
use crate::store::StoreError;
use crate::vendors::error::{Retry, VendorError};

/// A store's fault, for a caller.
pub fn store(error: StoreError) -> Error {
    match error {
        StoreError::TargetBusy { target, holder } => Error::TargetBusy { target, holder },
        StoreError::QueueFull { target, waiting } => Error::QueueFull { target, waiting },
        StoreError::RequestReused(id) => Error::RequestIdReused { request_id: id.to_string() },
        StoreError::Missing(job) => Error::NotFound { kind: "job", name: job.to_string() },
        StoreError::BadPageToken => Error::PageTokenInvalid,
        // What cannot be read is gone for the reader: it begins anew.
        StoreError::PositionGone { .. } | StoreError::DamagedEvents { .. } => Error::ResumeTokenExpired,
        // A caller's write has no guard; a driver judges its own.
        StoreError::Fenced(provider) => {
            Error::Internal(format!("the lease of `{provider}` has passed to another replica"))
        }
        StoreError::Stale(job) => Error::Overloaded(format!("`{job}` changes too fast; try again")),
        // Where the database is and who logs in there is for the log alone.
        StoreError::Unavailable(why) => {
            tracing::warn!(%why, "a call failed because the store is unavailable");
            Error::StoreUnavailable { message: "the store is unavailable; the log says more".to_owned() }
        }
        error @ (StoreError::Unwritable(_) | StoreError::NewerSchema { .. } | StoreError::Locked { .. }) => {
            Error::StoreUnavailable { message: error.to_string() }
        }
        error @ StoreError::Corrupt(_) => {
            tracing::error!(error = %error, "the store holds something unreadable");
            Error::Internal("the store holds something unreadable; the log says more".to_owned())
        }
    }
}

/// A vendor's fault, for a caller who waits for the vendor's answer.
pub fn vendor(provider: &ProviderId, error: VendorError) -> Error {
    let metadata = error.metadata();
    Error::Vendor {
        kind: error.kind,
        provider: provider.to_string(),
        message: error.message,
        retry_after: match error.retry {
            Retry::After(wait) => Some(wait),
            Retry::Never | Retry::Backoff => None,
        },
        metadata,
    }
}
