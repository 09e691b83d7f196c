//! Hearing: what was heard is applied, written, and followed by the next plan.

use std::time::Duration;

use tokio::time::Instant;

use super::marks::after;
use super::{Live, STORE_BATCH, Work};
use crate::domain::id::JobId;
use crate::domain::job::{Job, PasswordState, WaitReason};
use crate::domain::state::JobState;
use crate::domain::target::Target;
use crate::engine::lifespan;
use crate::engine::plan::{Plan, plan};
use crate::engine::provider::Nudge;
use crate::engine::step::{Around, Heard, Step, apply};
use crate::kit::clock;
use crate::kit::crash_point::{self, CrashPoint};
use crate::kit::retry::{Backoff, jitter};
use crate::kit::trace::TraceParent;
use crate::store::StoreError;
use crate::store::contract::Change;
use crate::vendors::contract::Submitted;

/// How often a stale write is tried again on the newer job.
const STALE_TRIES: u32 = 8;
/// An unchanged job's observation time is written at most this often.
const TOUCH: Duration = Duration::from_secs(30);
/// For how long a job is left alone that the store refuses to write.
const SET_ASIDE: Duration = Duration::from_secs(300);

/// What was heard of a job, and what follows from it.
struct News {
    id: JobId,
    /// That its check began, when this was not written yet: it comes first, in the same commit.
    mark: Option<Box<Step>>,
    heard: Heard,
    step: Step,
}

impl Work {
    /// Applies what was heard, writes it, and plans what comes next.
    pub(super) async fn hear(&mut self, heard: Vec<(JobId, Heard)>) {
        let mut left = heard;
        let mut submit = Vec::new();
        for _ in 0..STALE_TRIES {
            if left.is_empty() {
                break;
            }
            left = self.hear_once(left, &mut submit).await;
        }
        if self.fenced {
            return;
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
    pub(super) async fn hear_once(
        &mut self,
        heard: Vec<(JobId, Heard)>,
        submit: &mut Vec<JobId>,
    ) -> Vec<(JobId, Heard)> {
        let now = self.driver.clock.now();
        let stopping = self.driver.tenure.finish.is_cancelled();
        let paused_here = !self.driver.tenure.permit.holds();
        let around = Around {
            paused: self.driver.runtime.health.paused(now).map(|pause| pause.until),
            overdue_after: self.driver.overdue_after,
        };
        let mut writes: Vec<News> = Vec::new();
        for (id, heard) in heard {
            let began = self.marks.take(id);
            // Once told to stop, or without a lease, nothing may be started: the check is made again by whoever drives
            // next.
            if matches!(heard, Heard::Checked(Ok(_))) && (stopping || paused_here) {
                self.wake_at(id, Instant::now());
                continue;
            }
            let Some(live) = self.live.get_mut(&id) else { continue };
            if let Heard::Checked(Ok(report)) = &heard {
                // After a lost answer it may be the job's own.
                let foreign = report.foreign.as_deref().filter(|_| live.job.control.first_lost.is_none());
                self.driver.runtime.sights.note(&live.job.spec.target, foreign, now);
            }
            let capabilities = self.driver.runtime.provider.vendor.capabilities();
            if let Some(began) = began {
                let mark = apply(&live.job, &Heard::CheckBegan, capabilities, around, began);
                let step = apply(&after(&live.job, &mark), &heard, capabilities, around, now);
                writes.push(News { id, mark: Some(Box::new(mark)), heard, step });
                continue;
            }
            let step = apply(&live.job, &heard, capabilities, around, now);
            let quiet = step.event.is_none() && step.control == live.job.control;
            if quiet && clock::since(live.written, now) < TOUCH {
                live.job.status.clone_from(&step.status);
                if std::mem::take(&mut live.dirty) {
                    self.driver.runtime.nudge(id, Nudge::AGAIN);
                }
                self.settle(id, &heard, &step);
            } else {
                writes.push(News { id, mark: None, heard, step });
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

    async fn write(&mut self, chunk: Vec<News>, submit: &mut Vec<JobId>, again: &mut Vec<(JobId, Heard)>) {
        let (mut kept, mut changes) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
        for news in chunk {
            let Some(live) = self.live.get(&news.id) else { continue };
            let steps = news.mark.as_deref().into_iter().chain([&news.step]);
            for (step, version) in steps.zip(live.job.version..) {
                changes.push(Change {
                    id: news.id,
                    version,
                    status: step.status.clone(),
                    control: step.control.clone(),
                    erase_password: step.erases_password(&live.job),
                    event: step.event.clone(),
                });
            }
            kept.push(news);
        }
        let Some(results) = self.write_until_done(changes).await else { return };
        for news in &kept {
            crash_point::reach(written(&news.heard, &news.step));
        }
        let mut results = results.into_iter();
        for News { id, mark, heard, step } in kept {
            let marked = if mark.is_some() { results.next() } else { None };
            let Some(mut result) = results.next() else { break };
            match marked {
                // How the job stands, whatever became of what follows.
                Some(Ok(job)) => self.stands(job),
                // What follows could not be made either, for want of it.
                Some(Err(error)) => result = Err(error),
                None => {}
            }
            match result {
                Ok(job) if job.status.state.is_ended() => self.ended(job).await,
                Ok(job) => {
                    let before = self.live.get(&id).map(|l| l.job.status.state);
                    tell_trouble(&job, &heard, before);
                    if job.control.password == PasswordState::Erased {
                        self.driver.vault.forget(id);
                    }
                    self.stands(job);
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
                        if self.live.get(&id).is_some_and(|live| heard.still_fits(&live.job)) {
                            again.push((id, heard));
                        } else {
                            self.wake_at(id, Instant::now());
                        }
                    }
                    Ok(None) => self.forget(id),
                    Err(error) => {
                        tracing::warn!(job.id = %id, error = %error, "a changed job cannot be read yet");
                        // Its mark is gone with the write: without it the answer counts for nothing.
                        if mark.is_some() {
                            self.wake_at(id, Instant::now() + Duration::from_secs(1));
                        } else {
                            again.push((id, heard));
                        }
                    }
                },
                Err(StoreError::TargetBusy { holder, .. }) => {
                    again.push((id, Heard::StillBusy(format!("waits for {holder}, which holds the target"))));
                }
                Err(StoreError::Missing(_)) => self.forget(id),
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(
                        job.id = %id,
                        error = %error,
                        minutes = SET_ASIDE.as_secs() / 60,
                        "the store refuses a job; it is set aside, and the others go on"
                    );
                    self.wake_at(id, Instant::now() + SET_ASIDE);
                }
                Err(error) => {
                    tracing::error!(job.id = %id, error = %error, "a job cannot be written");
                    self.wake_at(id, Instant::now() + Duration::from_secs(5));
                }
            }
        }
    }

    /// A live job was written, and stands like this.
    fn stands(&mut self, job: Job) {
        let now = self.driver.clock.now();
        let Some(live) = self.live.get_mut(&job.id) else { return };
        let (before, after) = (live.job.status.state, job.status.state);
        live.job = job;
        live.written = now;
        if before != after {
            self.count(before, -1);
            self.count(after, 1);
        }
    }

    /// Plans when a job is looked at next.
    pub(super) fn settle(&mut self, id: JobId, heard: &Heard, step: &Step) {
        let beat = self.since_beat();
        let Some(live) = self.live.get_mut(&id) else { return };
        // The check is out already: its answer plans what comes next.
        if matches!(heard, Heard::CheckBegan) && live.busy && live.job.status.state == JobState::Checking {
            return;
        }
        let now = self.driver.clock.now();
        let provider = &self.driver.runtime.provider;
        let keeps_time = self.driver.runtime.keeps_time(live.job.spec.target.kind);
        let age = clock::since(live.job.status.submit_time.unwrap_or(live.job.spec.create_time), now);
        let polled = provider.cadence.on_beat(beat, provider.cadence.next(age));
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
            | Heard::CheckPutOff
            | Heard::Checked(_)
            | Heard::Submitted(_)
            | Heard::Looked(_)
            | Heard::PasswordGone
            | Heard::Paused(_) => live.untold,
        };
        if let Some(trouble) = step.trouble {
            live.trouble = live.trouble.saturating_add(1);
            let backoff = Backoff { first: provider.cadence.min, max: provider.cadence.max };
            wait =
                wait.max(backoff.delay(live.trouble, jitter())).max(trouble.retry_after.unwrap_or_default());
        } else {
            live.trouble = 0;
        }
        if let Some(pause) = paused {
            wait = wait.max(clock::since(now, pause.until));
        }
        // A day at most: timers far away are planned again, and the clock may have been set meanwhile.
        self.wake_at(id, Instant::now() + wait.min(Duration::from_secs(86_400)));
    }

    /// A job has ended: tell of it once, free its target for the next in line.
    pub(super) async fn ended(&mut self, job: Job) {
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
            job.failure = job.status.failure.as_ref().map(|f| f.message.as_str()),
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

    pub(super) fn wake_queued(&mut self, target: &Target) {
        let waits = |l: &Live| !l.busy && !l.job.control.holds_target && l.job.spec.target == *target;
        let ids: Vec<_> = self.live.values().filter(|l| waits(l)).map(|l| l.job.id).collect();
        for id in ids {
            self.wake_at(id, Instant::now());
        }
    }
}

/// Says in the log what a person should know of a job: a lost answer, and an end that nobody can determine.
fn tell_trouble(job: &Job, heard: &Heard, before: Option<JobState>) {
    let provider = &job.spec.target.provider;
    if job.status.state == JobState::Indeterminate && before != Some(JobState::Indeterminate) {
        let why = job.status.failure.as_ref().map(|f| f.message.as_str());
        tracing::error!(job.id = %job.id, provider.name = %provider, job.failure = why, "job INDETERMINATE");
    } else if job.status.state == JobState::Submitting
        && let Heard::Submitted(Submitted::Failed(error)) = heard
    {
        tracing::warn!(
            job.id = %job.id,
            provider.name = %provider,
            error = %error,
            "the answer to a start was lost; the vendor is asked whether it arrived"
        );
    }
}

/// The crash point after a step's write. Each kind of news has its own, so that a new kind needs one to compile.
fn written(heard: &Heard, step: &Step) -> CrashPoint {
    match heard {
        Heard::Acquired => CrashPoint::AcquiredWritten,
        Heard::StillBusy(_) => CrashPoint::StillBusyWritten,
        Heard::Held(_) => CrashPoint::HeldWritten,
        Heard::CheckBegan => CrashPoint::CheckBeganWritten,
        Heard::Checked(_) if step.submit => CrashPoint::IntentWritten,
        Heard::Checked(_) => CrashPoint::CheckedWritten,
        Heard::Submitted(_) => CrashPoint::StartedWritten,
        Heard::Looked(_) => CrashPoint::LookedWritten,
        Heard::Observed(_) => CrashPoint::ObservedWritten,
        Heard::CancelAnswered(_) => CrashPoint::CancelledWritten,
        Heard::Rescheduled(..) => CrashPoint::MovedWritten,
        Heard::PasswordGone => CrashPoint::PasswordGoneWritten,
        // A wait was told, and nothing else.
        Heard::Paused(..) | Heard::CheckPutOff => CrashPoint::PausedWritten,
    }
}
