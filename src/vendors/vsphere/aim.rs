//! What a job is upgraded by, where that is not what the caller named.
//!
//! A caller may name a cluster or its Supervisor; a vCenter upgrades by one of the two. The choice is made once, by the
//! check, and kept in the job's notes: a vCenter that is upgraded half-way does not lead a running job astray.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::map::id_name;
use super::notes::Notes;
use super::service::{Service, Services};
use super::topology::{Map, Topology};
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::domain::target::{Target, TargetKind};
use crate::vendors::contract::{Observation, Planned};
use crate::vendors::error::{Reached, VendorError};

/// How many clusters a message lists.
const MAX_LISTED: usize = 8;

/// Another name for a job's target, by which vCenter upgrades it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aim {
    pub kind: TargetKind,
    pub id: String,
}

/// By what a target is upgraded.
#[derive(Debug)]
pub(super) struct Aimed {
    /// Another target, when it is not the one that was named.
    pub aim: Option<Aim>,
    /// The Supervisor, where it is known: prechecks are run by it.
    pub supervisor: Option<String>,
    /// What the caller should know of the translation.
    pub finding: Option<Finding>,
}

/// The job as it is sent and followed: with the target by which it is upgraded.
pub(super) fn aimed(planned: &Planned) -> Cow<'_, Planned> {
    turned(planned, Notes::read(planned.handle.as_ref()).aim.as_ref())
}

pub(super) fn turned<'a>(planned: &'a Planned, aim: Option<&Aim>) -> Cow<'a, Planned> {
    match aim.and_then(|aim| named(&planned.target, aim.kind, &aim.id)) {
        Some(target) => Cow::Owned(Planned { target, ..planned.clone() }),
        None => Cow::Borrowed(planned),
    }
}

/// What an upgrade of the job's target upgrades as a whole: the Supervisor, where the check could tell; else the target
/// by which it is sent.
pub(super) fn whole(planned: &Planned) -> Target {
    let supervisor = Notes::read(planned.handle.as_ref()).supervisor;
    let whole = supervisor.and_then(|id| named(&planned.target, TargetKind::Supervisor, &id));
    whole.unwrap_or_else(|| aimed(planned).target.clone())
}

fn named(target: &Target, kind: TargetKind, id: &str) -> Option<Target> {
    Target::parse_name(&format!("{}/{}/{id}", target.provider, kind.collection())).ok()
}

/// Both names go among the job's ids.
pub(super) fn name_both(named: &Planned, seen: &mut Observation) {
    seen.ids.entry(id_name(named.target.kind).to_owned()).or_insert_with(|| named.target.id.to_string());
}

/// Decides by what a target is upgraded.
///
/// # Errors
/// vCenter could not be asked (an outage), or the name cannot be used here; then the text says which can.
pub(super) async fn decide(
    client: &Client,
    services: &Services,
    topology: &Topology,
    target: &Target,
) -> Result<Aimed, VendorError> {
    let id = &*target.id;
    let service = services.spoken(client).await?;
    let own = |supervisor: Option<String>| Aimed { aim: None, supervisor, finding: None };
    let other = |kind, id: &str, supervisor: &str, finding| Aimed {
        aim: Some(Aim { kind, id: id.to_owned() }),
        supervisor: Some(supervisor.to_owned()),
        finding,
    };
    match (service, target.kind) {
        (Service::Supervisors, TargetKind::Supervisor) => Ok(own(Some(id.to_owned()))),
        (_, TargetKind::Instance) => Ok(own(None)),
        (Service::Clusters, TargetKind::Cluster) => {
            let map = topology.map(client, Some(id)).await?;
            let spanned = map.as_ref().and_then(|map| Some((map, map.supervisor_of(id)?)));
            let finding = spanned.and_then(|(map, supervisor)| spans_more(target, map, supervisor));
            let supervisor = spanned.map(|(_, supervisor)| supervisor.to_owned());
            Ok(Aimed { aim: None, supervisor, finding })
        }
        (Service::Supervisors, TargetKind::Cluster) => {
            let map = topology.map(client, Some(id)).await?;
            match map.as_ref().and_then(|map| Some((map, map.supervisor_of(id)?))) {
                Some((map, supervisor)) => {
                    let finding = by_supervisor(target, map, supervisor);
                    Ok(other(TargetKind::Supervisor, supervisor, supervisor, Some(finding)))
                }
                None if services.set() == Some(Service::Supervisors) => Err(unusable(format!(
                    "the provider upgrades by Supervisor (`service = \"supervisors\"`), and no Supervisor is known to \
                     span `{id}`: name the Supervisor, as `{}/supervisors/…` (see ListTargets)",
                    target.provider
                ))),
                // The older service still knows clusters by their own names.
                None => Ok(own(None)),
            }
        }
        (Service::Clusters, TargetKind::Supervisor) => {
            let map: Option<Arc<Map>> = topology.map(client, Some(id)).await?;
            match map.as_ref().map(|map| map.clusters_of(id)) {
                Some([one]) => Ok(other(TargetKind::Cluster, one, id, Some(by_cluster(one)))),
                Some(several) if !several.is_empty() => Err(unusable(format!(
                    "this vCenter upgrades by cluster, and the Supervisor spans several: name one of {}",
                    listed(target, several)
                ))),
                Some(_) => Err(VendorError::new(
                    VendorFault::NotFound,
                    Reached::No,
                    format!("vCenter lists no Supervisor `{id}` with a cluster"),
                )),
                None => Err(unusable(format!(
                    "this vCenter upgrades by cluster, and does not tell which cluster the Supervisor spans: name the \
                     cluster, as `{}/clusters/…` (see ListTargets)",
                    target.provider
                ))),
            }
        }
    }
}

fn unusable(text: String) -> VendorError {
    VendorError::new(VendorFault::Rejected, Reached::No, text)
}

fn listed(target: &Target, clusters: &[String]) -> String {
    let provider = &target.provider;
    let names: Vec<_> =
        clusters.iter().take(MAX_LISTED).map(|id| format!("`{provider}/clusters/{id}`")).collect();
    names.join(", ")
}

/// A Supervisor that spans more than the named cluster is upgraded as a whole, whichever service is spoken: that is for
/// the caller to accept.
fn spans_more(target: &Target, map: &Map, supervisor: &str) -> Option<Finding> {
    let others: Vec<String> =
        map.clusters_of(supervisor).iter().filter(|cluster| **cluster != *target.id).cloned().collect();
    if others.is_empty() {
        return None;
    }
    let text = format!(
        "the cluster belongs to Supervisor `{supervisor}`, which is upgraded as a whole: also {}",
        listed(target, &others)
    );
    Some(Finding::new("vsphere.spans_more_clusters", Severity::Warning, text))
}

fn by_supervisor(target: &Target, map: &Map, supervisor: &str) -> Finding {
    if let Some(finding) = spans_more(target, map, supervisor) {
        return finding;
    }
    let text = format!("vCenter upgrades this cluster by its Supervisor `{supervisor}`");
    Finding::new("vsphere.upgraded_by_supervisor", Severity::Info, text)
}

fn by_cluster(cluster: &str) -> Finding {
    let text = format!("vCenter upgrades this Supervisor by its cluster `{cluster}`");
    Finding::new("vsphere.upgraded_by_cluster", Severity::Info, text)
}
