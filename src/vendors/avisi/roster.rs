//! The organisation's clusters: reading those that are needed with few requests, and listing them in pages.

use std::collections::{BTreeMap, HashMap};

use super::client::{Client, MAX_PAGES};
use super::infer::Condition;
use super::map::Word;
use super::notes::Slugs;
use super::precheck::busy;
use super::upkeep::Schedules;
use super::wire::Cluster;
use crate::domain::error::VendorFault;
use crate::domain::id::ProviderId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{Target, TargetInfo, TargetKind, UnderWay};
use crate::vendors::error::{Reached, VendorError};

/// Up to so many clusters are read one by one where their slugs are known; for more, lists are cheaper.
const SINGLE_READS: usize = 2;

/// Clusters by identity in lower case. What is not in it is not in the organisation.
#[derive(Debug, Default)]
pub(super) struct Roster(HashMap<String, Cluster>);

impl Roster {
    /// Reads the wanted clusters as they are now. Slugs are hints: what is found there must have the identity.
    ///
    /// # Errors
    /// Any failed call: a list that was not read to its end proves nothing about who is missing.
    pub(super) async fn read(client: &Client, wanted: &[(&str, Option<Slugs>)]) -> Result<Self, VendorError> {
        let mut found = HashMap::new();
        if wanted.len() <= SINGLE_READS {
            for (identity, slugs) in wanted {
                let Some(slugs) = slugs else { continue };
                if let Some(cluster) = client.cluster(slugs).await?
                    && cluster.identity.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(identity))
                {
                    found.insert(identity.to_ascii_lowercase(), cluster);
                }
            }
        }
        let mut missing: Vec<String> = wanted.iter().map(|(id, _)| id.to_ascii_lowercase()).collect();
        missing.retain(|id| !found.contains_key(id));
        missing.sort_unstable();
        missing.dedup();
        let mut page = 0;
        while !missing.is_empty() {
            let answer = client.clusters(page).await?;
            let last = answer.is_last(page);
            for cluster in answer.content {
                let Some(identity) = cluster.identity.as_deref().map(str::to_ascii_lowercase) else {
                    continue;
                };
                if let Ok(place) = missing.binary_search(&identity) {
                    missing.remove(place);
                    found.insert(identity, cluster);
                }
            }
            if last {
                break;
            }
            page += 1;
        }
        Ok(Self(found))
    }

    /// The cluster with this identity.
    pub(super) fn get(&self, identity: &str) -> Option<&Cluster> {
        self.0.get(&identity.to_ascii_lowercase())
    }
}

/// The clusters as targets. The token is `page.offset`: the vendor's page, and how many of it were given before.
pub(super) async fn targets(
    client: &Client,
    provider: &ProviderId,
    request: &PageRequest,
) -> Result<Page<TargetInfo>, VendorError> {
    let (mut page, mut offset) = match &request.token {
        None => (0, 0),
        Some(token) => read_token(token).ok_or_else(|| {
            VendorError::new(VendorFault::Rejected, Reached::No, "the page token is not one of this list")
        })?,
    };
    let size = usize::try_from(request.size).unwrap_or(usize::MAX).max(1);
    let mut items = Vec::new();
    // Read once, and only for clusters that name a schedule without telling its windows.
    let (none, mut schedules) = (Schedules::default(), None);
    loop {
        let answer = client.clusters(page).await?;
        let last = answer.is_last(page);
        let all = answer.content.len();
        for cluster in answer.content.into_iter().skip(offset) {
            offset += 1;
            let schedule = cluster.maintenance_schedule.clone();
            let Some(mut target) = target(provider, cluster) else { continue };
            if let Some(schedule) = schedule {
                if schedules.is_none() && schedule.windows.is_empty() {
                    schedules = Some(Schedules::read(client).await);
                }
                let windows = schedules.as_ref().unwrap_or(&none).windows_of(&schedule);
                target
                    .attributes
                    .extend(windows.map(|text| ("maintenanceSchedule.windows".to_owned(), text)));
            }
            items.push(target);
            if items.len() == size {
                break;
            }
        }
        if offset >= all {
            if last {
                attribute(client, &mut items).await;
                return Ok(Page::last(items));
            }
            (page, offset) = (page + 1, 0);
        }
        if items.len() == size {
            attribute(client, &mut items).await;
            return Ok(Page { items, next: Some(format!("{page}.{offset}")) });
        }
    }
}

/// An operator can see which upgrade it is that runs on a cluster.
async fn attribute(client: &Client, items: &mut [TargetInfo]) {
    let ids: Vec<String> = items.iter().map(|item| item.target.id.to_string()).collect();
    if ids.is_empty() || !client.is_operator() {
        return;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let open = match client.open_upgrades(&ids).await {
        Ok(open) => open,
        Err(error) => {
            // The list is worth more than what it says beside.
            tracing::debug!(%error, "what is under way on the clusters could not be read");
            for item in items.iter_mut().filter(|item| item.under_way.is_none()) {
                item.under_way_unknown = true;
            }
            return;
        }
    };
    for upgrade in open.into_iter().filter(|upgrade| Word::of(upgrade) == Some(Word::InProgress)) {
        let of = upgrade.cluster_identity.as_deref().unwrap_or_default();
        let Some(item) = items.iter_mut().find(|item| item.target.id.eq_ignore_ascii_case(of)) else {
            continue;
        };
        let to = upgrade.to_cluster_version.as_deref().unwrap_or("an untold version");
        item.under_way = Some(UnderWay {
            what: format!(
                "scheduled upgrade {} to {to} is under way",
                upgrade.identity.as_deref().unwrap_or("without identity")
            ),
            vendor_id: upgrade.identity,
            vendor_state: upgrade.status,
            vendor_since: upgrade.window_start,
        });
    }
}

fn read_token(token: &str) -> Option<(u64, usize)> {
    let (page, offset) = token.split_once('.')?;
    let page = page.parse().ok().filter(|page| *page < MAX_PAGES)?;
    Some((page, offset.parse().ok()?))
}

/// A cluster as a target; `None` for what has no usable identity or is deleted.
pub(super) fn target(provider: &ProviderId, cluster: Cluster) -> Option<TargetInfo> {
    if Condition::of(&cluster) == Condition::Gone && cluster.deleted_at.is_some() {
        return None;
    }
    let name = format!("{provider}/{}/{}", TargetKind::Cluster.collection(), cluster.identity.as_deref()?);
    let target = Target::parse_name(&name).ok()?;
    let under_way = busy(&cluster).map(|what| UnderWay {
        what,
        vendor_state: cluster.status.clone(),
        ..UnderWay::default()
    });
    let channel = cluster.update_channel.unwrap_or_default();
    let schedule = cluster.maintenance_schedule.unwrap_or_default();
    let flag = |flag: Option<bool>| flag.map(|f| f.to_string());
    let channel_version = channel.kubernetes_cluster_version.clone();
    let offered = channel.kubernetes_cluster_version.filter(|v| Some(v) != cluster.version.as_ref());
    let pairs = [
        ("slug", cluster.slug.clone()),
        ("environmentSlug", cluster.environment_slug),
        ("environmentIdentity", cluster.environment_identity),
        ("customerSlug", cluster.customer_slug),
        ("customerIdentity", cluster.customer_identity),
        ("updateChannel", channel.name),
        ("updateChannel.available", flag(channel.available)),
        ("updateChannel.kubernetesClusterVersion", channel_version),
        ("autoUpgrade", flag(cluster.auto_upgrade)),
        ("desiredStatus", cluster.desired_status),
        ("provisionStatus", cluster.provision_status),
        ("maintenanceSchedule", schedule.name.or(schedule.identity)),
        ("highlyAvailable", flag(cluster.highly_available)),
        ("deleteProtection", flag(cluster.delete_protection)),
        ("createdAt", cluster.created_at),
        ("modifiedAt", cluster.modified_at),
    ];
    let attributes: BTreeMap<_, _> =
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Some(TargetInfo {
        under_way,
        under_way_unknown: false,
        target,
        display_name: cluster.name.or(cluster.slug),
        current_version: cluster.version,
        vendor_state: cluster.status,
        available_versions: offered.into_iter().collect(),
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_tokens_are_read() {
        assert_eq!(read_token("3.40"), Some((3, 40)));
        for token in ["", "3", "3.", ".4", "-1.0", "100.0", "3.x", "3.4.5"] {
            assert_eq!(read_token(token), None, "{token}");
        }
    }

    #[test]
    fn a_deleted_or_nameless_cluster_is_no_target() {
        let provider = ProviderId::parse("avisi").unwrap();
        assert_eq!(target(&provider, Cluster::default()), None);
        let gone = Cluster {
            identity: Some("a".into()),
            deleted_at: Some("2026-01-01T00:00:00Z".into()),
            ..Cluster::default()
        };
        assert_eq!(target(&provider, gone.clone()), None);
        let there = target(&provider, Cluster { deleted_at: None, ..gone }).unwrap();
        assert_eq!(there.target.to_string(), "providers/avisi/clusters/a");
    }
}
