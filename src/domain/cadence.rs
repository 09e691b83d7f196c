//! How often a running job is looked at: quickly after a start, slower as it ages, and always on the provider's beat,
//! so that jobs which were started at different moments still share their list calls.

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
    /// The wait before the next look at a job that has run for `age`: a tenth of its age within the bounds.
    pub fn next(&self, age: Duration) -> Duration {
        (age / 10).clamp(self.min, self.max.max(self.min))
    }

    /// A wait that ends on a beat near its own end, when the beat began `since` ago. A beat comes every `min`.
    ///
    /// The nearest beat, not the next one: an answer is heard some moments after the beat on which it was asked for, and
    /// must not cost the job a whole beat. Two looks at a job are on different beats, so at least `min` apart from asking
    /// to asking, as long as an answer comes within half of it.
    pub fn on_beat(&self, since: Duration, wait: Duration) -> Duration {
        let beat = self.min.as_nanos().max(1);
        let end = since.saturating_add(wait);
        let after = Duration::from_nanos(u64::try_from(end.as_nanos() % beat).unwrap_or_default());
        let end = if after < self.min / 2 { end - after } else { end.saturating_add(self.min - after) };
        end.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_with_age_within_its_bounds() {
        let cadence = Cadence { min: Duration::from_secs(2), max: Duration::from_secs(60) };
        assert_eq!(cadence.next(Duration::ZERO), Duration::from_secs(2));
        assert_eq!(cadence.next(Duration::from_secs(300)), Duration::from_secs(30));
        assert_eq!(cadence.next(Duration::from_secs(36_000)), Duration::from_secs(60));
    }

    #[test]
    fn jobs_of_different_age_meet_on_the_beat() {
        let cadence = Cadence { min: Duration::from_secs(5), max: Duration::from_secs(60) };
        let ms = Duration::from_millis;
        // Asked on the beat at 100 s; the answer came 300 ms later.
        assert_eq!(cadence.on_beat(ms(100_300), ms(5_000)), ms(4_700));
        assert_eq!(cadence.on_beat(ms(100_300), ms(7_000)), ms(4_700));
        assert_eq!(cadence.on_beat(ms(100_300), ms(8_000)), ms(9_700));
        // Started between two beats.
        assert_eq!(cadence.on_beat(ms(102_000), ms(5_000)), ms(3_000));
        assert_eq!(cadence.on_beat(ms(103_000), ms(5_000)), ms(7_000));
        assert_eq!(cadence.on_beat(Duration::ZERO, ms(5_000)), ms(5_000));
    }

    #[test]
    fn a_wait_is_never_off_by_more_than_half_a_beat() {
        let cadence = Cadence { min: Duration::from_secs(2), max: Duration::from_secs(60) };
        for since in (0..20_000).step_by(370).map(Duration::from_millis) {
            for wait in (2_000..60_000).step_by(1_310).map(Duration::from_millis) {
                let kept = cadence.on_beat(since, wait);
                assert!(kept.abs_diff(wait) <= Duration::from_secs(1), "{since:?} {wait:?} {kept:?}");
                assert_eq!((since + kept).as_millis() % 2_000, 0);
            }
        }
    }
}
