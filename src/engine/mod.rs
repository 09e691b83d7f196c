//! The engine: accepts operations, drives them at the vendors, and tells what became of them.
//!
//! ```text
//! start ──► accept ──► store ──nudge──► driver ──► round ──► vendor
//!                        │                 ▲          │
//!                        ▼                 └── step ◄─┘     (step: pure; plan: pure)
//!                       hub ──► watch
//! ```

mod accept;
pub mod calls;
pub mod commit;
mod describe;
mod driver;
#[expect(clippy::module_inception, reason = "the engine is what this room is about")]
mod engine;
mod fault;
mod foreign;
mod health;
mod hub;
mod inventory;
mod lifespan;
mod metrics;
pub mod plan;
mod provider;
mod retention;
mod retry;
mod round;
pub mod settings;
pub mod step;
#[cfg(test)]
mod step_tests;
pub mod token;
mod vault;
mod watch;
pub mod wish;

pub use crate::store::contract::JobFilter;
pub use engine::Engine;
pub use provider::Provider;
pub use settings::EngineSettings;
pub use watch::Watch;
