//! The judge: what was promised against what happened. Pure, so that it can be tried with lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use drydock::api::pb::JobState;

use super::record::{Ended, Evidence, Seen, Wanted, Watched};
use super::truth;

/// What can be broken. One for each promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promised {
    /// A job that a caller was told of exists and ends.
    NothingLost,
    /// No job starts twice at its vendor, and no request makes a job twice.
    NothingTwice,
    /// A job's end is what happened.
    TrueEnds,
    /// INDETERMINATE only where a start may have been sent.
    NoNeedlessDoubt,
    /// A watch is told every event once, in order, and nothing else.
    NoGaps,
    /// No secret in any file, log, database or answer.
    NoSecretsOut,
    /// No gateway says that Drydock itself is wrong.
    NoBugs,
}

impl Promised {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NothingLost,
        Self::NothingTwice,
        Self::TrueEnds,
        Self::NoNeedlessDoubt,
        Self::NoGaps,
        Self::NoSecretsOut,
        Self::NoBugs,
    ];

    /// The word for the table.
    pub const fn broken(self) -> &'static str {
        match self {
            Self::NothingLost => "lost",
            Self::NothingTwice => "doubled",
            Self::TrueEnds => "wrong ends",
            Self::NoNeedlessDoubt => "needless doubt",
            Self::NoGaps => "gaps",
            Self::NoSecretsOut => "leaks",
            Self::NoBugs => "bugs",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promised,
    /// What was seen.
    pub what: String,
}

impl Breach {
    /// A round or a story that could not be played to its end: a gateway ended by itself, or nobody ever answered.
    pub fn unplayed(error: &anyhow::Error) -> Self {
        let why: Vec<_> = error.chain().map(ToString::to_string).collect();
        Self { promise: Promised::NoBugs, what: format!("not played to its end: {}", why.join(": ")) }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise.broken(), self.what)
    }
}

/// Finds every breach.
pub fn judge(evidence: &Evidence) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut say = |promise, what: String| breaches.push(Breach { promise, what });
    let by_name: BTreeMap<_, _> = evidence.jobs.iter().map(|job| (job.name.as_str(), job)).collect();

    for promise in &evidence.promises {
        if !by_name.contains_key(promise.job.as_str()) {
            say(Promised::NothingLost, format!("{} for {} is gone", promise.job, promise.target));
        }
    }
    for job in evidence.jobs.iter().filter(|job| !truth::is_end(job.state)) {
        say(Promised::NothingLost, format!("{} never ends: {:?}", job.name, job.state));
    }

    let mut made: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for job in evidence.jobs.iter().filter(|job| !job.request.is_empty()) {
        made.entry((&job.request, &job.target)).or_default().insert(job.name.as_str());
    }
    for ((request, target), jobs) in made.iter().filter(|(_, jobs)| jobs.len() > 1) {
        say(Promised::NothingTwice, format!("request {request} made {} jobs for {target}", jobs.len()));
    }
    for happened in &evidence.happened {
        let jobs: Vec<&Ended> = evidence.jobs.iter().filter(|job| job.target == happened.target).collect();
        if truth::can_be_matched(happened, &jobs) {
            continue;
        }
        let could_start = jobs.iter().filter(|job| !truth::agrees_unstarted(job) || job.settled).count();
        let twice = happened.starts > jobs.len() || (happened.starts > 1 && happened.starts > could_start);
        let promise = if twice { Promised::NothingTwice } else { Promised::TrueEnds };
        let states: Vec<_> = jobs.iter().map(|job| (&job.name, job.state, job.failure)).collect();
        let (starts, ends) = (happened.starts, &happened.ends);
        say(promise, format!("{}: {starts} starts, ends {ends:?}, jobs {states:?}", happened.target));
    }
    for name in &evidence.prevented {
        if by_name.get(name.as_str()).is_some_and(|job| job.state != JobState::Cancelled) {
            say(Promised::TrueEnds, format!("{name} was told to be prevented, and was not"));
        }
    }

    for (name, events) in &evidence.events {
        let doubt = events.iter().position(|event| event.state == JobState::Indeterminate);
        let before = doubt.and_then(|at| events.get(..at)).unwrap_or_default();
        if doubt.is_some() && !before.iter().any(|event| event.state == JobState::Submitting) {
            say(Promised::NoNeedlessDoubt, format!("{name} is INDETERMINATE and was never sent"));
        }
        let numbered = events.iter().zip(1..).all(|(event, n)| event.sequence == n);
        if !numbered {
            say(Promised::NoGaps, format!("{name}: its own list of events is not numbered 1, 2, 3, …"));
        }
        let last = events.last().map(|event| event.state);
        if by_name.get(name.as_str()).is_some_and(|job| Some(job.state) != last) {
            say(Promised::NoGaps, format!("{name}: its last event says {last:?}"));
        }
    }
    for watched in &evidence.watches {
        for what in gaps(watched, evidence) {
            say(Promised::NoGaps, format!("{:?}, resumed {} times: {what}", watched.wanted, watched.resumed));
        }
    }
    evidence.unkept.iter().for_each(|what| say(Promised::NoGaps, what.clone()));
    evidence.leaks.iter().for_each(|leak| say(Promised::NoSecretsOut, leak.clone()));
    evidence.bugs.iter().for_each(|bug| say(Promised::NoBugs, bug.clone()));
    breaches
}

/// What a watch was told wrongly, by job.
fn gaps(watched: &Watched, evidence: &Evidence) -> Vec<String> {
    let mut told: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for (job, event) in &watched.events {
        told.entry(job).or_default().push(event);
    }
    let mut gaps = Vec::new();
    for (job, listed) in &evidence.events {
        let mut told = told.remove(job.as_str()).unwrap_or_default();
        if evidence.before.contains(job) {
            // A snapshot that was cut off is told again from its beginning.
            let stood = told.first().map(|event| event.sequence);
            let again = told.iter().take_while(|event| Some(event.sequence) == stood).count();
            told.drain(..again.saturating_sub(1));
        }
        let target = evidence.jobs.iter().find(|j| j.name == *job).map_or("", |j| j.target.as_str());
        let fits = match &watched.wanted {
            wanted if !wanted.matches(target) => told.is_empty(),
            Wanted::Everything | Wanted::Provider(_) if evidence.before.contains(job) => {
                goes_on(&told, listed)
            }
            Wanted::Everything | Wanted::Provider(_) => same(&told, listed),
            Wanted::LatestState => {
                let rises = told.windows(2).all(|pair| match pair {
                    [a, b] => a.sequence < b.sequence,
                    _ => true,
                });
                let stood = told.len() == 1 && evidence.before.contains(job);
                let last = |event: &Seen| (event.sequence, (!stood).then(|| event.clone()));
                rises && told.last().copied().map(last) == listed.last().map(last)
            }
        };
        if !fits {
            let numbers: Vec<_> = told.iter().map(|event| event.sequence).collect();
            gaps.push(format!("{job} has events 1 to {}, and {numbers:?} were told", listed.len()));
        }
    }
    gaps.extend(told.keys().map(|job| format!("{job} was told of and is not there")));
    gaps
}

/// Whether a job's events go on from where it first stood, to their end.
fn goes_on(told: &[&Seen], listed: &[Seen]) -> bool {
    let Some((first, rest)) = told.split_first() else { return false };
    let stood = listed.iter().position(|event| event.sequence == first.sequence);
    stood.and_then(|at| listed.get(at + 1..)).is_some_and(|tail| same(rest, tail))
}

fn same(told: &[&Seen], listed: &[Seen]) -> bool {
    told.len() == listed.len() && told.iter().zip(listed).all(|(a, b)| **a == *b)
}
