//! A closer look: jobs that somebody watches are looked at as often as the provider's pace allows, whatever their age.
//!
//! They are looked at together, so that it costs one round for each pace and not one for each job, and only while the last
//! such round is back. The HTTP client's request budget holds besides; what does not fit waits there as everything else
//! does.

use std::time::Duration;

use tokio::time::Instant;

use super::{Live, ROUNDS, Work};
use crate::domain::id::JobId;
use crate::engine::plan::{Plan, plan};

/// How many watched jobs of one provider are looked at together. With more, those that waited longest come first.
const AT_MOST: usize = 32;

impl Work {
    /// Brings the next look at watched jobs forward.
    pub(super) fn look_closer(&mut self) {
        let (now, pace) = (Instant::now(), self.driver.runtime.provider.cadence.min);
        let next = self.next_closer + pace;
        self.next_closer = if next > now { next } else { now + pace };
        if self.rounds.len() >= ROUNDS || self.driver.runtime.health.paused(self.driver.clock.now()).is_some()
        {
            return;
        }
        let watched: Vec<_> = self.driver.attention.all().into_iter().collect();
        let watched: Vec<_> = watched.iter().filter_map(|id| self.live.get(id)).collect();
        if watched.iter().any(|live| live.busy && self.is_followed(live)) {
            return;
        }
        let mut due: Vec<(Option<Instant>, JobId)> = watched
            .into_iter()
            .filter(|live| self.may_be_asked(live, now, pace))
            .map(|live| (live.asked, live.job.id))
            .collect();
        due.sort_unstable();
        due.truncate(AT_MOST);
        due.into_iter().for_each(|(_, id)| self.wake_at(id, now));
    }

    /// Whether an earlier look at this job does no harm: it runs at the vendor, nothing is wrong with it, and it was not
    /// asked about within a pace (which is spread by a tenth).
    fn may_be_asked(&self, live: &Live, now: Instant, pace: Duration) -> bool {
        let rested = live.asked.is_none_or(|asked| now.duration_since(asked) >= pace.mul_f64(0.9));
        self.is_followed(live) && live.trouble == 0 && !live.untold && live.wake > now && rested
    }

    fn is_followed(&self, live: &Live) -> bool {
        let keeps_time = self.driver.runtime.keeps_time(live.job.spec.target.kind);
        plan(&live.job, keeps_time, self.driver.clock.now()) == Plan::Observe
    }
}
