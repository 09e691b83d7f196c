//! Every vendor's adapter against its simulator, over real HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod adapter;
mod avisi;
mod huawei;
mod locked_out;
mod permits;
mod silence;
mod table;
mod tls;
mod vsphere;
mod zstack;
