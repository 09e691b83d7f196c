//! What there is to upgrade, and to which versions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::check::under_way;
use super::client::Client;
use super::fault;
use super::observe::by_id;
use super::together::together;
use super::topology::{Map, Topology};
use super::wire::{Summary, SupervisorInfo, SupervisorItem, VersionNotes};
use crate::domain::error::VendorFault;
use crate::domain::id::ProviderId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Target, TargetInfo, TargetKind};
use crate::vendors::error::{Reached, VendorError};

/// How many versions are looked up for their notes.
const MAX_NOTED: usize = 20;

/// One page of the clusters. vCenter gives the whole list; pages are cut here, in the order of ids.
pub(super) async fn clusters(
    client: &Client,
    topology: &Topology,
    provider: &ProviderId,
    page: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let map = names(client, topology).await;
    let list = match client.clusters().await {
        // A vCenter without the older service: its clusters stand as their Supervisors do.
        Err(error) if fault::lacks_call(&error) => match &map {
            Some(map) => by_supervisors(map, client.supervisors(&[]).await?),
            None => Vec::new(),
        },
        list => list?,
    };
    let targets = list
        .into_iter()
        .filter_map(|summary| {
            let other = map.as_ref().and_then(|map| map.supervisor_of(summary.cluster.as_deref()?));
            let other = other.map(|id| ("supervisor", format!("{provider}/supervisors/{id}")));
            target(provider, TargetKind::Cluster, Some(summary), None, other)
        })
        .collect();
    Ok(cut(targets, page))
}

/// The other names of targets. They only add to a list, so a fault leaves them out.
async fn names(client: &Client, topology: &Topology) -> Option<Arc<Map>> {
    topology.map(client, None).await.unwrap_or_else(|error| {
        tracing::debug!(error = %error, "the topology could not be read; targets are listed by one name");
        None
    })
}

fn by_supervisors(map: &Map, supervisors: Vec<Summary>) -> Vec<Summary> {
    let supervisors = by_id(supervisors);
    map.pairs()
        .map(|(cluster, supervisor)| Summary {
            cluster: Some(cluster.to_owned()),
            supervisor: None,
            ..supervisors.get(supervisor).cloned().unwrap_or_default()
        })
        .collect()
}

/// One page of the Supervisors: the inventory, with versions where this vCenter has the upgrade service (9.1).
pub(super) async fn supervisors(
    client: &Client,
    topology: &Topology,
    provider: &ProviderId,
    page: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let map = names(client, topology).await;
    let upgrades = match client.supervisors(&[]).await {
        Err(error) if fault::lacks_call(&error) => HashMap::new(),
        list => by_id(list?),
    };
    let inventory = match client.summaries().await {
        Err(error) if fault::lacks_call(&error) => Vec::new(),
        // The inventory only adds names.
        Err(error) if error.kind == VendorFault::PermissionDenied => Vec::new(),
        items => items?,
    };
    let mut pairs: BTreeMap<String, (Option<Summary>, Option<SupervisorInfo>)> = BTreeMap::new();
    for (id, summary) in upgrades {
        pairs.entry(id).or_default().0 = Some(summary);
    }
    for SupervisorItem { supervisor, info } in inventory {
        if let Some(id) = supervisor {
            pairs.entry(id).or_default().1 = info;
        }
    }
    let targets = pairs
        .into_iter()
        .filter_map(|(id, (summary, info))| {
            let clusters = map.as_ref().map(|map| map.clusters_of(&id)).unwrap_or_default();
            let names: Vec<_> = clusters.iter().map(|c| format!("{provider}/clusters/{c}")).collect();
            let other = (!names.is_empty()).then(|| ("clusters", names.join(", ")));
            let summary = summary.unwrap_or_else(|| Summary { supervisor: Some(id), ..Summary::default() });
            target(provider, TargetKind::Supervisor, Some(summary), info, other)
        })
        .collect();
    Ok(cut(targets, page))
}

fn target(
    provider: &ProviderId,
    kind: TargetKind,
    summary: Option<Summary>,
    info: Option<SupervisorInfo>,
    other: Option<(&str, String)>,
) -> Option<TargetInfo> {
    let summary = summary?;
    let name = format!("{provider}/{}/{}", kind.collection(), summary.id()?);
    // An id that cannot be a resource name could never be asked for.
    let target = Target::parse_name(&name).ok()?;
    let under_way = under_way(&summary);
    let SupervisorInfo { name, config_status, kubernetes_status } = info.unwrap_or_default();
    let attributes = [
        ("config_status", config_status),
        ("kubernetes_status", kubernetes_status),
        ("desired_version", summary.desired_version),
        ("last_upgraded_date", summary.last_upgraded_date),
    ];
    Some(TargetInfo {
        under_way,
        under_way_unknown: false,
        target,
        display_name: name.or(summary.cluster_name),
        current_version: summary.current_version,
        vendor_state: summary.state,
        available_versions: summary.available_versions.unwrap_or_default(),
        attributes: attributes
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?)))
            .chain(other.map(|(k, v)| (k.to_owned(), v)))
            .collect(),
    })
}

/// The page after the id in the token.
fn cut(mut targets: Vec<TargetInfo>, page: &PageRequest) -> Page<TargetInfo> {
    targets.sort_by(|a, b| a.target.id.cmp(&b.target.id));
    if let Some(last) = &page.token {
        targets.retain(|t| *t.target.id > **last);
    }
    let size = page.size.max(1) as usize;
    let next =
        if targets.len() > size { targets.get(size - 1).map(|t| t.target.id.to_string()) } else { None };
    targets.truncate(size);
    Page { items: targets, next }
}

/// The versions that a cluster can be brought to, with vCenter's notes on them where it has any.
pub(super) async fn cluster_versions(
    client: &Client,
    id: &str,
) -> Result<Vec<AvailableVersion>, VendorError> {
    let info = client.cluster(id).await?;
    let notes = client.cluster_versions().await.unwrap_or_else(|error| without_notes(&error));
    Ok(noted(info.available_versions.unwrap_or_default(), notes))
}

/// The versions that a Supervisor can be brought to, with vCenter's notes on the first [`MAX_NOTED`].
pub(super) async fn supervisor_versions(
    client: &Client,
    id: &str,
) -> Result<Vec<AvailableVersion>, VendorError> {
    let available = client.supervisor(id).await?.available_versions.unwrap_or_default();
    let answers = together(available.iter().take(MAX_NOTED).map(|version| async move {
        let answer = client.supervisor_version(version).await;
        answer.map(|notes| VersionNotes { version: Some(version.clone()), ..notes })
    }));
    let notes = answers.await.into_iter().filter_map(|answer| answer.map_err(|e| without_notes(&e)).ok());
    let notes = notes.collect();
    Ok(noted(available, notes))
}

fn without_notes(error: &VendorError) -> Vec<VersionNotes> {
    tracing::debug!(error = %error, "a version's notes could not be read");
    Vec::new()
}

fn noted(versions: Vec<String>, notes: Vec<VersionNotes>) -> Vec<AvailableVersion> {
    let mut by_version: HashMap<String, VersionNotes> =
        notes.into_iter().filter_map(|n| Some((n.version.clone()?, n))).collect();
    versions
        .into_iter()
        .map(|version| {
            let notes = by_version.remove(&version).unwrap_or_default();
            AvailableVersion {
                version,
                name: notes.name,
                description: notes.description.or(notes.release_notes),
                release_date: notes.release_date,
                channels: Vec::new(),
            }
        })
        .collect()
}

/// A kind of target that vSphere does not have.
pub(super) fn no_such_kind(kind: TargetKind) -> VendorError {
    let text = format!("a vSphere provider has no {}", kind.collection());
    VendorError::new(VendorFault::Rejected, Reached::No, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(ids: &[&str]) -> Vec<TargetInfo> {
        let provider = ProviderId::parse("vc").unwrap();
        ids.iter()
            .filter_map(|id| {
                let summary = Summary { cluster: Some((*id).to_owned()), ..Summary::default() };
                target(&provider, TargetKind::Cluster, Some(summary), None, None)
            })
            .collect()
    }

    #[test]
    fn pages_cover_the_list_once_and_in_order() {
        let all = ["c", "a", "e", "b", "d", "bad id"];
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let page = cut(named(&all), &PageRequest { size: 2, token });
            seen.extend(page.items.iter().map(|t| t.target.id.to_string()));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn versions_keep_their_order_and_get_their_notes() {
        let notes = VersionNotes {
            version: Some("v2".to_owned()),
            release_notes: Some("notes".to_owned()),
            ..VersionNotes::default()
        };
        let versions = noted(vec!["v3".to_owned(), "v2".to_owned()], vec![notes]);
        assert_eq!(versions[0].version, "v3");
        assert_eq!(versions[1].description.as_deref(), Some("notes"));
    }
}
