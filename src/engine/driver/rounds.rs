//! Rounds: what is due is grouped, sent to the vendor together, and taken in again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::Id;
use tokio::time::Instant;

use super::{Done, Driver, Live, ROUNDS, UnderWay, Work};
use crate::domain::error::VendorFault;
use crate::domain::id::JobId;
use crate::domain::job::PasswordState;
use crate::domain::state::JobState;
use crate::domain::target::Target;
use crate::engine::plan::{Plan, plan};
use crate::engine::round::{self, Answers, Ask, planned};
use crate::engine::step::Heard;
use crate::kit::clock;
use crate::kit::trace::TraceParent;
use crate::vendors::contract::{Planned, Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// How many rounds of one provider check at once: prechecks can take minutes, and running jobs are still looked at.
const CHECK_ROUNDS: usize = ROUNDS - 2;
/// When jobs that found no such round are due again.
const CHECK_AGAIN: Duration = Duration::from_millis(250);
/// After so long such a job says what it waits for. Mostly it has its round before, and nobody need be told.
const CHECK_TOLD: Duration = Duration::from_secs(2);
/// How many jobs one round starts: as many as one vendor call can, within these bounds. What a round heard is written
/// when all of it was heard, so a crash loses the answers of one round.
const START_BATCH: (usize, usize) = (16, 128);
/// How many jobs one round looks up, cancels or moves, one call each.
const SINGLES: usize = 32;
/// How old a check's answer may be when its start is sent; it grows old only while the store takes no writes. How old
/// what it tells is already is the adapter's to bound (`Capabilities::check_batch`, a last look before the call).
const CHECK_HOLDS: Duration = Duration::from_secs(30);

impl Work {
    /// Sends out what is due.
    pub(super) async fn dispatch(&mut self) {
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
        if let Some(pause) = paused {
            let all = [&mut check, &mut find, &mut observe, &mut cancel, &mut reschedule];
            heard.extend(
                all.into_iter().flat_map(std::mem::take).map(|id| (id, Heard::Paused(pause.clone()))),
            );
        }
        if !heard.is_empty() {
            self.hear(heard).await;
        }
        // A caller waits for a cancel, and a lost answer may hide a running operation: they go first.
        self.ask_each(cancel, SINGLES, Ask::Cancel);
        self.ask_each(find, SINGLES, Ask::Find);
        self.ask_each(reschedule, SINGLES, Ask::Reschedule);
        self.begin_checks(check).await;
        let batch = self.driver.runtime.provider.vendor.capabilities().observe_batch.max(1);
        self.ask_each(observe, batch, Ask::Observe);
    }

    pub(super) fn ask_each(&mut self, ids: Vec<JobId>, batch: usize, ask: fn(Vec<Planned>) -> Ask) {
        for chunk in ids.chunks(batch) {
            if self.rounds.len() >= ROUNDS {
                // They stay due, and go out when a round has ended.
                chunk.iter().for_each(|id| self.wake_at(*id, Instant::now()));
                continue;
            }
            let Driver { tenure, attention, .. } = &self.driver;
            let planned = |live: &Live| planned(&live.job, &tenure.permit, attention.is_on(live.job.id));
            let jobs: Vec<_> = chunk.iter().filter_map(|id| Some(planned(self.live.get(id)?))).collect();
            if !jobs.is_empty() {
                self.send(chunk.to_vec(), ask(jobs), false);
            }
        }
    }

    /// Asks for the prechecks of jobs. That they are CHECKING is written beside them, see [`super::marks`].
    pub(super) async fn begin_checks(&mut self, mut ids: Vec<JobId>) {
        let batch = self.driver.runtime.provider.vendor.capabilities().check_batch.max(1);
        let checking = self.under_way.values().filter(|round| round.checks).count();
        let room = CHECK_ROUNDS.saturating_sub(checking).saturating_mul(batch).min(ids.len());
        let late = ids.split_off(room);
        self.put_off(late).await;
        let mut gone = Vec::new();
        let mut ready = Vec::new();
        for id in ids {
            let Some(password) = self.live.get(&id).map(|live| live.job.control.password) else { continue };
            if password != PasswordState::None {
                match self.driver.vault.fetch(&*self.driver.store, id, password).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => {
                        gone.push((id, Heard::PasswordGone));
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(job.id = %id, error = %error, "a sealed password cannot be read yet");
                        self.wake_at(id, Instant::now() + Duration::from_secs(1));
                        continue;
                    }
                }
            }
            ready.push(id);
        }
        self.ask_each(ready.clone(), batch, Ask::Check);
        let now = self.driver.clock.now();
        for id in ready {
            // Those that found no round are due again.
            let unmarked = |live: &Live| live.busy && live.job.status.state != JobState::Checking;
            if self.live.get(&id).is_some_and(|live| unmarked(live)) {
                self.marks.add(id, now);
            }
        }
        if !gone.is_empty() {
            self.hear(gone).await;
        }
    }

    /// Lets jobs wait that found no round for their checks. They say so once, unless they wait for something else besides.
    async fn put_off(&mut self, ids: Vec<JobId>) {
        let now = self.driver.clock.now();
        let untold = |live: &Live| {
            let status = &live.job.status;
            status.waiting_for.is_empty() && clock::since(status.update_time, now) >= CHECK_TOLD
        };
        let tell = ids.iter().filter(|id| self.live.get(id).is_some_and(|live| untold(live)));
        let heard: Vec<_> = tell.map(|id| (*id, Heard::CheckPutOff)).collect();
        if !heard.is_empty() {
            Box::pin(self.hear(heard)).await;
        }
        for id in ids {
            self.wake_at(id, Instant::now() + CHECK_AGAIN);
        }
    }

    /// Sends starts whose intent is durable. Writing it may have taken long: what the check found may not hold any
    /// more, nor the proof that an earlier start did not arrive. Such a start is taken back and checked anew.
    pub(super) async fn submit(&mut self, ids: Vec<JobId>) {
        let mut ready = Vec::new();
        let mut gone = Vec::new();
        let now = self.driver.clock.now();
        for id in ids {
            let Some(live) = self.live.get(&id) else { continue };
            if !self.driver.tenure.permit.holds() {
                let text = "nothing was sent: the lease ended";
                let error = VendorError::new(VendorFault::TimedOut, Reached::No, text);
                gone.push((id, Heard::Submitted(Submitted::Failed(error))));
                continue;
            }
            let checked = live.job.status.submit_time.unwrap_or(now);
            // By both clocks: the first counts from the check's answer, the second also while this process slept.
            if live.checked.is_some_and(|at| at.elapsed() > CHECK_HOLDS)
                || clock::since(checked, now) > CHECK_HOLDS
                || live.job.control.resend_before.is_some_and(|until| now >= until)
            {
                let text =
                    "nothing was sent: the store took so long to note the start that it is checked anew";
                let error = VendorError::new(VendorFault::TimedOut, Reached::No, text);
                gone.push((id, Heard::Submitted(Submitted::Failed(error))));
                continue;
            }
            let planned = planned(&live.job, &self.driver.tenure.permit, false);
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
        let (least, most) = START_BATCH;
        let size = ready.iter().map(|s| self.starts_at_once(&s.planned.target)).max().unwrap_or(least);
        while !ready.is_empty() {
            let rest = ready.split_off(size.clamp(least, most).min(ready.len()));
            let round = std::mem::replace(&mut ready, rest);
            let ids = round.iter().map(|s| s.planned.job).collect();
            self.send(ids, Ask::Submit(round), true);
        }
    }

    pub(super) fn starts_at_once(&self, target: &Target) -> usize {
        let capabilities = self.driver.runtime.provider.vendor.capabilities();
        capabilities.of(target.kind).map_or(1, |c| c.batch_size as usize)
    }

    pub(super) fn send(&mut self, ids: Vec<JobId>, ask: Ask, submits: bool) {
        let mut traces = Vec::new();
        let now = Instant::now();
        for id in &ids {
            if let Some(live) = self.live.get_mut(id) {
                live.busy = true;
                live.asked = Some(now);
                traces.extend(live.job.spec.trace_parent.as_deref().and_then(TraceParent::parse));
            }
        }
        self.driver.metrics.round(self.driver.runtime.provider.id.as_str(), ask.name(), ids.len());
        let runtime = Arc::clone(&self.driver.runtime);
        let shares = u32::try_from(1 + ids.len() / 64).unwrap_or(u32::MAX);
        let limit = self.driver.round_limit.saturating_mul(shares);
        let (reads, checks) = (ask.reads(), ask.checks());
        let abort = self.rounds.spawn(async move {
            let answers = tokio::time::timeout(limit, round::ask(runtime, ask, traces)).await;
            answers.map_or(Done::Overdue, Done::Answers)
        });
        self.under_way.insert(abort.id(), UnderWay { jobs: ids, submits, checks, reads, abort });
    }

    pub(super) fn ping(&mut self) {
        self.next_ping = Instant::now() + self.driver.ping_interval;
        let now = self.driver.clock.now();
        let view = self.driver.runtime.health.view();
        let fresh = view.last_heard.is_some_and(|at| clock::since(at, now) < self.driver.ping_interval);
        if (fresh && view.version.is_some()) || self.driver.runtime.health.paused(now).is_some() {
            return;
        }
        let vendor = Arc::clone(&self.driver.runtime.provider.vendor);
        let limit = self.driver.round_limit;
        let abort = self.rounds.spawn(async move {
            let answer = tokio::time::timeout(limit, vendor.ping()).await;
            Done::Pinged(answer.unwrap_or_else(|_| Err(overdue())))
        });
        self.under_way.insert(
            abort.id(),
            UnderWay { jobs: Vec::new(), submits: false, checks: false, reads: true, abort },
        );
    }

    /// Takes in a finished round.
    pub(super) async fn take(&mut self, done: Result<(Id, Done), tokio::task::JoinError>) {
        let now = self.driver.clock.now();
        match done {
            Ok((id, Done::Pinged(Ok(version)))) => {
                self.under_way.remove(&id);
                self.heard(now);
                self.driver.runtime.health.version(version);
            }
            Ok((id, Done::Pinged(Err(error)))) => {
                self.under_way.remove(&id);
                self.failed(&self.driver.runtime.told(error), now);
            }
            Ok((id, Done::Answers(mut answers))) => {
                if let Some(round) = self.under_way.remove(&id)
                    && round.jobs.len() < answers.heard.len()
                {
                    answers.heard.retain(|(id, _)| round.jobs.contains(id));
                }
                // What was not sent because the lease ended says nothing of the provider.
                if self.driver.tenure.permit.holds() {
                    self.judge_health(&answers, now);
                }
                let heard = self.fresh(answers);
                self.hear(heard).await;
            }
            Ok((id, Done::Overdue)) => {
                tracing::error!(round.limit = ?self.driver.round_limit, "a round did not come back; it was ended");
                self.failed(&overdue(), now);
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

    /// What still counts of some answers. The store may have held the driver up meanwhile, as long as a full disk does: a
    /// check that found nothing wrong by then proves nothing, and its job is checked anew.
    fn fresh(&mut self, answers: Answers) -> Vec<(JobId, Heard)> {
        let Answers { mut heard, at } = answers;
        if at.elapsed() > CHECK_HOLDS {
            let old = heard.extract_if(.., |(_, heard)| matches!(heard, Heard::Checked(Ok(_))));
            for (id, _) in old.collect::<Vec<_>>() {
                self.marks.take(id);
                self.wake_at(id, Instant::now());
            }
        }
        for (id, heard) in &heard {
            if matches!(heard, Heard::Checked(Ok(_)))
                && let Some(live) = self.live.get_mut(id)
            {
                live.checked = Some(at);
            }
        }
        heard
    }

    /// A round ended without answers: of its starts nobody knows whether they arrived.
    pub(super) async fn lost(&mut self, id: Id, fault: fn() -> VendorError) {
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
    pub(super) fn judge_health(&self, answers: &Answers, now: Timestamp) {
        let errors: Vec<_> = answers.heard.iter().filter_map(|(_, heard)| vendor_error(heard)).collect();
        if errors.len() < answers.heard.len() {
            self.heard(now);
        } else if let Some(error) = errors.first() {
            self.failed(error, now);
        }
    }

    /// The provider answered; said in the log when it did not before.
    fn heard(&self, now: Timestamp) {
        let runtime = &self.driver.runtime;
        if runtime.health.view().reachable == Some(false) {
            tracing::info!(provider.name = %runtime.provider.id, "the provider answers again");
        }
        runtime.health.heard(now);
    }

    /// The provider did not answer, or refused; said in the log when that is new.
    fn failed(&self, error: &VendorError, now: Timestamp) {
        let runtime = &self.driver.runtime;
        let was = runtime.health.view().reachable;
        runtime.health.failed(error, now);
        if error.is_outage() && was != Some(false) {
            tracing::warn!(
                provider.name = %runtime.provider.id,
                error = %error,
                "the provider cannot be used; its jobs wait, and it is asked again"
            );
        }
    }
}

fn overdue() -> VendorError {
    VendorError::new(VendorFault::TimedOut, Reached::Maybe, "the call did not come back and was given up")
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
        | Heard::CheckPutOff
        | Heard::PasswordGone
        | Heard::Paused(_) => None,
    }
}
