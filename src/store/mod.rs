//! The durable truth: jobs, their events, and the requests that made them.
//!
//! [`Store`] is the contract; `tests/store` holds one behaviour suite that runs on every implementation.

mod columns;
pub mod contract;
pub mod durable;
pub mod error;
mod fault;
mod group;
pub mod lease;
mod ledger;
mod list;
mod loans;
mod metrics;
pub mod moving;
mod page_token;
pub mod postgres;
mod record;
pub mod retention;
pub mod settings;
pub mod sqlite;
mod wanted;

use std::sync::Arc;

pub use contract::Store;
pub use error::StoreError;
pub use lease::Leases;
pub use metrics::CommitCount;

/// Opens the store that `settings` name.
///
/// # Errors
/// See [`sqlite::SqliteStore::open`] and [`postgres::PostgresStore::open`].
pub async fn open(settings: &settings::StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    if settings.is_postgres() {
        return Ok(postgres::PostgresStore::open(settings).await?);
    }
    Ok(sqlite::SqliteStore::open(settings).await?)
}
