//! What can be asked of the harness.

use std::path::PathBuf;
use std::time::Duration;

use super::backend::Backend;
use super::points::Depth;

/// Runs real gateways on simulated vendors, kills them at random, and checks that nothing was lost, doubled or
/// skipped. Exit code 1 on any breach.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 20)]
    pub rounds: u64,
    /// How many rounds are played at once, each in a world of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub at_once: u64,
    /// Begin no further round after so many seconds.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// The first round's seed; each later round's is one more. A failing round is played again with its own seed
    /// and `--rounds 1`: the same requests and faults, though not to the microsecond.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where jobs are kept.
    #[arg(long, value_enum, default_value_t = Backend::Sqlite)]
    pub store: Backend,
    /// How many gateways: 1 on SQLite; 3 on PostgreSQL unless you say.
    #[arg(long)]
    pub replicas: Option<usize>,
    /// How many targets of each kind get an operation in a round.
    #[arg(long, default_value_t = 6)]
    pub targets: usize,
    /// How long gateways are killed, frozen and cut off in a round, in milliseconds: 2500 on SQLite, 6000 on
    /// PostgreSQL unless you say.
    #[arg(long)]
    pub storm_ms: Option<u64>,
    /// How long a lease lasts on PostgreSQL, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    pub lease_ms: u64,
    /// Keep a failing round's folder: configuration, logs, database.
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Let the judge see a breach of each kind that is not there, and fail unless it finds every one.
    #[arg(long)]
    pub self_test: bool,
    /// Instead of rounds: kill the gateway that drives a provider so many times, stop one in order as often, and
    /// measure when another one drives. Exit code 1 when that takes longer than it may.
    #[arg(long)]
    pub takeover: Option<u64>,
    /// Crash at every point of the code twice in a row, and lose answers, instead of rounds (needs a debug build or
    /// `--features crash-points`).
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "full")]
    pub points: Option<Depth>,
}

impl Options {
    /// How many gateways run.
    pub fn replicas(&self) -> usize {
        self.replicas.unwrap_or(self.store.replicas()).clamp(1, self.store.most_replicas())
    }

    /// How long gateways are tormented in a round.
    pub fn storm(&self) -> Duration {
        self.storm_ms.map_or(self.store.storm(), Duration::from_millis)
    }

    /// How long a lease lasts.
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}
