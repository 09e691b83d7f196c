//! Attention: which jobs somebody watches now, here or through another replica.
//!
//! A watch looks at few jobs or at many. One that looks at few marks them, for as long as it lives: their driver looks at
//! them more often, and asks for their costly details first. One that looks at many marks none; more looks at everything
//! would be fewer for each. Which it is shows by what it was told, so any filter that leaves few jobs counts.
//!
//! What is watched here travels to the other replicas with this one's attendance, which they read anyway, and is
//! forgotten with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::id::JobId;

/// So many jobs a watch may have before its eyes; one with more marks none until it is opened anew.
pub(super) const FEW: usize = 32;
/// How many jobs the other replicas are told of: the newest ones.
const TOLD: usize = 64;

/// The jobs that are watched.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// With how many watches each. At most [`FEW`] for each open watch.
    here: Mutex<BTreeMap<JobId, usize>>,
    /// At most [`TOLD`] for each other replica.
    elsewhere: Mutex<BTreeSet<JobId>>,
}

impl Attention {
    fn here(&self) -> MutexGuard<'_, BTreeMap<JobId, usize>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elsewhere(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The eyes of a new watch, which knows these jobs by name.
    pub fn open(self: &Arc<Self>, named: &[JobId]) -> Gaze {
        let mut gaze = Gaze { attention: Arc::clone(self), jobs: Vec::new(), wide: false };
        named.iter().for_each(|job| gaze.see(*job, false));
        gaze
    }

    /// Whether somebody watches the job.
    pub fn is_on(&self, job: JobId) -> bool {
        self.here().contains_key(&job) || self.elsewhere().contains(&job)
    }

    /// Every job that somebody watches.
    pub fn all(&self) -> BTreeSet<JobId> {
        let mut all = self.elsewhere().clone();
        all.extend(self.here().keys());
        all
    }

    /// What the other replicas are to know.
    pub fn to_tell(&self) -> Vec<JobId> {
        self.here().keys().rev().take(TOLD).copied().collect()
    }

    /// What the other replicas told, in place of what they told before.
    pub fn told(&self, jobs: impl Iterator<Item = JobId>) {
        *self.elsewhere() = jobs.collect();
    }
}

/// What one watch looks at. Its marks go with it, however it ends.
#[derive(Debug)]
pub(super) struct Gaze {
    attention: Arc<Attention>,
    jobs: Vec<JobId>,
    wide: bool,
}

impl Gaze {
    /// Whether it has seen so many jobs that it marks none.
    pub const fn is_wide(&self) -> bool {
        self.wide
    }

    /// The watch is told of a job.
    pub fn see(&mut self, job: JobId, ended: bool) {
        if self.wide {
            return;
        }
        match self.jobs.iter().position(|known| *known == job) {
            Some(at) if ended => {
                self.jobs.swap_remove(at);
                self.unmark(&[job]);
            }
            None if !ended && self.jobs.len() == FEW => {
                self.wide = true;
                let jobs = std::mem::take(&mut self.jobs);
                self.unmark(&jobs);
            }
            None if !ended => {
                self.jobs.push(job);
                *self.attention.here().entry(job).or_default() += 1;
            }
            Some(_) | None => {}
        }
    }

    fn unmark(&self, jobs: &[JobId]) {
        let mut here = self.attention.here();
        for job in jobs {
            match here.get_mut(job) {
                Some(watches) if *watches > 1 => *watches -= 1,
                Some(_) => _ = here.remove(job),
                None => {}
            }
        }
    }
}

impl Drop for Gaze {
    fn drop(&mut self) {
        self.unmark(&self.jobs);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(n: usize) -> JobId {
        JobId::new(Uuid::from_u128(n as u128))
    }

    #[test]
    fn a_job_is_watched_until_its_last_watch_is_gone() {
        let attention = Arc::new(Attention::default());
        let one = attention.open(&[job(1), job(2)]);
        let mut two = attention.open(&[]);
        two.see(job(1), false);
        two.see(job(1), false);
        assert_eq!(attention.all(), BTreeSet::from([job(1), job(2)]));
        drop(one);
        assert_eq!(attention.all(), BTreeSet::from([job(1)]));
        drop(two);
        assert!(attention.all().is_empty());
    }

    #[test]
    fn an_ended_job_needs_no_attention() {
        let attention = Arc::new(Attention::default());
        let mut gaze = attention.open(&[job(1)]);
        gaze.see(job(2), true);
        gaze.see(job(1), true);
        assert!(!attention.is_on(job(1)) && !attention.is_on(job(2)));
    }

    #[test]
    fn who_looks_at_many_marks_none() {
        let attention = Arc::new(Attention::default());
        let mut gaze = attention.open(&[]);
        (0..FEW).for_each(|n| gaze.see(job(n), false));
        assert_eq!(attention.all().len(), FEW);
        gaze.see(job(FEW), false);
        assert!(attention.all().is_empty());
        gaze.see(job(1), false);
        assert!(attention.all().is_empty());
    }

    #[test]
    fn others_are_told_of_the_newest_and_what_they_tell_replaces_what_they_told() {
        let attention = Arc::new(Attention::default());
        let jobs: Vec<_> = (0..3 * FEW).map(job).collect();
        let gazes: Vec<_> = jobs.chunks(FEW).map(|chunk| attention.open(chunk)).collect();
        let told = attention.to_tell();
        assert_eq!((told.len(), told[0]), (TOLD, job(3 * FEW - 1)));
        drop(gazes);
        attention.told([job(7), job(8)].into_iter());
        attention.told([job(8)].into_iter());
        assert!(!attention.is_on(job(7)) && attention.is_on(job(8)));
        assert!(attention.to_tell().is_empty(), "what others told is theirs to tell");
    }
}
