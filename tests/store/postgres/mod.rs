//! Stores in PostgreSQL, each in a schema and of a user of its own, on one server that all tests share.

mod lost;
mod moving;
mod opening;
mod order;
mod proxy;
mod replicas;
mod rewound;
mod server;

use std::sync::Arc;

use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Store, StoreError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::fixture::Backend;

/// The shared server, as its superuser.
#[expect(clippy::disallowed_methods, reason = "where the tests' server is, whoever runs the tests says")]
fn server() -> String {
    std::env::var("DRYDOCK_TEST_POSTGRES").expect(
        "these tests need a PostgreSQL server: run them with `cargo nextest run` (which starts one where PostgreSQL is \
         installed) or with `scripts/postgres run cargo test`, or set DRYDOCK_TEST_POSTGRES",
    )
}

/// A schema with its user, on a server.
pub struct Postgres {
    server: String,
    user: String,
    made: OnceCell<()>,
}

impl Postgres {
    /// On the server that all tests share.
    pub fn new() -> Self {
        Self::on(server())
    }

    fn on(server: String) -> Self {
        Self { server, user: format!("t_{}", Uuid::new_v4().simple()), made: OnceCell::new() }
    }

    async fn made(&self) {
        let make = || async {
            let mut admin = self.admin().await;
            // `CREATE ROLE` of many tests at once.
            run(&mut admin, &format!("CREATE ROLE {} LOGIN", self.user)).await;
            run(&mut admin, &format!("CREATE SCHEMA AUTHORIZATION {}", self.user)).await;
        };
        self.made.get_or_init(make).await;
    }

    /// The url of the store, by another way to the server if `through` names one (`host:port`).
    fn url(&self, through: Option<&str>) -> String {
        let (_, rest) = self.server.split_once('@').unwrap();
        let (place, database) = rest.split_once('/').unwrap();
        format!("postgres://{}@{}/{database}", self.user, through.unwrap_or(place))
    }

    fn place(&self) -> String {
        let (_, rest) = self.server.split_once('@').unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    }

    fn settings(&self) -> StoreSettings {
        // Polled slowly: what a test waits for comes by notification, or it says so.
        StoreSettings { url: self.url(None), poll_ms: Some(30_000), ..StoreSettings::default() }
    }

    async fn try_open(&self) -> Result<Arc<PostgresStore>, StoreError> {
        self.made().await;
        PostgresStore::open(&self.settings()).await
    }

    /// A connection of the superuser.
    async fn admin(&self) -> PgConnection {
        self.server.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// A connection of the store's user, beside the store.
    async fn beside(&self) -> PgConnection {
        self.made().await;
        self.url(None).parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// Runs SQL behind the store's back.
    async fn tamper(&self, sql: &str) {
        let mut connection = self.beside().await;
        run(&mut connection, sql).await;
        connection.close().await.unwrap();
    }
}

impl Backend for Postgres {
    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// Runs something beside the test.
#[expect(clippy::disallowed_methods, reason = "it must go on while the test waits for something else")]
fn start<F>(beside: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::task::spawn(beside)
}
