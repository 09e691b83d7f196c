//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A gRPC gateway that upgrades clusters and reinstalls operating systems through vendors' REST APIs: one durable
/// job per operation.
///
/// Exit codes: 0 done, 1 failed, 64 bad arguments or configuration, 130 cut short.
#[derive(Debug, Parser)]
#[command(name = "drydock", version, about, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until SIGINT or SIGTERM.
    Serve(ConfigArgs),
    /// Try it: a gateway with four simulated vendors behind it, and one operation of each kind to watch.
    #[cfg(feature = "simulators")]
    Demo(DemoArgs),
    /// Report every fault of a configuration; start nothing.
    CheckConfig(ConfigArgs),
    /// Move all jobs from a SQLite file into an empty PostgreSQL database. No Drydock may run on either.
    MigrateStore(MigrateStoreArgs),
    /// Run the four simulated vendors alone, to practise with.
    #[cfg(feature = "simulators")]
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file (TOML). Every key can be set by the environment too, as DRYDOCK__SECTION__KEY.
    #[arg(long, value_name = "FILE", env = "DRYDOCK_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct MigrateStoreArgs {
    /// The old store: sqlite:///absolute/path or sqlite://relative/path. Its file stays, and Drydock opens it no more.
    #[arg(long, value_name = "URL")]
    pub(super) from: String,
    /// A file that holds the url of the new store, postgres://user:password@host/database; as `store.url_file`.
    #[arg(long, value_name = "FILE")]
    pub(super) to_url_file: PathBuf,
}

#[cfg(feature = "simulators")]
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Port for gRPC on loopback. When it is taken, a free one is used.
    #[arg(long, default_value_t = 50051)]
    pub(super) port: u16,
    /// Port for the admin pages on loopback. When it is taken, a free one is used.
    #[arg(long, default_value_t = 9464)]
    pub(super) admin_port: u16,
    /// How much faster than life the simulated vendors work.
    #[arg(long, default_value_t = 100.0, value_parser = speed)]
    pub(super) speed: f64,
    /// End when the operations have ended, with exit code 1 unless all succeeded.
    #[arg(long)]
    pub(super) exit_when_done: bool,
    /// What the gateway logs, as `telemetry.log_filter`.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub(super) log: String,
}

#[cfg(feature = "simulators")]
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// How many targets of each kind every simulated vendor has.
    #[arg(long, default_value_t = 20, value_parser = targets)]
    pub(super) targets: usize,
    /// How much faster than life they work: 1 is life, 60 makes an hour a minute.
    #[arg(long, default_value_t = 60.0, value_parser = speed)]
    pub(super) speed: f64,
}

#[cfg(feature = "simulators")]
fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.1..=1_000_000.0).contains(speed))
        .ok_or_else(|| "must be a number from 0.1 to 1000000".to_owned())
}

#[cfg(feature = "simulators")]
fn targets(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|targets| (1..=100_000).contains(targets))
        .ok_or_else(|| "must be a number from 1 to 100000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }
}
