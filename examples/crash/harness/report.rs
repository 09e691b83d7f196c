//! What was done and found, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::harm::{Count, Harm};
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
    /// How often each kind of harm was prepared, and how often it struck.
    pub harms: BTreeMap<Harm, Count>,
    /// When the machine stood still.
    pub stalls: u64,
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
    /// What excuses each.
    pub doubts: BTreeMap<String, u64>,
    /// Those that a person had to settle.
    pub settled: u64,
}

impl Tally {
    /// Adds a round's counts.
    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.crashes += other.crashes;
        self.stalls += other.stalls;
        self.jobs += other.jobs;
        self.starts += other.starts;
        self.events += other.events;
        self.watches += other.watches;
        self.resumed += other.resumed;
        self.settled += other.settled;
        for (harm, count) in other.harms {
            let sum = self.harms.entry(harm).or_default();
            sum.armed += count.armed;
            sum.struck += count.struck;
        }
        for (cause, count) in other.doubts {
            *self.doubts.entry(cause).or_default() += count;
        }
        for (end, count) in other.ends {
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
        row("moments of a stall", t.stalls.to_string())?;
        row("jobs", t.jobs.to_string())?;
        row("ends", list(t.ends.iter().map(|(end, count)| (*end, *count)).collect()))?;
        row("starts at vendors", t.starts.to_string())?;
        row("events", t.events.to_string())?;
        row("watches", format!("{}, resumed {} times", t.watches, t.resumed))?;
        let doubt: u64 = t.indeterminate.values().sum();
        let by = list(t.indeterminate.iter().map(|(id, count)| (id.as_str(), *count)).collect());
        row("indeterminate", format!("{doubt} ({by}), {} settled by hand", t.settled))?;
        let causes = list(t.doubts.iter().map(|(cause, count)| (cause.as_str(), *count)).collect());
        row("excused by", causes)?;
        for promise in Promised::ALL {
            let count = self.breaches.iter().filter(|(_, breach)| breach.promise == promise).count();
            row(promise.broken(), count.to_string())?;
        }
        writeln!(f, "\n{:<44} {:>7} {:>7}", "harm", "armed", "struck")?;
        for (harm, count) in &t.harms {
            writeln!(f, "{:<44} {:>7} {:>7}", harm.to_string(), count.armed, count.struck)?;
        }
        for (seed, breach) in &self.breaches {
            writeln!(f, "\nseed {seed}: {breach}")?;
        }
        Ok(())
    }
}
