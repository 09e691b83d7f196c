//! `google.longrunning.Operations`: the same jobs, for clients that know long-running operations.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::convert::Faults;
use super::convert::filter::JobList;
use super::convert::long_running::operation;
use super::convert::page::{bounded, next_token};
use super::convert::time::read_duration;
use super::gate::Gate;
use super::layers::deadline::AnswerBy;
use super::pb::longrunning::operations_server::Operations;
use super::pb::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
    ListOperationsResponse, Operation, WaitOperationRequest,
};
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::engine::calls::{WatchFilter, WatchRequest};

/// How long before the call's end a wait gives up, so that its answer arrives; of a short call, a quarter.
const EARLY: Duration = Duration::from_millis(100);
/// Longer than any call lasts.
const LONGEST_WAIT: Duration = Duration::from_secs(10_000 * 24 * 3600);

/// Jobs as long-running operations.
#[derive(Clone, Debug)]
pub struct LongRunning(pub Gate);

#[tonic::async_trait]
impl Operations for LongRunning {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let JobList { filter, page } = JobList::try_from(request.into_inner())?;
        let (engine, filter) = (&self.0.engine, &filter);
        let page =
            bounded(page, |page| async move { engine.jobs(filter, &page).await }, |j| operation(&j)).await?;
        Ok(Response::new(ListOperationsResponse {
            next_page_token: next_token(&page),
            operations: page.items,
            unreachable: Vec::new(),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = read_name(&request.into_inner().name)?;
        Ok(Response::new(operation(&self.0.engine.job(id).await?)))
    }

    async fn delete_operation(&self, _: Request<DeleteOperationRequest>) -> Result<Response<()>, Status> {
        let message = "jobs are records and are not deleted on request; to stop one, use CancelOperation";
        Err(Error::Unsupported(message.to_owned()).into())
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let id = read_name(&request.into_inner().name)?;
        let engine = Arc::clone(&self.0.engine);
        self.0.finish("cancel", async move { engine.cancel(id).await }).await?;
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let now = Instant::now();
        let call = request.extensions().get().map(|AnswerBy(at)| at.saturating_duration_since(now));
        let request = request.into_inner();
        let mut faults = Faults::new();
        let id = faults.take("name", JobId::parse_name(&request.name));
        let timeout = read_duration(&mut faults, "timeout", request.timeout, (Duration::ZERO, LONGEST_WAIT));
        let (Some(id), true) = (id, faults.is_empty()) else { return Err(faults.into_error().into()) };
        let call = call.map(|left| left.saturating_sub(EARLY.min(left / 4)));
        let wait = [timeout, call].into_iter().flatten().min().unwrap_or(LONGEST_WAIT);
        // Its time may be up before the end: then the answer is the state at that time.
        tokio::time::timeout(wait, self.end_of(id)).await.unwrap_or(Ok(()))?;
        Ok(Response::new(operation(&self.0.engine.job(id).await?)))
    }
}

impl LongRunning {
    /// Waits for a job's end.
    async fn end_of(&self, id: JobId) -> Result<(), Error> {
        loop {
            let request = WatchRequest {
                filter: WatchFilter { jobs: vec![id], ..WatchFilter::default() },
                snapshot: true,
                latest_only: true,
                until_end: true,
                ..WatchRequest::default()
            };
            let mut watch = self.0.engine.watch(request).await?;
            loop {
                match watch.next().await {
                    Some(Ok(_)) => {}
                    None => return Ok(()),
                    Some(Err(Error::WatchAged)) => break,
                    Some(Err(error)) => return Err(error),
                }
            }
        }
    }
}

fn read_name(name: &str) -> Result<JobId, Status> {
    let mut faults = Faults::new();
    let id = faults.take("name", JobId::parse_name(name));
    id.ok_or_else(|| faults.into_error().into())
}
