//! What can be asked of the bench.

use std::path::PathBuf;
use std::time::Duration;

/// However few watches there are, a round has no more bursts.
const MOST_BURSTS: usize = 50;

/// Measures the gateway against yardsticks in the same run: some five minutes for everything.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure only these rows; may be repeated.
    #[arg(long, value_enum)]
    pub only: Vec<super::rows::Subject>,
    /// Open watches for the fan-out.
    #[arg(long, default_value_t = 10_000)]
    pub subscribers: usize,
    /// Watches that share a connection.
    #[arg(long, default_value_t = 100)]
    pub per_connection: usize,
    /// Events that come at once in the fan-out.
    #[arg(long, default_value_t = 16)]
    pub burst: usize,
    /// Deliveries of one round at least, by more bursts one after the other.
    #[arg(long, default_value_t = 160_000)]
    pub deliveries: usize,
    /// Watches that nobody reads, beside as many that are read.
    #[arg(long, default_value_t = 1_000)]
    pub unread: usize,
    /// Live jobs for the restart.
    #[arg(long, default_value_t = 100_000)]
    pub jobs: usize,
    /// Live jobs, over all providers, for the poll rounds.
    #[arg(long, default_value_t = 10_000)]
    pub polled: usize,
    /// Providers of the polled jobs, one vendor after the other.
    #[arg(long, default_value_t = 4)]
    pub providers: usize,
    /// How often each polled job is looked at, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub poll_ms: u64,
    /// Jobs in the database while calls are measured.
    #[arg(long, default_value_t = 10_000)]
    pub stored: usize,
    /// Callers at once.
    #[arg(long, default_value_t = 64)]
    pub callers: usize,
    /// How many rounds each comparison takes; the middle counts.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How long one round of calls takes, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pub round_ms: u64,
    /// Leave etcd out although it is on the PATH.
    #[arg(long)]
    pub without_etcd: bool,
    /// Write the report as JSON to this file too.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write what was found into `docs/performance.md`.
    #[arg(long, conflicts_with = "only")]
    pub write_docs: bool,
    /// Measure at 1, 10 and 100 times as many jobs and subscribers instead; the sizes given are those of 100.
    #[arg(long, conflicts_with_all = ["counts", "only"])]
    pub growth: bool,
    /// Count instructions under callgrind instead (needs `valgrind`).
    #[arg(long)]
    pub counts: bool,
}

impl Options {
    /// How many connections so many watches have.
    pub fn connections(&self, watches: usize) -> usize {
        watches.div_ceil(self.per_connection.max(1)).max(1)
    }

    /// How many bursts a round has with so many watches.
    pub fn bursts(&self, watches: usize) -> usize {
        self.deliveries.div_ceil((watches * self.burst).max(1)).clamp(1, MOST_BURSTS)
    }

    /// How long one round of calls takes.
    pub const fn round(&self) -> Duration {
        Duration::from_millis(self.round_ms)
    }

    /// How often each polled job is looked at.
    pub const fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}
