//! Prechecks: what ZStack would refuse, what it would do badly, and what somebody else is doing.
//!
//! A host that does not tell its cluster makes the check fail, and the job waits: it may be the very one that is not
//! Connected, and a baseline without it would count too few hosts.
//!
//! A batch costs four or five requests whatever its size. The rules are ZStack's own (zstack
//! `ClusterApiInterceptor`), asked beforehand because ZStack accepts a start that it is going to fail, and does
//! not lock a cluster against a second update until a host has changed its state.

use std::collections::HashMap;

use super::aftermath;
use super::client::Client;
use super::ids;
use super::map::{self, Word};
use super::notes::Notes;
use super::observe::by_cluster;
use super::wire::{Cluster, Host, LongJob};
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::domain::operation::{VendorOptions, ZstackUpgradeOptions};
use crate::vendors::contract::{CheckReport, Planned};
use crate::vendors::error::{Reached, VendorError};

/// What ZStack says, for a whole batch.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub clusters: HashMap<String, Cluster>,
    pub hosts: HashMap<String, Vec<Host>>,
    pub live: Vec<LongJob>,
    /// Records under a `resourceUuid` that a caller chose.
    pub taken: Vec<LongJob>,
}

/// Checks a batch.
pub(super) async fn check(client: &Client, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
    match Box::pin(gather(client, batch)).await {
        Ok(facts) => batch.iter().map(|planned| judge(planned, &facts)).collect(),
        Err(error) => batch.iter().map(|_| Err(error.again())).collect(),
    }
}

async fn gather(client: &Client, batch: &[Planned]) -> Result<Facts, VendorError> {
    let mut uuids: Vec<String> = batch.iter().map(|p| p.target.id.to_string()).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let mut chosen: Vec<String> = batch.iter().filter_map(|p| options(p)?.resource_uuid.clone()).collect();
    chosen.sort_unstable();
    chosen.dedup();
    // Asked at once: a start waits for the slowest of them only, and what they tell is less old when it is sent.
    let lists = async {
        Ok(tokio::join!(
            client.live_updates(),
            client.clusters(&uuids),
            client.hosts(&uuids),
            client.long_jobs("uuid", &chosen),
        ))
    };
    // Of a node that takes no work, that is all there is to know: what it says of anything else is no better reason.
    let ((), (live, clusters, hosts, taken)) = tokio::try_join!(client.ready(), lists)?;
    let mut facts = Facts { live: live?, ..Facts::default() };
    for cluster in clusters? {
        if let Some(uuid) = cluster.uuid.clone() {
            facts.clusters.insert(uuid, cluster);
        }
    }
    facts.hosts = by_cluster(&uuids, hosts?)?;
    for (_, rows) in taken {
        facts.taken.extend(rows?);
    }
    Ok(facts)
}

fn options(planned: &Planned) -> Option<&ZstackUpgradeOptions> {
    match &planned.operation.upgrade()?.options {
        VendorOptions::None => None,
        VendorOptions::Zstack(options) => Some(&**options),
    }
}

/// Judges one job by what was gathered. Pure.
pub(super) fn judge(planned: &Planned, facts: &Facts) -> Result<CheckReport, VendorError> {
    let uuid = &*planned.target.id;
    let Some(cluster) = facts.clusters.get(uuid) else {
        let text = format!("ZStack has no cluster {uuid}, or the account may not see it");
        return Err(VendorError::new(VendorFault::NotFound, Reached::No, text));
    };
    let hosts = facts.hosts.get(uuid).map_or(&[] as &[Host], Vec::as_slice);
    let own = ids::job_ids(planned.key);
    let is_own = |job: &&LongJob| job.api_id.as_ref().is_some_and(|id| own.contains(id));
    let live = |job: &&LongJob| Word::of(job).is_live() && !is_own(job);
    let foreign =
        facts.live.iter().filter(live).find(|job| map::names(job, uuid)).map(|job| map::under_way(job).what);
    let options = options(planned);
    let wanted = options.and_then(|o| o.host_uuid.as_deref());
    let mut findings = cluster_findings(cluster, hosts);
    if let Some(host) = wanted
        && !hosts.iter().any(|h| h.uuid.as_deref() == Some(host))
    {
        let text = format!("host {host} (`host_uuid`) is not in the cluster");
        findings.push(Finding::new("zstack.host_not_in_cluster", Severity::Error, text).about(host));
    }
    if foreign.is_none() {
        // While somebody else's update runs, its hosts' states are its own doing.
        findings.extend(hosts.iter().flat_map(host_findings));
    }
    if facts.live.iter().filter(live).any(|job| job.job_data.is_none()) {
        let text = "an UpdateClusterOS is under way that does not say on which cluster; it could be this one";
        findings.push(Finding::new("zstack.unattributed_update", Severity::Warning, text));
    }
    if let Some(taken) = options.and_then(|o| o.resource_uuid.as_deref())
        && facts.taken.iter().any(|job| job.uuid.as_deref() == Some(taken) && !is_own(&job))
    {
        let text = "a long job with this `resource_uuid` exists; ZStack would damage its record. Choose another, or \
                    leave it out";
        findings.push(Finding::new("zstack.resource_uuid_taken", Severity::Error, text).about(taken));
    }
    let mut notes = Notes::of(planned);
    notes.hosts = Some(if wanted.is_some() { 1 } else { hosts.len() });
    notes.systems = aftermath::systems(hosts);
    Ok(CheckReport { findings, handle: notes.handle(), foreign })
}

fn cluster_findings(cluster: &Cluster, hosts: &[Host]) -> Vec<Finding> {
    let mut findings = Vec::new();
    match cluster.hypervisor_type.as_deref() {
        Some("KVM") => {}
        Some(other) => findings.push(Finding::new(
            "zstack.hypervisor_not_kvm",
            Severity::Error,
            format!("the cluster's hypervisor is {other}; ZStack updates KVM clusters only"),
        )),
        None => findings.push(Finding::new(
            "zstack.hypervisor_unknown",
            Severity::Warning,
            "ZStack does not tell the cluster's hypervisor; it updates KVM clusters only",
        )),
    }
    if cluster.state.as_deref() == Some("Disabled") {
        findings.push(Finding::new(
            "zstack.cluster_disabled",
            Severity::Info,
            "the cluster is Disabled; ZStack updates it all the same",
        ));
    }
    if hosts.is_empty() {
        findings.push(Finding::new(
            "zstack.no_hosts",
            Severity::Warning,
            "the cluster has no hosts: ZStack would end the update as Succeeded without doing anything",
        ));
    }
    findings
}

fn host_findings(host: &Host) -> Vec<Finding> {
    let name = host.name.as_deref().or(host.uuid.as_deref()).unwrap_or("?");
    let subject = host.uuid.as_deref().unwrap_or(name);
    let mut findings = Vec::new();
    let mut add =
        |id: &str, severity, text: String| findings.push(Finding::new(id, severity, text).about(subject));
    match host.status.as_deref() {
        Some("Connected") => {}
        Some(other) => add(
            "zstack.host_not_connected",
            Severity::Error,
            format!("host {name} is {other}; ZStack updates a cluster only when all its hosts are Connected"),
        ),
        None => add(
            "zstack.host_status_unknown",
            Severity::Warning,
            format!("ZStack does not tell the status of host {name}"),
        ),
    }
    match host.state.as_deref() {
        Some("PreMaintenance") => add(
            "zstack.host_pre_maintenance",
            Severity::Error,
            format!(
                "host {name} is in PreMaintenance: an update or maintenance is under way on it, or was cut off"
            ),
        ),
        Some("Maintenance") => add(
            "zstack.host_in_maintenance",
            Severity::Info,
            format!("host {name} is in Maintenance: it is updated and stays there"),
        ),
        Some(_) | None => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::JobId;
    use crate::domain::operation::{Operation, Upgrade};
    use crate::domain::target::Target;

    const CLUSTER: &str = "932696598b64375ea4ae6226cc0c1407";

    fn planned(options: ZstackUpgradeOptions) -> Planned {
        Planned {
            job: JobId::new(Uuid::from_u128(1)),
            target: Target::parse_name(&format!("providers/z/clusters/{CLUSTER}")).unwrap(),
            operation: Operation::Upgrade(Upgrade {
                options: VendorOptions::Zstack(Box::new(options)),
                ..Upgrade::default()
            }),
            key: Uuid::from_u128(2),
            attempts: 0,
            submit_time: None,
            handle: None,
            permit: crate::kit::permit::Permit::unlimited(),
            cancel_requested: false,
            watched: false,
        }
    }

    fn facts(cluster: &str, hosts: &str, live: &str) -> Facts {
        Facts {
            clusters: HashMap::from([(CLUSTER.to_owned(), serde_json::from_str(cluster).unwrap())]),
            hosts: HashMap::from([(CLUSTER.to_owned(), serde_json::from_str(hosts).unwrap())]),
            live: serde_json::from_str(live).unwrap(),
            taken: Vec::new(),
        }
    }

    fn told(report: &CheckReport) -> Vec<(&str, Severity)> {
        report.findings.iter().map(|f| (f.id.as_str(), f.severity)).collect()
    }

    const KVM: &str = r#"{"hypervisorType":"KVM","state":"Enabled"}"#;
    const GOOD: &str = r#"[{"uuid":"h1","state":"Enabled","status":"Connected"}]"#;

    #[test]
    fn a_healthy_cluster_has_no_findings_and_a_baseline() {
        let report = judge(&planned(ZstackUpgradeOptions::default()), &facts(KVM, GOOD, "[]")).unwrap();
        assert!(report.findings.is_empty() && report.foreign.is_none());
        assert_eq!(report.handle.unwrap().0, r#"{"hosts":1}"#);
    }

    #[test]
    fn zstacks_own_rules_are_errors() {
        let hosts = r#"[{"uuid":"h1","state":"PreMaintenance","status":"Disconnected"},{"uuid":"h2","state":"Maintenance","status":"Connected"},{"uuid":"h3"}]"#;
        let report = judge(
            &planned(ZstackUpgradeOptions {
                host_uuid: Some("h9".into()),
                ..ZstackUpgradeOptions::default()
            }),
            &facts(r#"{"hypervisorType":"ESX","state":"Disabled"}"#, hosts, "[]"),
        )
        .unwrap();
        assert_eq!(
            told(&report),
            [
                ("zstack.hypervisor_not_kvm", Severity::Error),
                ("zstack.cluster_disabled", Severity::Info),
                ("zstack.host_not_in_cluster", Severity::Error),
                ("zstack.host_not_connected", Severity::Error),
                ("zstack.host_pre_maintenance", Severity::Error),
                ("zstack.host_in_maintenance", Severity::Info),
                ("zstack.host_status_unknown", Severity::Warning),
            ]
        );
    }

    #[test]
    fn an_update_that_somebody_else_runs_is_foreign_and_ours_is_not() {
        let live = |api: &str| {
            format!(
                r#"[{{"uuid":"l","apiId":"{api}","state":"Running","jobData":"{{'uuid':'{CLUSTER}'}}"}}]"#
            )
        };
        let busy = r#"[{"uuid":"h1","state":"PreMaintenance","status":"Connecting"}]"#;
        let plan = planned(ZstackUpgradeOptions::default());
        let report = judge(&plan, &facts(KVM, busy, &live("someone"))).unwrap();
        assert!(report.foreign.as_deref().is_some_and(|f| f.contains("long job l")), "{report:?}");
        assert!(report.findings.is_empty(), "the hosts' states are the other update's doing");
        let ours = judge(&plan, &facts(KVM, GOOD, &live(&plan.key.simple().to_string()))).unwrap();
        assert_eq!(ours.foreign, None);
    }

    #[test]
    fn an_update_on_a_cluster_that_is_not_named_is_a_warning() {
        let report = judge(
            &planned(ZstackUpgradeOptions::default()),
            &facts(KVM, GOOD, r#"[{"uuid":"l","state":"Running"}]"#),
        )
        .unwrap();
        assert_eq!(told(&report), [("zstack.unattributed_update", Severity::Warning)]);
    }

    #[test]
    fn a_uuid_in_use_is_refused() {
        let taken = "36c27e8ff05c4780bf6d2fa65700f22e";
        let plan = planned(ZstackUpgradeOptions {
            resource_uuid: Some(taken.into()),
            ..ZstackUpgradeOptions::default()
        });
        let mut facts = facts(KVM, GOOD, "[]");
        facts.taken = vec![LongJob { uuid: Some(taken.into()), ..LongJob::default() }];
        assert_eq!(told(&judge(&plan, &facts).unwrap()), [("zstack.resource_uuid_taken", Severity::Error)]);
    }

    #[test]
    fn an_unknown_cluster_is_not_found() {
        let error = judge(&planned(ZstackUpgradeOptions::default()), &Facts::default()).unwrap_err();
        assert_eq!(error.kind, VendorFault::NotFound);
    }
}
