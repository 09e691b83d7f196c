//! The task that owns all live jobs of one provider.
//!
//! It is the only one that calls the vendor for jobs, so that polls are batched and the request budget is exact.
//! It remembers nothing that the store does not: each job's next action is planned from the stored job, and what
//! is heard is applied to the stored job and written under the version that was seen. A caller's cancel that
//! slips in between makes the write stale; then the job is read again and what was heard is applied anew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lifespan;
use super::metrics::Metrics;
use super::plan::{Plan, plan};
use super::provider::Runtime;
use super::round::{self, Answers, Ask, planned};
use super::step::{Heard, Step, apply};
use super::vault::Vault;
use crate::domain::error::VendorFault;
use crate::domain::id::JobId;
use crate::domain::job::{Job, PasswordState, WaitReason};
use crate::domain::state::JobState;
use crate::domain::target::Target;
use crate::kit::clock::{self, Clock};
use crate::kit::retry::{Backoff, jitter};
use crate::kit::trace::TraceParent;
use crate::store::contract::Change;
use crate::store::{Store, StoreError};
use crate::vendors::contract::{Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// How many jobs one round checks or starts.
const START_BATCH: usize = 256;
/// How many rounds of one provider run at once.
const ROUNDS: usize = 8;
/// How many jobs one read or write of the store carries.
const STORE_BATCH: u32 = 500;
/// How often a stale write is tried again on the newer job.
const STALE_TRIES: u32 = 8;
/// How old a check may be when its start is sent; it grows old only while the store takes no writes.
const CHECK_HOLDS: Duration = Duration::from_secs(30);
/// An unchanged job's observation time is written at most this often.
const TOUCH: Duration = Duration::from_secs(30);

/// What a driver works with.
pub(super) struct Driver {
    pub runtime: Arc<Runtime>,
    pub store: Arc<dyn Store>,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub token: CancellationToken,
    pub ping_interval: Duration,
    /// How long a round may take, and as long again for every 64 jobs.
    pub round_limit: Duration,
}

/// A driver at work.
struct Work {
    driver: Driver,
    live: HashMap<JobId, Live>,
    due: BinaryHeap<Reverse<(Instant, JobId)>>,
    rounds: JoinSet<Done>,
    under_way: HashMap<Id, UnderWay>,
    next_ping: Instant,
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
    written: Timestamp,
}

/// A round that is out: for the case that its task dies.
struct UnderWay {
    jobs: Vec<JobId>,
    submits: bool,
}

enum Done {
    Answers(Answers),
    /// The adapter did not come back.
    Overdue,
    Pinged(Result<Option<String>, VendorError>),
}

impl Driver {
    /// Drives until the token is cancelled; then finishes the rounds that are out.
    pub async fn run(self) {
        let mut work = Work {
            driver: self,
            live: HashMap::new(),
            due: BinaryHeap::new(),
            rounds: JoinSet::new(),
            under_way: HashMap::new(),
            next_ping: Instant::now(),
        };
        work.run().await;
    }
}

impl Work {
    async fn run(&mut self) {
        if !self.load().await {
            return;
        }
        let token = self.driver.token.clone();
        let runtime = Arc::clone(&self.driver.runtime);
        loop {
            self.dispatch().await;
            // With no place for another round, only the end of one can help: what is due must wait.
            let full = self.rounds.len() >= ROUNDS;
            let next = self.due.peek().filter(|_| !full).map(|Reverse((at, _))| *at);
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(done) = self.rounds.join_next_with_id() => self.take(done).await,
                () = runtime.bell.notified() => self.refresh().await,
                () = sleep_until(next) => {}
                () = tokio::time::sleep_until(self.next_ping) => self.ping(),
            }
        }
        // What is on the wire is awaited, so that its answer is not lost; nothing new is sent.
        while let Some(done) = self.rounds.join_next_with_id().await {
            self.take(done).await;
        }
    }

    /// Reads the provider's live jobs. `false`: told to stop before it worked.
    async fn load(&mut self) -> bool {
        let retry = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
        let mut failures = 0;
        let mut after = None;
        loop {
            let provider = &self.driver.runtime.provider.id;
            match self.driver.store.live_jobs(provider, after, STORE_BATCH).await {
                Ok(jobs) => {
                    let Some(last) = jobs.last().map(|j| j.id) else { return true };
                    after = Some(last);
                    for job in jobs {
                        // Spread over one poll interval, so that a restart is no stampede.
                        let spread = self.driver.runtime.provider.cadence.min.mul_f64(jitter());
                        let wake =
                            Instant::now() + if job.is_with_vendor() { spread } else { Duration::ZERO };
                        self.keep(job, wake);
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(provider.name = %provider, error = %error, "live jobs cannot be read yet");
                    tokio::select! {
                        () = self.driver.token.cancelled() => return false,
                        () = tokio::time::sleep(retry.delay(failures, jitter())) => {}
                    }
                }
            }
        }
    }

    /// Takes in jobs that callers made or changed.
    async fn refresh(&mut self) {
        let mut nudged = self.driver.runtime.take_nudged().into_iter();
        while let Some(id) = nudged.next() {
            match self.driver.store.job(id).await {
                Ok(Some(job)) if job.status.state.is_ended() => self.ended(job).await,
                Ok(Some(job)) => match self.live.get_mut(&id) {
                    // Told of what is known already: it keeps its time.
                    Some(live) if live.job.version == job.version => {}
                    // A round is out: its write finds the newer version, or it is read again after the round.
                    Some(live) if live.busy => live.dirty = true,
                    Some(_) | None => self.keep(job, Instant::now()),
                },
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(job.id = %id, error = %error, "a changed job cannot be read yet");
                    // Nobody else tells of those behind it.
                    std::iter::once(id).chain(nudged).for_each(|id| self.driver.runtime.nudge(id));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    return;
                }
            }
        }
    }

    fn keep(&mut self, job: Job, wake: Instant) {
        let id = job.id;
        self.count(job.status.state, 1);
        let written = job.status.observe_time.unwrap_or(job.spec.create_time);
        let trouble = self.live.get(&id).map_or(0, |l| l.trouble);
        let live = Live { job, busy: false, dirty: false, trouble, untold: false, wake, written };
        if let Some(old) = self.live.insert(id, live) {
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

    /// Sends out what is due.
    async fn dispatch(&mut self) {
        if self.rounds.len() >= ROUNDS {
            return;
        }
        let now = self.driver.clock.now();
        let paused = self.driver.runtime.health.paused(now);
        let (mut heard, mut acquire, mut check, mut find, mut observe, mut cancel, mut reschedule) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for id in self.take_due() {
            let Some(live) = self.live.get(&id) else { continue };
            let keeps_time = self.driver.runtime.keeps_time(live.job.spec.target.kind);
            let group = match plan(&live.job, keeps_time, now) {
                Plan::Nothing => {
                    self.forget(id);
                    continue;
                }
                Plan::Acquire => &mut acquire,
                Plan::WaitUntil(start) => {
                    heard.push((id, Heard::Held(start)));
                    continue;
                }
                Plan::Check => &mut check,
                Plan::Find => &mut find,
                Plan::Observe => &mut observe,
                Plan::Cancel | Plan::Reschedule if live.untold => &mut observe,
                Plan::Cancel => &mut cancel,
                Plan::Reschedule => &mut reschedule,
            };
            group.push(id);
        }
        acquire.sort_unstable();
        heard.extend(acquire.into_iter().map(|id| (id, Heard::Acquired)));
        if let Some((until, why)) = paused {
            let all = [&mut check, &mut find, &mut observe, &mut cancel, &mut reschedule];
            heard.extend(
                all.into_iter().flat_map(std::mem::take).map(|id| (id, Heard::Paused(until, why.clone()))),
            );
        }
        if !heard.is_empty() {
            self.hear(heard).await;
        }
        // A caller waits for a cancel, and a lost answer may hide a running operation: they go first.
        self.ask_each(cancel, usize::MAX, Ask::Cancel);
        self.ask_each(find, usize::MAX, Ask::Find);
        self.ask_each(reschedule, usize::MAX, Ask::Reschedule);
        self.begin_checks(check).await;
        let batch = self.driver.runtime.provider.vendor.capabilities().observe_batch.max(1);
        self.ask_each(observe, batch, Ask::Observe);
    }

    fn ask_each(
        &mut self,
        ids: Vec<JobId>,
        batch: usize,
        ask: fn(Vec<crate::vendors::contract::Planned>) -> Ask,
    ) {
        for chunk in ids.chunks(batch.min(ids.len().max(1))) {
            let jobs: Vec<_> =
                chunk.iter().filter_map(|id| self.live.get(id)).map(|l| planned(&l.job)).collect();
            if !jobs.is_empty() {
                self.send(chunk.to_vec(), ask(jobs), false);
            }
        }
    }

    /// Marks jobs CHECKING, then asks for their prechecks.
    async fn begin_checks(&mut self, ids: Vec<JobId>) {
        let mut began = Vec::new();
        let mut ready = Vec::new();
        for id in ids {
            let Some(live) = self.live.get(&id) else { continue };
            let (state, password) = (live.job.status.state, live.job.control.password);
            if password != PasswordState::None {
                match self.driver.vault.fetch(&*self.driver.store, id, password).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => {
                        began.push((id, Heard::PasswordGone));
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(job.id = %id, error = %error, "a sealed password cannot be read yet");
                        self.wake_at(id, Instant::now() + Duration::from_secs(1));
                        continue;
                    }
                }
            }
            if state != JobState::Checking {
                began.push((id, Heard::CheckBegan));
            }
            ready.push(id);
        }
        if !began.is_empty() {
            self.hear(began).await;
        }
        ready.retain(|id| self.live.get(id).is_some_and(|l| l.job.status.state == JobState::Checking));
        self.ask_each(ready, START_BATCH, Ask::Check);
    }

    /// Sends starts whose intent is durable. Writing it may have taken long: what the check found may not hold any
    /// more, nor the proof that an earlier start did not arrive. Such a start is taken back and checked anew.
    async fn submit(&mut self, ids: Vec<JobId>) {
        let mut ready = Vec::new();
        let mut gone = Vec::new();
        let now = self.driver.clock.now();
        for id in ids {
            let Some(live) = self.live.get(&id) else { continue };
            let checked = live.job.status.submit_time.unwrap_or(now);
            if clock::since(checked, now) > CHECK_HOLDS
                || live.job.control.resend_before.is_some_and(|until| now >= until)
            {
                let text =
                    "nothing was sent: the store took so long to note the start that it is checked anew";
                let error = VendorError::new(VendorFault::TimedOut, Reached::No, text);
                gone.push((id, Heard::Submitted(Submitted::Failed(error))));
                continue;
            }
            let planned = planned(&live.job);
            let password = self.driver.vault.fetch(&*self.driver.store, id, live.job.control.password).await;
            match password {
                Ok(Ok(password)) => ready.push(Submission { planned, password }),
                Ok(Err(_)) => gone.push((id, Heard::PasswordGone)),
                // Nothing was sent; `find` will say so, and the start is made later.
                Err(error) => {
                    let text =
                        format!("nothing was sent: the password cannot be read from the store: {error}");
                    let error = VendorError::new(VendorFault::Unreachable, Reached::No, text);
                    gone.push((id, Heard::Submitted(Submitted::Failed(error))));
                }
            }
        }
        if !gone.is_empty() {
            Box::pin(self.hear(gone)).await;
        }
        if !ready.is_empty() {
            let ids = ready.iter().map(|s| s.planned.job).collect();
            self.send(ids, Ask::Submit(ready), true);
        }
    }

    fn send(&mut self, ids: Vec<JobId>, ask: Ask, submits: bool) {
        let mut traces = Vec::new();
        for id in &ids {
            if let Some(live) = self.live.get_mut(id) {
                live.busy = true;
                traces.extend(live.job.spec.trace_parent.as_deref().and_then(TraceParent::parse));
            }
        }
        self.driver.metrics.round(self.driver.runtime.provider.id.as_str(), ask.name(), ids.len());
        let runtime = Arc::clone(&self.driver.runtime);
        let shares = u32::try_from(1 + ids.len() / 64).unwrap_or(u32::MAX);
        let limit = self.driver.round_limit.saturating_mul(shares);
        let handle = self.rounds.spawn(async move {
            let answers = tokio::time::timeout(limit, round::ask(runtime, ask, traces)).await;
            answers.map_or(Done::Overdue, Done::Answers)
        });
        self.under_way.insert(handle.id(), UnderWay { jobs: ids, submits });
    }

    fn ping(&mut self) {
        self.next_ping = Instant::now() + self.driver.ping_interval;
        let now = self.driver.clock.now();
        let view = self.driver.runtime.health.view();
        let fresh = view.last_heard.is_some_and(|at| clock::since(at, now) < self.driver.ping_interval);
        if (fresh && view.version.is_some()) || self.driver.runtime.health.paused(now).is_some() {
            return;
        }
        let vendor = Arc::clone(&self.driver.runtime.provider.vendor);
        let limit = self.driver.round_limit;
        self.rounds.spawn(async move {
            let answer = tokio::time::timeout(limit, vendor.ping()).await;
            Done::Pinged(answer.unwrap_or_else(|_| Err(overdue())))
        });
    }

    /// Takes in a finished round.
    async fn take(&mut self, done: Result<(Id, Done), tokio::task::JoinError>) {
        let now = self.driver.clock.now();
        match done {
            Ok((_, Done::Pinged(Ok(version)))) => {
                self.driver.runtime.health.heard(now);
                self.driver.runtime.health.version(version);
            }
            Ok((_, Done::Pinged(Err(error)))) => self.driver.runtime.health.failed(&error, now),
            Ok((id, Done::Answers(answers))) => {
                self.under_way.remove(&id);
                self.judge_health(&answers, now);
                self.hear(answers.heard).await;
            }
            Ok((id, Done::Overdue)) => {
                tracing::error!(round.limit = ?self.driver.round_limit, "a round did not come back; it was ended");
                self.driver.runtime.health.failed(&overdue(), now);
                self.lost(id, overdue).await;
            }
            Err(error) => {
                tracing::error!(error = %error, "a round died; this is a bug in Drydock");
                let fault = || {
                    VendorError::new(VendorFault::Garbled, Reached::Maybe, "the round died inside Drydock")
                };
                self.lost(error.id(), fault).await;
            }
        }
    }

    /// A round ended without answers: of its starts nobody knows whether they arrived.
    async fn lost(&mut self, id: Id, fault: fn() -> VendorError) {
        let Some(lost) = self.under_way.remove(&id) else { return };
        let heard = |id| {
            let heard = if lost.submits {
                Heard::Submitted(Submitted::Failed(fault()))
            } else {
                Heard::Observed(Err(fault()))
            };
            (id, heard)
        };
        self.hear(lost.jobs.into_iter().map(heard).collect()).await;
    }

    /// One answer in a round proves that the provider is there; a round of outages counts once.
    fn judge_health(&self, answers: &Answers, now: Timestamp) {
        let errors: Vec<_> = answers.heard.iter().filter_map(|(_, heard)| vendor_error(heard)).collect();
        if errors.len() < answers.heard.len() {
            self.driver.runtime.health.heard(now);
        } else if let Some(error) = errors.first() {
            self.driver.runtime.health.failed(error, now);
        }
    }

    /// Applies what was heard, writes it, and plans what comes next.
    async fn hear(&mut self, heard: Vec<(JobId, Heard)>) {
        let mut left = heard;
        let mut submit = Vec::new();
        for _ in 0..STALE_TRIES {
            if left.is_empty() {
                break;
            }
            left = self.hear_once(left, &mut submit).await;
        }
        for (id, _) in left {
            tracing::warn!(job.id = %id, "a job changes too fast; what was heard is asked again");
            self.wake_at(id, Instant::now() + Duration::from_secs(1));
        }
        if !submit.is_empty() {
            self.submit(submit).await;
        }
    }

    /// One try of [`Work::hear`]; answers with what must be applied anew to jobs that were changed meanwhile.
    async fn hear_once(
        &mut self,
        heard: Vec<(JobId, Heard)>,
        submit: &mut Vec<JobId>,
    ) -> Vec<(JobId, Heard)> {
        let now = self.driver.clock.now();
        let stopping = self.driver.token.is_cancelled();
        let paused = self.driver.runtime.health.paused(now).map(|(until, _)| until);
        let mut writes: Vec<(JobId, Heard, Step)> = Vec::new();
        for (id, heard) in heard {
            // Once told to stop, nothing may be started: the check is made again by whoever comes next.
            if stopping && matches!(heard, Heard::Checked(Ok(_))) {
                continue;
            }
            let Some(live) = self.live.get_mut(&id) else { continue };
            let capabilities = self.driver.runtime.provider.vendor.capabilities();
            let step = apply(&live.job, &heard, capabilities, paused, now);
            let quiet = step.event.is_none() && step.control == live.job.control;
            if quiet && clock::since(live.written, now) < TOUCH {
                live.job.status.observe_time = step.status.observe_time;
                if std::mem::take(&mut live.dirty) {
                    self.driver.runtime.nudge(id);
                }
                self.settle(id, &heard, &step);
            } else {
                writes.push((id, heard, step));
            }
        }
        let mut again = Vec::new();
        let mut rest = writes.into_iter();
        loop {
            let chunk: Vec<_> = rest.by_ref().take(STORE_BATCH as usize).collect();
            if chunk.is_empty() {
                return again;
            }
            self.write(chunk, submit, &mut again).await;
        }
    }

    async fn write(
        &mut self,
        chunk: Vec<(JobId, Heard, Step)>,
        submit: &mut Vec<JobId>,
        again: &mut Vec<(JobId, Heard)>,
    ) {
        let changes: Vec<_> = chunk
            .iter()
            .filter_map(|(id, _, step)| {
                let live = self.live.get(id)?;
                Some(Change {
                    id: *id,
                    version: live.job.version,
                    status: step.status.clone(),
                    control: step.control.clone(),
                    erase_password: step.erases_password(&live.job),
                    event: step.event.clone(),
                })
            })
            .collect();
        let Some(results) = self.write_until_done(changes).await else { return };
        let now = self.driver.clock.now();
        for ((id, heard, step), result) in chunk.into_iter().zip(results) {
            match result {
                Ok(job) if job.status.state.is_ended() => self.ended(job).await,
                Ok(job) => {
                    let before = self.live.get(&id).map(|l| l.job.status.state);
                    if let Some(before) = before.filter(|b| *b != job.status.state) {
                        self.count(before, -1);
                        self.count(job.status.state, 1);
                    }
                    if job.control.password == PasswordState::Erased {
                        self.driver.vault.forget(id);
                    }
                    if let Some(live) = self.live.get_mut(&id) {
                        live.job = job;
                        live.written = now;
                    }
                    if step.submit {
                        if let Some(live) = self.live.get_mut(&id) {
                            live.busy = true;
                        }
                        submit.push(id);
                    } else {
                        self.settle(id, &heard, &step);
                    }
                }
                Err(StoreError::Stale(_)) => match self.driver.store.job(id).await {
                    Ok(Some(job)) if job.status.state.is_ended() => self.ended(job).await,
                    Ok(Some(job)) => {
                        if let Some(live) = self.live.get(&id) {
                            self.count(live.job.status.state, -1);
                            self.count(job.status.state, 1);
                        }
                        if let Some(live) = self.live.get_mut(&id) {
                            live.job = job;
                        }
                        if still_fits(&heard, self.live.get(&id).map(|l| &l.job)) {
                            again.push((id, heard));
                        } else {
                            self.wake_at(id, Instant::now());
                        }
                    }
                    Ok(None) => self.forget(id),
                    Err(error) => {
                        tracing::warn!(job.id = %id, error = %error, "a changed job cannot be read yet");
                        again.push((id, heard));
                    }
                },
                Err(StoreError::TargetBusy { holder, .. }) => {
                    again.push((id, Heard::StillBusy(format!("waits for {holder}, which holds the target"))));
                }
                Err(StoreError::Missing(_)) => self.forget(id),
                Err(error) => {
                    tracing::error!(job.id = %id, error = %error, "a job cannot be written");
                    self.wake_at(id, Instant::now() + Duration::from_secs(5));
                }
            }
        }
    }

    /// Writes until the store takes it: what was heard from a vendor must not be lost to a busy disk. `None`:
    /// told to stop; the vendor is asked again after the next start.
    async fn write_until_done(&self, changes: Vec<Change>) -> Option<Vec<Result<Job, StoreError>>> {
        let retry = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
        let mut failures = 0;
        loop {
            match self.driver.store.write(changes.clone()).await {
                Ok(results) => return Some(results),
                Err(error) => {
                    failures += 1;
                    tracing::error!(error = %error, jobs = changes.len(), "the store takes no writes; tried again");
                    if self.driver.token.is_cancelled() && failures > 3 {
                        return None;
                    }
                    tokio::time::sleep(retry.delay(failures, jitter())).await;
                }
            }
        }
    }

    /// Plans when a job is looked at next.
    fn settle(&mut self, id: JobId, heard: &Heard, step: &Step) {
        let Some(live) = self.live.get_mut(&id) else { return };
        let now = self.driver.clock.now();
        let provider = &self.driver.runtime.provider;
        let keeps_time = self.driver.runtime.keeps_time(live.job.spec.target.kind);
        let age = clock::since(live.job.status.submit_time.unwrap_or(live.job.spec.create_time), now);
        let polled = provider.cadence.next(age, jitter());
        let waits_for_target = live.job.status.waiting_for.iter().any(|w| w.reason == WaitReason::TargetBusy);
        let paused = self.driver.runtime.health.paused(now);
        let mut wait = match plan(&live.job, keeps_time, now) {
            Plan::Nothing => return,
            Plan::WaitUntil(start) => clock::since(now, start),
            // The end of the holder wakes it; this is only the safety net.
            Plan::Acquire => provider.cadence.max.max(Duration::from_secs(1)),
            Plan::Check if waits_for_target => polled,
            Plan::Cancel | Plan::Reschedule if live.untold => polled,
            Plan::Check | Plan::Cancel | Plan::Reschedule => Duration::ZERO,
            Plan::Find if live.job.status.state == JobState::Indeterminate => provider.cadence.max,
            Plan::Find | Plan::Observe => polled,
        };
        live.untold = match heard {
            Heard::CancelAnswered(answer) => answer.is_err(),
            Heard::Rescheduled(_, answer) => answer.is_err(),
            // The look that was owed.
            Heard::Observed(Ok(_)) => false,
            Heard::Observed(Err(_))
            | Heard::Acquired
            | Heard::StillBusy(_)
            | Heard::Held(_)
            | Heard::CheckBegan
            | Heard::Checked(_)
            | Heard::Submitted(_)
            | Heard::Looked(_)
            | Heard::PasswordGone
            | Heard::Paused(..) => live.untold,
        };
        if let Some(trouble) = step.trouble {
            live.trouble = live.trouble.saturating_add(1);
            let backoff = Backoff { first: provider.cadence.min, max: provider.cadence.max };
            wait =
                wait.max(backoff.delay(live.trouble, jitter())).max(trouble.retry_after.unwrap_or_default());
        } else {
            live.trouble = 0;
        }
        if let Some((until, _)) = paused {
            wait = wait.max(clock::since(now, until));
        }
        // A day at most: timers far away are planned again, and the clock may have been set meanwhile.
        self.wake_at(id, Instant::now() + wait.min(Duration::from_secs(86_400)));
    }

    /// A job has ended: tell of it once, free its target for the next in line.
    async fn ended(&mut self, job: Job) {
        self.driver.vault.forget(job.id);
        let known = self.live.contains_key(&job.id);
        self.forget(job.id);
        self.wake_queued(&job.spec.target);
        if !known {
            return;
        }
        self.driver.metrics.job_ended(&job);
        tracing::info!(
            job.id = %job.id,
            provider.name = %job.spec.target.provider,
            job.state = job.status.state.as_str(),
            trace_id = job.spec.trace_parent.as_deref().and_then(TraceParent::parse).as_ref().map(TraceParent::trace_id),
            "job ended"
        );
        match self.driver.store.job_events(job.id, 0, 1000).await {
            Ok(events) => lifespan::record(&job, &events),
            Err(error) => {
                tracing::warn!(job.id = %job.id, error = %error, "the job's life could not be traced")
            }
        }
    }

    fn forget(&mut self, id: JobId) {
        if let Some(live) = self.live.remove(&id) {
            self.count(live.job.status.state, -1);
        }
    }

    fn wake_queued(&mut self, target: &Target) {
        let waits = |l: &Live| !l.busy && !l.job.control.holds_target && l.job.spec.target == *target;
        let ids: Vec<_> = self.live.values().filter(|l| waits(l)).map(|l| l.job.id).collect();
        for id in ids {
            self.wake_at(id, Instant::now());
        }
    }
}

fn overdue() -> VendorError {
    VendorError::new(VendorFault::TimedOut, Reached::Maybe, "the call did not come back and was given up")
}

/// Whether what was heard still means something for a job that was changed meanwhile. Answers of the vendor
/// always do; a plan that was made for an older state does not.
fn still_fits(heard: &Heard, job: Option<&Job>) -> bool {
    let Some(job) = job else { return false };
    match heard {
        Heard::Submitted(_)
        | Heard::Looked(_)
        | Heard::Observed(_)
        | Heard::CancelAnswered(_)
        | Heard::Rescheduled(..) => true,
        Heard::Checked(_) => job.status.state == JobState::Checking,
        Heard::Acquired | Heard::StillBusy(_) => !job.control.holds_target,
        Heard::Held(_) | Heard::CheckBegan | Heard::PasswordGone | Heard::Paused(..) => false,
    }
}

fn vendor_error(heard: &Heard) -> Option<&VendorError> {
    match heard {
        Heard::Checked(Err(error))
        | Heard::Submitted(Submitted::Failed(error))
        | Heard::Looked(Err(error))
        | Heard::Observed(Err(error))
        | Heard::CancelAnswered(Err(error))
        | Heard::Rescheduled(_, Err(error)) => Some(error),
        Heard::Checked(Ok(_))
        | Heard::Submitted(Submitted::Started(_) | Submitted::Refused(..))
        | Heard::Looked(Ok(_))
        | Heard::Observed(Ok(_))
        | Heard::CancelAnswered(Ok(_))
        | Heard::Rescheduled(_, Ok(_))
        | Heard::Acquired
        | Heard::StillBusy(_)
        | Heard::Held(_)
        | Heard::CheckBegan
        | Heard::PasswordGone
        | Heard::Paused(..) => None,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
