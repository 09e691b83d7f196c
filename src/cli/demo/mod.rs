//! `drydock demo`: a gateway with simulated vendors behind it, and one operation of each kind, followed live.
//!
//! It speaks to the gateway as any caller would: over gRPC on loopback.

mod follow;
mod operations;
mod scratch;
mod view;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use toml::{Table, Value};
use tonic::transport::Endpoint;

use super::args::DemoArgs;
use super::fleet::Fleet;
use super::{Exit, output};
use crate::api::pb;
use crate::app::signals::Signals;
use crate::app::{self, StartError};
use crate::config::fault::Faults;
use crate::config::load;
use crate::telemetry;
use scratch::Scratch;
use view::View;

/// How many targets of each kind every simulated vendor has.
const TARGETS: usize = 6;
/// With `--exit-when-done`: how long the operations may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long one call may take, connecting included.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the simulated vendors cannot be started: {0}")]
    Fleet(io::Error),
    #[error("no directory for the demo's database: {0}")]
    Scratch(io::Error),
    #[error("signals cannot be listened for: {0}")]
    Signals(io::Error),
    #[error("the demo's own {0}")]
    Config(#[from] Faults),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the gateway cannot be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{what} failed: {code:?}: {message}")]
    Call { what: &'static str, code: tonic::Code, message: String },
    #[error("the operations did not end within {} s", PATIENCE.as_secs())]
    Patience,
}

impl DemoError {
    fn call(what: &'static str) -> impl Fn(tonic::Status) -> Self {
        move |status| Self::Call { what, code: status.code(), message: status.message().to_owned() }
    }
}

pub(super) async fn run(args: DemoArgs) -> Exit {
    match demo(args).await {
        Ok(exit) => exit,
        Err(error) => {
            output::failure(&error);
            Exit::Failed
        }
    }
}

async fn demo(args: DemoArgs) -> Result<Exit, DemoError> {
    let mut signals = Signals::listen().map_err(DemoError::Signals)?;
    // Dropped last: the database's files go when nobody uses them any more.
    let scratch = Scratch::make().map_err(DemoError::Scratch)?;
    let fleet = Fleet::start(TARGETS, args.speed).await.map_err(DemoError::Fleet)?;
    let config = load::load_given(settings(&fleet, &scratch, &args))?;
    let telemetry = telemetry::install(&config.telemetry, config.otlp).map_err(StartError::from)?;
    let running = app::start(config, telemetry.scrape()).await?;
    let (grpc, admin) = (running.grpc_address(), running.admin_address());
    output::say(format_args!(
        "The gateway listens on {grpc}; behind it are {} simulated vendors, {} times as fast as life.",
        fleet.each().count(),
        args.speed
    ));

    let outcome = tokio::select! {
        // Whoever waits for the end of the operations must not take a broken-off demo for a good one.
        () = signals.next() => Ok(if args.exit_when_done { Exit::Cut } else { Exit::Done }),
        outcome = play(&fleet, grpc, admin, &args) => match outcome {
            Ok(_) if !args.exit_when_done => {
                output::say("\nThe gateway stays up. Ctrl-C ends it.");
                signals.next().await;
                Ok(Exit::Done)
            }
            outcome => outcome,
        },
    };
    tokio::select! {
        _ = running.shutdown() => {}
        () = signals.next() => return Ok(Exit::Cut),
    }
    fleet.stop().await;
    telemetry.shutdown(CALL_DEADLINE).await;
    outcome
}

/// Starts one operation of each kind and follows them to their ends.
async fn play(
    fleet: &Fleet,
    grpc: SocketAddr,
    admin: SocketAddr,
    args: &DemoArgs,
) -> Result<Exit, DemoError> {
    let channel =
        Endpoint::from_shared(format!("http://{grpc}"))?.connect_timeout(CALL_DEADLINE).connect().await?;
    let jobs = operations::start(fleet, channel.clone()).await?;
    output::say(calls_to_try(&jobs, grpc, admin));
    let mut view = View::new(&jobs);
    let following = follow::follow(channel, &jobs, &mut view);
    let ended = if args.exit_when_done {
        tokio::time::timeout(PATIENCE, following).await.map_err(|_| DemoError::Patience)??
    } else {
        following.await?
    };
    view.finish();
    let well = ended.values().filter(|state| **state == pb::JobState::Succeeded).count();
    output::say(format_args!("\n{well} of {} jobs succeeded.", ended.len()));
    Ok(if well == jobs.len() { Exit::Done } else { Exit::Failed })
}

/// The demo's configuration.
fn settings(fleet: &Fleet, scratch: &Scratch, args: &DemoArgs) -> Table {
    let mut providers = fleet.providers();
    for (_, provider) in &mut providers {
        if let Value::Table(provider) = provider {
            // What takes an hour at a vendor takes seconds here, so look that much more often.
            provider.insert("poll".to_owned(), table([("min_ms", 300.into()), ("max_ms", 1_000.into())]));
            provider.entry("limits").or_insert_with(|| {
                table([("requests_per_second", Value::Float(100.0)), ("burst", 100.into())])
            });
        }
    }
    let store = format!("sqlite://{}", scratch.path().join("drydock.db").display());
    let grpc = free_or_any(args.port, "gRPC");
    let admin = free_or_any(args.admin_port, "the admin pages");
    [
        ("grpc", table([("address", grpc.into())])),
        ("admin", table([("address", admin.into())])),
        ("store", table([("url", store.into())])),
        ("telemetry", table([("log_filter", args.log.as_str().into())])),
        ("providers", Value::Table(providers)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn table<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The loopback address with this port; with port 0 when somebody has it.
fn free_or_any(port: u16, what: &str) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => address.to_string(),
        Err(_) => {
            output::problem(format_args!("port {port} is taken; a free one is taken for {what}"));
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string()
        }
    }
}

/// Calls to copy.
fn calls_to_try(jobs: &[operations::Started], grpc: SocketAddr, admin: SocketAddr) -> String {
    let job = jobs.first().map_or("jobs/…", |started| started.job.name.as_str());
    let other =
        jobs.iter().find_map(|started| started.spare.as_deref()).unwrap_or("providers/sim-zstack/clusters/…");
    let call = |data: String, method: &str| {
        let data = if data.is_empty() { data } else { format!(" -d '{data}'") };
        format!("  grpcurl -plaintext{data} {grpc} {method}\n")
    };
    let mut text = "\nTry, from another terminal:\n".to_owned();
    text.push_str(&call(String::new(), "list"));
    text.push_str(&call(r#"{"parent":"providers/-"}"#.to_owned(), "drydock.v1.ProviderService/ListTargets"));
    text.push_str(&call(format!(r#"{{"name":"{job}"}}"#), "drydock.v1.JobService/GetJob"));
    text.push_str(&call(format!(r#"{{"parent":"{job}"}}"#), "drydock.v1.JobService/ListJobEvents"));
    text.push_str(&call(String::new(), "drydock.v1.JobService/WatchJobs"));
    text.push_str(&call(
        format!(r#"{{"target":"{other}","request_id":"{}"}}"#, uuid::Uuid::new_v4()),
        "drydock.v1.UpgradeService/UpgradeCluster",
    ));
    text.push_str(&format!("  curl http://{admin}/metrics\n"));
    text
}
