//! The task that owns all live jobs of one provider.
//!
//! It is the only one that calls the vendor for jobs, so that polls are batched and the request budget is exact.
//! It remembers nothing that the store does not: each job's next action is planned from the stored job, and what
//! is heard is applied to the stored job and written under the version that was seen. A caller's cancel that
//! slips in between makes the write stale; then the job is read again and what was heard is applied anew.
//!
//! It drives under a tenure. While its permit does not hold, nothing is planned and nothing is sent; answers to what is
//! out are still taken in, and the store decides by the fence whether they are written. A write that the fence refuses
//! ends the driver: somebody else drives.

mod closer;
mod hearing;
mod intake;
mod marks;
mod rounds;
mod writing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use self::marks::Marks;
use super::attention::Attention;
use super::metrics::Metrics;
use super::provider::Runtime;
use super::round::Answers;
use super::tenure::Tenure;
use super::vault::Vault;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::state::JobState;
use crate::kit::clock::Clock;
use crate::kit::retry::{Backoff, jitter};
use crate::store::Store;
use crate::vendors::error::VendorError;

/// The waits before another driver takes over from one that died.
const REVIVAL: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(30) };
/// How many rounds of one provider run at once; starts whose intent is durable may go beyond.
const ROUNDS: usize = 8;
/// How many jobs one read or write of the store carries.
const STORE_BATCH: u32 = 500;

/// What a driver works with. A clone is another driver of the same provider: one at a time.
#[derive(Clone)]
pub(super) struct Driver {
    pub runtime: Arc<Runtime>,
    pub store: Arc<dyn Store>,
    pub vault: Arc<Vault>,
    pub attention: Arc<Attention>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub tenure: Tenure,
    pub ping_interval: Duration,
    /// How long a round may take, and as long again for every 64 jobs.
    pub round_limit: Duration,
    /// How long an operation may be with the vendor before it is called overdue.
    pub overdue_after: Duration,
}

/// How a driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was told to finish, and did.
    Finished,
    /// Somebody else drives.
    Fenced,
}

/// A driver at work.
struct Work {
    driver: Driver,
    /// Boxed: a map keeps up to twice the room that is used, and a job is large.
    live: HashMap<JobId, Box<Live>>,
    due: BinaryHeap<Reverse<(Instant, JobId)>>,
    rounds: JoinSet<Done>,
    under_way: HashMap<Id, UnderWay>,
    marks: Marks,
    next_ping: Instant,
    /// When watched jobs are looked at next.
    next_closer: Instant,
    /// When the beat began on which jobs are looked at.
    beat: Instant,
    /// How far into a beat it began: by chance, so that providers are not all asked at the same moment.
    phase: Duration,
    /// The store refused a write: somebody else drives.
    fenced: bool,
}

struct Live {
    job: Job,
    /// A round asks about it now.
    busy: bool,
    /// Somebody else changed it while a round was out.
    dirty: bool,
    /// Rounds in a row that met trouble.
    trouble: u32,
    /// A cancel or a new start time could not be told. Before it is tried again, the job is looked at: it may be
    /// over, and then nobody need be told.
    untold: bool,
    wake: Instant,
    /// When the vendor was last asked about it.
    asked: Option<Instant>,
    /// When a check last found nothing wrong.
    checked: Option<Instant>,
    written: Timestamp,
}

/// A round that is out: for the case that its task dies.
struct UnderWay {
    /// Whose answers count.
    jobs: Vec<JobId>,
    submits: bool,
    /// It runs prechecks, which may take long.
    checks: bool,
    /// It only reads: giving it up loses nothing.
    reads: bool,
    abort: AbortHandle,
}

enum Done {
    Answers(Answers),
    /// The adapter did not come back.
    Overdue,
    Pinged(Result<Option<String>, VendorError>),
}

impl Driver {
    /// Drives until its tenure ends. A driver that dies of a bug is followed by another, which reads the same truth from
    /// the store: one provider's jobs are never left alone while others go on.
    pub async fn supervise(self) -> Outcome {
        let mut deaths = 0;
        loop {
            let mut task = JoinSet::new();
            task.spawn(self.clone().run());
            match task.join_next().await {
                Some(Ok(outcome)) => return outcome,
                Some(Err(error)) if error.is_panic() && !self.tenure.finish.is_cancelled() => {
                    deaths += 1;
                    tracing::error!(
                        provider.name = %self.runtime.provider.id,
                        deaths,
                        "a driver died; this is a bug in Drydock. Another one takes over"
                    );
                    tokio::select! {
                        () = self.tenure.finish.cancelled() => return Outcome::Finished,
                        () = tokio::time::sleep(REVIVAL.delay(deaths, jitter())) => {}
                    }
                }
                Some(Err(_)) | None => return Outcome::Finished,
            }
        }
    }

    async fn run(self) -> Outcome {
        let phase = self.runtime.provider.cadence.min.mul_f64(jitter());
        let mut work = Work {
            driver: self,
            live: HashMap::new(),
            due: BinaryHeap::new(),
            rounds: JoinSet::new(),
            under_way: HashMap::new(),
            marks: Marks::default(),
            next_ping: Instant::now(),
            next_closer: Instant::now(),
            beat: Instant::now(),
            phase,
            fenced: false,
        };
        let cut = work.driver.tenure.cut.clone();
        // Rounds that are out are given up with it: what they hear, nobody could write.
        tokio::select! {
            biased;
            () = cut.cancelled() => Outcome::Fenced,
            () = work.run() => if work.fenced { Outcome::Fenced } else { Outcome::Finished },
        }
    }
}

impl Work {
    async fn run(&mut self) {
        self.driver.runtime.live.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if !self.load().await {
            return;
        }
        let Tenure { permit, finish, .. } = self.driver.tenure.clone();
        let runtime = Arc::clone(&self.driver.runtime);
        while !self.fenced && !finish.is_cancelled() {
            if !permit.holds() {
                tracing::warn!(
                    provider.name = %runtime.provider.id,
                    "the lease could not be prolonged in time: nothing is sent until it is"
                );
                if !self.pause().await {
                    break;
                }
                tracing::info!(provider.name = %runtime.provider.id, "the lease holds again");
            }
            self.dispatch().await;
            // With no place for another round, only the end of one can help: what is due must wait.
            let full = self.rounds.len() >= ROUNDS;
            let next = self.due.peek().filter(|_| !full).map(|Reverse((at, _))| *at);
            tokio::select! {
                biased;
                () = finish.cancelled() => break,
                Some(done) = self.rounds.join_next_with_id() => self.take(done).await,
                () = permit.lapsed() => {}
                () = sleep_until(self.marks.due()) => self.mark_checks().await,
                () = runtime.bell.notified() => self.refresh().await,
                () = sleep_until(next) => {}
                () = tokio::time::sleep_until(self.next_closer) => self.look_closer(),
                () = tokio::time::sleep_until(self.next_ping) => self.ping(),
            }
        }
        self.finish().await;
    }

    /// Waits until the lease holds again, and takes in what is still answered. `false`: told to finish.
    async fn pause(&mut self) -> bool {
        let Tenure { permit, finish, .. } = self.driver.tenure.clone();
        while !self.fenced {
            tokio::select! {
                biased;
                () = finish.cancelled() => return false,
                Some(done) = self.rounds.join_next_with_id() => self.take(done).await,
                () = permit.holds_again() => return true,
            }
        }
        false
    }

    /// What is on the wire is awaited, so that its answer is not lost; nothing new is sent. Reading is given up.
    async fn finish(&mut self) {
        self.under_way.values().filter(|round| round.reads).for_each(|round| round.abort.abort());
        while !self.fenced
            && let Some(done) = self.rounds.join_next_with_id().await
        {
            match done {
                Err(error) if error.is_cancelled() => {}
                done => self.take(done).await,
            }
        }
    }

    fn keep(&mut self, job: Job, wake: Instant) {
        let id = job.id;
        self.count(job.status.state, 1);
        let written = job.status.observe_time.unwrap_or(job.spec.create_time);
        let (trouble, asked) = self.live.get(&id).map_or((0, None), |l| (l.trouble, l.asked));
        let live = Live {
            job,
            busy: false,
            dirty: false,
            trouble,
            untold: false,
            wake,
            asked,
            checked: None,
            written,
        };
        if let Some(old) = self.live.insert(id, Box::new(live)) {
            self.count(old.job.status.state, -1);
        }
        self.due.push(Reverse((wake, id)));
    }

    fn count(&self, state: JobState, by: i64) {
        let mut live = self.driver.runtime.live.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = live.entry(state).or_default();
        *entry = entry.saturating_add_signed(by);
        if *entry == 0 {
            live.remove(&state);
        }
    }

    fn wake_at(&mut self, id: JobId, wake: Instant) {
        if let Some(live) = self.live.get_mut(&id) {
            live.busy = false;
            live.wake = wake;
            self.due.push(Reverse((wake, id)));
        }
    }

    /// Takes the jobs whose time has come.
    fn take_due(&mut self) -> Vec<JobId> {
        let now = Instant::now();
        let mut ids = Vec::new();
        let mut seen = HashSet::new();
        while let Some(Reverse((at, id))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            // Entries of the past whose job was given another time since are dropped here.
            if self.live.get(&id).is_some_and(|l| !l.busy && l.wake == at) && seen.insert(id) {
                ids.push(id);
            }
        }
        ids
    }

    /// How long the provider's beat goes on.
    fn since_beat(&self) -> Duration {
        self.phase + self.beat.elapsed()
    }

    /// How long it is until the first beat at which jobs that were read at the start are looked at.
    fn to_beat(&self) -> Duration {
        let since = self.since_beat();
        self.driver.runtime.provider.cadence.min.saturating_sub(since)
    }

    fn forget(&mut self, id: JobId) {
        self.marks.take(id);
        if let Some(live) = self.live.remove(&id) {
            self.count(live.job.status.state, -1);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of 100,000 live jobs takes, its texts not counted.
    #[test]
    fn a_live_job_is_small() {
        let sizes = (size_of::<Live>(), size_of::<Job>());
        assert!(sizes.0 <= 920, "{sizes:?}");
    }
}
