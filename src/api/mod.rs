//! The contract's side of the house: the one room that names tonic, prost or generated types.
//!
//! ```text
//! connection ──► observe ──► drain ──► deadline ──► service ──► convert ──► engine
//!                (span, metric)                     (thin)      (all faults at once)
//! ```
//!
//! A service reads its request, asks the engine, and writes the answer; it decides nothing. Errors leave by
//! `status`, one table.

mod answer;
pub mod codec;
pub mod convert;
pub mod gate;
mod job;
pub mod layers;
mod listener;
mod messages;
mod operations;
mod outbox;
mod outlet;
pub mod pb;
mod pouring;
mod provider;
mod reinstall;
mod schedule;
pub mod server;
pub mod settings;
pub mod status;
mod upgrade;

pub use server::{Drained, ServeError, Serving, serve};
pub use settings::GrpcSettings;
