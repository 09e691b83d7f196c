//! Why a job ended other than well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The published reasons. Callers branch on these; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureReason {
    /// The vendor ran the operation and reported that it failed.
    VendorFailed,
    /// The vendor finished, but not every part succeeded; see the parts.
    PartialFailure,
    /// The vendor refused the operation before it started.
    VendorRejected,
    /// A precheck found an error, or a warning that nobody accepted.
    PrecheckFailed,
    /// The target does not exist at the vendor.
    TargetNotFound,
    /// The provider's credentials were refused, or lack a right.
    PermissionDenied,
    /// The password was kept in memory only and the process ended before it was sent.
    SecretUnavailable,
    /// The vendor's own time limit for the operation passed without an end.
    TimedOut,
    /// Nobody can determine whether the operation was started.
    SubmissionUnknown,
    /// A person settled the job's outcome.
    Settled,
    /// A fault inside Drydock; nothing further was sent.
    Internal,
    /// An operation that Drydock did not start was under way on the target.
    TargetBusy,
}

impl FailureReason {
    /// Every reason, for documents and tests.
    pub const ALL: [Self; 12] = [
        Self::VendorFailed,
        Self::PartialFailure,
        Self::VendorRejected,
        Self::PrecheckFailed,
        Self::TargetNotFound,
        Self::PermissionDenied,
        Self::SecretUnavailable,
        Self::TimedOut,
        Self::SubmissionUnknown,
        Self::Settled,
        Self::Internal,
        Self::TargetBusy,
    ];

    /// The reason as it stands in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VendorFailed => "VENDOR_FAILED",
            Self::PartialFailure => "PARTIAL_FAILURE",
            Self::VendorRejected => "VENDOR_REJECTED",
            Self::PrecheckFailed => "PRECHECK_FAILED",
            Self::TargetNotFound => "TARGET_NOT_FOUND",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::SecretUnavailable => "SECRET_UNAVAILABLE",
            Self::TimedOut => "TIMED_OUT",
            Self::SubmissionUnknown => "SUBMISSION_UNKNOWN",
            Self::Settled => "SETTLED",
            Self::Internal => "INTERNAL",
            Self::TargetBusy => "TARGET_BUSY",
        }
    }
}

/// Why a job ended other than well, with the vendor's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The reason to branch on.
    pub reason: FailureReason,
    /// For a person: what happened and what to do next.
    pub message: String,
    /// The vendor's own error code (`SYS.1007`, `UNSUPPORTED`, `iMetal.0201`), when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_code: Option<String>,
    /// More facts: HTTP status, the vendor's request id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Failure {
    /// A failure without vendor facts.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), vendor_code: None, metadata: BTreeMap::new() }
    }

    /// The same failure with the vendor's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }
}
