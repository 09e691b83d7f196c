//! The one place that names concrete types: it opens the store, builds the vendors, starts the engine and the
//! doors in that order, and takes them down in the other.

pub mod admin;
pub(crate) mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::server::{self, Drained, ServeError, Serving};
use crate::config::{Config, ProviderConfig};
use crate::engine::{self, Engine};
use crate::kit::clock::Clock;
use crate::kit::tasks::Tasks;
use crate::store::{self, Store, StoreError};
use crate::telemetry::metrics::Scrape;
use crate::telemetry::{self, InstallError};
use crate::vendors::http::{BuildError, HttpClient};

/// How long the exporters get for what is left at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The doors get at least this long to close, however little of the shutdown's time is left.
const LEAST_DEADLINE: Duration = Duration::from_millis(200);

/// Why Drydock could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Telemetry could not be installed.
    #[error(transparent)]
    Telemetry(#[from] InstallError),
    /// The store could not be opened.
    #[error("the store could not be opened")]
    Store(#[from] StoreError),
    /// A provider's client could not be built.
    #[error("the client of {provider} could not be built")]
    Provider {
        /// Which provider.
        provider: String,
        /// Why.
        source: BuildError,
    },
    /// The engine could not start.
    #[error("the engine could not start")]
    Engine(#[from] crate::domain::error::Error),
    /// The gRPC door could not be opened.
    #[error(transparent)]
    Grpc(#[from] ServeError),
    /// The admin door could not be opened.
    #[error("the admin pages cannot be served on {address} (`admin.address`)")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The process cannot be told to stop.
    #[error("signals cannot be listened for")]
    Signals(#[source] std::io::Error),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything closed in time.
    Clean,
    /// Something was still at work when the deadline passed. Nothing is lost: jobs are durable, and go on at
    /// the next start.
    Late,
    /// A second signal cut the shutdown short. Nothing is lost.
    Cut,
    /// The gRPC door closed by itself, which it never should: a supervisor should start Drydock anew.
    Broken,
}

/// Runs the gateway until it is told to stop (SIGINT or SIGTERM).
///
/// # Errors
/// It could not start.
pub async fn run(config: Config) -> Result<Ended, StartError> {
    let telemetry = telemetry::install(&config.telemetry, config.otlp)?;
    let outcome = run_installed(config, telemetry.scrape()).await;
    if let Err(error) = &outcome {
        tracing::error!(error = error as &dyn std::error::Error, "could not start");
    }
    if !matches!(outcome, Ok(Ended::Cut)) {
        telemetry.shutdown(FLUSH_DEADLINE).await;
    }
    outcome
}

async fn run_installed(config: Config, scrape: Scrape) -> Result<Ended, StartError> {
    let mut signals = signals::Signals::listen().map_err(StartError::Signals)?;
    let starting = start(config, scrape);
    let running = tokio::select! {
        running = starting => running?,
        // Nothing was promised to anybody yet: what was opened closes with the process.
        () = signals.next() => return Ok(Ended::Cut),
    };
    let broken = tokio::select! {
        () = signals.next() => false,
        () = running.serving.ended() => true,
    };
    tracing::info!("shutting down; a second signal ends the process at once");
    tokio::select! {
        ended = running.shutdown() => Ok(if broken { Ended::Broken } else { ended }),
        () = signals.next() => {
            tracing::warn!("shutdown cut short; jobs are durable and go on at the next start");
            Ok(Ended::Cut)
        }
    }
}

/// A running gateway.
pub struct Running {
    serving: Serving,
    engine: Arc<Engine>,
    store: Arc<dyn Store>,
    admin_address: SocketAddr,
    ready: Arc<AtomicBool>,
    /// The admin pages: the last to go, so that `/readyz` says "no" while the rest closes.
    admin_tasks: Tasks,
    grpc_tasks: Tasks,
    deadline: Duration,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("grpc", &self.grpc_address()).finish_non_exhaustive()
    }
}

/// Starts the gateway: store, vendors, engine, gRPC, admin, in this order. `scrape` is what `/metrics` serves.
///
/// # Errors
/// Any of them could not start; then nothing of it stays behind.
pub async fn start(config: Config, scrape: Scrape) -> Result<Running, StartError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.sealer.is_none() {
        tracing::info!(
            "no `secrets.password_key_file`: passwords of reinstalls that wait are kept in memory only, and a \
             restart before they are sent ends their jobs"
        );
    }
    let clock = Clock::system();
    // Everything that can fail without being seen outside comes first.
    let providers = build_providers(config.providers, &clock)?;
    let count = providers.len();
    let deadline = Duration::from_millis(config.engine.shutdown_deadline_ms);
    let store = store::open(&config.store).await?;
    let engine =
        match Engine::start_up(Arc::clone(&store), providers, config.engine, config.sealer, clock.clone())
            .await
        {
            Ok(engine) => engine,
            Err(error) => {
                store.close().await;
                return Err(error.into());
            }
        };
    let (grpc_tasks, admin_tasks) = (Tasks::new(), Tasks::new());
    let serving = match server::serve(Arc::clone(&engine), &config.grpc, &grpc_tasks).await {
        Ok(serving) => serving,
        Err(error) => {
            engine.shutdown(deadline).await;
            store.close().await;
            return Err(error.into());
        }
    };
    let ready = Arc::new(AtomicBool::new(false));
    let pages = admin::Admin { serving: Arc::clone(&ready), store: Arc::clone(&store), scrape };
    let mut running = Running {
        admin_address: config.admin.address,
        serving,
        engine,
        store,
        ready,
        admin_tasks,
        grpc_tasks,
        deadline,
    };
    match admin::serve(config.admin.address, pages, &running.admin_tasks).await {
        Ok(address) => running.admin_address = address,
        Err(source) => {
            running.shutdown().await;
            return Err(StartError::Admin { address: config.admin.address, source });
        }
    }
    running.ready.store(true, Ordering::Release);
    tracing::info!(
        grpc.address = %running.grpc_address(),
        admin.address = %running.admin_address,
        providers = count,
        "ready"
    );
    Ok(running)
}

fn build_providers(configs: Vec<ProviderConfig>, clock: &Clock) -> Result<Vec<engine::Provider>, StartError> {
    configs.into_iter().map(|config| build_provider(config, clock)).collect()
}

fn build_provider(config: ProviderConfig, clock: &Clock) -> Result<engine::Provider, StartError> {
    let ProviderConfig { id, vendor, common, build } = config;
    let http = HttpClient::build(vendor, id.clone(), &common.limits, &common.tls)
        .map_err(|source| StartError::Provider { provider: id.to_string(), source })?;
    Ok(engine::Provider {
        endpoint: common.endpoint.to_string(),
        labels: common.labels,
        cadence: common.poll.cadence(),
        warnings: common.tls.warnings(),
        vendor: build(id.clone(), http, clock.clone()),
        id,
    })
}

/// Builds what a start would build without being seen outside: every provider's client, and the gRPC door's certificate
/// and key. It opens no port and no store, and asks nobody. What it returns would have kept the gateway from starting.
pub async fn rehearse(config: Config) -> Vec<StartError> {
    let clock = Clock::system();
    let clients = config.providers.into_iter().map(|provider| build_provider(provider, &clock).err());
    let mut faults: Vec<_> = clients.flatten().collect();
    faults.extend(server::check_tls(&config.grpc).await.err().map(StartError::Grpc));
    faults
}

impl Running {
    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Where the admin pages are served.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The engine, for tests that look behind the contract.
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Takes the gateway down within `engine.shutdown_deadline_ms`: load balancers first, then watches, then
    /// RPCs, then drivers, then the store.
    pub async fn shutdown(self) -> Ended {
        let until = Instant::now() + self.deadline;
        let left = || until.saturating_duration_since(Instant::now()).max(LEAST_DEADLINE);
        self.ready.store(false, Ordering::Release);
        self.serving.announce_end().await;
        // tonic's own graceful stop waits for open streams for ever, so they are ended first.
        self.engine.stop_watches();
        // Half of the time for RPCs under way; what they accepted is durable.
        if self.serving.shutdown(left() / 2).await == Drained::Cut {
            tracing::warn!(
                "RPCs that were still under way were cut; jobs that they were told of are durable"
            );
        }
        let doors = self.grpc_tasks.shutdown(left() / 2).await;
        let drivers = self.engine.shutdown(left()).await;
        self.store.close().await;
        let pages = self.admin_tasks.shutdown(LEAST_DEADLINE).await;
        let ended = [doors, drivers, pages];
        if ended.iter().all(|group| group.joined) {
            tracing::info!("stopped");
            return Ended::Clean;
        }
        let left: usize = ended.iter().map(|group| group.left).sum();
        tracing::warn!(
            tasks.left = left,
            "stopped with work still under way; jobs are durable and go on at the next start"
        );
        Ended::Late
    }
}
