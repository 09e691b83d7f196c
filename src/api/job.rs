//! `JobService`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::answer;
use super::codec::Frame;
use super::convert::Faults;
use super::convert::event::event;
use super::convert::filter::JobList;
use super::convert::job::job;
use super::convert::page::{bounded, next_token, read_page};
use super::convert::retry::{Retry, retry};
use super::gate::{Gate, Outcome, trace_parent};
use super::layers::deadline::CallDeadline;
use super::messages::Messages;
use super::outlet::{Outlet, Unpacked};
use super::pb;
use super::pb::job_service_server::JobService;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::engine::calls::{CancelOutcome, Settlement, WatchRequest};

const MAX_SETTLE_REASON: usize = 1000;

/// Jobs: read, list, follow, cancel, settle, try again.
#[derive(Clone, Debug)]
pub struct Jobs(pub Gate);

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = Unpacked;
    type WatchJobsStream = Unpacked;

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<Frame>, Status> {
        let id = read_name("name", &request.into_inner().name)?;
        Ok(Response::new(Frame(self.0.engine.shown(id, show).await?)))
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let JobList { filter, page } = JobList::try_from(request.into_inner())?;
        let (engine, filter) = (&self.0.engine, &filter);
        let page = bounded(page, |page| async move { engine.jobs(filter, &page).await }, |j| job(&j)).await?;
        Ok(Response::new(pb::ListJobsResponse { next_page_token: next_token(&page), jobs: page.items }))
    }

    async fn list_job_events(
        &self,
        request: Request<pb::ListJobEventsRequest>,
    ) -> Result<Response<pb::ListJobEventsResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::new();
        let id = faults.take("parent", JobId::parse_name(&request.parent));
        let page = read_page(&mut faults, request.page_size, request.page_token);
        let (Some(id), true) = (id, faults.is_empty()) else { return Err(faults.into_error().into()) };
        let engine = &self.0.engine;
        let page =
            bounded(page, |page| async move { engine.job_events(id, &page).await }, |e| event(&e)).await?;
        Ok(Response::new(pb::ListJobEventsResponse {
            next_page_token: next_token(&page),
            events: page.items,
        }))
    }

    async fn watch_job(
        &self,
        request: Request<pb::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let deadline = deadline(&request);
        self.watch(WatchRequest::try_from(request.into_inner())?, deadline).await
    }

    async fn watch_jobs(
        &self,
        request: Request<pb::WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        let deadline = deadline(&request);
        self.watch(WatchRequest::try_from(request.into_inner())?, deadline).await
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::CancelJobResponse>, Status> {
        let id = read_name("name", &request.into_inner().name)?;
        let engine = Arc::clone(&self.0.engine);
        let (outcome, after) = self.0.finish("cancel", async move { engine.cancel(id).await }).await?;
        let outcome = match outcome {
            CancelOutcome::Prevented => pb::CancelOutcome::Prevented,
            CancelOutcome::Requested => pb::CancelOutcome::Requested,
        };
        Ok(Response::new(pb::CancelJobResponse { outcome: outcome.into(), job: Some(job(&after)) }))
    }

    async fn settle_job(
        &self,
        request: Request<pb::SettleJobRequest>,
    ) -> Result<Response<pb::SettleJobResponse>, Status> {
        let (id, settlement, reason) = read_settle(request.into_inner())?;
        let engine = Arc::clone(&self.0.engine);
        let change = async move { engine.settle(id, settlement, reason).await };
        let after = self.0.finish("settle", change).await?;
        Ok(Response::new(pb::SettleJobResponse { job: Some(job(&after)) }))
    }

    async fn retry_job(
        &self,
        request: Request<pb::RetryJobRequest>,
    ) -> Result<Response<pb::RetryJobResponse>, Status> {
        let trace = trace_parent(&request);
        let Retry { request, validate_only } = retry(request.into_inner(), trace)?;
        let engine = Arc::clone(&self.0.engine);
        let outcome = if validate_only {
            Outcome::Planned(Box::new(engine.check_retry(&request).await?))
        } else {
            let started = self.0.finish("retry", async move { engine.retry(request).await }).await?;
            Outcome::Started(Box::new(started))
        };
        let answer::One { job, reused, plan } = answer::one(outcome);
        Ok(Response::new(pb::RetryJobResponse { job, reused, plan }))
    }
}

impl Jobs {
    async fn watch(
        &self,
        request: WatchRequest,
        deadline: Option<CallDeadline>,
    ) -> Result<Response<Unpacked>, Status> {
        let token = request.resume_token.clone();
        let request = WatchRequest { deadline: deadline.map(|deadline| deadline.at), ..request };
        let watch = self.0.engine.watch(request).await?;
        Ok(Outlet::of(Messages::new(watch, token, deadline)).into_response())
    }
}

/// What `GetJob` answers of a job.
fn show(shown: &Job) -> Bytes {
    pb::GetJobResponse { job: Some(job(shown)) }.encode_to_vec().into()
}

fn deadline<T>(request: &Request<T>) -> Option<CallDeadline> {
    request.extensions().get().copied()
}

fn read_name(field: &str, name: &str) -> Result<JobId, Status> {
    let mut faults = Faults::new();
    let id = faults.take(field, JobId::parse_name(name));
    id.ok_or_else(|| faults.into_error().into())
}

fn read_settle(
    request: pb::SettleJobRequest,
) -> Result<(JobId, Settlement, String), crate::domain::error::Error> {
    let mut faults = Faults::new();
    let id = faults.take("name", JobId::parse_name(&request.name));
    let settlement = match pb::SettleOutcome::try_from(request.outcome) {
        Ok(pb::SettleOutcome::Succeeded) => Some(Settlement::Succeeded),
        Ok(pb::SettleOutcome::Failed) => Some(Settlement::Failed),
        Ok(pb::SettleOutcome::Cancelled) => Some(Settlement::Cancelled),
        Ok(pb::SettleOutcome::Unspecified) | Err(_) => {
            faults.add("outcome", "must be SUCCEEDED, FAILED or CANCELLED");
            None
        }
    };
    let reason = faults.text("reason", MAX_SETTLE_REASON, request.reason);
    if reason.trim().is_empty() {
        faults.add("reason", "is required: who says so, and how it was found out");
    }
    match (id, settlement) {
        (Some(id), Some(settlement)) if faults.is_empty() => Ok((id, settlement, reason)),
        _ => Err(faults.into_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Error;

    const NAME: &str = "jobs/0197f36d-0000-7000-8000-000000000001";

    #[test]
    fn every_fault_of_a_settlement_is_told() {
        let fields = |request| match read_settle(request) {
            Err(Error::InvalidRequest(faults)) => faults.into_iter().map(|f| f.field).collect(),
            other => panic!("{other:?}"),
        };
        let empty: Vec<_> = fields(pb::SettleJobRequest::default());
        assert_eq!(empty, ["name", "outcome", "reason"]);
        let long = pb::SettleJobRequest {
            name: NAME.to_owned(),
            outcome: 9,
            reason: "x".repeat(MAX_SETTLE_REASON + 1),
        };
        assert_eq!(fields(long), ["outcome", "reason"]);
        for outcome in [1, 2, 3] {
            let good = pb::SettleJobRequest { name: NAME.to_owned(), outcome, reason: "looked".to_owned() };
            assert!(read_settle(good).is_ok());
        }
    }
}
