//! Where the gateways keep their jobs: the one place of the harness that tells stores apart.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::canaries::Canaries;
use super::database::Database;
use super::harm::Harms;
use super::proxy::Proxy;
use super::server::{Servers, Stop};
use crate::watch_checks::Commits;

/// The file, where jobs are kept in one.
const FILE: &str = "jobs.db";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// One file, one gateway.
    Sqlite,
    /// A throw-away PostgreSQL server, shared by all gateways.
    Postgres,
}

impl Backend {
    /// How many gateways share it unless the caller says.
    pub const fn replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 3,
        }
    }

    /// Whether several gateways may share it.
    pub const fn is_shared(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }

    /// The most gateways that may share it.
    pub const fn most_replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 9,
        }
    }

    /// How long a storm lasts unless the caller says: on PostgreSQL a provider whose gateway died waits for its lease
    /// to run out, and something has to happen after that, too.
    pub const fn storm(self) -> Duration {
        match self {
            Self::Sqlite => Duration::from_millis(2500),
            Self::Postgres => Duration::from_millis(6000),
        }
    }

    /// How many times as fast as life the vendors work. An hour is three seconds, or six where a provider may be
    /// left alone for a lease: an operation should last longer than that, as in life, or nobody sees it under way.
    pub const fn speed(self) -> f64 {
        match self {
            Self::Sqlite => 1200.0,
            Self::Postgres => 600.0,
        }
    }
}

/// The store of one round.
pub enum Storage {
    /// A file in the round's folder.
    File,
    /// A database of its own.
    Database(Box<Database>),
}

impl Storage {
    /// Makes a store for so many gateways, which must give this password if it is a server.
    pub async fn make(
        backend: Backend,
        replicas: usize,
        seed: u64,
        password: Option<String>,
        servers: &Servers,
        harms: &Harms,
    ) -> anyhow::Result<Self> {
        Ok(match backend {
            Backend::Sqlite => Self::File,
            Backend::Postgres => {
                let server = servers.lend().await?;
                Self::Database(Box::new(Database::make(server, replicas, seed, password, harms).await?))
            }
        })
    }

    /// The `store` section of a replica's configuration, for a round that has `folder` to itself.
    pub fn section(&self, folder: &Path) -> toml::Table {
        match self {
            Self::File => {
                let url = format!("sqlite://{}", folder.join(FILE).display());
                toml::Table::from_iter([("url".to_owned(), url.into())])
            }
            Self::Database(_) => Database::section(),
        }
    }

    /// What a replica's environment says beside it: a url with a password may not stand in a file.
    pub fn environment(&self, replica: usize) -> Vec<(&'static str, String)> {
        match self {
            Self::File => Vec::new(),
            Self::Database(database) => vec![("DRYDOCK__STORE__URL", database.url(replica))],
        }
    }

    /// Secrets of the store itself: what each is, and its text.
    pub fn secrets(&self) -> Vec<(String, String)> {
        match self {
            Self::File => Vec::new(),
            Self::Database(database) => {
                let password = database.password();
                password
                    .map(|text| ("the database's password".to_owned(), text.to_owned()))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// Whether several gateways may share it.
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::File => false,
            Self::Database(_) => true,
        }
    }

    /// The way of a replica to it, if it is a wire.
    pub fn wire(&self, replica: usize) -> Option<&Proxy> {
        match self {
            Self::File => None,
            Self::Database(database) => database.wire(replica),
        }
    }

    /// Stops it and starts it again, if it is a server.
    pub async fn restart(&mut self, stop: Stop, pause: Duration) -> anyhow::Result<()> {
        match self {
            Self::File => Ok(()),
            Self::Database(database) => database.restart(stop, pause).await,
        }
    }

    /// Lets no gateway reach it until then, if it is a server.
    pub fn go_away(&self, until: Instant) {
        match self {
            Self::File => {}
            Self::Database(database) => database.go_away(until),
        }
    }

    /// Until when nobody reaches it, if that is so now.
    pub fn away_until(&self) -> Option<Instant> {
        match self {
            Self::File => None,
            Self::Database(database) => database.away_until(),
        }
    }

    /// Which commit each event belongs to, for a round that has `folder` to itself.
    pub async fn commits(&self, folder: &Path) -> anyhow::Result<Commits> {
        match self {
            Self::File => Ok(Commits::in_file(&folder.join(FILE)).await?),
            Self::Database(database) => database.commits().await,
        }
    }

    /// Ends every cut that has not struck yet.
    pub fn heal(&self) {
        match self {
            Self::File => {}
            Self::Database(database) => database.heal(),
        }
    }

    /// Looks for secrets in what is not in the round's folder.
    pub async fn search(&self, canaries: &Canaries) -> anyhow::Result<()> {
        match self {
            Self::File => Ok(()),
            Self::Database(database) => database.search(canaries).await,
        }
    }

    /// The round is over. No gateway may run.
    pub async fn close(self, servers: &Servers) -> anyhow::Result<()> {
        match self {
            Self::File => {}
            Self::Database(database) => servers.give_back(database.close().await?),
        }
        Ok(())
    }
}
