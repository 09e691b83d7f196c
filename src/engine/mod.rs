//! The engine: accepts operations, drives them at the vendors, and tells what became of them.
//!
//! ```text
//! start ──► accept ──► store ──nudge──► driver ──► round ──► vendor
//!                        │                 ▲          │
//!                        ▼                 └── step ◄─┘     (step: pure; plan: pure)
//!                       hub ──► watch
//! ```
//!
//! Which replica runs a provider's driver is decided by leases: `lease` keeps them, `spread` says who should have which,
//! and `nudge` tells a driver what others committed.

mod accept;
mod attention;
mod bell;
mod berths;
pub mod calls;
pub mod commit;
mod describe;
mod driver;
#[expect(clippy::module_inception, reason = "the engine is what this room is about")]
mod engine;
mod events;
mod fault;
mod foreign;
mod health;
mod hub;
mod inventory;
mod lease;
mod lifespan;
mod metrics;
mod nudge;
pub mod plan;
mod provider;
mod reads;
mod report;
mod retention;
mod retry;
mod ring;
mod round;
pub mod settings;
mod spread;
pub mod step;
#[cfg(test)]
mod step_tests;
mod tenure;
pub mod token;
mod vault;
mod watch;
pub mod wish;

pub use crate::store::contract::JobFilter;
pub use berths::Watch;
pub use engine::Engine;
pub use provider::Provider;
pub use settings::EngineSettings;
