//! The gateway under test: a process of its own on a database file of its own, with simulated vendors behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use toml::{Table, Value};
use tonic::transport::Channel;

use super::fleet::Fleet;
use super::home::Home;
use super::process::{Gateway, Orders, PATIENCE, free_port};
use super::wire;

/// What a gateway is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many providers, one vendor after the other.
    pub providers: usize,
    /// How many targets each has.
    pub targets: usize,
    /// Whether operations are held half-way.
    pub held: bool,
    /// The requests a second that each provider allows, instead of the default.
    pub budget: Option<f64>,
    /// The one interval at which jobs are looked at, instead of the default.
    pub poll: Option<Duration>,
}

impl Plan {
    /// One provider with default limits.
    pub const SMALL: Self = Self { providers: 1, targets: 1, held: false, budget: None, poll: None };
    /// The same, and what runs is hardly looked at while the bench measures something else.
    pub const QUIET: Self = Self { poll: Some(Duration::from_secs(3600)), ..Self::SMALL };
}

/// A gateway that is configured, and runs after [`Server::up`].
pub struct Server {
    folder: tempfile::TempDir,
    gateway: Gateway,
    admin: SocketAddr,
    /// The vendors.
    pub fleet: Fleet,
}

impl Server {
    /// Starts the vendors and writes the configuration.
    pub async fn prepare(home: &Home, plan: &Plan) -> anyhow::Result<Self> {
        let fleet = Fleet::start(plan.providers, plan.targets, plan.held).await?;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (mut providers, secrets) = fleet.providers();
        for (provider, key, secret) in secrets {
            let file = path(&format!("{provider}.{key}"));
            std::fs::write(&file, secret)?;
            if let Some(Value::Table(table)) = providers.get_mut(&provider) {
                table.insert(format!("{key}_file"), file.into());
            }
        }
        for (_, provider) in providers.iter_mut() {
            if let Value::Table(table) = provider {
                table.extend(pace(plan)?);
            }
        }
        let (grpc, admin) = (free_port(random)?, free_port(random)?);
        let address = |at: SocketAddr| Table::from_iter([("address".to_owned(), at.to_string().into())]);
        let store = Table::from_iter([("url".to_owned(), format!("sqlite://{}", path("jobs.db")).into())]);
        // No heartbeat may fall into a measurement.
        let engine = toml::toml! {
            heartbeat_ms = 3600000
            watch_max_age_ms = 86400000
            live_jobs_limit = 1000000
        };
        let config = Table::from_iter([
            ("grpc".to_owned(), address(grpc).into()),
            ("admin".to_owned(), address(admin).into()),
            ("engine".to_owned(), engine.into()),
            ("store".to_owned(), store.into()),
            ("providers".to_owned(), providers.into()),
            ("telemetry".to_owned(), toml::toml! { log_format = "json" }.into()),
        ]);
        let file = folder.path().join("drydock.toml");
        std::fs::write(&file, config.to_string())?;
        let log = folder.path().join("log.json");
        let gateway =
            Gateway::new(&home.program, file, log, [grpc, admin], Vec::new()).under(home.under.clone());
        Ok(Self { folder, gateway, admin, fleet })
    }

    /// A gateway that runs.
    pub async fn start(home: &Home, plan: &Plan) -> anyhow::Result<Self> {
        let mut server = Self::prepare(home, plan).await?;
        server.up().await?;
        Ok(server)
    }

    /// Starts the gateway's process, and waits until it serves.
    pub async fn up(&mut self) -> anyhow::Result<()> {
        ensure!(self.gateway.up(Orders::new()).await?, "the gateway did not start");
        Ok(())
    }

    /// Starts the gateway's process, and does not wait.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        self.gateway.spawn(Orders::new())
    }

    /// The gateway's process.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.gateway.id().context("the gateway ended by itself")
    }

    /// The folder that holds everything of it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }

    /// So many connections to it.
    pub async fn connect(&self, count: usize) -> anyhow::Result<Vec<Channel>> {
        wire::connect(self.gateway.grpc(), count).await
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.gateway.grpc()
    }

    /// One of its admin pages, once it is there: status and text.
    pub async fn page(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let answer = tokio::time::timeout(PATIENCE, super::admin::get(self.admin, path)).await;
        answer.context("the admin page never answered")?
    }

    /// Stops it in order; it then can be started again on the same database.
    pub async fn down(&mut self) -> anyhow::Result<()> {
        self.gateway.terminate().await
    }

    /// Ends it and its vendors.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.gateway.kill().await?;
        self.fleet.stop().await;
        Ok(())
    }
}

fn random(least: u64, most: u64) -> u64 {
    rand::random_range(least..=most)
}

fn pace(plan: &Plan) -> anyhow::Result<Table> {
    let mut table = Table::new();
    if let Some(budget) = plan.budget {
        let mut limits = toml::toml! {
            max_concurrent_requests = 32
            burst = 1000
        };
        limits.insert("requests_per_second".to_owned(), budget.into());
        table.insert("limits".to_owned(), limits.into());
    }
    if let Some(poll) = plan.poll {
        let every = i64::try_from(poll.as_millis())?;
        let poll = [("min_ms".to_owned(), every.into()), ("max_ms".to_owned(), every.into())];
        table.insert("poll".to_owned(), Table::from_iter(poll).into());
    }
    Ok(table)
}
