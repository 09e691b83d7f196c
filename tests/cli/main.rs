//! The program as a user meets it: arguments in, words and exit codes out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod check_config;
#[cfg(feature = "simulators")]
mod demo;
#[cfg(test)]
#[path = "../store/fixture.rs"]
#[allow(dead_code, reason = "the store suite's jobs, of which this one needs few")]
mod fixture;
mod gateway;
mod migrate_store;
#[cfg(test)]
#[path = "../support/postgres/mod.rs"]
mod postgres;
mod program;
mod serve;
mod store;
