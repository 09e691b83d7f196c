//! How often a running job is looked at: quickly after a start, slower as it ages.

use std::time::Duration;

/// The bounds of polling for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// Never look more often than this.
    pub min: Duration,
    /// Never look less often than this while a job lives.
    pub max: Duration,
}

impl Cadence {
    /// The wait before the next look at a job that has run for `age`: a tenth of its age within the bounds,
    /// spread by `jitter` (`0.0..1.0`) over ±10 %, so that jobs started together drift apart only a little and
    /// can still share one list call.
    pub fn next(&self, age: Duration, jitter: f64) -> Duration {
        let wait = (age / 10).clamp(self.min, self.max.max(self.min));
        wait.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_with_age_within_its_bounds() {
        let cadence = Cadence { min: Duration::from_secs(2), max: Duration::from_secs(60) };
        assert_eq!(cadence.next(Duration::ZERO, 0.5), Duration::from_secs(2));
        assert_eq!(cadence.next(Duration::from_secs(300), 0.5), Duration::from_secs(30));
        assert_eq!(cadence.next(Duration::from_secs(36_000), 0.5), Duration::from_secs(60));
        assert!(cadence.next(Duration::ZERO, 0.0) < cadence.next(Duration::ZERO, 1.0));
    }
}
