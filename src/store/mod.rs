//! The durable truth: jobs, their events, and the requests that made them.
//!
//! [`Store`] is the contract; `tests/store` holds one behaviour suite that runs on every implementation.

pub mod contract;
pub mod error;
pub mod lease;
mod ledger;
mod metrics;
mod page_token;
mod record;
pub mod retention;
pub mod settings;
pub mod sqlite;

pub use contract::Store;
pub use error::StoreError;
pub use lease::Leases;
pub use metrics::CommitCount;
