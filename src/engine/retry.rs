//! Trying an ended job again by a new one, both linked in one commit.

use std::slice;

use jiff::Timestamp;
use uuid::Uuid;

use super::calls::{Checked, OnBusy, RetryRequest, StartEntry, Started};
use super::engine::{Engine, STALE_TRIES};
use super::provider::Nudge;
use super::wish;
use crate::domain::error::{Error, FieldViolation};
use crate::domain::id::{JobId, RequestId};
use crate::domain::job::{Job, JobSpec, RequestRef};
use crate::domain::operation::Operation;
use crate::store::StoreError;
use crate::store::contract::{NewJob, NewRequest};

/// The fields that a retry's request has of its own; every other fault is of the old job's operation.
const OWN_FIELDS: [&str; 3] = ["start_time", "accepted_risks", "password"];

impl Engine {
    /// Starts a new job that tries an ended one again. The old job names the new one from the same commit on.
    ///
    /// # Errors
    /// `NotFound` (job, provider), `WrongState`, `AlreadyRetried`, `InvalidRequest` with every fault,
    /// `RequestIdReused`, `TargetBusy`, `ForeignBusy`, `QueueFull`, `Overloaded`, `StoreUnavailable`.
    pub async fn retry(&self, request: RetryRequest) -> Result<Started, Error> {
        for _ in 0..STALE_TRIES {
            let now = self.clock.now();
            let old = self.job(request.job).await?;
            let entry = match self.retry_entry(&old, &request, now).await {
                Err(Error::AlreadyRetried { by, .. }) if self.is_answer(by, &request).await? => {
                    // The store answers by the key, or refuses when the digest differs; it makes no job.
                    entry(&old, old.spec.operation.clone(), &request)
                }
                other => other?,
            };
            let runtime = self.runtime(&old.spec.target.provider)?;
            let foreign = match request.on_busy {
                OnBusy::Reject => runtime.sights.refuses(&entry.target, &entry.operation, now),
                OnBusy::Queue => None,
            };
            let refused = foreign.or_else(|| self.is_full(runtime).then(|| self.too_full(runtime)));
            if let Some(error) = refused
                && !self.was_accepted(request.request.as_ref()).await?
            {
                return Err(error);
            }
            let id = JobId::new(Uuid::now_v7());
            let new = self.retry_job(id, &old, entry, &request, now)?;
            let asked = NewRequest { request: request.request, jobs: vec![new] };
            match self.make_durable(asked).await.map(|mut answers| answers.pop()) {
                Ok(Some(Err(StoreError::Stale(_)))) => self.vault.forget(id),
                Ok(Some(answer)) => return self.settle_acceptance(id, answer),
                Ok(None) => return Err(Error::Internal("the store left the entry out".to_owned())),
                Err(error) => {
                    self.vault.forget(id);
                    // It may be durable all the same: a store that cannot confirm a commit may have made it.
                    runtime.nudge(id, Nudge::AGAIN);
                    return Err(super::fault::store(error));
                }
            }
        }
        Err(Error::Overloaded(format!("`{}` changes too fast; try again", request.job)))
    }

    /// What a retry would do: keeps and starts nothing.
    ///
    /// # Errors
    /// Those of [`Engine::retry`] that concern the request, and `Vendor` when the vendor could not be asked.
    pub async fn check_retry(&self, request: &RetryRequest) -> Result<(Operation, Checked), Error> {
        let old = self.job(request.job).await?;
        let entry = self.retry_entry(&old, request, self.clock.now()).await?;
        let operation = entry.operation.clone();
        let checked = self.check(vec![entry]).await?.pop();
        let left_out = || Err(Error::Internal("the entry was left out".to_owned()));
        checked.unwrap_or_else(left_out).map(|checked| (operation, checked))
    }

    /// The entry of the new job, without fault.
    async fn retry_entry(
        &self,
        old: &Job,
        request: &RetryRequest,
        now: Timestamp,
    ) -> Result<StartEntry, Error> {
        let (operation, mut faults) = wish::retry(old, &request.asked, now)?;
        let entry = entry(old, operation, request);
        match self.validate(slice::from_ref(&entry), request.request.as_ref(), now).await {
            Ok(runtimes) => {
                // An unknown provider is told before faults: nothing can be asked of it.
                runtimes.into_iter().try_for_each(|runtime| runtime.map(drop))?;
            }
            Err(Error::InvalidRequest(found)) => {
                for fault in found.into_iter().map(of_retry) {
                    if !faults.iter().any(|known| known.field == fault.field && fault.field != "name") {
                        faults.push(fault);
                    }
                }
            }
            Err(error) => return Err(error),
        }
        if faults.is_empty() { Ok(entry) } else { Err(Error::InvalidRequest(faults)) }
    }

    /// Whether an earlier call with this request's key made `job`.
    async fn is_answer(&self, job: JobId, request: &RetryRequest) -> Result<bool, Error> {
        let Some((key, _)) = request.request else { return Ok(false) };
        let made = self.store.job(job).await.map_err(super::fault::store)?;
        Ok(made.and_then(|job| job.spec.request).is_some_and(|made_by| made_by.id == key))
    }

    fn retry_job(
        &self,
        id: JobId,
        old: &Job,
        entry: StartEntry,
        request: &RetryRequest,
        now: Timestamp,
    ) -> Result<NewJob, Error> {
        let spec = JobSpec {
            target: entry.target,
            operation: entry.operation,
            labels: old.spec.labels.clone(),
            request: request.request.map(|(id, _): (RequestId, _)| RequestRef { id, index: 0 }),
            trace_parent: request.trace_parent.as_ref().map(|t| t.as_str().to_owned()),
            create_time: now,
            retry_of: Some(old.id),
        };
        let kept = self
            .vault
            .keep(id, entry.password)
            .map_err(|e| Error::Internal(format!("the password could not be kept: {e}")))?;
        let mut new = self.new_job(id, spec, kept, request.on_busy, now);
        new.beside = Some(wish::retried(old, id, now));
        Ok(new)
    }
}

fn entry(old: &Job, operation: Operation, request: &RetryRequest) -> StartEntry {
    StartEntry {
        target: old.spec.target.clone(),
        operation,
        password: request.asked.password.clone(),
        field_prefix: String::new(),
    }
}

/// A fault of the old job's operation is one of the job that was named: the request has no other field for it.
fn of_retry(fault: FieldViolation) -> FieldViolation {
    let field = fault.field.split(['.', '[']).next().unwrap_or_default();
    if OWN_FIELDS.contains(&field) {
        return fault;
    }
    let rule = format!("its operation cannot be started again: `{}` {}", fault.field, fault.rule);
    FieldViolation::new("name", rule)
}
