//! One behaviour suite for all vendors: a real engine drives jobs through real adapters over real HTTP to the
//! simulators, and every fault strikes every kind of call. What a job says at its end is compared with what the
//! simulator did, and starts are counted.
//!
//! `cargo nextest run --test behaviour --no-capture matrix` prints the matrix, which is kept as
//! `docs/vendor-faults.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "../vendors/adapter.rs"]
mod adapter;
mod avisi;
mod cell;
mod faults;
mod house;
mod huawei;
mod matrix;
mod shared;
mod subject;
mod vsphere;
mod zstack;
