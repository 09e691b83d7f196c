//! How a provider is: what was last heard, and whether its breaker is open.
//!
//! The breaker keeps a sick vendor from being hammered and its jobs from looking busy: after three rounds in a
//! row that met nothing but an outage, nothing is asked for a while; the pause doubles up to a bound and ends
//! with the first answer. A vendor that refuses the provider's credentials is left alone at once, and for long, by
//! callers' requests too: some lock an account after a few failed logins (vCenter: five within three minutes). What
//! one round already sends is bounded by the adapter, which does not repeat a refused login for a while.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::calls::ProviderHealth;
use crate::domain::error::VendorFault;
use crate::domain::job::WaitReason;
use crate::kit::clock;
use crate::kit::retry::{Backoff, jitter};
use crate::vendors::error::{Reached, VendorError};

/// Rounds in a row that must fail before the breaker opens.
const TOLERATED: u32 = 3;

/// A provider's health, shared by its driver and by callers' requests.
#[derive(Debug)]
pub struct Health {
    inner: Mutex<Inner>,
    pause: Backoff,
}

#[derive(Debug, Default)]
struct Inner {
    seen: ProviderHealth,
    outages: u32,
}

/// Why nothing is asked at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends.
    pub until: Timestamp,
    /// What the jobs of the provider wait for meanwhile.
    pub reason: WaitReason,
    /// The error that led to it.
    pub message: String,
}

impl Health {
    /// Unknown health.
    pub fn new(pause: Backoff) -> Self {
        Self { inner: Mutex::default(), pause }
    }

    /// The vendor answered (also when it answered "no").
    pub fn heard(&self, now: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.outages = 0;
        inner.seen.reachable = Some(true);
        inner.seen.credentials_refused = false;
        inner.seen.last_heard = Some(now);
        inner.seen.paused_until = None;
    }

    /// A call failed. Outages count for the breaker; other errors are answers.
    pub fn failed(&self, error: &VendorError, now: Timestamp) {
        if !error.is_outage() {
            self.heard(now);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seen.last_error = Some(error.message.clone());
        inner.seen.last_error_time = Some(now);
        if error.is_outage() {
            inner.seen.reachable = Some(false);
            inner.seen.credentials_refused = error.kind == VendorFault::Unauthenticated;
            inner.outages = inner.outages.saturating_add(1);
            if inner.seen.credentials_refused {
                inner.seen.last_heard = Some(now);
                inner.seen.paused_until = Some(clock::after(now, self.pause.max));
            } else if inner.outages >= TOLERATED {
                let pause = self.pause.delay(inner.outages - TOLERATED + 1, jitter());
                inner.seen.paused_until = Some(clock::after(now, pause));
            }
        }
    }

    /// The vendor told its version.
    pub fn version(&self, version: Option<String>) {
        if version.is_some() {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).seen.version = version;
        }
    }

    /// While the breaker is open: until when, and why.
    pub fn paused(&self, now: Timestamp) -> Option<Pause> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let until = inner.seen.paused_until.filter(|until| *until > now)?;
        let message =
            inner.seen.last_error.clone().unwrap_or_else(|| "the provider does not answer".to_owned());
        let reason = if inner.seen.credentials_refused {
            WaitReason::VendorCredentialsRefused
        } else {
            WaitReason::VendorUnreachable
        };
        Some(Pause { until, reason, message })
    }

    /// While the vendor is left alone for refused credentials: the error that a caller gets instead of an answer.
    pub fn barred(&self, now: Timestamp) -> Option<VendorError> {
        let pause = self.paused(now).filter(|p| p.reason == WaitReason::VendorCredentialsRefused)?;
        Some(VendorError::new(VendorFault::Unauthenticated, Reached::No, pause.message))
    }

    /// As callers see it.
    pub fn view(&self) -> ProviderHealth {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn opens_after_three_outages_and_closes_with_an_answer() {
        let health = Health::new(Backoff { first: Duration::from_secs(10), max: Duration::from_secs(60) });
        let now = Timestamp::UNIX_EPOCH;
        let outage = VendorError::new(VendorFault::Unreachable, Reached::No, "refused");
        health.failed(&outage, now);
        health.failed(&outage, now);
        assert_eq!(health.paused(now), None);
        health.failed(&outage, now);
        assert!(health.paused(now).is_some());
        assert!(health.barred(now).is_none(), "a caller may ask whether the outage is over");
        assert_eq!(health.view().reachable, Some(false));
        assert_eq!(health.paused(clock::after(now, Duration::from_secs(11))), None, "the pause ends");
        health.heard(now);
        assert_eq!(health.paused(now), None);
        assert_eq!(health.view().reachable, Some(true));
    }

    #[test]
    fn refused_credentials_are_shown_as_such_and_not_tried_again_soon() {
        let health = Health::new(Backoff { first: Duration::from_secs(10), max: Duration::from_secs(60) });
        let now = Timestamp::UNIX_EPOCH;
        let refused = VendorError::new(VendorFault::Unauthenticated, Reached::No, "wrong password");
        health.failed(&refused, now);
        let pause = health.paused(clock::after(now, Duration::from_secs(59))).unwrap();
        assert_eq!(pause.reason, WaitReason::VendorCredentialsRefused);
        assert_eq!(pause.message, "wrong password");
        let barred = health.barred(now).unwrap();
        assert_eq!((barred.kind, barred.message.as_str()), (VendorFault::Unauthenticated, "wrong password"));
        assert!(health.barred(clock::after(now, Duration::from_secs(61))).is_none());
        assert!(health.view().credentials_refused);
        assert_eq!(health.view().reachable, Some(false));
        // The vendor going down afterwards is another trouble.
        health.failed(&VendorError::new(VendorFault::Unreachable, Reached::No, "refused"), now);
        assert!(!health.view().credentials_refused);
        health.failed(&refused, now);
        health.heard(now);
        assert!(!health.view().credentials_refused);
        assert_eq!(health.paused(now), None);
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let health = Health::new(Backoff { first: Duration::from_secs(10), max: Duration::from_secs(60) });
        let refusal = VendorError::new(VendorFault::Rejected, Reached::No, "no");
        for _ in 0..5 {
            health.failed(&refusal, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(health.paused(Timestamp::UNIX_EPOCH), None);
        assert_eq!(health.view().reachable, Some(true));
        assert_eq!(health.view().last_error.as_deref(), Some("no"));
    }
}
