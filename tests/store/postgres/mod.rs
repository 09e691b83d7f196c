//! Stores in PostgreSQL, each in a schema and of a user of its own, on one server that all tests share.

mod lost;
mod moving;
mod opening;
mod order;
mod replicas;
mod rewound;
#[path = "../../support/postgres/mod.rs"]
mod support;
mod tls;

use std::sync::Arc;

use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Store, StoreError};
use support::{Database, run};
use tokio::task::JoinHandle;

use crate::fixture::Backend;

/// A schema with its user.
pub struct Postgres(Database);

impl std::ops::Deref for Postgres {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

impl Postgres {
    /// On the server that all tests share.
    pub fn new() -> Self {
        Self(Database::new())
    }

    fn on(server: String) -> Self {
        Self(Database::on(server))
    }

    fn settings(&self) -> StoreSettings {
        // Polled slowly: what a test waits for comes by notification, or it says so.
        StoreSettings { poll_ms: Some(30_000), ..self.0.settings() }
    }

    async fn try_open(&self) -> Result<Arc<PostgresStore>, StoreError> {
        self.made().await;
        PostgresStore::open(&self.settings()).await
    }
}

impl Backend for Postgres {
    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }
}

/// Runs something beside the test.
#[expect(clippy::disallowed_methods, reason = "it must go on while the test waits for something else")]
fn start<F>(beside: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::task::spawn(beside)
}
