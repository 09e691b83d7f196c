//! Back-off between attempts: exponential, capped, jittered.
//!
//! Used for waits that live in memory (a sick vendor, a lost database). What must survive a restart is
//! planned from the stored job instead, see `domain::cadence`.

use std::time::Duration;

/// An exponential back-off policy.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The wait never grows above this.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 = the first), spread by `jitter` in `0.0..1.0` over
    /// the upper half of the interval, so that many waiters do not return together.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

/// A fresh jitter value in `0.0..1.0`.
pub fn jitter() -> f64 {
    rand::random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_below_its_cap() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
        assert_eq!(backoff.delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.delay(2, 1.0), Duration::from_secs(2));
        assert_eq!(backoff.delay(4, 0.0), Duration::from_secs(4));
        assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(60));
    }
}
