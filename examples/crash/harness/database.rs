//! A PostgreSQL database for one round, and a wire of its own for every gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::canaries::Canaries;
use super::proxy::Proxy;
use super::server::{Server, Stop};

/// A database with its user, on a server that this round has to itself.
pub struct Database {
    server: Server,
    name: String,
    password: Option<String>,
    wires: Vec<Proxy>,
}

/// Who drives a provider by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The replica's name.
    pub replica: String,
    /// The fence number, which rises each time the provider changes hands.
    pub fence: i64,
}

impl Database {
    /// Makes the database, its user, and so many wires. A password makes every connection dear, so not every user
    /// has one.
    pub async fn make(
        server: Server,
        replicas: usize,
        seed: u64,
        password: Option<String>,
    ) -> anyhow::Result<Self> {
        let name = format!("round_{seed}");
        let login = match &password {
            Some(password) => format!("LOGIN PASSWORD '{password}' IN ROLE with_password"),
            None => "LOGIN".to_owned(),
        };
        let mut admin = connect(server.url()).await?;
        for sql in [
            // Whoever is a member of this role needs a password; see scripts/postgres.
            "DO $$ BEGIN CREATE ROLE with_password; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
                .to_owned(),
            format!("CREATE ROLE {name} {login}"),
            format!("CREATE DATABASE {name} OWNER {name}"),
        ] {
            run(&mut admin, sql).await?;
        }
        admin.close().await?;
        let (_, rest) = server.url().split_once('@').context("the server's url")?;
        let (place, _) = rest.split_once('/').context("the server's url")?;
        let behind: SocketAddr = place.parse().context("the server's place")?;
        let mut wires = Vec::new();
        for _ in 0..replicas {
            wires.push(Proxy::start(behind).await?);
        }
        Ok(Self { server, name, password, wires })
    }

    /// The `store` section, without the url.
    pub fn section() -> toml::Table {
        toml::toml! {
            max_connections = 7
            poll_ms = 200
            statement_timeout_ms = 2000
        }
    }

    /// The store's url for a replica, by its own wire.
    pub fn url(&self, replica: usize) -> String {
        let place = self.wire(replica).map(|wire| wire.address().to_string()).unwrap_or_default();
        let password = self.password().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://{0}{password}@{place}/{0}", self.name)
    }

    /// The user's password, if it has one.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// A replica's way to the server.
    pub fn wire(&self, replica: usize) -> Option<&Proxy> {
        self.wires.get(replica)
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.wires.iter().for_each(Proxy::heal);
    }

    /// Stops the server and starts it again.
    pub async fn restart(&mut self, stop: Stop, pause: Duration) -> anyhow::Result<()> {
        self.server.restart(stop, pause).await
    }

    /// A superuser's connection to this database, not by any wire.
    pub async fn beside(&self) -> anyhow::Result<PgConnection> {
        let (server, _) = self.server.url().rsplit_once('/').context("the server's url")?;
        connect(&format!("{server}/{}", self.name)).await
    }

    /// Who holds which provider, on the database's clock.
    pub async fn holders(connection: &mut PgConnection) -> anyhow::Result<BTreeMap<String, Holder>> {
        let rows = sqlx::query(
            "SELECT provider, name, fence FROM leases JOIN replicas ON holder = id \
             WHERE leases.expires_at > clock_timestamp()",
        )
        .fetch_all(connection)
        .await?;
        let holder = |row: &sqlx::postgres::PgRow| {
            let holder = Holder { replica: row.try_get(1)?, fence: row.try_get(2)? };
            anyhow::Ok((row.try_get(0)?, holder))
        };
        rows.iter().map(holder).collect()
    }

    /// Looks for secrets in every table, as the server would copy it out: bytes stay bytes.
    pub async fn search(&self, canaries: &Canaries) -> anyhow::Result<()> {
        let mut connection = self.beside().await?;
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                .fetch_all(&mut connection)
                .await?;
        anyhow::ensure!(tables.iter().any(|table| table == "jobs"), "no table of jobs among {tables:?}");
        for table in tables {
            let copy = format!("COPY public.{table} TO STDOUT (FORMAT binary)");
            let mut copied = Vec::new();
            let mut pieces = connection.copy_out_raw(&copy).await?;
            while let Some(piece) = pieces.try_next().await? {
                copied.extend_from_slice(&piece);
            }
            drop(pieces);
            canaries.look(&format!("the table {table}"), &copied);
        }
        connection.close().await?;
        Ok(())
    }

    /// Removes the database; the server is free for the next round.
    pub async fn close(self) -> anyhow::Result<Server> {
        for wire in &self.wires {
            wire.stop().await;
        }
        let mut admin = connect(self.server.url()).await?;
        run(&mut admin, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?;
        run(&mut admin, format!("DROP ROLE {}", self.name)).await?;
        admin.close().await?;
        Ok(self.server)
    }
}

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    Ok(url.parse::<PgConnectOptions>()?.connect().await?)
}

async fn run(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
