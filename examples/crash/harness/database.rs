//! A PostgreSQL database for one round, and a wire of its own for every gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::time::Instant;

use super::canaries::Canaries;
use super::harm::{self, Harm, Harms, Place, Strike};
use super::proxy::{Cut, Hear, Proxy};
use super::server::{Server, Stop};
use crate::watch_checks::Commits;

/// A database with its user, on a server that this round has to itself.
pub struct Database {
    server: Server,
    name: String,
    password: Option<String>,
    wires: Vec<Proxy>,
}

/// Writes down what a gateway's wire did.
struct Ear(Harms);

impl Hear for Ear {
    fn cut(&self, cut: Cut, marked: bool, _: &[u8]) {
        let harm = if marked { Harm::Commit(cut) } else { Harm::Statement(cut) };
        self.0.strike(harm, Place::Database);
    }

    fn away(&self, until: Instant) {
        let (from, until) = (harm::now(), harm::at(until));
        self.0.note(Strike { harm: Harm::DatabaseAway, place: Place::Database, from, until });
    }
}

/// Whether a piece of a gateway's talk holds the commit of a transaction.
fn commits(request: &[u8]) -> bool {
    // With the zero that ends a query: BEGIN says "READ COMMITTED".
    request.windows(7).any(|word| word == b"COMMIT\0")
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
        harms: &Harms,
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
            wires.push(Proxy::start(behind, 1, Box::new(commits), Box::new(Ear(harms.clone()))).await?);
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
        let address = self.wire(replica).and_then(Proxy::address);
        let place = address.map(|address| address.to_string()).unwrap_or_default();
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

    /// Lets nobody reach the server until then.
    pub fn go_away(&self, until: Instant) {
        self.wires.iter().for_each(|wire| wire.go_away(until));
    }

    /// Until when the server is out of reach, if it is.
    pub fn away_until(&self) -> Option<Instant> {
        self.wires.iter().filter_map(Proxy::away_until).max()
    }

    /// Which commit each event belongs to, as the server has it.
    pub async fn commits(&self) -> anyhow::Result<Commits> {
        let mut connection = self.beside().await?;
        let rows: Vec<(uuid::Uuid, i64, i64)> =
            sqlx::query_as("SELECT job, sequence, commit_no FROM events").fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(Commits::of(rows))
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
