//! Every vendor's adapter against its simulator, over real HTTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod avisi;
mod huawei;
mod permits;
mod table;
mod tls;
mod vsphere;
mod zstack;
