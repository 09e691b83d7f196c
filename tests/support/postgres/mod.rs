//! A PostgreSQL for a test: a schema and its user on the server that all tests share, or a server of its own.

#![allow(dead_code, reason = "each of those who include it uses a part")]

pub mod proxy;
pub mod server;

use drydock::store::settings::StoreSettings;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The shared server, as its superuser.
#[expect(clippy::disallowed_methods, reason = "where the tests' server is, whoever runs the tests says")]
fn shared() -> String {
    std::env::var("DRYDOCK_TEST_POSTGRES").expect(
        "these tests need a PostgreSQL server: run them with `cargo nextest run` (which starts one where PostgreSQL is \
         installed) or with `scripts/postgres run cargo test`, or set DRYDOCK_TEST_POSTGRES",
    )
}

/// A schema with its user, on a server. Made when it is first needed.
pub struct Database {
    server: String,
    pub user: String,
    made: OnceCell<()>,
}

impl Database {
    /// On the server that all tests share.
    pub fn new() -> Self {
        Self::on(shared())
    }

    /// On the server that this superuser's url leads to.
    pub fn on(server: String) -> Self {
        Self { server, user: format!("t_{}", Uuid::new_v4().simple()), made: OnceCell::new() }
    }

    pub async fn made(&self) {
        let make = || async {
            let mut admin = self.admin().await;
            // `CREATE ROLE` of many tests at once.
            run(&mut admin, &format!("CREATE ROLE {} LOGIN", self.user)).await;
            run(&mut admin, &format!("CREATE SCHEMA AUTHORIZATION {}", self.user)).await;
        };
        self.made.get_or_init(make).await;
    }

    /// The url of the store, by another way to the server if `through` names one (`host:port`).
    pub fn url(&self, through: Option<&str>) -> String {
        let (_, rest) = self.server.split_once('@').unwrap();
        let (place, database) = rest.split_once('/').unwrap();
        format!("postgres://{}@{}/{database}", self.user, through.unwrap_or(place))
    }

    /// The same with a password in it, which the server then asks for.
    pub async fn url_with_password(&self, right: &str, given: &str) -> String {
        self.made().await;
        let mut admin = self.admin().await;
        // Others make the same role at the same time.
        run(
            &mut admin,
            "DO $$ BEGIN CREATE ROLE with_password; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        )
        .await;
        let user = &self.user;
        run(&mut admin, &format!("ALTER ROLE {user} PASSWORD '{right}'; GRANT with_password TO {user}"))
            .await;
        with_password(&self.url(None), user, given)
    }

    /// The server's `host:port`.
    pub fn place(&self) -> String {
        let (_, rest) = self.server.split_once('@').unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    }

    pub fn settings(&self) -> StoreSettings {
        StoreSettings { url: self.url(None), ..StoreSettings::default() }
    }

    /// A connection of the superuser.
    pub async fn admin(&self) -> PgConnection {
        self.server.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// A connection of the store's user, beside the store.
    pub async fn beside(&self) -> PgConnection {
        self.made().await;
        self.url(None).parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub async fn tamper(&self, sql: &str) {
        let mut connection = self.beside().await;
        run(&mut connection, sql).await;
        connection.close().await.unwrap();
    }
}

pub async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// A url with a password put into it.
pub fn with_password(url: &str, user: &str, password: &str) -> String {
    url.replace(&format!("{user}@"), &format!("{user}:{password}@"))
}
