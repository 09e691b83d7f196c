//! `ProviderService`.

use tonic::{Request, Response, Status};

use super::convert::page::read_page;
use super::convert::{Faults, provider};
use super::gate::Gate;
use super::pb;
use super::pb::provider_service_server::ProviderService;
use crate::domain::error::Error;
use crate::domain::id::ProviderId;
use crate::domain::page::{Page, PageRequest};
use crate::engine::calls::ProviderView;

/// The configured providers, and what they have.
#[derive(Clone, Debug)]
pub struct Providers(pub Gate);

/// In a parent: all providers.
const ALL: &str = "providers/-";

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn list_providers(
        &self,
        request: Request<pb::ListProvidersRequest>,
    ) -> Result<Response<pb::ListProvidersResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::new();
        let page = read_page(&mut faults, request.page_size, request.page_token);
        let page = cut(self.0.engine.providers(), &faults.check(page)?)?;
        Ok(Response::new(pb::ListProvidersResponse {
            providers: page.items.iter().map(provider::provider).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_provider(
        &self,
        request: Request<pb::GetProviderRequest>,
    ) -> Result<Response<pb::GetProviderResponse>, Status> {
        let mut faults = Faults::new();
        let id = faults.take("name", ProviderId::parse_name(&request.into_inner().name));
        let Some(id) = id else { return Err(faults.into_error().into()) };
        let view = self.0.engine.provider(&id)?;
        Ok(Response::new(pb::GetProviderResponse { provider: Some(provider::provider(&view)) }))
    }

    async fn list_targets(
        &self,
        request: Request<pb::ListTargetsRequest>,
    ) -> Result<Response<pb::ListTargetsResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::new();
        let id = match request.parent.as_str() {
            ALL => None,
            name => faults.take("parent", ProviderId::parse_name(name)),
        };
        let kind = provider::read_kind(request.kind);
        if kind.is_none() && request.kind != i32::from(pb::TargetKind::Unspecified) {
            faults.add("kind", "must be a known value");
        }
        let page = read_page(&mut faults, request.page_size, request.page_token);
        let page = faults.check(page)?;
        let found = self.0.engine.targets(id.as_ref(), kind, &page).await?;
        let unreachable = found.unreachable.into_iter();
        Ok(Response::new(pb::ListTargetsResponse {
            targets: found.items.into_iter().map(provider::target).collect(),
            next_page_token: found.next.unwrap_or_default(),
            unreachable: unreachable
                .map(|(id, message)| pb::UnreachableProvider { provider: id.to_string(), message })
                .collect(),
        }))
    }
}

/// A page of a list that is at hand, in name order. The token is the last name of the page before.
fn cut(mut views: Vec<ProviderView>, page: &PageRequest) -> Result<Page<ProviderView>, Error> {
    views.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    if let Some(token) = &page.token {
        let after = ProviderId::parse(token).map_err(|_| Error::PageTokenInvalid)?;
        views.retain(|view| view.id.as_str() > after.as_str());
    }
    let size = page.size as usize;
    let more = views.len() > size;
    views.truncate(size);
    let next = views.last().filter(|_| more).map(|view| view.id.as_str().to_owned());
    Ok(Page { items: views, next })
}
