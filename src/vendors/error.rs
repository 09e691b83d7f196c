//! What a vendor call can end with, other than well.
//!
//! Two facts are set where they are known, in the adapter: whether to try again, and whether the request
//! reached the vendor. The second decides whether a start may ever be repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::error::VendorFault;

/// Whether and when the same call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not without a change: the vendor understood and refused.
    Never,
    /// Not before this has passed (the vendor said so).
    After(Duration),
    /// After a back-off.
    Backoff,
}

/// Whether a request took effect at the vendor, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It certainly had no effect: never sent, or refused by the vendor before any work.
    No,
    /// Nobody can tell: the answer was lost, or came from something in between.
    Maybe,
    /// The vendor itself answered after doing its part.
    Yes,
}

/// A failed vendor call. `Display` is the public text: it never contains a secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct VendorError {
    /// Of which kind.
    pub kind: VendorFault,
    /// Whether to try again.
    pub retry: Retry,
    /// Whether the request took effect.
    pub reached: Reached,
    /// The vendor's own error code.
    pub code: Option<String>,
    /// The HTTP status, when there was an answer.
    pub http_status: Option<u16>,
    /// The vendor's id of the request, when it gave one.
    pub request_id: Option<String>,
    /// For a person: what happened, and what to do next where that is known. At most 2 KiB.
    pub message: String,
    /// What lies below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl VendorError {
    /// An error with the facts that every error has; retry and reach follow the kind's usual meaning.
    pub fn new(kind: VendorFault, reached: Reached, message: impl Into<String>) -> Self {
        let retry = match kind {
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Garbled => Retry::Backoff,
            VendorFault::Unauthenticated
            | VendorFault::PermissionDenied
            | VendorFault::NotFound
            | VendorFault::Rejected => Retry::Never,
        };
        let mut message = message.into();
        if message.len() > 2048 {
            let cut = (0..=2048).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
            message.truncate(cut);
        }
        Self { kind, retry, reached, code: None, http_status: None, request_id: None, message, source: None }
    }

    /// The vendor answered something that cannot be understood; the request may have worked.
    pub fn garbled(message: impl Into<String>) -> Self {
        Self::new(VendorFault::Garbled, Reached::Maybe, message)
    }

    /// With the vendor's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// With another retry advice.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// With another reach.
    #[must_use]
    pub fn with_reached(mut self, reached: Reached) -> Self {
        self.reached = reached;
        self
    }

    /// The same error once more, for another job that shares its fate. The source stays with the first.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            kind: self.kind,
            retry: self.retry,
            reached: self.reached,
            code: self.code.clone(),
            http_status: self.http_status,
            request_id: self.request_id.clone(),
            message: self.message.clone(),
            source: None,
        }
    }

    /// Whether the provider as a whole is in trouble (counts for its breaker), not just this request.
    pub const fn is_outage(&self) -> bool {
        match self.kind {
            VendorFault::Unreachable | VendorFault::TimedOut | VendorFault::Unauthenticated => true,
            VendorFault::RateLimited
            | VendorFault::PermissionDenied
            | VendorFault::NotFound
            | VendorFault::Rejected
            | VendorFault::Garbled => false,
        }
    }

    /// Vendor code, HTTP status and request id, for error details.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        if let Some(code) = &self.code {
            facts.insert("vendor_code".to_owned(), code.clone());
        }
        if let Some(status) = self.http_status {
            facts.insert("http_status".to_owned(), status.to_string());
        }
        if let Some(id) = &self.request_id {
            facts.insert("vendor_request_id".to_owned(), id.clone());
        }
        facts
    }
}
