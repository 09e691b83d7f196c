//! Drydock: one gRPC contract in, each vendor's own REST API out, one durable job per operation.
//!
//! The rooms, in floor order. Imports run downward only; `tests/floors.rs` fails on any other.
//!
//! ```text
//! roof  app, config, telemetry, cli, simulators   wiring; knows everyone, known by no one
//! 4     api                                       -> engine, domain, kit   (the only room that names tonic or prost)
//! 3     engine                                    -> store, vendors (their traits), domain, kit
//! 2     store, vendors                            -> domain, kit           (neither sees the other)
//! 1     domain, kit                               -> std and small crates  (domain has no I/O and no clock)
//! ```

pub mod domain;
pub mod kit;

pub mod store;
pub mod vendors;

pub mod engine;

pub mod api;

pub mod app;
pub mod cli;
pub mod config;
#[cfg(feature = "simulators")]
pub mod simulators;
pub mod telemetry;
