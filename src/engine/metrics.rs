//! What the engine counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::provider::Runtime;
use crate::domain::id::ProviderId;
use crate::domain::job::Job;
use crate::kit::clock;

/// The engine's instruments. Made after telemetry is installed.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    accepted: Counter<u64>,
    ended: Counter<u64>,
    duration: Histogram<f64>,
    pub subscribers: UpDownCounter<i64>,
    pub watch_lag: Histogram<f64>,
    pub purged: Counter<u64>,
    rounds: Histogram<f64>,
    lease_changes: Counter<u64>,
}

impl Metrics {
    pub fn new(meter: &Meter) -> Self {
        Self {
            accepted: meter.u64_counter("drydock.jobs.accepted").with_description("Jobs accepted").build(),
            ended: meter
                .u64_counter("drydock.jobs.ended")
                .with_description("Jobs ended, by their last state")
                .build(),
            duration: meter
                .f64_histogram("drydock.job.duration")
                .with_unit("s")
                .with_description("From acceptance to the end of a job")
                .with_boundaries(vec![
                    1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 86400.0,
                ])
                .build(),
            subscribers: meter
                .i64_up_down_counter("drydock.watch.subscribers")
                .with_description("Open watches")
                .build(),
            watch_lag: meter
                .f64_histogram("drydock.watch.lag")
                .with_unit("s")
                .with_description("From an event's time to the moment that watches can deliver it")
                .build(),
            purged: meter
                .u64_counter("drydock.jobs.purged")
                .with_description("Ended jobs removed because they need not be kept any longer")
                .build(),
            rounds: meter
                .f64_histogram("drydock.round.jobs")
                .with_description("Jobs asked about in one round of vendor calls")
                .with_boundaries(vec![1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0])
                .build(),
            lease_changes: meter
                .u64_counter("drydock.lease.changes")
                .with_description(
                    "Leases of providers that this replica took, gave up, or lost to another one",
                )
                .build(),
        }
    }

    pub fn job_accepted(&self, job: &Job) {
        self.accepted.add(1, &about(job));
    }

    pub fn job_ended(&self, job: &Job) {
        let mut facts = about(job).to_vec();
        facts.push(KeyValue::new("drydock.state", job.status.state.as_str()));
        self.ended.add(1, &facts);
        let end = job.status.end_time.unwrap_or(job.status.update_time);
        self.duration.record(clock::since(job.spec.create_time, end).as_secs_f64(), &facts);
    }

    /// A lease was `taken`, `given_up` or `lost`.
    pub fn lease_changed(&self, provider: &str, change: &'static str) {
        let facts =
            [KeyValue::new("drydock.provider", provider.to_owned()), KeyValue::new("drydock.change", change)];
        self.lease_changes.add(1, &facts);
    }

    pub fn round(&self, provider: &str, what: &'static str, jobs: usize) {
        let facts =
            [KeyValue::new("drydock.provider", provider.to_owned()), KeyValue::new("drydock.round", what)];
        self.rounds.record(u32::try_from(jobs).unwrap_or(u32::MAX).into(), &facts);
    }
}

fn about(job: &Job) -> [KeyValue; 2] {
    [
        KeyValue::new("drydock.provider", job.spec.target.provider.as_str().to_owned()),
        KeyValue::new("drydock.operation", job.spec.operation.kind().as_str()),
    ]
}

/// Leases and live jobs by provider and state, read when metrics are collected. Each replica tells of those that it
/// drives, so that the sum over all replicas is right.
pub(super) fn observe(meter: &Meter, runtimes: &BTreeMap<ProviderId, Arc<Runtime>>) {
    let runtimes: Vec<_> = runtimes.values().map(Arc::clone).collect();
    let held = runtimes.clone();
    // The instruments live as long as the meter's provider; the handles need not be kept.
    let _ = meter
        .u64_observable_gauge("drydock.leases.held")
        .with_description("Providers that this replica drives")
        .with_callback(move |observer| {
            observer.observe(held.iter().filter(|runtime| runtime.is_driven()).count() as u64, &[]);
        })
        .build();
    let _ = meter
        .u64_observable_gauge("drydock.jobs.live")
        .with_description("Jobs that have not ended, by provider and state")
        .with_callback(move |observer| {
            for runtime in &runtimes {
                let provider = runtime.provider.id.as_str();
                for (state, count) in &runtime.live_here() {
                    let facts = [
                        KeyValue::new("drydock.provider", provider.to_owned()),
                        KeyValue::new("drydock.state", state.as_str()),
                    ];
                    observer.observe(*count, &facts);
                }
            }
        })
        .build();
}
