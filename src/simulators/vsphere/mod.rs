//! A stand-in for a vCenter with Supervisors: sessions, both upgrade services, pre-checks, versions and tasks.
//!
//! Its traps are vCenter's: `upgradeMultiple` names no task and fails as a whole for one missing privilege,
//! `READY` means idle or done, a cancelled task ends as FAILED, a task that has gone is missing in the list, the two
//! services use different words for "running". What the documents leave open is chosen here: a cluster that cannot
//! start is REJECTED, a second start is refused, a session ends only when told to.

mod bodies;
mod routes;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::effects::Effects;
use super::faults::Faults;
use super::server::{Running, serve};
use super::{Settings, Simulator};
use world::{Kind, World};

pub use world::Outcome;

/// The account's name.
pub const USERNAME: &str = "drydock@vsphere.local";
/// The account's password.
pub const PASSWORD: &str = "sim-vc-password-71c0";
/// The version that every target has at first.
pub const FIRST_VERSION: &str = "v1.29.7+vmware.1-fips-vsc0.1.9";
/// The version that every target is offered.
pub const NEXT_VERSION: &str = "v1.30.5+vmware.4-fips-vsc9.1.0.0";

/// The id of cluster `n` (from 0).
pub fn cluster_id(n: usize) -> String {
    format!("domain-c{}", n + 9)
}

/// The id of Supervisor `n` (from 0).
pub fn supervisor_id(n: usize) -> String {
    format!("8c2f0b1e-3a77-4a51-8d7e-{n:012x}")
}

/// The id of the `n`th task (from 0) since the start.
pub fn task_id(n: usize) -> String {
    format!("52c1f0aa-6d5e-4f7b-9b0e-{n:012x}:{}", bodies::SERVICE)
}

/// A running stand-in for a vCenter.
pub struct SimVsphere {
    world: Arc<World>,
    faults: Faults,
    server: Running,
}

/// Starts a stand-in for a vCenter with `settings.targets` clusters and as many Supervisors.
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
    /// Decides how the next upgrades of a cluster or Supervisor turn out. Unknown targets are passed over.
    pub fn script(&self, target: &str, outcome: Outcome) {
        self.world.script(target, outcome);
    }

    /// Switches `software/supervisors` on or off: off, it is a vCenter before 8.0.3.
    pub fn set_supervisors(&self, on: bool) {
        self.world.has_supervisors.store(on, Ordering::Relaxed);
    }

    /// Lets every login find all sessions taken, or free again.
    pub fn exhaust_sessions(&self, exhausted: bool) {
        self.world.has_sessions_left.store(!exhausted, Ordering::Relaxed);
    }

    /// Lets reads show a target as before for so long (in life's time) after a start.
    pub fn lag_reads(&self, lag: Duration) {
        self.world.lock().lag = lag;
    }

    /// Forgets all tasks, as vCenter does some time after their end.
    pub fn forget_tasks(&self) {
        self.world.lock().tasks.clear();
    }

    /// Starts an upgrade of a cluster as somebody else.
    pub fn start_behind(&self, cluster: &str) {
        let mut inner = self.world.lock();
        // A refusal shows in the effects.
        let _ = self.world.start(&mut inner, Kind::Cluster, cluster, NEXT_VERSION, true);
    }

    /// Whether the latest upgrade of a target was told to ignore warnings.
    pub fn ignored_warnings(&self, target: &str) -> Option<bool> {
        let inner = self.world.lock();
        let place = inner.places.iter().find(|((_, id), _)| id == target)?.1;
        place.run.as_ref().map(|run| run.ignores)
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.world.lock().sessions.len()
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
        drop(self.world.lock());
        &self.world.effects
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The waits before a conclusion keep the simulator's pace.
    fn provider(&self) -> toml::Table {
        let millis = |seconds: u64, least: i64, most: i64| {
            let scaled = self.world.pace.scaled(Duration::from_secs(seconds)).as_millis();
            toml::Value::Integer(i64::try_from(scaled).unwrap_or(i64::MAX).clamp(least, most))
        };
        let mut table = toml::Table::new();
        table.insert("vendor".to_owned(), "vsphere".into());
        table.insert("endpoint".to_owned(), self.base().into());
        table.insert("username".to_owned(), USERNAME.into());
        table.insert("password".to_owned(), PASSWORD.into());
        table.insert("settle_ms".to_owned(), millis(120, 50, 3_600_000));
        table.insert("precheck_wait_ms".to_owned(), millis(20, 1000, 60_000));
        table
    }

    async fn stop(&self) {
        self.server.stop().await;
    }
}
