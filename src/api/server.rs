//! The gRPC server: every service on one port, and an end in two phases.
//!
//! tonic's own graceful stop waits for open streams for ever. So: [`Serving::announce_end`] turns health to
//! NOT_SERVING; then the engine ends its watches, each with a last token; then [`Serving::shutdown`] stops accepting,
//! waits for the calls under way, and at its deadline cuts what is left.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::{MapRequestLayer, MapResponseLayer, option_layer};

use super::gate::Gate;
use super::job::Jobs;
use super::layers::deadline::DeadlineLayer;
use super::layers::drain::DrainLayer;
use super::layers::explained::explained;
use super::layers::observe::ObserveLayer;
use super::layers::plain::unless_watch;
use super::listener::connections;
use super::operations::LongRunning;
use super::outlet::as_it_is;
use super::pb;
use super::provider::Providers;
use super::reinstall::Reinstalls;
use super::schedule::Schedules;
use super::settings::{GrpcSettings, TlsSettings};
use super::upgrade::Upgrades;
use crate::engine::Engine;
use crate::kit::tasks::Tasks;

/// The largest block of headers that one call may have.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Paths of our own services.
const OURS: &str = "/drydock.v1.";

/// The package of the long-running operations, which are ours too.
const LONG_RUNNING: &str = "google.longrunning";

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("cannot read {}", file.display())]
    ReadTls {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("certificate and key of [grpc.tls] cannot be used")]
    Tls(#[source] tonic::transport::Error),
    /// The contract in the binary cannot be read: the build is broken.
    #[error("the contract in this binary cannot be read")]
    Contract(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens; with the port that was taken when 0 was asked for.
    pub address: SocketAddr,
    health: HealthReporter,
    services: Vec<String>,
    announced: AtomicBool,
    /// Cancelled to stop accepting and let calls finish.
    stop: CancellationToken,
    /// Cancelled to cut every connection.
    cut: CancellationToken,
    /// Cancelled when the server has ended.
    ended: CancellationToken,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call came to its end.
    InTime,
    /// The deadline passed and what was left was cut.
    Cut,
}

/// Listens and serves; answers as soon as the port is open.
///
/// # Errors
/// The port or the certificate cannot be used.
pub async fn serve(
    engine: Arc<Engine>,
    settings: &GrpcSettings,
    tasks: &Tasks,
) -> Result<Serving, ServeError> {
    let tls = match &settings.tls {
        Some(files) => Some(read_tls(files).await?),
        None => None,
    };
    let gate = Gate::new(engine, tasks.clone());
    serve_routes(routes(gate, settings.max_message_bytes), tls, settings, tasks).await
}

/// Our services on their engine.
fn routes(gate: Gate, max: usize) -> Routes {
    use pb::job_service_server::JobServiceServer;
    use pb::longrunning::operations_server::OperationsServer;
    use pb::provider_service_server::ProviderServiceServer;
    use pb::reinstall_service_server::ReinstallServiceServer;
    use pb::schedule_service_server::ScheduleServiceServer;
    use pb::upgrade_service_server::UpgradeServiceServer;
    use tonic::codec::CompressionEncoding::Gzip;
    // The bound holds for what a request is, and again for what it becomes when it is unpacked.
    macro_rules! bounded {
        ($service:expr) => {
            $service.max_decoding_message_size(max).accept_compressed(Gzip).send_compressed(Gzip)
        };
    }
    Routes::new(bounded!(UpgradeServiceServer::new(Upgrades(gate.clone()))))
        .add_service(bounded!(ScheduleServiceServer::new(Schedules(gate.clone()))))
        .add_service(bounded!(ReinstallServiceServer::new(Reinstalls(gate.clone()))))
        .add_service(bounded!(JobServiceServer::new(Jobs(gate.clone()))))
        .add_service(bounded!(ProviderServiceServer::new(Providers(gate.clone()))))
        .add_service(bounded!(OperationsServer::new(LongRunning(gate))))
}

async fn serve_routes(
    routes: Routes,
    tls: Option<ServerTlsConfig>,
    settings: &GrpcSettings,
    tasks: &Tasks,
) -> Result<Serving, ServeError> {
    let contract = Contract::read()?;
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in &contract.services {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    let (stop, cut, ended) = <(CancellationToken, CancellationToken, CancellationToken)>::default();
    let mut server = Server::builder()
        .max_concurrent_streams(settings.max_concurrent_streams)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(Duration::from_millis(settings.keepalive_interval_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(settings.keepalive_timeout_ms)));
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(ServeError::Tls)?;
    }
    let (reflection, reflection_alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let routes = routes
        .add_service(health_service)
        .add_service(reflection.map_err(|e| ServeError::Contract(Box::new(e)))?)
        .add_service(reflection_alpha.map_err(|e| ServeError::Contract(Box::new(e)))?);
    let router = server
        .layer(ObserveLayer::new(contract.methods))
        .layer(MapResponseLayer::new(explained))
        .layer(DrainLayer { keep: OURS, stop: stop.clone() })
        .layer(DeadlineLayer { max: settings.max_deadline() })
        .layer(option_layer((!settings.compress_watches).then(|| MapRequestLayer::new(unless_watch))))
        .layer(MapResponseLayer::new(as_it_is))
        .add_routes(routes);

    let bind = |source| ServeError::Bind { address: settings.address, source };
    let listener = TcpListener::bind(settings.address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (most, silence, over_tls) = (settings.max_connections, settings.silence(), settings.tls.is_some());
    let incoming = connections(listener, most, silence, over_tls, cut.clone());
    let stopped = stop.clone().cancelled_owned();
    let (guard, token) = (ended.clone().drop_guard(), tasks.token().clone());
    tasks.spawn("grpc server", async move {
        let _ended = guard;
        tokio::select! {
            served = router.serve_with_incoming_shutdown(incoming, stopped) => {
                if let Err(error) = served {
                    tracing::error!(error = %error, "the gRPC server failed");
                }
            }
            () = token.cancelled() => {}
        }
    });
    tracing::info!(server.address = %address, server.tls = settings.tls.is_some(), "gRPC server listens");
    Ok(Serving {
        address,
        health,
        services: contract.services,
        announced: AtomicBool::new(false),
        stop,
        cut,
        ended,
    })
}

impl Serving {
    /// Tells load balancers to go elsewhere. Calls are still served.
    pub async fn announce_end(&self) {
        // Those who watch health are told once.
        if self.announced.swap(true, Ordering::Relaxed) {
            return;
        }
        for service in &self.services {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
    }

    /// Stops accepting, waits for the calls under way, and at the deadline cuts what is left. End the watches first.
    pub async fn shutdown(self, deadline: Duration) -> Drained {
        self.announce_end().await;
        self.stop.cancel();
        if tokio::time::timeout(deadline, self.ended.cancelled()).await.is_ok() {
            return Drained::InTime;
        }
        self.cut.cancel();
        // Cut connections end at once; the bound is for the case that they do not.
        if tokio::time::timeout(HANDSHAKE, self.ended.cancelled()).await.is_err() {
            tracing::warn!("the gRPC server did not end after its connections were cut");
        }
        Drained::Cut
    }

    /// Waits until the server has ended by itself, which it never should.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Reads the certificate and key of `[grpc.tls]`, if there are any, and sees whether they fit each other.
///
/// # Errors
/// They cannot be read or used.
pub async fn check_tls(settings: &GrpcSettings) -> Result<(), ServeError> {
    let Some(files) = &settings.tls else { return Ok(()) };
    Server::builder().tls_config(read_tls(files).await?).map(drop).map_err(ServeError::Tls)
}

async fn read_tls(files: &TlsSettings) -> Result<ServerTlsConfig, ServeError> {
    let cert = read_file(&files.cert_file).await?;
    let key = zeroize::Zeroizing::new(read_file(&files.key_file).await?);
    let identity = Identity::from_pem(cert, key.as_slice());
    Ok(ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE))
}

async fn read_file(file: &Path) -> Result<Vec<u8>, ServeError> {
    tokio::fs::read(file).await.map_err(|source| ServeError::ReadTls { file: file.to_owned(), source })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// What the contract in this binary says that the server has.
struct Contract {
    /// Names for health: every service, and the empty name for the server as a whole.
    services: Vec<String>,
    /// Every method, `package.Service/Method`.
    methods: BTreeSet<String>,
}

impl Contract {
    fn read() -> Result<Self, ServeError> {
        let mut services = vec![String::new()];
        let mut methods = BTreeSet::new();
        for set in [
            pb::DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let set =
                prost_types::FileDescriptorSet::decode(set).map_err(|e| ServeError::Contract(Box::new(e)))?;
            for file in set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    methods.extend(service.method.iter().map(|m| format!("{name}/{}", m.name())));
                    if [OURS.trim_matches(['/', '.']), LONG_RUNNING].contains(&file.package()) {
                        services.push(name);
                    }
                }
            }
        }
        Ok(Self { services, methods })
    }
}
