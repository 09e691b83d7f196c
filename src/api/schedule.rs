//! `ScheduleService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answer;
use super::convert::job::job;
use super::convert::time::read_timestamp;
use super::convert::{Faults, start};
use super::gate::{Gate, trace_parent};
use super::pb;
use super::pb::schedule_service_server::ScheduleService;
use crate::domain::id::JobId;

/// Upgrades at a time or in a window.
#[derive(Clone, Debug)]
pub struct Schedules(pub Gate);

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn schedule_upgrade(
        &self,
        request: Request<pb::ScheduleUpgradeRequest>,
    ) -> Result<Response<pb::ScheduleUpgradeResponse>, Status> {
        let trace = trace_parent(&request);
        let outcome = self.0.start_one(start::schedule(request.into_inner()), trace).await?;
        let answer::One { job, reused, plan } = answer::one(outcome);
        Ok(Response::new(pb::ScheduleUpgradeResponse { job, reused, plan }))
    }

    async fn reschedule_upgrade(
        &self,
        request: Request<pb::RescheduleUpgradeRequest>,
    ) -> Result<Response<pb::RescheduleUpgradeResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::new();
        let id = faults.take("name", JobId::parse_name(&request.name));
        let start_time = read_timestamp(&mut faults, "start_time", request.start_time);
        let (Some(id), true) = (id, faults.is_empty()) else { return Err(faults.into_error().into()) };
        let windows = request.ignore_maintenance_windows;
        let engine = Arc::clone(&self.0.engine);
        let change = async move { engine.reschedule(id, start_time, windows).await };
        let changed = self.0.finish("reschedule", change).await?;
        Ok(Response::new(pb::RescheduleUpgradeResponse { job: Some(job(&changed)) }))
    }
}
