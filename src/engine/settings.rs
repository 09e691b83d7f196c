//! The `[engine]` section of the configuration.

use std::time::Duration;

use serde::Deserialize;

/// So long after its end no job is forgotten, nor the `request_id` that made it: a caller whose answer was lost repeats
/// the request within this, and gets its jobs.
pub const KEEP_AT_LEAST: Duration = Duration::from_secs(24 * 3600);
/// The longest name of a replica that a store keeps.
const MAX_NAME_BYTES: usize = 255;

/// Bounds and paces of the engine. Every key has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// How often an idle watch gets a fresh resume token, in milliseconds. 100 to 3600000.
    pub heartbeat_ms: u64,
    /// The age at which the server ends a watch, in milliseconds, spread by ±10 %. 1000 to 86400000.
    pub watch_max_age_ms: u64,
    /// How many recent events are kept in memory for watches. 16 to 1000000.
    pub watch_ring_events: usize,
    /// How many jobs may wait for one busy target (`on_busy = QUEUE`). 0 to 1000.
    pub queue_limit: u32,
    /// How many live jobs one provider may have. 1 to 1000000.
    pub live_jobs_limit: usize,
    /// How long an idle provider is left before it is asked whether it is there, in milliseconds. 1000 to 3600000.
    pub ping_interval_ms: u64,
    /// How long one round of calls to a vendor may take, in milliseconds, and as long again for every 64 jobs that it
    /// asks about. Each call has its own shorter deadline (`limits`); this one ends what hangs. 1000 to 86400000.
    pub round_limit_ms: u64,
    /// How long an operation may be with a vendor before its job is called OVERDUE and may be settled by a person, in
    /// milliseconds, from its start on or from the time for which it is scheduled. 1000 to 31536000000 (a year).
    pub overdue_after_ms: u64,
    /// The first pause after a provider stopped answering, in milliseconds; doubles up to `pause_max_ms`. 10 to
    /// 600000.
    pub pause_first_ms: u64,
    /// The longest pause, in milliseconds. At least `pause_first_ms`, up to 3600000.
    pub pause_max_ms: u64,
    /// For how long ended jobs are kept, in days, with their events and the `request_id` that made them. 1 to 36500.
    pub keep_ended_days: u32,
    /// How many ended jobs are kept at most, the latest to end; the others go before their days are over, but not within
    /// 24 hours of their end. 0 to 100000000.
    pub keep_ended_jobs: u64,
    /// For how long ended jobs are kept however many there are. No key: what callers are promised of a repeated
    /// `request_id` rests on it. Tests shorten it.
    #[serde(skip)]
    pub keep_ended_at_least: Duration,
    /// How long a shutdown may take, in milliseconds. 100 to 600000.
    pub shutdown_deadline_ms: u64,
    /// How long a provider stays with a replica that is not heard of any more, in milliseconds: so long its jobs wait
    /// when a replica dies, and so long the store may be gone before nothing is started any more. 1000 to 600000.
    pub lease_ms: u64,
    /// What people call this replica, shown with the providers that it drives. Empty: the host's name. At most 255
    /// bytes.
    pub replica_name: String,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 15_000,
            watch_max_age_ms: 3_600_000,
            watch_ring_events: 8_192,
            queue_limit: 16,
            live_jobs_limit: 200_000,
            ping_interval_ms: 60_000,
            round_limit_ms: 900_000,
            overdue_after_ms: 86_400_000,
            pause_first_ms: 2_000,
            pause_max_ms: 120_000,
            keep_ended_days: 90,
            keep_ended_jobs: 1_000_000,
            keep_ended_at_least: KEEP_AT_LEAST,
            shutdown_deadline_ms: 10_000,
            lease_ms: 10_000,
            replica_name: String::new(),
        }
    }
}

impl EngineSettings {
    /// Every key outside its range: the key and the rule.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut range = |key, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                faults.push((key, format!("must be {min} to {max}, is {value}")));
            }
        };
        range("heartbeat_ms", self.heartbeat_ms, 100, 3_600_000);
        range("watch_max_age_ms", self.watch_max_age_ms, 1_000, 86_400_000);
        range("watch_ring_events", self.watch_ring_events as u64, 16, 1_000_000);
        range("queue_limit", u64::from(self.queue_limit), 0, 1_000);
        range("live_jobs_limit", self.live_jobs_limit as u64, 1, 1_000_000);
        range("ping_interval_ms", self.ping_interval_ms, 1_000, 3_600_000);
        range("round_limit_ms", self.round_limit_ms, 1_000, 86_400_000);
        range("overdue_after_ms", self.overdue_after_ms, 1_000, 31_536_000_000);
        range("pause_first_ms", self.pause_first_ms, 10, 600_000);
        range("pause_max_ms", self.pause_max_ms, self.pause_first_ms.min(3_600_000), 3_600_000);
        range("keep_ended_days", u64::from(self.keep_ended_days), 1, 36_500);
        range("keep_ended_jobs", self.keep_ended_jobs, 0, 100_000_000);
        range("shutdown_deadline_ms", self.shutdown_deadline_ms, 100, 600_000);
        range("lease_ms", self.lease_ms, 1_000, 600_000);
        // A person may settle what is overdue, and that must not be a start whose call is still out.
        let round_ms = self.round_limit_ms.saturating_mul(4);
        if self.overdue_after_ms < round_ms {
            faults
                .push(("overdue_after_ms", format!("must be at least 4 times `round_limit_ms`: {round_ms}")));
        }
        if self.replica_name.len() > MAX_NAME_BYTES {
            faults.push(("replica_name", format!("must be at most {MAX_NAME_BYTES} bytes")));
        }
        faults
    }

    /// How long ended jobs are kept.
    pub const fn keep_ended(&self) -> Duration {
        Duration::from_secs(self.keep_ended_days as u64 * 86_400)
    }

    /// How long an operation may be with a vendor before it is overdue.
    pub const fn overdue_after(&self) -> Duration {
        Duration::from_millis(self.overdue_after_ms)
    }

    /// What people call this replica.
    pub fn replica_name(&self) -> String {
        if !self.replica_name.is_empty() {
            return self.replica_name.clone();
        }
        let mut name = whoami::hostname().unwrap_or_default();
        name.truncate(
            (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0),
        );
        name
    }

    /// The heartbeat as a duration.
    pub const fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }
}
