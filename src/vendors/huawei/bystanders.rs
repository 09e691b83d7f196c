//! Instances that shared a refused call with the one that it was refused for.
//!
//! Whether CloudDC starts a part of a call that it refuses is not documented, and the first `running` after a start may
//! be the one from before it: one look at such a bystander proves nothing. A bystander counts as not started when the
//! vendor refused the call *and* several looks, over as long as a stale `running` is allowed for, all show the instance
//! exactly as it was before. One look that shows anything else ends that for good. So does a new start: it is about to
//! be sent, and what was learnt of the refused call says nothing of this one's answer. That start goes alone, so that a
//! refusal is its own; then the same looks show that nothing began, and the job ends refused.
//!
//! This is kept in memory only. Who does not remember a refusal (another replica, a process that was started anew) has
//! a lost answer like any other, and a lost answer never leads to a second start here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::map::STALE_RUNNING;
use super::notes::Baseline;
use super::wire::Instance;
use crate::domain::id::JobId;

/// How many looks must agree.
const LOOKS: u32 = 3;
/// How often one job may be a bystander and be sent again.
const TIMES: u32 = 3;
/// The most bystanders that are remembered: beyond it, further ones are lost answers.
const MOST: usize = 10_000;

/// The bystanders of a provider's refused calls.
#[derive(Debug, Default)]
pub(super) struct Bystanders(Mutex<HashMap<JobId, Bystander>>);

#[derive(Debug)]
struct Bystander {
    /// How often it was one.
    times: u32,
    refused_at: Instant,
    looks: u32,
    /// A look showed something else than before the start: it is looked up like any lost answer.
    moved: bool,
    /// It was sent again since: the refusal tells nothing of that start. Only how often it was one is still counted.
    resent: bool,
}

/// What is known of a job's start by the refusal of the call that it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was in no refused call, or the refusal tells nothing any more.
    Unknown,
    /// The call was refused, and nothing has moved so far.
    Waiting,
    /// The call was refused, and nothing has moved for long enough: it did not start.
    NotStarted,
}

impl Bystanders {
    /// A call with this job was refused because of another one.
    pub(super) fn add(&self, job: JobId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            // Those that have waited longest have their answer.
            all.retain(|_, one| one.refused_at.elapsed() < STALE_RUNNING * 2);
        }
        if all.len() >= MOST && !all.contains_key(&job) {
            return;
        }
        let times = all.get(&job).map_or(0, |one| one.times) + 1;
        let one = Bystander { times, refused_at: Instant::now(), looks: 0, moved: false, resent: false };
        all.insert(job, one);
    }

    /// Whether this job was a bystander.
    pub(super) fn knows(&self, job: JobId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&job)
    }

    /// A call with this job is about to be sent: from now on, only a refusal of that call tells anything.
    pub(super) fn disarm(&self, job: JobId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = all.get_mut(&job) {
            one.resent = true;
        }
    }

    /// The instance was looked at. `before` is how it stood before the start; without it nothing is concluded.
    pub(super) fn look(&self, job: JobId, instance: &Instance, before: Option<&Baseline>) -> Standing {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = all.get_mut(&job) else { return Standing::Unknown };
        let idle = instance.state.as_deref() == Some("running");
        one.moved |= !idle || before.is_none_or(|before| *before != Baseline::of(instance));
        one.looks = one.looks.saturating_add(1);
        if one.moved || one.resent || one.times > TIMES {
            Standing::Unknown
        } else if one.looks >= LOOKS && one.refused_at.elapsed() >= STALE_RUNNING {
            Standing::NotStarted
        } else {
            Standing::Waiting
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn instance(state: &str, updated: &str) -> Instance {
        Instance {
            state: Some(state.to_owned()),
            updated_at: Some(updated.to_owned()),
            ..Instance::default()
        }
    }

    const JOB: JobId = JobId::new(Uuid::from_u128(1));

    #[tokio::test(start_paused = true)]
    async fn a_stale_running_proves_nothing_until_several_looks_agree_for_long_enough() {
        let bystanders = Bystanders::default();
        let still = instance("running", "t0");
        let before = Baseline::of(&still);
        let look = |instance: &Instance| bystanders.look(JOB, instance, Some(&before));
        assert_eq!(look(&still), Standing::Unknown, "it was in no refused call");
        bystanders.add(JOB);
        for _ in 0..10 {
            assert_eq!(look(&still), Standing::Waiting);
        }
        tokio::time::advance(STALE_RUNNING).await;
        assert_eq!(look(&still), Standing::NotStarted);
    }

    #[tokio::test(start_paused = true)]
    async fn one_late_look_is_not_several() {
        let bystanders = Bystanders::default();
        let still = instance("running", "t0");
        bystanders.add(JOB);
        tokio::time::advance(STALE_RUNNING + Duration::from_secs(1)).await;
        let look = || bystanders.look(JOB, &still, Some(&Baseline::of(&still)));
        assert_eq!([look(), look(), look()], [Standing::Waiting, Standing::Waiting, Standing::NotStarted]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_moved_once_or_has_no_baseline_is_never_called_not_started() {
        let still = instance("running", "t0");
        let before = Baseline::of(&still);
        for moved in [instance("pending", "t0"), instance("running", "t1"), Instance::default()] {
            let bystanders = Bystanders::default();
            bystanders.add(JOB);
            assert_eq!(bystanders.look(JOB, &moved, Some(&before)), Standing::Unknown);
            tokio::time::advance(STALE_RUNNING).await;
            for _ in 0..5 {
                assert_eq!(bystanders.look(JOB, &still, Some(&before)), Standing::Unknown, "{moved:?}");
            }
        }
        let bystanders = Bystanders::default();
        bystanders.add(JOB);
        assert_eq!(bystanders.look(JOB, &still, None), Standing::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn the_refusal_tells_nothing_of_a_later_start() {
        let bystanders = Bystanders::default();
        let still = instance("running", "t0");
        let look = || bystanders.look(JOB, &still, Some(&Baseline::of(&still)));
        bystanders.add(JOB);
        tokio::time::advance(STALE_RUNNING).await;
        assert_eq!([look(), look(), look()][2], Standing::NotStarted);
        bystanders.disarm(JOB);
        tokio::time::advance(STALE_RUNNING).await;
        assert_eq!([look(), look(), look()], [Standing::Unknown; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_sent_again_only_so_often() {
        let bystanders = Bystanders::default();
        let still = instance("running", "t0");
        let before = Baseline::of(&still);
        for time in 1..=TIMES + 1 {
            bystanders.disarm(JOB);
            bystanders.add(JOB);
            tokio::time::advance(STALE_RUNNING).await;
            let looks: Vec<_> = (0..LOOKS).map(|_| bystanders.look(JOB, &still, Some(&before))).collect();
            assert_eq!(looks.contains(&Standing::NotStarted), time <= TIMES, "{time}");
        }
    }
}
