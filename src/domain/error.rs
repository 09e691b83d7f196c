//! What can be wrong with a call, before and apart from what goes wrong with a job.
//!
//! Errors are transport-blind here; `api/status.rs` turns them into gRPC codes by one table without a wildcard.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::id::JobId;
use super::target::Target;

/// One fault of one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field as it stands in the contract, for example `upgrade.zstack.exclude_packages[2]`.
    pub field: String,
    /// The rule it breaks, and what would be right.
    pub rule: String,
}

impl FieldViolation {
    /// A fault.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }

    /// The same fault, of a field below `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request breaks rules; all of them are listed.
    #[error("the request has {} fault(s)", .0.len())]
    InvalidRequest(Vec<FieldViolation>),
    /// A named thing does not exist.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// `job`, `provider`, `target`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// Another live job holds the target.
    #[error("`{target}` is held by live job `{holder}`")]
    TargetBusy {
        /// The target.
        target: Target,
        /// The job that holds it.
        holder: JobId,
    },
    /// An operation that Drydock did not start is under way on the target.
    #[error(
        "an operation that Drydock did not start is under way on `{target}` (seen at {seen}): {what}. Wait for its end, \
         or ask with on_busy = ON_BUSY_QUEUE"
    )]
    ForeignBusy {
        /// The target.
        target: Target,
        /// What it is, for a person.
        what: String,
        /// When the vendor showed it.
        seen: Timestamp,
    },
    /// Too many jobs wait for the target already.
    #[error("{waiting} jobs already wait for `{target}`")]
    QueueFull {
        /// The target.
        target: Target,
        /// How many wait.
        waiting: u32,
    },
    /// The same `request_id` was used before for another request.
    #[error("request_id `{request_id}` was used before for a different request")]
    RequestIdReused {
        /// The key.
        request_id: String,
    },
    /// The provider cannot do this at all.
    #[error("{0}")]
    Unsupported(String),
    /// The job has ended or is in a state where this makes no sense.
    #[error("job `{job}` is {state}: {message}")]
    WrongState {
        /// The job.
        job: JobId,
        /// Its state, as in the contract.
        state: &'static str,
        /// What to do instead.
        message: String,
    },
    /// The job was retried before. A job is retried once; the newer one can be retried in its turn.
    #[error(
        "job `{job}` was retried by `{by}` already; follow that one, and when it has ended, retry that one"
    )]
    AlreadyRetried {
        /// The job.
        job: JobId,
        /// The job that tries it again.
        by: JobId,
    },
    /// The vendor cannot cancel this job; it is followed on.
    #[error("job `{job}` cannot be cancelled: {message}")]
    CancelUnsupported {
        /// The job.
        job: JobId,
        /// Why.
        message: String,
    },
    /// A page token is malformed, or belongs to another request.
    #[error("a page token is malformed, or belongs to another request")]
    PageTokenInvalid,
    /// A resume token is malformed or comes from another store.
    #[error("the resume token is malformed, or comes from another Drydock")]
    ResumeTokenInvalid,
    /// A resume token is older than what is kept.
    #[error("the resume token is older than the events that are kept")]
    ResumeTokenExpired,
    /// A watch reached the age at which the server ends it; resume with the last token, here or on a replica.
    #[error("the watch has reached its age; resume it with the last token")]
    WatchAged,
    /// The vendor could not be asked, or answered with an error, while the caller waits for the answer.
    #[error("{message}")]
    Vendor {
        /// Of which kind.
        kind: VendorFault,
        /// The provider's name.
        provider: String,
        /// For a person.
        message: String,
        /// When to try again.
        retry_after: Option<Duration>,
        /// Vendor code, HTTP status, request id: what exists.
        metadata: BTreeMap<String, String>,
    },
    /// The store cannot be reached or written at present.
    #[error("the store is unavailable: {message}")]
    StoreUnavailable {
        /// For a person.
        message: String,
    },
    /// Drydock is at one of its own bounds.
    #[error("{0}")]
    Overloaded(String),
    /// Drydock is ending; another replica or a later call will do.
    #[error("Drydock is shutting down")]
    ShuttingDown,
    /// A fault inside Drydock. The text is safe to show.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Kinds of vendor errors that a waiting caller can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorFault {
    /// Not reachable, or it answered with an outage.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// It limits our rate.
    RateLimited,
    /// It refused our credentials.
    Unauthenticated,
    /// Our account lacks a right.
    PermissionDenied,
    /// It does not know the thing.
    NotFound,
    /// It refused the request as wrong.
    Rejected,
    /// It answered something that cannot be understood.
    Garbled,
}

/// The published reasons of [`Error`]s: `ErrorInfo.reason`, domain `drydock`. Once given, never changed.
pub const REASONS: &[&str] = &[
    "INVALID_REQUEST",
    "NOT_FOUND",
    "TARGET_BUSY",
    "QUEUE_FULL",
    "REQUEST_ID_REUSED",
    "UNSUPPORTED",
    "WRONG_STATE",
    "CANCEL_UNSUPPORTED",
    "PAGE_TOKEN_INVALID",
    "RESUME_TOKEN_INVALID",
    "RESUME_TOKEN_EXPIRED",
    "WATCH_AGED",
    "VENDOR_UNREACHABLE",
    "VENDOR_TIMED_OUT",
    "VENDOR_RATE_LIMITED",
    "VENDOR_UNAUTHENTICATED",
    "VENDOR_PERMISSION_DENIED",
    "VENDOR_NOT_FOUND",
    "VENDOR_REJECTED",
    "VENDOR_GARBLED",
    "STORE_UNAVAILABLE",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "INTERNAL",
    "ALREADY_RETRIED",
];

impl Error {
    /// One fault of one field.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::InvalidRequest(vec![FieldViolation::new(field, rule)])
    }

    /// The published reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "INVALID_REQUEST",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::TargetBusy { .. } | Self::ForeignBusy { .. } => "TARGET_BUSY",
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Self::Unsupported(_) => "UNSUPPORTED",
            Self::WrongState { .. } => "WRONG_STATE",
            Self::CancelUnsupported { .. } => "CANCEL_UNSUPPORTED",
            Self::AlreadyRetried { .. } => "ALREADY_RETRIED",
            Self::PageTokenInvalid => "PAGE_TOKEN_INVALID",
            Self::ResumeTokenInvalid => "RESUME_TOKEN_INVALID",
            Self::ResumeTokenExpired => "RESUME_TOKEN_EXPIRED",
            Self::WatchAged => "WATCH_AGED",
            Self::Vendor { kind, .. } => match kind {
                VendorFault::Unreachable => "VENDOR_UNREACHABLE",
                VendorFault::TimedOut => "VENDOR_TIMED_OUT",
                VendorFault::RateLimited => "VENDOR_RATE_LIMITED",
                VendorFault::Unauthenticated => "VENDOR_UNAUTHENTICATED",
                VendorFault::PermissionDenied => "VENDOR_PERMISSION_DENIED",
                VendorFault::NotFound => "VENDOR_NOT_FOUND",
                VendorFault::Rejected => "VENDOR_REJECTED",
                VendorFault::Garbled => "VENDOR_GARBLED",
            },
            Self::StoreUnavailable { .. } => "STORE_UNAVAILABLE",
            Self::Overloaded(_) => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal(_) => "INTERNAL",
        }
    }
}
