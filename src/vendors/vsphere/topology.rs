//! Which clusters each Supervisor spans: the bridge between the names of the two services.
//!
//! One call lists the Supervisors, and one each tells its zones with their clusters. What was learnt holds for some
//! minutes; a name that is missing from it is asked for once more before that counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Client;
use super::fault;
use super::together::together;
use super::wire::Zone;
use crate::domain::error::VendorFault;
use crate::vendors::error::VendorError;

/// How long what was learnt holds.
const HOLDS: Duration = Duration::from_secs(300);
/// How long it holds for a name that is missing from it: Supervisors are enabled seldom.
const HOLDS_FOR_MISSING: Duration = Duration::from_secs(10);
/// How many Supervisors are asked for theirs. A vCenter has some tens.
const MAX_SUPERVISORS: usize = 512;

/// The names that belong together.
#[derive(Debug, Default)]
pub(super) struct Map {
    supervisors: HashMap<String, String>,
    clusters: BTreeMap<String, Vec<String>>,
}

impl Map {
    fn add(&mut self, supervisor: &str, zones: Vec<Zone>) {
        let mut clusters: Vec<String> = zones.into_iter().flat_map(|zone| zone.clusters).collect();
        clusters.sort_unstable();
        clusters.dedup();
        for cluster in &clusters {
            self.supervisors.insert(cluster.clone(), supervisor.to_owned());
        }
        self.clusters.insert(supervisor.to_owned(), clusters);
    }

    /// The Supervisor that spans a cluster.
    pub(super) fn supervisor_of(&self, cluster: &str) -> Option<&str> {
        self.supervisors.get(cluster).map(String::as_str)
    }

    /// The clusters that a Supervisor spans, in order.
    pub(super) fn clusters_of(&self, supervisor: &str) -> &[String] {
        self.clusters.get(supervisor).map_or(&[], Vec::as_slice)
    }

    /// Every cluster with its Supervisor.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.supervisors.iter().map(|(cluster, supervisor)| (cluster.as_str(), supervisor.as_str()))
    }

    fn knows(&self, id: &str) -> bool {
        self.supervisors.contains_key(id) || self.clusters.contains_key(id)
    }
}

/// What is known of a vCenter's topology.
#[derive(Debug, Default)]
pub(super) struct Topology {
    learnt: Mutex<Option<(Instant, Option<Arc<Map>>)>>,
}

impl Topology {
    /// The map, at most some minutes old; `None` when this vCenter does not tell (before 8.0, or the account may not
    /// ask). `wanted` is a name that should be in it.
    ///
    /// # Errors
    /// vCenter could not be asked.
    pub(super) async fn map(
        &self,
        client: &Client,
        wanted: Option<&str>,
    ) -> Result<Option<Arc<Map>>, VendorError> {
        let mut learnt = self.learnt.lock().await;
        if let Some((at, map)) = &*learnt {
            let missing = wanted.is_some_and(|id| map.as_ref().is_some_and(|map| !map.knows(id)));
            if at.elapsed() < if missing { HOLDS_FOR_MISSING } else { HOLDS } {
                return Ok(map.clone());
            }
        }
        let map = ask(client).await?.map(Arc::new);
        *learnt = Some((Instant::now(), map.clone()));
        Ok(map)
    }
}

async fn ask(client: &Client) -> Result<Option<Map>, VendorError> {
    let Some(items) = told(client.summaries().await)? else { return Ok(None) };
    let mut ids: Vec<String> = items.into_iter().filter_map(|item| item.supervisor).collect();
    if ids.len() > MAX_SUPERVISORS {
        tracing::warn!(vsphere.supervisors = ids.len(), "more Supervisors than are asked for their clusters");
        ids.truncate(MAX_SUPERVISORS);
    }
    let mut map = Map::default();
    // One first: a vCenter without the call is not asked hundreds of times.
    let (first, rest) = ids.split_at(ids.len().min(1));
    for part in [first, rest] {
        let answers = together(part.iter().map(|id| async move { (id, client.topology(id).await) })).await;
        for (id, zones) in answers {
            match zones {
                // Gone since the list was made.
                Err(error) if error.kind == VendorFault::NotFound && error.code.is_some() => {}
                zones => match told(zones)? {
                    Some(zones) => map.add(id, zones),
                    None => return Ok(None),
                },
            }
        }
    }
    Ok(Some(map))
}

/// `None`: this vCenter does not tell, at least not to this account.
fn told<T>(answer: Result<T, VendorError>) -> Result<Option<T>, VendorError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if fault::lacks_call(&error) || error.kind == VendorFault::PermissionDenied => Ok(None),
        Err(error) => Err(fault::as_passing(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::vsphere::wire::read;

    #[test]
    fn names_lead_both_ways() {
        let mut map = Map::default();
        let zones =
            json!([{"zone": "z1", "clusters": ["c2", "c1"]}, {"zone": "z2", "clusters": ["c3", "c1"]}, 4]);
        map.add("s", zones.as_array().unwrap().iter().filter_map(read).collect());
        assert_eq!(map.clusters_of("s"), ["c1", "c2", "c3"]);
        assert_eq!((map.supervisor_of("c3"), map.supervisor_of("c4")), (Some("s"), None));
        assert_eq!(map.clusters_of("t"), [""; 0]);
    }
}
