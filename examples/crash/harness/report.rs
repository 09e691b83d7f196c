//! What was done and found, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::judge::{Breach, Promised};

/// Counts over all rounds.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rounds played.
    pub rounds: u64,
    /// SIGKILLs.
    pub kills: u64,
    /// Processes that crashed at a point that they were told.
    pub crashes: u64,
    /// Stops in order.
    pub stops: u64,
    /// SIGSTOPs.
    pub frozen: u64,
    /// SIGSTOPs for longer than a lease.
    pub overslept: u64,
    /// Restarts of the database's server.
    pub restarts: u64,
    /// Connections to the database that were cut.
    pub wires: u64,
    /// Vendor faults armed.
    pub faults: u64,
    /// Connections cut.
    pub cuts: u64,
    /// Jobs accepted.
    pub jobs: u64,
    /// Jobs by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// Operations that started at vendors.
    pub starts: u64,
    /// Events committed.
    pub events: u64,
    /// Watches.
    pub watches: u64,
    /// How often they were resumed.
    pub resumed: u64,
    /// Jobs that were INDETERMINATE for a while, by provider.
    pub indeterminate: BTreeMap<String, u64>,
    /// Those that a person had to settle.
    pub settled: u64,
}

impl Tally {
    /// Adds a round's counts.
    pub fn add(&mut self, other: Self) {
        let Self { rounds, kills, crashes, stops, frozen, faults, cuts, jobs, ends, starts, .. } = other;
        self.rounds += rounds;
        self.kills += kills;
        self.crashes += crashes;
        self.stops += stops;
        self.frozen += frozen;
        self.faults += faults;
        self.cuts += cuts;
        self.jobs += jobs;
        self.starts += starts;
        self.events += other.events;
        self.watches += other.watches;
        self.resumed += other.resumed;
        self.settled += other.settled;
        self.overslept += other.overslept;
        self.restarts += other.restarts;
        self.wires += other.wires;
        for (end, count) in ends {
            *self.ends.entry(end).or_default() += count;
        }
        for (provider, count) in other.indeterminate {
            *self.indeterminate.entry(provider).or_default() += count;
        }
    }
}

/// Everything that a run has to say.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first round's seed.
    pub seed: u64,
    /// What was done.
    pub tally: Tally,
    /// What was broken, with the seed of the round.
    pub breaches: Vec<(u64, Breach)>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.tally;
        let mut row = |name: &str, value: String| writeln!(f, "{name:<22} {value}");
        let list = |counts: Vec<(&str, u64)>| {
            let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            words.join(", ")
        };
        row("seed", self.seed.to_string())?;
        row("rounds", format!("{} in {:.0} s", t.rounds, self.took.as_secs_f64()))?;
        row("kills (SIGKILL)", t.kills.to_string())?;
        row("crashes at a point", t.crashes.to_string())?;
        row("frozen (SIGSTOP)", format!("{}, and {} past a lease", t.frozen, t.overslept))?;
        row("stops in order", t.stops.to_string())?;
        row("vendor faults", t.faults.to_string())?;
        row("connections cut", t.cuts.to_string())?;
        row("database restarts", t.restarts.to_string())?;
        row("database cuts", t.wires.to_string())?;
        row("jobs", t.jobs.to_string())?;
        row("ends", list(t.ends.iter().map(|(end, count)| (*end, *count)).collect()))?;
        row("starts at vendors", t.starts.to_string())?;
        row("events", t.events.to_string())?;
        row("watches", format!("{}, resumed {} times", t.watches, t.resumed))?;
        let doubt: u64 = t.indeterminate.values().sum();
        let by = list(t.indeterminate.iter().map(|(id, count)| (id.as_str(), *count)).collect());
        row("indeterminate", format!("{doubt} ({by}), {} settled by hand", t.settled))?;
        for promise in Promised::ALL {
            let count = self.breaches.iter().filter(|(_, breach)| breach.promise == promise).count();
            row(promise.broken(), count.to_string())?;
        }
        for (seed, breach) in &self.breaches {
            writeln!(f, "\nseed {seed}: {breach}")?;
        }
        Ok(())
    }
}
