//! Stand-in vendor servers: real HTTP on a real port, with the vendors' own traps, for `drydock demo`,
//! `drydock simulate` and the tests.
//!
//! They share nothing with the adapters but HTTP: their wire shapes are written from the vendors' documents a
//! second time, so that a mistake in an adapter does not hide in its simulator. Each simulator keeps a record of
//! what really took effect ([`effects::Effects`]), against which tests compare what a job says.

pub mod avisi;
pub mod control;
pub mod effects;
pub mod faults;
pub mod hold;
pub mod huawei;
pub mod pace;
pub mod server;
mod spoil;
pub mod vsphere;
pub mod zstack;

pub use effects::{Effect, EffectKind, Effects};
pub use faults::{Aim, Asked, Fault, Faults, Route, Strike, Strikes, When};
pub use hold::Hold;
pub use pace::Pace;
pub use server::{Running, serve};

/// How a simulator is started.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where it listens; port 0 picks a free one.
    pub address: std::net::SocketAddr,
    /// How many targets of each kind it has.
    pub targets: usize,
    /// How much faster than life it runs.
    pub pace: Pace,
}

/// A running stand-in vendor.
#[async_trait::async_trait]
pub trait Simulator: Send + Sync {
    /// The vendor's name, as in `vendor = "..."`.
    fn vendor(&self) -> &'static str;
    /// Its base address.
    fn base(&self) -> String;
    /// What really took effect.
    fn effects(&self) -> &Effects;
    /// What it can be told to have go wrong.
    fn faults(&self) -> &Faults;
    /// What kind of request this is to the vendor. The path is without its query.
    fn route(&self, method: &axum::http::Method, path: &str) -> Route;
    /// Holds operations under way.
    fn hold(&self) -> &Hold;
    /// A provider's table that speaks to it, as the configuration would hold it, credentials included.
    fn provider(&self) -> toml::Table;
    /// Stops it.
    async fn stop(&self);
}
