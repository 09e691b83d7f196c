//! The recent past in memory, bounded: runs of commits, one for what the tail read together.
//!
//! Most subscribers keep up, so most stand where a run begins when it comes: they take all of it at once, as bytes that
//! are made once for everybody. Who stands within one takes its commits one by one until it ends.

use std::collections::VecDeque;
use std::sync::Arc;

use super::commit::{Commit, Run};

/// About how many events a subscriber takes at once. It holds them until its client has read them, so this is what one
/// that never reads costs.
pub(super) const PORTION: u32 = 64;
/// A run is at most this part of the ring, because the ring lets go of whole runs.
const PART: usize = 4;

/// The newest events, up to a number of them.
#[derive(Debug)]
pub(super) struct Ring {
    runs: VecDeque<Arc<Run>>,
    events: usize,
    /// Everything after this position is here.
    floor: u64,
    capacity: usize,
}

impl Ring {
    /// An empty one that begins after `floor`, for some `capacity` events.
    pub const fn new(floor: u64, capacity: usize) -> Self {
        Self { runs: VecDeque::new(), events: 0, floor, capacity }
    }

    /// Everything after this position is here.
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// Forgets everything up to `position`, which is not before the newest.
    pub fn skip_to(&mut self, position: u64) {
        *self = Self::new(position, self.capacity);
    }

    /// Adds what comes next, and lets go of the oldest.
    pub fn push(&mut self, commits: Vec<Arc<Commit>>) {
        let most = (self.capacity / PART).clamp(1, PORTION as usize);
        let mut part = Vec::new();
        let mut events = 0;
        for commit in commits {
            if events > 0 && events + commit.events().len() > most {
                self.add(std::mem::take(&mut part));
                events = 0;
            }
            events += commit.events().len();
            part.push(commit);
        }
        self.add(part);
        while self.events > self.capacity
            && let Some(oldest) = self.runs.pop_front()
        {
            self.events -= oldest.events().count();
            self.floor = oldest.position();
        }
    }

    fn add(&mut self, commits: Vec<Arc<Commit>>) {
        let newest = self.runs.back().map_or(self.floor, |run| run.position());
        if let Some(run) = Run::new(newest, commits) {
            self.events += run.events().count();
            self.runs.push_back(run);
        }
    }

    /// The run that has what follows `position`, and how many of its commits do not; `None` when that is here no more,
    /// or not yet.
    pub fn next(&self, position: u64) -> Option<(&Arc<Run>, usize)> {
        if position < self.floor {
            return None;
        }
        // Nearly always the newest.
        let run = match self.runs.back() {
            Some(newest) if newest.after() <= position => newest,
            Some(_) | None => self.runs.get(self.first_after(position))?,
        };
        let known = run.commits().partition_point(|c| c.position() <= position);
        (known < run.commits().len()).then_some((run, known))
    }

    /// The commits after `position`, about [`PORTION`] events of them; `None` when some of them are here no more.
    pub fn after(&self, position: u64) -> Option<impl Iterator<Item = &Arc<Commit>>> {
        if position < self.floor {
            return None;
        }
        let mut taken = 0;
        let runs = self.runs.range(self.first_after(position)..);
        let later = runs.flat_map(|run| run.commits()).skip_while(move |c| c.position() <= position);
        Some(later.take_while(move |commit| {
            let goes_on = taken < PORTION as usize;
            taken += commit.events().len();
            goes_on
        }))
    }

    fn first_after(&self, position: u64) -> usize {
        self.runs.partition_point(|run| run.position() <= position)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::{About, Event, EventKind};
    use crate::domain::id::JobId;
    use crate::domain::job::JobStatus;
    use crate::domain::operation::OperationKind;
    use crate::domain::target::Target;
    use crate::domain::texts::Texts;
    use crate::engine::commit::Shared;
    use crate::engine::step::cancelable_at_first;

    fn event(position: u64) -> Event {
        let status = serde_json::json!({
            "state": "RUNNING",
            "provenance": "OWN",
            "update_time": Timestamp::UNIX_EPOCH,
            "cancelable": cancelable_at_first(),
        });
        Event {
            position,
            commit: position,
            job: JobId::new(Uuid::from_u128(1)),
            sequence: position,
            time: Timestamp::UNIX_EPOCH,
            kind: EventKind::Progressed,
            message: String::new(),
            status: serde_json::from_value::<JobStatus>(status).unwrap(),
            about: Arc::new(About {
                operation: OperationKind::Upgrade,
                target: Target::parse_name("providers/p/clusters/c").unwrap(),
                labels: Texts::default(),
                retry_of: None,
            }),
        }
    }

    /// Commits of so many events each, from position 1 on.
    fn commits(sizes: &[u64]) -> Vec<Arc<Commit>> {
        let mut position = 0;
        sizes
            .iter()
            .map(|size| {
                let events = (0..*size).map(|_| {
                    position += 1;
                    Shared::new(event(position))
                });
                Commit::new(events.collect())
            })
            .collect()
    }

    fn positions<'a>(commits: impl Iterator<Item = &'a Arc<Commit>>) -> Vec<u64> {
        commits.map(|c| c.position()).collect()
    }

    #[test]
    fn what_is_read_together_is_one_run() {
        let mut ring = Ring::new(0, 1000);
        ring.push(commits(&[2, 1, 3]));
        let (run, known) = ring.next(0).unwrap();
        assert_eq!((run.position(), known, run.events().count()), (6, 0, 6));
        // Who stands within it, after its first commit.
        let (run, known) = ring.next(2).unwrap();
        assert_eq!(positions(run.commits()[known..].iter()), [3, 6]);
        assert!(ring.next(6).is_none(), "there is nothing new");
    }

    #[test]
    fn a_run_is_a_portion_at_most_and_a_commit_stays_whole() {
        let mut ring = Ring::new(0, 10_000);
        ring.push(commits(&[1; 100]));
        assert_eq!(ring.next(0).unwrap().0.position(), u64::from(PORTION));
        assert_eq!(ring.next(u64::from(PORTION)).unwrap().0.position(), 100);
        let mut ring = Ring::new(0, 10_000);
        ring.push(commits(&[1, 500, 1]));
        let ends: Vec<_> = [0, 1, 501].map(|at| ring.next(at).unwrap().0.position()).into();
        assert_eq!(ends, [1, 501, 502]);
    }

    #[test]
    fn the_oldest_goes_and_its_readers_are_sent_elsewhere() {
        let mut ring = Ring::new(0, 16);
        ring.push(commits(&[1; 40]));
        let floor = ring.floor();
        assert!((40 - 16..40).contains(&floor), "{floor}");
        assert!(ring.next(floor - 1).is_none() && ring.after(floor - 1).is_none());
        assert_eq!(positions(ring.after(floor).unwrap()), (floor + 1..=40).collect::<Vec<_>>());
        ring.skip_to(50);
        assert!(ring.next(49).is_none() && ring.next(50).is_none());
        assert_eq!(ring.after(50).unwrap().count(), 0);
    }

    #[test]
    fn all_that_follows_comes_in_portions() {
        let mut ring = Ring::new(0, 1000);
        ring.push(commits(&[3; 30]));
        ring.push(Vec::new());
        let first = positions(ring.after(4).unwrap());
        assert_eq!((first.first(), first.len()), (Some(&6), 22));
        assert_eq!(positions(ring.after(*first.last().unwrap()).unwrap()).last(), Some(&90));
    }
}
