//! What several replicas stand on: one file that they share in one process, or one database, each with its own way
//! to it.

use std::sync::Arc;

use drydock::store::Store;
use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;

use crate::postgres::Database;

/// An empty database that replicas meet at.
pub enum Ground {
    /// A file has one process; all replicas in it share its store.
    Sqlite { store: Arc<dyn Store>, _folder: tempfile::TempDir },
    /// Each replica has a store of its own, as in a process of its own.
    Postgres(Database),
}

impl Ground {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("drydock.db").display());
        let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        Self::Sqlite { store, _folder: folder }
    }

    pub async fn postgres() -> Self {
        let database = Database::new();
        database.made().await;
        Self::Postgres(database)
    }

    /// The store of one more replica.
    pub async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite { store, .. } => Arc::clone(store),
            Self::Postgres(database) => PostgresStore::open(&database.settings()).await.unwrap(),
        }
    }
}
