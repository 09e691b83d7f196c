//! The calls. Each answers with wire structs or with an error that `errors.rs` has read.

use std::collections::BTreeMap;

use url::Url;

use super::auth::Session;
use super::errors;
use super::wire::{
    Info, Inventory, InventoryItem, PrecheckSpec, Prechecks, ResultSpec, Summaries, Summary,
    SupervisorUpgrades, TaskFilter, TaskQuery, Tasks, UpgradeResults, UpgradeSpec, VersionInfo,
};
use crate::domain::target::TargetKind;
use crate::vendors::error::VendorError;
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

const BASE: [&str; 4] = ["api", "vcenter", "namespace-management", "software"];
const CLUSTERS: &str = "/api/vcenter/namespace-management/software/clusters";
const CLUSTER: &str = "/api/vcenter/namespace-management/software/clusters/{cluster}";
const UPGRADES: &str = "/api/vcenter/namespace-management/software/supervisors/upgrades";
const UPGRADE: &str = "/api/vcenter/namespace-management/software/supervisors/upgrades/{supervisor}";
const JOBS: &str = "/api/vcenter/namespace-management/software/supervisors/upgrades/jobs/{supervisor}";
const PRECHECKS: &str = "/api/vcenter/namespace-management/software/supervisors/{supervisor}/prechecks";
const VERSION: &str = "/api/vcenter/namespace-management/software/supervisors/versions/{version}";
const CLUSTER_VERSIONS: &str = "/api/vcenter/namespace-management/software/cluster-available-versions";
const INVENTORY: &str = "/api/vcenter/namespace-management/supervisors/summaries";
const TASKS: &str = "/api/cis/tasks";
const TASK: &str = "/api/cis/tasks/{task}";
const SESSION: &str = "/api/session";

/// One account's way to a vCenter.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    session: Session,
}

impl Client {
    pub(super) const fn new(http: HttpClient, base: Url, session: Session) -> Self {
        Self { http, base, session }
    }

    /// All clusters with a Supervisor. One answer: this vCenter list has no pages.
    pub(super) async fn clusters(&self) -> Result<Vec<Summary>, VendorError> {
        let reply = self.send(|| Call::new(Verb::Get, self.software(&["clusters"]), CLUSTERS)).await?;
        reply.json::<Summaries>().map(|all| all.0)
    }

    /// All Supervisors' upgrades. Since 9.1. One answer: this vCenter list has no pages.
    pub(super) async fn upgrades(&self) -> Result<Vec<Summary>, VendorError> {
        let url = self.software(&["supervisors", "upgrades"]);
        let reply = self.send(|| Call::new(Verb::Get, url.clone(), UPGRADES)).await?;
        reply.json::<SupervisorUpgrades>().map(|all| all.supervisors)
    }

    /// The list to which targets of a kind belong.
    pub(super) async fn summaries(&self, kind: TargetKind) -> Result<Vec<Summary>, VendorError> {
        match kind {
            TargetKind::Cluster => self.clusters().await,
            TargetKind::Supervisor => self.upgrades().await,
            TargetKind::Instance => Ok(Vec::new()),
        }
    }

    /// One target in detail.
    pub(super) async fn detail(&self, kind: TargetKind, id: &str) -> Result<Info, VendorError> {
        let reply = match kind {
            TargetKind::Cluster => {
                let url = self.software(&["clusters", id]);
                self.send(|| Call::new(Verb::Get, url.clone(), CLUSTER)).await?
            }
            TargetKind::Supervisor | TargetKind::Instance => {
                let url = self.software(&["supervisors", "upgrades", id]);
                self.send(|| Call::new(Verb::Get, url.clone(), UPGRADE)).await?
            }
        };
        reply.json()
    }

    /// Starts the upgrades of several clusters. The body is the map itself.
    pub(super) async fn upgrade_clusters(
        &self,
        specs: &BTreeMap<&str, UpgradeSpec<'_>>,
    ) -> Result<UpgradeResults, VendorError> {
        let url = self.software(&["clusters"]);
        let call =
            || Call::new(Verb::Post, url.clone(), CLUSTERS).query("action", "upgradeMultiple").json(specs);
        self.send(call).await?.json()
    }

    /// Starts a Supervisor's upgrade; answers with its task.
    pub(super) async fn upgrade_supervisor(
        &self,
        supervisor: &str,
        spec: &UpgradeSpec<'_>,
    ) -> Result<String, VendorError> {
        let url = self.software(&["supervisors", "upgrades", "jobs", supervisor]);
        let reply = self.send(|| Call::new(Verb::Post, url.clone(), JOBS).json(spec)).await?;
        let task: String = reply.json()?;
        if task.is_empty() || task.len() > 512 {
            return Err(VendorError::garbled("vCenter answered the start with an unusable task id"));
        }
        Ok(task)
    }

    /// Runs a Supervisor's pre-checks for a version. Since 8.0.3.
    pub(super) async fn run_prechecks(&self, supervisor: &str, version: &str) -> Result<(), VendorError> {
        let url = self.software(&["supervisors", supervisor, "prechecks"]);
        let spec = PrecheckSpec { target_version: version };
        let call = || Call::new(Verb::Post, url.clone(), PRECHECKS).query("action", "run").json(&spec);
        self.send(call).await.map(drop)
    }

    /// What a Supervisor's pre-checks found. The documented filter would be a body on a GET, so it is left out.
    pub(super) async fn prechecks(&self, supervisor: &str) -> Result<Prechecks, VendorError> {
        let url = self.software(&["supervisors", supervisor, "prechecks"]);
        self.send(|| Call::new(Verb::Get, url.clone(), PRECHECKS)).await?.json()
    }

    /// Versions of clusters with their notes.
    pub(super) async fn cluster_versions(&self) -> Result<Vec<VersionInfo>, VendorError> {
        let url = self.software(&["cluster-available-versions"]);
        self.send(|| Call::new(Verb::Get, url.clone(), CLUSTER_VERSIONS)).await?.json()
    }

    /// A Supervisor version with its notes.
    pub(super) async fn supervisor_version(&self, version: &str) -> Result<VersionInfo, VendorError> {
        let url = self.software(&["supervisors", "versions", version]);
        self.send(|| Call::new(Verb::Get, url.clone(), VERSION)).await?.json()
    }

    /// All Supervisors by name.
    pub(super) async fn inventory(&self) -> Result<Vec<InventoryItem>, VendorError> {
        let url =
            Call::join(&self.base, &["api", "vcenter", "namespace-management", "supervisors", "summaries"]);
        let reply = self.send(|| Call::new(Verb::Get, url.clone(), INVENTORY)).await?;
        reply.json::<Inventory>().map(|all| all.items)
    }

    /// Several tasks of one provider (of vCenter's). Those that have gone are missing in the answer.
    pub(super) async fn tasks(&self, ids: &[&str]) -> Result<Tasks, VendorError> {
        let url = Call::join(&self.base, &["api", "cis", "tasks"]);
        let query = TaskQuery {
            filter_spec: TaskFilter { tasks: ids },
            result_spec: ResultSpec { exclude_result: true },
        };
        let call = || Call::new(Verb::Post, url.clone(), TASKS).query("action", "list").json(&query).safe();
        self.send(call).await?.json()
    }

    /// Asks for a task's cancellation.
    pub(super) async fn cancel(&self, task: &str) -> Result<(), VendorError> {
        let url = Call::join(&self.base, &["api", "cis", "tasks", task]);
        let call = || Call::new(Verb::Post, url.clone(), TASK).query("action", "cancel");
        self.send(call).await.map(drop)
    }

    /// Proves that the session works.
    pub(super) async fn ping(&self) -> Result<(), VendorError> {
        let url = Call::join(&self.base, &["api", "session"]);
        self.send(|| Call::new(Verb::Get, url.clone(), SESSION)).await.map(drop)
    }

    /// Ends the session.
    pub(super) async fn close(&self) {
        self.session.close(&self.http, &self.base).await;
    }

    fn software(&self, rest: &[&str]) -> Url {
        Call::join(&Call::join(&self.base, &BASE), rest)
    }

    async fn send(&self, call: impl Fn() -> Call + Send + Sync) -> Result<Reply, VendorError> {
        let reply = self.session.send(&self.http, &self.base, call).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(errors::error(&reply)) }
    }
}
