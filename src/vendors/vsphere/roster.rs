//! The targets of a vCenter and the versions they can have.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::check::{older, own_id};
use super::client::Client;
use super::errors;
use super::wire::{InventoryInfo, Summary, VersionInfo};
use crate::domain::error::VendorFault;
use crate::domain::id::ProviderId;
use crate::domain::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, PageRequest};
use crate::domain::target::{AvailableVersion, Target, TargetInfo, TargetKind};
use crate::vendors::error::{Reached, VendorError};

/// For how many versions of a Supervisor the notes are asked for, one request each.
const NOTES: usize = 20;
/// How many side by side.
const SIDE_BY_SIDE: usize = 4;

/// A page of the targets of one kind, by id. The token is the last id of the page before: targets that come or go
/// between two pages neither repeat nor hide others.
pub(super) async fn targets(
    client: &Client,
    provider: &ProviderId,
    kind: TargetKind,
    page: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let mut all: BTreeMap<String, TargetInfo> = match kind {
        TargetKind::Cluster => read(provider, kind, client.clusters().await.map_err(|e| older(kind, e))?),
        TargetKind::Supervisor => supervisors(client, provider).await?,
        TargetKind::Instance => BTreeMap::new(),
    };
    if let Some(last) = &page.token {
        all.retain(|id, _| id > last);
    }
    let size = if page.size == 0 { DEFAULT_PAGE_SIZE } else { page.size.min(MAX_PAGE_SIZE) };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = all.len() > size;
    let items: Vec<TargetInfo> = all.into_values().take(size).collect();
    let next = items.last().filter(|_| more).map(|info| info.target.id.to_string());
    Ok(Page { items, next })
}

/// The inventory with each Supervisor's versions. Either list alone is better than none: an older vCenter lacks
/// the second.
async fn supervisors(
    client: &Client,
    provider: &ProviderId,
) -> Result<BTreeMap<String, TargetInfo>, VendorError> {
    let kind = TargetKind::Supervisor;
    let upgrades = client.upgrades().await;
    let inventory = client.inventory().await;
    let lacking = |error: &VendorError| errors::is_missing_call(error) || error.kind == VendorFault::NotFound;
    let (upgrades, inventory) = match (upgrades, inventory) {
        (Ok(upgrades), Ok(inventory)) => (upgrades, inventory),
        (Ok(upgrades), Err(error)) if lacking(&error) => (upgrades, Vec::new()),
        (Err(error), Ok(inventory)) if lacking(&error) => (Vec::new(), inventory),
        (Err(error), Err(other)) if lacking(&error) && lacking(&other) => (Vec::new(), Vec::new()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let mut all = read(provider, kind, upgrades);
    for item in inventory {
        let Some(target) = item.supervisor.as_deref().and_then(|id| target(provider, kind, id)) else {
            continue;
        };
        let info = item.info.unwrap_or_default();
        let known = all.entry(target.id.to_string()).or_insert_with(|| bare(target));
        known.display_name.clone_from(&info.name);
        let InventoryInfo { name: _, config_status, kubernetes_status } = info;
        let facts = [("config_status", config_status), ("kubernetes_status", kubernetes_status)];
        known.attributes.extend(facts.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))));
    }
    Ok(all)
}

fn read(provider: &ProviderId, kind: TargetKind, entries: Vec<Summary>) -> BTreeMap<String, TargetInfo> {
    let info = |entry: Summary| {
        let target = target(provider, kind, own_id(&entry, kind)?)?;
        let mut info = bare(target);
        info.display_name = entry.cluster_name;
        info.current_version = entry.current_version;
        info.vendor_state = entry.state;
        info.available_versions = entry.available_versions.unwrap_or_default();
        let facts =
            [("desired_version", entry.desired_version), ("last_upgraded_date", entry.last_upgraded_date)];
        info.attributes.extend(facts.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))));
        Some((info.target.id.to_string(), info))
    };
    entries.into_iter().filter_map(info).collect()
}

/// A target, if its id can stand in a name; vCenter's can.
fn target(provider: &ProviderId, kind: TargetKind, id: &str) -> Option<Target> {
    Target::parse_name(&format!("{provider}/{}/{id}", kind.collection())).ok()
}

fn bare(target: Target) -> TargetInfo {
    TargetInfo {
        target,
        display_name: None,
        current_version: None,
        vendor_state: None,
        available_versions: Vec::new(),
        attributes: BTreeMap::new(),
    }
}

/// The versions that vCenter offers for a target, with their notes where those can be read.
pub(super) async fn versions(client: &Client, target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
    let kind = target.kind;
    if kind == TargetKind::Instance {
        let text = "vSphere has clusters and Supervisors only";
        return Err(VendorError::new(VendorFault::NotFound, Reached::No, text));
    }
    let info = client.detail(kind, &target.id).await.map_err(|error| older(kind, error))?;
    let offered = info.available_versions;
    let notes: Vec<VersionInfo> = match kind {
        TargetKind::Cluster => client.cluster_versions().await.unwrap_or_else(|error| {
            tracing::debug!(error = %error, "vCenter's notes on versions cannot be read");
            Vec::new()
        }),
        TargetKind::Supervisor | TargetKind::Instance => {
            let asked: Vec<_> = offered.iter().take(NOTES).map(|v| client.supervisor_version(v)).collect();
            let answers = stream::iter(asked).buffered(SIDE_BY_SIDE);
            answers.filter_map(|answer| std::future::ready(answer.ok())).collect().await
        }
    };
    let with_notes = |version: String| {
        let known =
            notes.iter().find(|n| n.version.as_deref() == Some(&version)).cloned().unwrap_or_default();
        AvailableVersion {
            version,
            name: known.name,
            description: known.description,
            release_date: known.release_date,
        }
    };
    Ok(offered.into_iter().map(with_notes).collect())
}
