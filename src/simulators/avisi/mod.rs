//! A stand-in for Avisi Cloud: the customer's API in both path styles, and the operator's `/admin/v1`.
//!
//! A customer can ask for a scheduled upgrade and never read it back; an operator can read and delete it. A second
//! POST for a cluster whose upgrade has not begun moves that one and keeps its identity; once it has begun, a POST
//! makes a second upgrade, as a careless repeat would. What the documents leave open is chosen here and can be
//! scripted otherwise: windows are told only once an upgrade is `SCHEDULED`, a cluster under upgrade is `upgrading`,
//! a deleted upgrade is gone, POST answers 200.

mod bodies;
mod routes;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::Method;

use super::effects::Effects;
use super::faults::Faults;
use super::server::{Running, serve};
use super::{Hold, Route, Settings, Simulator};
use world::World;

pub use bodies::{CHANNEL_VERSION, FIRST_VERSION, NEXT_VERSION};
pub use world::Outcome;

/// The one organisation's slug.
pub const ORGANISATION: &str = "acme";
/// A customer's personal access token.
pub const CUSTOMER_TOKEN: &str = "acpat_sim_customer_4f1d7c";
/// An operator's token, which also reaches `/admin/v1`.
pub const OPERATOR_TOKEN: &str = "acpat_sim_operator_9b2e8a";

/// The identity of cluster `n` (from 0).
pub fn target_id(n: usize) -> String {
    format!("a0150000-c1a5-4000-8000-{n:012x}")
}

/// The identity of the `n`th scheduled upgrade (from 0) since the start.
pub fn upgrade_id(n: u64) -> String {
    format!("a0150000-5c4e-4000-8000-{n:012x}")
}

/// A running stand-in for Avisi Cloud.
pub struct SimAvisi {
    world: Arc<World>,
    faults: Faults,
    server: Running,
}

/// Starts a stand-in for Avisi Cloud with `settings.targets` clusters.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(settings: Settings) -> io::Result<SimAvisi> {
    let world = Arc::new(World::new(settings.targets, settings.pace));
    let faults = Faults::default();
    let server = serve(settings.address, routes::router(&world, &faults)).await?;
    Ok(SimAvisi { world, faults, server })
}

impl SimAvisi {
    /// Decides how the next upgrades of a cluster turn out. Clusters that do not exist are passed over.
    pub fn script(&self, target: &str, outcome: Outcome) {
        self.world.script(target, outcome);
    }

    /// Tells an upgrade's window from its first answer on, instead of once it is `SCHEDULED`.
    pub fn tell_windows(&self, at_once: bool) {
        self.world.lock().windows_at_once = at_once;
    }

    /// Lets a deleted upgrade stay readable with this status, instead of being gone.
    pub fn keep_cancelled_as(&self, status: Option<&'static str>) {
        self.world.lock().cancelled_as = status;
    }

    /// Shows a cluster with another status word than its own; `None` gives it its own back.
    pub fn show_status(&self, target: &str, status: Option<&str>) {
        self.world.touch(target, |cluster| cluster.shown_status = status.map(Into::into));
    }

    /// Brings a cluster to another version behind everyone's back.
    pub fn set_version(&self, target: &str, version: &str) {
        self.world.touch(target, |cluster| cluster.version = version.into());
    }

    /// Deletes a scheduled upgrade, as an operator somewhere else might.
    pub fn delete_upgrade(&self, identity: &str) {
        self.world.unschedule(identity);
    }

    /// The cluster's version now.
    pub fn version(&self, target: &str) -> Option<String> {
        self.world.version(target)
    }

    /// Refuses every token, as after a revocation, or takes them again.
    pub fn revoke_tokens(&self, revoked: bool) {
        self.world.revoked.store(revoked, Ordering::Relaxed);
    }

    /// How many requests have come in, refused ones included, the side door's not.
    pub fn requests(&self) -> u64 {
        self.world.requests.load(Ordering::Relaxed)
    }

    /// A provider's table with an operator's token besides.
    pub fn operator_provider(&self) -> toml::Table {
        let mut table = self.provider();
        table.insert("admin_token".to_owned(), OPERATOR_TOKEN.into());
        table
    }
}

#[async_trait::async_trait]
impl Simulator for SimAvisi {
    fn vendor(&self) -> &'static str {
        "avisi"
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

    /// A customer's table. The waits before a conclusion keep the simulator's pace.
    fn provider(&self) -> toml::Table {
        let millis = |minutes: u64, least: u64| {
            let real = std::time::Duration::from_secs(minutes * 60);
            let scaled = self.world.pace.scaled(real).as_millis();
            toml::Value::Integer(
                i64::try_from(scaled)
                    .unwrap_or(i64::MAX)
                    .clamp(i64::try_from(least).unwrap_or(1), 86_400_000),
            )
        };
        let mut table = toml::Table::new();
        table.insert("vendor".to_owned(), "avisi".into());
        table.insert("endpoint".to_owned(), self.base().into());
        table.insert("organisation".to_owned(), ORGANISATION.into());
        table.insert("token".to_owned(), CUSTOMER_TOKEN.into());
        table.insert("missed_margin_ms".to_owned(), millis(15, 50));
        table.insert("settle_ms".to_owned(), millis(1, 10));
        table
    }

    async fn stop(&self) {
        self.server.stop().await;
    }
}
