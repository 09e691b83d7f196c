//! The one place that reads the wall clock.
//!
//! Everything that decides by time is handed a [`Clock`] or a `now`, so that a test can pause tokio's
//! clock and step through days: [`Clock::paused_at`] follows tokio's (pausable) time from a fixed start.

use jiff::{SignedDuration, Timestamp};

/// Where "now" comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Tokio { base: Timestamp, start: tokio::time::Instant },
}

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that starts at `base` and then moves with tokio's time, so that paused-time tests control it.
    /// Call it inside a tokio runtime.
    pub fn paused_at(base: Timestamp) -> Self {
        Self(Source::Tokio { base, start: tokio::time::Instant::now() })
    }

    /// The present moment, cut to microseconds: what the stores keep, so that what was written equals what is read.
    pub fn now(&self) -> Timestamp {
        let now = match &self.0 {
            Source::System => system_now(),
            Source::Tokio { base, start } => {
                let passed = SignedDuration::try_from(start.elapsed()).unwrap_or(SignedDuration::MAX);
                base.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
        };
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// `later - earlier`, never negative: clocks of different machines may disagree by a little.
pub fn since(earlier: Timestamp, later: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// `at + by`, saturating at the end of time.
pub fn after(at: Timestamp, by: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
