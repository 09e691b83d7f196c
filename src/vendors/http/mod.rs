//! One HTTP client for all vendors: timeouts, body cap, request budget, tracing, and no secret in any error.
//!
//! An adapter builds a [`Call`], and gets either a [`Reply`] (any status, body complete and within its cap) or a
//! `VendorError` that says whether the request may have arrived. Reading a status or body is the adapter's
//! `map.rs`; nothing here knows any vendor.

mod call;
mod client;
mod gated;
mod metrics;
mod pin;
mod reply;
mod trust;

pub use call::{Call, Verb};
pub use client::{BuildError, HttpClient};
pub use pin::Pin;
pub use reply::{Reply, parse_retry_after};
