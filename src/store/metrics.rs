//! What every store counts about its commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Histogram;

/// Instruments of one store. Made after telemetry is installed.
#[derive(Debug)]
pub(super) struct Metrics {
    duration: Histogram<f64>,
    group: Histogram<u64>,
    commits: AtomicU64,
    writes: AtomicU64,
}

/// How much a store has committed since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCount {
    /// Commits, each with one fsync.
    pub commits: u64,
    /// Writes that went into them.
    pub writes: u64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = opentelemetry::global::meter("drydock");
        Self {
            duration: meter
                .f64_histogram("drydock.store.commit.duration")
                .with_unit("s")
                .with_description("Time from beginning a transaction to its durable commit")
                .build(),
            group: meter
                .u64_histogram("drydock.store.commit.writes")
                .with_unit("{write}")
                .with_description("Writes that shared one commit")
                .build(),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    pub(super) fn committed(&self, writes: usize, took: Duration) {
        let writes = u64::try_from(writes).unwrap_or(u64::MAX);
        self.duration.record(took.as_secs_f64(), &[]);
        self.group.record(writes, &[]);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> CommitCount {
        CommitCount {
            commits: self.commits.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }
}
