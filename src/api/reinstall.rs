//! `ReinstallService`.

use tonic::{Request, Response, Status};

use super::answer;
use super::convert::page::read_page;
use super::convert::{Faults, provider, start};
use super::gate::{Gate, trace_parent};
use super::pb;
use super::pb::reinstall_service_server::ReinstallService;
use crate::domain::id::ProviderId;

/// Reinstalls of operating systems.
#[derive(Clone, Debug)]
pub struct Reinstalls(pub Gate);

#[tonic::async_trait]
impl ReinstallService for Reinstalls {
    async fn reinstall_instances(
        &self,
        request: Request<pb::ReinstallInstancesRequest>,
    ) -> Result<Response<pb::ReinstallInstancesResponse>, Status> {
        let trace = trace_parent(&request);
        let draft = start::reinstall(request.into_inner());
        let outcomes = self.0.start(draft, trace, start::reinstall_path).await?;
        Ok(Response::new(pb::ReinstallInstancesResponse { results: answer::many(outcomes) }))
    }

    async fn list_images(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::new();
        let id = faults.take("parent", ProviderId::parse_name(&request.parent));
        let page = read_page(&mut faults, request.page_size, request.page_token);
        let (Some(id), true) = (id, faults.is_empty()) else { return Err(faults.into_error().into()) };
        let images = self.0.engine.images(&id, &page).await?;
        Ok(Response::new(pb::ListImagesResponse {
            images: images.items.into_iter().map(provider::image).collect(),
            next_page_token: images.next.unwrap_or_default(),
        }))
    }
}
