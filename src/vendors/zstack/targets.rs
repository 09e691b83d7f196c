//! ZStack's clusters as targets.

use std::collections::BTreeMap;

use super::client::Client;
use super::ids::is_uuid;
use super::map::{self, Word};
use super::wire::{Cluster, LongJob};
use crate::domain::error::VendorFault;
use crate::domain::id::ProviderId;
use crate::domain::page::{MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::target::{Target, TargetInfo, TargetKind};
use crate::vendors::error::{Reached, VendorError};

/// One page of clusters by uuid. The token is the last uuid of the page before.
pub(super) async fn targets(
    client: &Client,
    provider: &ProviderId,
    kind: TargetKind,
    page: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let rejected = |text: &str| VendorError::new(VendorFault::Rejected, Reached::No, text);
    match kind {
        TargetKind::Cluster => {}
        TargetKind::Supervisor | TargetKind::Instance => {
            return Err(rejected("ZStack's targets are clusters"));
        }
    }
    if page.token.as_deref().is_some_and(|token| !is_uuid(token)) {
        return Err(rejected("the page token is not one of ZStack's"));
    }
    let size = usize::try_from(page.size.clamp(1, MAX_PAGE_SIZE)).unwrap_or(1);
    // One more than asked for tells whether there is another page.
    let mut rows = client.clusters_after(page.token.as_deref(), size + 1).await?;
    let more = rows.len() > size;
    rows.truncate(size);
    let next = if more { rows.last().and_then(|row| row.uuid.clone()) } else { None };
    // The list is worth more than what it says beside.
    let live = if rows.is_empty() { Ok(Vec::new()) } else { client.live_updates().await };
    let live = live.inspect_err(|error| {
        tracing::debug!(%error, "what is under way on the clusters could not be read");
    });
    let mut items: Vec<_> = rows.into_iter().filter_map(|row| info(provider, row)).collect();
    for item in &mut items {
        let own = |job: &&LongJob| Word::of(job).is_live() && map::names(job, &item.target.id);
        item.under_way_unknown = live.is_err();
        item.under_way = live.iter().flatten().find(own).map(map::under_way);
    }
    Ok(Page { items, next })
}

/// A cluster as callers see it. A row without a proper uuid cannot be named and is left out.
pub(super) fn info(provider: &ProviderId, row: Cluster) -> Option<TargetInfo> {
    let uuid = row.uuid.filter(|uuid| is_uuid(uuid))?;
    let attributes: BTreeMap<_, _> = [
        ("description", row.description),
        ("zoneUuid", row.zone_uuid),
        ("hypervisorType", row.hypervisor_type),
        ("type", row.kind),
        ("architecture", row.architecture),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|v| (name.to_owned(), v)))
    .collect();
    Some(TargetInfo {
        under_way: None,
        under_way_unknown: false,
        target: Target { provider: provider.clone(), kind: TargetKind::Cluster, id: uuid.into() },
        display_name: row.name,
        current_version: None,
        vendor_state: row.state,
        available_versions: Vec::new(),
        attributes,
    })
}
