//! Decides what a group of writes does, in memory: pure, no SQL.
//!
//! A store reads what a group may touch into a [`Ledger`], lets each write decide here, one after the other,
//! and then saves all rows that changed at once. So a group of writes costs a fixed number of statements, a
//! write that is refused has touched nothing, and a later write of the group sees what an earlier one did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::contract::{Accepted, Change, NewJob, NewRequest};
use super::error::StoreError;
use super::lease::Guard;
use super::record::end_time;
use crate::domain::event::NewEvent;
use crate::domain::id::{JobId, RequestId};
use crate::domain::job::{Job, JobStatus, RequestRef};
use crate::domain::target::Target;

/// What a group of writes knows and changes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    jobs: HashMap<JobId, Entry>,
    /// By target: its live jobs, and whether each holds it.
    live: HashMap<Target, BTreeMap<JobId, bool>>,
    requests: HashMap<RequestId, Known>,
    /// Jobs whose rows cannot be read, and why.
    damaged: HashMap<JobId, String>,
    position: u64,
    saves: Saves,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    /// The request's key and place, for the row of a new job.
    request: Option<RequestRef>,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Read,
    New,
    Changed(Extent),
}

/// How much of a job's row changed. A column that an `UPDATE` names costs every index that it stands in, also when its
/// value stays, and most changes are of little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// What no index knows.
    Told,
    /// Its state too.
    Moved,
    /// Also whether it holds its target, or whether and when it ended.
    Settled,
}

impl Extent {
    fn between(old: &Job, new: &Job) -> Self {
        let (was, is) = (old.status.state, new.status.state);
        let settled = was.is_ended() != is.is_ended()
            || old.control.holds_target != new.control.holds_target
            || end_time(old) != end_time(new);
        match (settled, was == is) {
            (true, _) => Self::Settled,
            (false, false) => Self::Moved,
            (false, true) => Self::Told,
        }
    }
}

#[derive(Debug)]
struct Known {
    digest: [u8; 32],
    /// By place in the request.
    jobs: BTreeMap<u32, JobId>,
}

/// The rows that a group leaves to save.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// Requests seen for the first time.
    pub requests: Vec<NewKey>,
    /// Sealed passwords to keep.
    pub sealed: Vec<(JobId, Vec<u8>)>,
    /// Jobs whose sealed password goes.
    pub erased: BTreeSet<JobId>,
    /// Events, in position order.
    pub events: Vec<NewEventRow>,
}

/// A request seen for the first time.
#[derive(Debug)]
pub(super) struct NewKey {
    pub id: RequestId,
    pub digest: [u8; 32],
    pub create_time: Timestamp,
}

/// An event to save.
#[derive(Debug)]
pub(super) struct NewEventRow {
    pub position: u64,
    pub commit: u64,
    pub job: JobId,
    pub sequence: u64,
    pub event: NewEvent,
    pub status: JobStatus,
}

impl Ledger {
    /// A ledger whose next event comes after `position`.
    pub(super) fn new(position: u64) -> Self {
        Self { position, ..Self::default() }
    }

    /// Takes in a job as it is stored.
    pub(super) fn know_job(&mut self, job: Job) {
        self.jobs.insert(job.id, Entry { job, request: None, mark: Mark::Read });
    }

    /// Takes in that a job's row cannot be read: writes that need it answer `Corrupt`.
    pub(super) fn know_damage(&mut self, job: JobId, why: String) {
        self.damaged.insert(job, why);
    }

    /// Takes in that a live job stands on a target.
    pub(super) fn know_live(&mut self, target: Target, job: JobId, holds: bool) {
        self.live.entry(target).or_default().insert(job, holds);
    }

    /// Takes in a request's digest.
    pub(super) fn know_request(&mut self, id: RequestId, digest: [u8; 32]) {
        self.requests.insert(id, Known { digest, jobs: BTreeMap::new() });
    }

    /// Takes in that a job, known by [`Ledger::know_job`], stands for a place of a known request.
    pub(super) fn know_place(&mut self, request: RequestId, index: u32, job: JobId) {
        if let Some(known) = self.requests.get_mut(&request) {
            known.jobs.insert(index, job);
        }
    }

    /// The jobs read so far that `changes` would let take their target, so that the target's live jobs can be
    /// read too.
    pub(super) fn takers<'a>(&'a self, changes: &'a [Change]) -> impl Iterator<Item = &'a Target> {
        changes
            .iter()
            .filter(|change| change.control.holds_target)
            .filter_map(|change| self.jobs.get(&change.id))
            .filter(|entry| !entry.job.control.holds_target)
            .map(|entry| &entry.job.spec.target)
    }

    /// The position of the newest event, with those of this group.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Jobs to insert.
    pub(super) fn new_jobs(&self) -> impl Iterator<Item = (&Job, Option<RequestRef>)> {
        self.jobs.values().filter(|e| e.mark == Mark::New).map(|e| (&e.job, e.request))
    }

    /// Jobs to update. Those that hold no target come first, so that a target is free before it is taken.
    pub(super) fn changed_jobs(&self) -> impl Iterator<Item = &Job> {
        let changed = |holds: bool| {
            self.jobs
                .values()
                .filter(move |e| matches!(e.mark, Mark::Changed(_)) && e.job.control.holds_target == holds)
                .map(|e| &e.job)
        };
        changed(false).chain(changed(true))
    }

    /// How much of the rows of [`Ledger::changed_jobs`] changed at most.
    pub(super) fn extent(&self) -> Option<Extent> {
        let extents = self.jobs.values().filter_map(|entry| match entry.mark {
            Mark::Changed(extent) => Some(extent),
            Mark::Read | Mark::New => None,
        });
        extents.max()
    }

    /// Every job that this group leaves another than it was, or new.
    pub(super) fn written(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|e| e.mark != Mark::Read).map(|e| &e.job)
    }

    /// The other rows to save.
    pub(super) const fn saves(&self) -> &Saves {
        &self.saves
    }

    /// Decides [`super::Store::create`].
    pub(super) fn create(
        &mut self,
        request: &NewRequest,
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        if let Some((id, digest)) = request.request {
            match self.requests.get(&id) {
                Some(known) if known.digest != digest => return Err(StoreError::RequestReused(id)),
                Some(_) => {}
                // An empty request has no time and nothing to answer again.
                None => {
                    if let Some(first) = request.jobs.first() {
                        let create_time = first.spec.create_time;
                        self.saves.requests.push(NewKey { id, digest, create_time });
                        self.know_request(id, digest);
                    }
                }
            }
        }
        let commit = self.position + 1;
        Ok(request
            .jobs
            .iter()
            .zip(0..)
            .map(|(new, place)| {
                let request = request
                    .request
                    .map(|(id, _)| RequestRef { id, index: new.spec.request.map_or(place, |of| of.index) });
                self.accept(new, request, commit)
            })
            .collect())
    }

    fn accept(
        &mut self,
        new: &NewJob,
        request: Option<RequestRef>,
        commit: u64,
    ) -> Result<Accepted, StoreError> {
        let earlier = request.and_then(|at| self.requests.get(&at.id)?.jobs.get(&at.index));
        if let Some(id) = earlier {
            return self.known(*id).map(|entry| Accepted { job: entry.job.clone(), reused: true });
        }
        if self.jobs.contains_key(&new.id) || self.damaged.contains_key(&new.id) {
            return Err(StoreError::Corrupt(format!("`{}` exists already; its id was made twice", new.id)));
        }
        let ended = new.status.state.is_ended();
        let target = &new.spec.target;
        let live = self.live.get(target).filter(|live| !ended && !live.is_empty());
        let holds = match (live, new.queue) {
            (None, _) => !ended,
            (Some(live), None) => return Err(busy(target, live)),
            (Some(live), Some(most)) => {
                let waiting = live.values().filter(|holds| !**holds).count();
                let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
                if waiting >= most {
                    return Err(StoreError::QueueFull { target: target.clone(), waiting });
                }
                false
            }
        };
        // Last of all that can refuse: what is refused here has changed nothing yet.
        if let Some(beside) = &new.beside {
            self.change(beside, commit)?;
        }
        let mut job = Job {
            id: new.id,
            spec: new.spec.clone(),
            status: new.status.clone(),
            control: new.control.clone(),
            version: 1,
            sequence: 0,
        };
        job.control.holds_target = holds;
        if !ended {
            self.know_live(new.spec.target.clone(), new.id, holds);
        }
        if let Some(at) = request {
            self.know_place(at.id, at.index, new.id);
        }
        if let Some(sealed) = &new.sealed_password {
            self.saves.sealed.push((new.id, sealed.clone()));
        }
        self.tell(&mut job, &new.event, commit);
        self.jobs.insert(new.id, Entry { job: job.clone(), request, mark: Mark::New });
        Ok(Accepted { job, reused: false })
    }

    /// Decides [`super::Store::write`]. Whether the guard's lease still holds, the store has looked up.
    pub(super) fn write(
        &mut self,
        changes: &[Change],
        guard: Option<&Guard>,
    ) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
        if let Some(guard) = guard {
            let jobs = changes.iter().filter_map(|change| self.jobs.get(&change.id));
            for entry in jobs {
                if entry.job.spec.target.provider != guard.provider {
                    return Err(StoreError::Fenced(entry.job.spec.target.provider.clone()));
                }
            }
        }
        let commit = self.position + 1;
        // What follows a change that was not made may name, by chance, the version that somebody else made meanwhile.
        let mut unmade = BTreeSet::new();
        let make = |change: &Change| {
            if unmade.contains(&change.id) {
                return Err(StoreError::Stale(change.id));
            }
            let made = self.change(change, commit);
            if made.is_err() {
                unmade.insert(change.id);
            }
            made
        };
        Ok(changes.iter().map(make).collect())
    }

    fn change(&mut self, change: &Change, commit: u64) -> Result<Job, StoreError> {
        let entry = self.known(change.id)?;
        if entry.job.version != change.version {
            return Err(StoreError::Stale(change.id));
        }
        let target = &entry.job.spec.target;
        let ended = change.status.state.is_ended();
        let holds = change.control.holds_target && !ended;
        if holds && !entry.job.control.holds_target {
            // Who waits longest comes first, whoever asks first.
            let first = self.live.get(target).into_iter().flatten();
            let ahead = first.into_iter().find(|(id, holds)| **holds || **id < change.id);
            if let Some((holder, _)) = ahead {
                return Err(StoreError::TargetBusy { target: target.clone(), holder: *holder });
            }
        }
        let mut job = Job {
            id: change.id,
            spec: entry.job.spec.clone(),
            status: change.status.clone(),
            control: change.control.clone(),
            version: entry.job.version + 1,
            sequence: entry.job.sequence,
        };
        job.control.holds_target = holds;
        let live = self.live.entry(target.clone()).or_default();
        if ended {
            live.remove(&change.id);
        } else {
            live.insert(change.id, holds);
        }
        if change.erase_password {
            self.saves.sealed.retain(|(id, _)| *id != change.id);
            self.saves.erased.insert(change.id);
        }
        if let Some(event) = &change.event {
            self.tell(&mut job, event, commit);
        }
        if let Some(entry) = self.jobs.get_mut(&change.id) {
            let extent = Extent::between(&entry.job, &job);
            entry.job = job.clone();
            entry.mark = match entry.mark {
                Mark::New => Mark::New,
                Mark::Read => Mark::Changed(extent),
                // Compared step by step: what came and went is written too, and does no harm.
                Mark::Changed(before) => Mark::Changed(before.max(extent)),
            };
        }
        Ok(job)
    }

    fn known(&self, id: JobId) -> Result<&Entry, StoreError> {
        match (self.jobs.get(&id), self.damaged.get(&id)) {
            (Some(entry), _) => Ok(entry),
            (None, Some(why)) => Err(StoreError::Corrupt(why.clone())),
            (None, None) => Err(StoreError::Missing(id)),
        }
    }

    fn tell(&mut self, job: &mut Job, event: &NewEvent, commit: u64) {
        self.position += 1;
        job.sequence += 1;
        self.saves.events.push(NewEventRow {
            position: self.position,
            commit,
            job: job.id,
            sequence: job.sequence,
            event: event.clone(),
            status: job.status.clone(),
        });
    }
}

/// Names who stands in the way: the holder, or else the job that waits longest. A newcomer does not overtake
/// the jobs that wait while the target changes hands.
fn busy(target: &Target, live: &BTreeMap<JobId, bool>) -> StoreError {
    let holder = live.iter().find(|(_, holds)| **holds).or_else(|| live.iter().next()).map(|(id, _)| *id);
    match holder {
        Some(holder) => StoreError::TargetBusy { target: target.clone(), holder },
        None => StoreError::Corrupt(format!("`{target}` is busy with no job")),
    }
}
