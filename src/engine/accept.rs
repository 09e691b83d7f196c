//! Accepting operations: every fault found before anything is kept or sent, then one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use super::calls::{Checked, OnBusy, StartEntry, StartRequest, Started};
use super::engine::Engine;
use super::fault;
use super::foreign::stands_for;
use super::provider::{Nudge, Runtime};
use super::step;
use super::vault::Kept;
use crate::domain::error::{Error, FieldViolation};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::finding::judge;
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::{JobControl, JobSpec, JobStatus, Provenance, RequestRef, VendorView};
use crate::domain::operation::Operation;
use crate::domain::page::PageRequest;
use crate::domain::state::JobState;
use crate::domain::texts::Texts;
use crate::kit::crash_point::{self, CrashPoint};
use crate::store::StoreError;
use crate::store::contract::{Accepted, JobFilter, NewJob, NewRequest};
use crate::vendors::contract::{CheckReport, Planned};
use crate::vendors::error::VendorError;

/// A start time may lie this far back: clocks differ, and a repeated request is a little older.
const PAST_TOLERANCE: Duration = Duration::from_secs(300);
/// The farthest start that is taken, so that a wrong year is noticed.
const FUTURE_LIMIT: Duration = Duration::from_secs(2 * 366 * 86_400);

impl Engine {
    /// Accepts operations. The outer error concerns the whole request; an inner one its entry.
    ///
    /// # Errors
    /// `InvalidRequest` with every fault of every entry, `RequestIdReused`, `StoreUnavailable`; for an entry
    /// `NotFound` (provider), `TargetBusy`, `ForeignBusy`, `QueueFull`, `Overloaded`.
    pub async fn start(&self, request: StartRequest) -> Result<Vec<Result<Started, Error>>, Error> {
        let now = self.clock.now();
        let runtimes = self.validate(&request.entries, request.request.as_ref(), now).await?;
        let full = |runtime: &Runtime| self.is_full(runtime);
        // A repeated request is answered with its jobs, however full or busy it is by now.
        let foreign: Vec<Option<Error>> = request
            .entries
            .iter()
            .zip(&runtimes)
            .map(|(entry, runtime)| match (runtime, request.on_busy) {
                (Ok(runtime), OnBusy::Reject) => runtime.sights.refuses(&entry.target, &entry.operation, now),
                (Ok(_), OnBusy::Queue) | (Err(_), _) => None,
            })
            .collect();
        let refuses = foreign.iter().any(Option::is_some) || runtimes.iter().flatten().any(|r| full(r));
        let counts = refuses && !self.was_accepted(request.request.as_ref()).await?;
        let mut answers: Vec<Option<Result<Started, Error>>> = Vec::with_capacity(request.entries.len());
        let mut jobs = Vec::new();
        let mut wakes = Vec::new();
        let labels: Texts = request.labels.into_iter().collect();
        let entries = request.entries.into_iter().zip(&runtimes).zip(foreign);
        for (index, ((entry, runtime), foreign)) in entries.enumerate() {
            if let Some(error) = foreign.filter(|_| counts) {
                answers.push(Some(Err(error)));
                continue;
            }
            let runtime = match runtime {
                Ok(runtime) if counts && full(runtime) => {
                    answers.push(Some(Err(self.too_full(runtime))));
                    continue;
                }
                Ok(runtime) => runtime,
                Err(error) => {
                    answers.push(Some(Err(error.clone())));
                    continue;
                }
            };
            let key = request
                .request
                .as_ref()
                .map(|(id, _)| RequestRef { id: *id, index: u32::try_from(index).unwrap_or(u32::MAX) });
            let spec = JobSpec {
                target: entry.target,
                operation: entry.operation,
                labels: labels.clone(),
                request: key,
                trace_parent: request.trace_parent.as_ref().map(|t| t.as_str().to_owned()),
                create_time: now,
                retry_of: None,
            };
            let id = JobId::new(Uuid::now_v7());
            let kept = self
                .vault
                .keep(id, entry.password)
                .map_err(|e| Error::Internal(format!("the password could not be kept: {e}")))?;
            jobs.push(self.new_job(id, spec, kept, request.on_busy, now));
            wakes.push(Arc::clone(runtime));
            answers.push(None);
        }
        let ids: Vec<_> = jobs.iter().map(|j| j.id).collect();
        let accepted = match self.make_durable(NewRequest { request: request.request, jobs }).await {
            Ok(accepted) => accepted,
            Err(error) => {
                ids.iter().for_each(|id| self.vault.forget(*id));
                // They may be durable all the same: a store that cannot confirm a commit may have made it.
                ids.iter().zip(&wakes).for_each(|(id, runtime)| runtime.nudge(*id, Nudge::AGAIN));
                return Err(fault::store(error));
            }
        };
        let mut accepted = ids.into_iter().zip(accepted);
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Some(answer) => answer,
                None => match accepted.next() {
                    Some((id, result)) => self.settle_acceptance(id, result),
                    None => Err(Error::Internal("the store left an entry out".to_owned())),
                },
            })
            .collect())
    }

    /// The one place where jobs come to be.
    pub(super) async fn make_durable(
        &self,
        request: NewRequest,
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        crash_point::reach(CrashPoint::AcceptUncommitted);
        let accepted = self.store.create(request).await;
        crash_point::reach(CrashPoint::AcceptCommitted);
        accepted
    }

    pub(super) fn is_full(&self, runtime: &Runtime) -> bool {
        runtime.live_count() >= self.settings.live_jobs_limit as u64
    }

    pub(super) fn too_full(&self, runtime: &Runtime) -> Error {
        let (id, limit) = (&runtime.provider.id, self.settings.live_jobs_limit);
        Error::Overloaded(format!("{id} has {limit} live jobs, its limit; wait for some to end"))
    }

    pub(super) fn settle_acceptance(
        &self,
        id: JobId,
        result: Result<Accepted, StoreError>,
    ) -> Result<Started, Error> {
        match result {
            Ok(accepted) => {
                // A reused one too: the answer to the call that made it may have been lost before its driver knew.
                if !accepted.job.status.state.is_ended()
                    && let Ok(runtime) = self.runtime(&accepted.job.spec.target.provider)
                {
                    runtime.nudge(accepted.job.id, Nudge::of(&accepted.job));
                }
                // A reused entry's password was kept under an id that no job has.
                if accepted.reused {
                    self.vault.forget(id);
                } else {
                    self.metrics.job_accepted(&accepted.job);
                    tracing::info!(
                        job.id = %accepted.job.id,
                        provider.name = %accepted.job.spec.target.provider,
                        job.target = %accepted.job.spec.target,
                        job.operation = accepted.job.spec.operation.kind().as_str(),
                        "job accepted"
                    );
                }
                Ok(Started { job: accepted.job, reused: accepted.reused })
            }
            Err(error) => {
                self.vault.forget(id);
                Err(fault::store(error))
            }
        }
    }

    pub(super) fn new_job(
        &self,
        id: JobId,
        spec: JobSpec,
        kept: Kept,
        on_busy: OnBusy,
        now: Timestamp,
    ) -> NewJob {
        let (scheduled_start, ignore_maintenance_windows) = match &spec.operation {
            Operation::ScheduledUpgrade(scheduled) => {
                (scheduled.start_time, scheduled.ignore_maintenance_windows)
            }
            Operation::Upgrade(_) | Operation::Reinstall(_) => (None, None),
        };
        let mut message = format!("{} of {} accepted", spec.operation.kind().as_str(), spec.target);
        if let Some(old) = spec.retry_of {
            message.push_str(&format!(", a retry of {old}"));
        }
        NewJob {
            id,
            status: JobStatus {
                state: JobState::Pending,
                provenance: Provenance::Own,
                observe_time: None,
                update_time: now,
                submit_time: None,
                end_time: None,
                scheduled_start,
                progress: None,
                findings: Vec::new(),
                waiting_for: Vec::new(),
                failure: None,
                parts: Vec::new(),
                cancelable: step::cancelable_at_first(),
                cancel_request_time: None,
                vendor: VendorView::default(),
                retried_by: None,
            },
            control: JobControl {
                holds_target: true,
                queues: on_busy == OnBusy::Queue,
                ignore_maintenance_windows,
                password: kept.state,
                ..JobControl::new(Uuid::new_v4())
            },
            sealed_password: kept.sealed,
            queue: (on_busy == OnBusy::Queue).then_some(self.settings.queue_limit),
            event: NewEvent { kind: EventKind::Created, message, time: now },
            beside: None,
            spec,
        }
    }

    /// Runs prechecks without keeping or starting anything. Entries of one provider are asked together.
    ///
    /// # Errors
    /// `InvalidRequest` with every fault; for an entry `NotFound`, or `Vendor` when it could not be asked.
    pub async fn check(&self, entries: Vec<StartEntry>) -> Result<Vec<Result<Checked, Error>>, Error> {
        let runtimes = self.validate(&entries, None, self.clock.now()).await?;
        let mut answers: Vec<Option<Result<Checked, Error>>> = Vec::new();
        let mut groups: BTreeMap<ProviderId, (Arc<Runtime>, Vec<usize>)> = BTreeMap::new();
        for (place, runtime) in runtimes.into_iter().enumerate() {
            answers.push(match runtime {
                Ok(runtime) => {
                    let id = runtime.provider.id.clone();
                    groups.entry(id).or_insert_with(|| (runtime, Vec::new())).1.push(place);
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        let rounds = groups.into_values().map(|(runtime, places)| {
            let asked: Vec<_> = places.iter().filter_map(|place| entries.get(*place)).collect();
            async move { (places, self.check_together(&asked, &runtime).await) }
        });
        for (places, found) in join_all(rounds).await {
            for (place, found) in places.into_iter().zip(found) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Some(found);
                }
            }
        }
        let left_out = || Err(Error::Internal("the adapter left the entry out".to_owned()));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(left_out)).collect())
    }

    async fn check_together(
        &self,
        entries: &[&StartEntry],
        runtime: &Runtime,
    ) -> Vec<Result<Checked, Error>> {
        if let Some(error) = runtime.health.barred(self.clock.now()) {
            let error = fault::vendor(&runtime.provider.id, error);
            return entries.iter().map(|_| Err(error.clone())).collect();
        }
        let planned: Vec<_> = entries.iter().map(|entry| imagined(entry)).collect();
        let asked = runtime.provider.vendor.check(&planned);
        let reports = tokio::time::timeout(super::inventory::DEADLINE, asked)
            .await
            .unwrap_or_else(|_| entries.iter().map(|_| Err(super::inventory::too_late())).collect());
        let reports: Vec<_> =
            reports.into_iter().map(|report| report.map_err(|error| runtime.told(error))).collect();
        judge_health(runtime, &reports, self.clock.now());
        let mut answers = Vec::with_capacity(entries.len());
        for (entry, report) in entries.iter().zip(reports) {
            answers.push(match report {
                Ok(report) => self.judged(entry, report).await,
                Err(error) => Err(fault::vendor(&runtime.provider.id, error)),
            });
        }
        answers
    }

    async fn judged(&self, entry: &StartEntry, mut report: CheckReport) -> Result<Checked, Error> {
        let filter = JobFilter {
            targets: vec![entry.target.clone()],
            states: JobState::ALL.into_iter().filter(|s| !s.is_ended()).collect(),
            oldest_first: true,
            ..JobFilter::default()
        };
        let page = PageRequest { size: 50, token: None };
        let live = self.store.jobs(&filter, &page).await.map_err(fault::store)?;
        // What runs on a target to which one of our jobs sent its start is that job's.
        let is_ours = live.items.iter().any(stands_for);
        let foreign = report.foreign.take().filter(|_| !is_ours);
        if let Ok(runtime) = self.runtime(&entry.target.provider) {
            runtime.sights.note(&entry.target, foreign.as_deref(), self.clock.now());
        }
        if let Some(other) = &foreign {
            report.findings.push(step::foreign_finding(other));
        }
        let holder = live.items.into_iter().find(|j| j.control.holds_target).map(|j| j.id);
        let operation = &entry.operation;
        let verdict = judge(&mut report.findings, operation.accepted_risks(), operation.ignores_warnings());
        Ok(Checked { target: entry.target.clone(), findings: report.findings, verdict, holder, foreign })
    }

    /// The faults of entries, asking nobody: for a caller that refuses a request already, and tells every fault at once.
    pub fn faults(&self, entries: &[StartEntry]) -> Vec<FieldViolation> {
        let now = self.clock.now();
        let mut faults = Vec::new();
        for entry in entries {
            if let Ok(runtime) = self.runtime(&entry.target.provider) {
                faults.extend(runtime.faults(entry));
            }
            if let Operation::ScheduledUpgrade(scheduled) = &entry.operation {
                faults.extend(start_time_faults(scheduled.start_time, &entry.field_prefix, now));
            }
        }
        faults
    }

    /// Finds every fault of every entry. An unknown provider concerns its entry alone.
    pub(super) async fn validate(
        &self,
        entries: &[StartEntry],
        request: Option<&(RequestId, [u8; 32])>,
        now: Timestamp,
    ) -> Result<Vec<Result<Arc<Runtime>, Error>>, Error> {
        let mut faults = Vec::new();
        let mut late = Vec::new();
        let mut runtimes = Vec::with_capacity(entries.len());
        for entry in entries {
            let runtime = self.runtime(&entry.target.provider).map(Arc::clone);
            if let Ok(runtime) = &runtime {
                faults.extend(runtime.faults(entry));
            }
            if let Operation::ScheduledUpgrade(scheduled) = &entry.operation {
                late.extend(start_time_faults(scheduled.start_time, &entry.field_prefix, now));
            }
            runtimes.push(runtime);
        }
        // A repeated request is answered with its jobs, however late it comes.
        if !late.is_empty() && !self.was_accepted(request).await? {
            faults.extend(late);
        }
        if faults.is_empty() { Ok(runtimes) } else { Err(Error::InvalidRequest(faults)) }
    }

    pub(super) async fn was_accepted(&self, request: Option<&(RequestId, [u8; 32])>) -> Result<bool, Error> {
        match request {
            Some((id, _)) => self.store.knows_request(*id).await.map_err(fault::store),
            None => Ok(false),
        }
    }
}

/// One answer proves that the provider is there; however many entries met the same outage, it is one.
fn judge_health(runtime: &Runtime, reports: &[Result<CheckReport, VendorError>], now: Timestamp) {
    match reports.iter().map(Result::as_ref).collect::<Result<Vec<_>, _>>() {
        Err(error) if reports.iter().all(Result::is_err) => runtime.health.failed(error, now),
        Ok(_) | Err(_) => runtime.health.heard(now),
    }
}

/// An entry as an adapter sees it when there is no job, and will be none.
fn imagined(entry: &StartEntry) -> Planned {
    Planned {
        job: JobId::new(Uuid::nil()),
        target: entry.target.clone(),
        operation: entry.operation.clone(),
        key: Uuid::new_v4(),
        attempts: 0,
        submit_time: None,
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

/// Faults of a start time: too far back, or so far ahead that it must be a mistake.
pub(super) fn start_time_faults(
    start: Option<Timestamp>,
    prefix: &str,
    now: Timestamp,
) -> Vec<FieldViolation> {
    let Some(start) = start else { return Vec::new() };
    let earliest = now - PAST_TOLERANCE;
    let latest = crate::kit::clock::after(now, FUTURE_LIMIT);
    let rule = if start < earliest {
        format!("lies in the past ({start}, and it is {now}); give a time ahead")
    } else if start > latest {
        format!("lies more than two years ahead ({start})")
    } else {
        return Vec::new();
    };
    let fault = FieldViolation::new("start_time", rule);
    vec![if prefix.is_empty() { fault } else { fault.under(prefix) }]
}
