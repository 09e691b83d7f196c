//! The judge: what was promised against what happened. Pure, so that it can be tried with lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use drydock::api::pb::{EventKind, JobState};
use tonic::Code;

use super::harm::Harm;
use super::record::{Ended, Evidence, Happened, Refusal, Seen, Wanted, Watched, Wish};
use super::sendings::{Doer, Match, is_sent_after_a_cancel, matching, sendings};
use super::truth;

/// Reasons that may stand beside a code that else means a fault of Drydock; see `docs/errors.md`.
const LISTED: [&str; 1] = ["VENDOR_GARBLED"];

/// What can be broken. One for each promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promised {
    /// A job that a caller was told of exists and ends.
    NothingLost,
    /// No job starts twice at its vendor, and no request makes a job twice.
    NothingTwice,
    /// A job's end is what happened.
    TrueEnds,
    /// A cancel and a new start time that were answered with OK hold.
    WishesKept,
    /// INDETERMINATE only where a start may have been sent, and something struck that may have lost its answer.
    NoNeedlessDoubt,
    /// A watch is told every event once, in order, and nothing else.
    NoGaps,
    /// No secret in any file, log, database or answer.
    NoSecretsOut,
    /// No gateway says that Drydock itself is wrong.
    NoBugs,
    /// The harness' own: what it prepares strikes, or the other promises are not tried.
    AllTried,
}

impl Promised {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NothingLost,
        Self::NothingTwice,
        Self::TrueEnds,
        Self::WishesKept,
        Self::NoNeedlessDoubt,
        Self::NoGaps,
        Self::NoSecretsOut,
        Self::NoBugs,
        Self::AllTried,
    ];

    /// The word for the table.
    pub const fn broken(self) -> &'static str {
        match self {
            Self::NothingLost => "lost",
            Self::NothingTwice => "doubled",
            Self::TrueEnds => "wrong ends",
            Self::WishesKept => "wishes forgotten",
            Self::NoNeedlessDoubt => "needless doubt",
            Self::NoGaps => "gaps",
            Self::NoSecretsOut => "leaks",
            Self::NoBugs => "bugs",
            Self::AllTried => "untried",
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

    /// Harm that a whole run had in store and that met nobody.
    pub fn untried(harm: Harm) -> Self {
        Self { promise: Promised::AllTried, what: format!("it never struck: {harm}") }
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
        if let Some((promise, what)) = unmatched(happened, evidence) {
            say(promise, what);
        }
    }
    for (name, wish) in &evidence.wishes {
        let events = evidence.events.get(name).map(Vec::as_slice).unwrap_or_default();
        let state = by_name.get(name.as_str()).map(|job| job.state);
        if let Some(what) = forgotten(wish, events, state) {
            say(Promised::WishesKept, format!("{name}: {what}"));
        }
    }

    for (name, events) in &evidence.events {
        if is_sent_after_a_cancel(events) {
            say(Promised::WishesKept, format!("{name} was sent after its cancel was written down"));
        }
        let moved = |pair: &[Seen]| match pair {
            [before, now] => before.start != now.start && now.kind != EventKind::Rescheduled,
            _ => false,
        };
        if events.windows(2).any(moved) {
            say(Promised::WishesKept, format!("{name}: its start changed, and nobody asked for that"));
        }
        if let Some(what) = doubt(name, events, evidence).and_then(Result::err) {
            say(Promised::NoNeedlessDoubt, format!("{name} {what}"));
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
    for refusal in evidence.refusals.iter().filter(|refusal| is_a_bug(refusal)) {
        say(Promised::NoBugs, format!("a caller was answered {refusal:?}"));
    }
    breaches
}

/// What is wrong between the starts of a target and its jobs.
fn unmatched(happened: &Happened, evidence: &Evidence) -> Option<(Promised, String)> {
    let jobs: Vec<&Ended> = evidence.jobs.iter().filter(|job| job.target == happened.target).collect();
    let events = |job: &Ended| evidence.events.get(&job.name).map(Vec::as_slice).unwrap_or_default();
    let doers: Vec<_> = jobs.iter().map(|job| Doer::new(job, events(job), &evidence.wishes)).collect();
    let promise = match matching(happened, &doers) {
        Match::Whole => return None,
        Match::WrongEnds => Promised::TrueEnds,
        Match::Unaccounted if happened.starts.len() > 1 => Promised::NothingTwice,
        Match::Unaccounted => Promised::TrueEnds,
    };
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| format!("{} {:?} {:?} {:?}", job.name, job.state, job.failure, sendings(events(job))))
        .collect();
    Some((
        promise,
        format!("{}: {:?}, ends {:?}, jobs {jobs:?}", happened.target, happened.starts, happened.ends),
    ))
}

/// What became of a wish that was answered with OK, if it was not kept. `state`: the job's at the end, if it is there.
fn forgotten(wish: &Wish, events: &[Seen], state: Option<JobState>) -> Option<String> {
    let wrong = match wish {
        // A job that is gone is another breach.
        _ if state.is_none() => return None,
        Wish::Prevented if state != Some(JobState::Cancelled) => "it was told to be prevented, and was not",
        Wish::Prevented | Wish::CancelRequested => {
            let told = |event: &Seen| event.cancel || event.state == JobState::Cancelling;
            if events.iter().any(told) {
                return None;
            }
            "a cancel was answered with OK, and no event tells of it"
        }
        Wish::Moved(to) => {
            let told = |event: &Seen| event.kind == EventKind::Rescheduled && event.start == Some(*to);
            if events.iter().any(told) {
                return None;
            }
            "a new start was answered with OK, and no event tells of it"
        }
    };
    Some(wrong.to_owned())
}

/// What excuses a job's doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// Harm that was done.
    Harm(Harm),
    /// The machine had too much to do.
    Stall,
}

/// `None`: the job was never in doubt. Else what excuses that, or what is wrong with it.
pub fn doubt(name: &str, events: &[Seen], evidence: &Evidence) -> Option<Result<Excuse, &'static str>> {
    let at = events.iter().position(|event| event.state == JobState::Indeterminate)?;
    let before = events.get(..=at).unwrap_or_default();
    if !before.iter().any(|event| event.state == JobState::Submitting) {
        return Some(Err("is INDETERMINATE and was never sent"));
    }
    let target = evidence.jobs.iter().find(|job| job.name == name).map(|job| job.target.as_str());
    let happened = evidence.happened.iter().find(|happened| Some(happened.target.as_str()) == target);
    let Some(kind) = happened.map(|happened| happened.kind) else {
        return Some(Err("is INDETERMINATE on a target that is not there"));
    };
    let times: Vec<_> = sendings(before).iter().map(super::sendings::Sending::harmed).collect();
    let within = |from, until| times.iter().any(|(sent, lost)| *sent <= until && from <= *lost);
    let harmed = evidence
        .strikes
        .iter()
        .find(|strike| times.iter().any(|(sent, lost)| strike.excuses(kind, *sent, *lost)));
    Some(match harmed {
        Some(strike) => Ok(Excuse::Harm(strike.harm)),
        None if evidence.stalls.iter().any(|(from, until)| within(*from, *until)) => Ok(Excuse::Stall),
        None => Err("is INDETERMINATE, and nothing had struck its start"),
    })
}

/// Whether nobody should get such an answer, whatever struck.
fn is_a_bug(refusal: &Refusal) -> bool {
    let bad = matches!(refusal.code, Code::Internal | Code::Unknown | Code::DataLoss);
    bad && !refusal.own && !LISTED.contains(&refusal.reason.as_str())
}

/// What a watch was told wrongly, by job.
fn gaps(watched: &Watched, evidence: &Evidence) -> Vec<String> {
    let mut told: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for (job, event) in &watched.events {
        told.entry(job).or_default().push(event);
    }
    let mut gaps = Vec::new();
    for (job, listed) in &evidence.events {
        let told = told.remove(job.as_str()).unwrap_or_default();
        let fits = match &watched.wanted {
            Wanted::Everything => same(&told, listed),
            Wanted::Provider(_) => {
                let target = evidence.jobs.iter().find(|j| j.name == *job).map_or("", |j| j.target.as_str());
                if watched.wanted.matches(target) { same(&told, listed) } else { told.is_empty() }
            }
            Wanted::LatestState => {
                let rises = told.windows(2).all(|pair| match pair {
                    [a, b] => a.sequence < b.sequence,
                    _ => true,
                });
                rises && told.last().copied() == listed.last()
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

fn same(told: &[&Seen], listed: &[Seen]) -> bool {
    told.len() == listed.len() && told.iter().zip(listed).all(|(a, b)| **a == *b)
}
