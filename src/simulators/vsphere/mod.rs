//! A stand-in for vCenter 9.1: Supervisors, upgraded by their clusters or by themselves.
//!
//! Written from the API specification, not from the adapter. Its traps are vCenter's: `READY` means idle and finished
//! alike, a batch with one forbidden cluster starts nothing, a cluster's upgrade has no task, tasks that are gone are
//! left out silently, a cancelled task ends `FAILED`, sessions run out with 503 at the login. What the documents leave
//! open is chosen here and can be scripted otherwise: a second start on a busy target is refused, an unknown cluster of
//! a batch is `REJECTED`, tasks are kept for ever.

mod clusters;
mod json;
mod routes;
mod sessions;
mod supervisors;
mod tasks;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;

use super::effects::Effects;
use super::faults::Faults;
use super::server::{Running, serve};
use super::{Hold, Route, Settings, Simulator};
use world::World;

pub use world::{CancelEnd, Fit, Kind, Outcome};

/// The one account.
pub const USERNAME: &str = "drydock@vsphere.local";
/// Its password.
pub const PASSWORD: &str = "sim-vCenter-Passw0rd-7f3a";
/// The version that everything has at first.
pub const FIRST_VERSION: &str = "v1.28.3+vmware.1-fips-vsc0.1.8";
/// A version that everything can be brought to.
pub const NEXT_VERSION: &str = "v1.29.7+vmware.1-fips-vsc0.1.9";
/// A later version that everything can be brought to.
pub const LATER_VERSION: &str = "v1.30.5+vmware.4-fips-vsc9.1.0.0";

/// The id of cluster `n` (from 0).
pub fn cluster_id(n: usize) -> String {
    format!("domain-c{}", n + 9)
}

/// The id of Supervisor `n` (from 0). Supervisors and clusters of the stand-in are not related, unless
/// [`SimVsphere::relate`] makes them so.
pub fn supervisor_id(n: usize) -> String {
    format!("5afe0000-5c9e-4000-8000-{n:012x}")
}

/// The id of the `n`th upgrade's task (from 0; upgrades of clusters count, and have no task).
pub fn task_id(n: usize) -> String {
    format!(
        "7a5c0000-7a5c-4000-8000-{n:012x}:com.vmware.vcenter.namespace_management.software.supervisors.upgrades.jobs"
    )
}

/// A running stand-in for vCenter.
pub struct SimVsphere {
    world: Arc<World>,
    faults: Faults,
    server: Running,
}

/// Starts a stand-in for vCenter with `settings.targets` clusters and as many Supervisors.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(settings: Settings) -> io::Result<SimVsphere> {
    let world = Arc::new(World::new(settings.targets, settings.pace));
    let faults = Faults::default();
    let server = serve(settings.address, routes::router(&world, &faults)).await?;
    Ok(SimVsphere { world, faults, server })
}

impl SimVsphere {
    /// Decides how the next upgrades of a target turn out. Targets that do not exist are passed over.
    pub fn script(&self, target: &str, outcome: Outcome) {
        self.world.script(target, outcome);
    }

    /// Lets upgrades of a target be forbidden to the account, or allowed again.
    pub fn forbid(&self, target: &str, forbidden: bool) {
        self.world.forbid(target, forbidden);
    }

    /// Starts an upgrade behind everyone's back, as another administrator might.
    pub fn start_elsewhere(&self, target: &str, version: &str) {
        self.world.start_elsewhere(target, version);
    }

    /// Removes a target from the inventory.
    pub fn remove(&self, target: &str) {
        self.world.remove(target);
    }

    /// Lets vCenter be one from before 9.1: upgrades by Supervisor do not exist.
    pub fn without_supervisor_upgrades(&self, missing: bool) {
        self.world.switches.no_upgrades.store(missing, Ordering::Relaxed);
    }

    /// Lets vCenter be a later one that has dropped `software/clusters`.
    pub fn without_clusters(&self, missing: bool) {
        self.world.switches.no_clusters.store(missing, Ordering::Relaxed);
    }

    /// Lets every Supervisor span this many clusters, in the order of their numbers, and tells its topology: an upgrade
    /// of the one is then an upgrade of the other. Do it before anything is started. 0: they are not related.
    pub fn relate(&self, clusters_per_supervisor: usize) {
        self.world.switches.spans.store(clusters_per_supervisor, Ordering::Relaxed);
    }

    /// Decides what tasks end with after a cancel.
    pub fn end_cancels(&self, end: CancelEnd) {
        self.world.set_cancel_end(end);
    }

    /// Decides how every version fits the infrastructure.
    pub fn fit(&self, fit: Fit) {
        self.world.set_fit(fit);
    }

    /// Lets vCenter be one from before 8.0.3: prechecks cannot be run beforehand.
    pub fn without_prechecks(&self, missing: bool) {
        self.world.switches.no_prechecks.store(missing, Ordering::Relaxed);
    }

    /// Lets a batch start its first cluster and then answer 400 for the whole: what no document rules out.
    pub fn break_batches(&self, broken: bool) {
        self.world.switches.broken_batches.store(broken, Ordering::Relaxed);
    }

    /// Lets `READY` stand for this long (at the vendor's pace) after a start, before the target shows it.
    pub fn lag(&self, real: Duration) {
        self.world.set_lag(real);
    }

    /// Lets only so many sessions exist.
    pub fn limit_sessions(&self, limit: usize) {
        self.world.sessions.limit(limit);
    }

    /// Ends every session.
    pub fn expire_sessions(&self) {
        self.world.sessions.expire();
    }

    /// The tokens of all sessions.
    pub fn tokens(&self) -> Vec<String> {
        self.world.sessions.tokens()
    }

    /// The version that a target has now.
    pub fn version(&self, target: &str) -> Option<String> {
        self.world.version(target)
    }

    /// How many requests have come in, refused ones included, the side door's not.
    pub fn requests(&self) -> u64 {
        self.world.requests.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Simulator for SimVsphere {
    fn vendor(&self) -> &'static str {
        "vsphere"
    }

    fn base(&self) -> String {
        self.server.base()
    }

    /// Brought up to date first: states are computed when somebody looks.
    fn effects(&self) -> &Effects {
        self.world.settle_all();
        &self.world.effects
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        routes::route(method, path)
    }

    fn hold(&self) -> &Hold {
        &self.world.hold
    }

    /// The waits before a conclusion keep the simulator's pace.
    fn provider(&self) -> toml::Table {
        let millis = |real: Duration, least: u64| {
            let scaled = u64::try_from(self.world.pace.scaled(real).as_millis()).unwrap_or(u64::MAX);
            toml::Value::Integer(i64::try_from(scaled.clamp(least, 600_000)).unwrap_or(600_000))
        };
        let mut table = toml::Table::new();
        table.insert("vendor".to_owned(), "vsphere".into());
        table.insert("endpoint".to_owned(), self.base().into());
        table.insert("username".to_owned(), USERNAME.into());
        table.insert("password".to_owned(), PASSWORD.into());
        table.insert("settle_ms".to_owned(), millis(Duration::from_secs(300), 100));
        table.insert("precheck_wait_ms".to_owned(), millis(Duration::from_secs(600), 2_000));
        table
    }

    async fn stop(&self) {
        self.server.stop().await;
    }
}
