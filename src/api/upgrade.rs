//! `UpgradeService`.

use tonic::{Request, Response, Status};

use super::answer;
use super::convert::{Faults, provider, start};
use super::gate::{Gate, trace_parent};
use super::pb;
use super::pb::upgrade_service_server::UpgradeService;
use crate::domain::target::Target;

/// Upgrades as soon as possible.
#[derive(Clone, Debug)]
pub struct Upgrades(pub Gate);

#[tonic::async_trait]
impl UpgradeService for Upgrades {
    async fn upgrade_cluster(
        &self,
        request: Request<pb::UpgradeClusterRequest>,
    ) -> Result<Response<pb::UpgradeClusterResponse>, Status> {
        let trace = trace_parent(&request);
        let outcome = self.0.start_one(start::upgrade(request.into_inner()), trace).await?;
        let answer::One { job, reused, plan } = answer::one(outcome);
        Ok(Response::new(pb::UpgradeClusterResponse { job, reused, plan }))
    }

    async fn batch_upgrade_clusters(
        &self,
        request: Request<pb::BatchUpgradeClustersRequest>,
    ) -> Result<Response<pb::BatchUpgradeClustersResponse>, Status> {
        let trace = trace_parent(&request);
        let draft = start::batch_upgrade(request.into_inner());
        let outcomes = self.0.start(draft, trace, |fault| fault).await?;
        Ok(Response::new(pb::BatchUpgradeClustersResponse { results: answer::many(outcomes) }))
    }

    async fn check_upgrade(
        &self,
        request: Request<pb::CheckUpgradeRequest>,
    ) -> Result<Response<pb::CheckUpgradeResponse>, Status> {
        let outcome = self.0.start_one(start::check(request.into_inner()), None).await?;
        Ok(Response::new(pb::CheckUpgradeResponse { plan: answer::one(outcome).plan }))
    }

    async fn list_available_versions(
        &self,
        request: Request<pb::ListAvailableVersionsRequest>,
    ) -> Result<Response<pb::ListAvailableVersionsResponse>, Status> {
        let mut faults = Faults::new();
        let target = faults.take("target", Target::parse_name(&request.into_inner().target));
        let Some(target) = target else { return Err(faults.into_error().into()) };
        let versions = self.0.engine.versions(&target).await?;
        let versions = versions.into_iter().map(provider::version).collect();
        Ok(Response::new(pb::ListAvailableVersionsResponse { versions }))
    }
}
