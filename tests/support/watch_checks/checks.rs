//! One function for each property.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::timeline::{Timeline, timelines};
use super::{Body, Breach, End, Message, Property, Recording, Seen, Truth};

fn breach(property: Property, what: String) -> Breach {
    Breach { property, what }
}

/// Within a history, no event of a job comes after one with a higher sequence.
pub fn ordered(recording: &Recording) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for timeline in timelines(recording) {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for event in timeline.events() {
            let before = last.insert(&event.job, event.sequence).unwrap_or(0);
            if event.sequence < before {
                let what = format!("{} came with {} after {before}", event.job, event.sequence);
                breaches.push(breach(Property::Ordered, what));
            }
        }
    }
    breaches
}

/// Within a history, no event comes twice, nor one that the snapshot had already told; no job is shown twice.
pub fn unique(recording: &Recording) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for timeline in timelines(recording) {
        let mut shown: HashMap<&str, u64> = HashMap::new();
        let mut told: HashSet<(&str, u64)> = HashSet::new();
        for seen in timeline.shown() {
            if shown.insert(&seen.job, seen.sequence).is_some() {
                breaches.push(breach(Property::Unique, format!("{} was shown twice", seen.job)));
            }
        }
        // What came before the job was shown is older than what was shown.
        for event in timeline.events() {
            let again = !told.insert((&event.job, event.sequence));
            if again || shown.get(event.job.as_str()).is_some_and(|s| event.sequence <= *s) {
                let what = format!("{} {} was told twice", event.job, event.sequence);
                breaches.push(breach(Property::Unique, what));
            }
        }
    }
    breaches
}

/// Nothing that really happened and matches is missing: between what came of a job, and at the end of the recording
/// when that went on long enough. For "latest state only": the newest state of each job came.
pub fn complete(recording: &Recording, truth: &Truth) -> Vec<Breach> {
    let mut real: BTreeMap<&str, Vec<&super::Fact>> = BTreeMap::new();
    for fact in &truth.facts {
        real.entry(&fact.event.job).or_default().push(fact);
    }
    let histories = timelines(recording);
    let last = histories.len().saturating_sub(1);
    let mut breaches = Vec::new();
    for (index, timeline) in histories.iter().enumerate() {
        let to_the_end = truth.told_to_the_end && index == last;
        let shown: HashMap<&str, u64> = timeline.shown().map(|s| (s.job.as_str(), s.sequence)).collect();
        let mut told: HashMap<&str, BTreeSet<u64>> = HashMap::new();
        for event in timeline.events() {
            told.entry(&event.job).or_default().insert(event.sequence);
        }
        let synced = timeline.messages.iter().any(|m| matches!(m.body, Body::Synced));
        for (job, facts) in &real {
            let base = shown.get(job).copied().unwrap_or(0);
            let told = told.get(job);
            let newest = told.and_then(|t| t.last()).copied().unwrap_or(base);
            if timeline.snapshot
                && synced
                && base == 0
                && facts.first().is_some_and(|f| f.before)
                && facts.iter().all(|f| f.event.matches)
            {
                breaches.push(breach(Property::Complete, format!("the snapshot leaves out {job}")));
            }
            // Before a history whose beginning is not known, only its first event says where it began.
            let begun = if timeline.foreign { told.and_then(|t| t.first()).copied().unwrap_or(0) } else { 0 };
            let due = facts.iter().filter(|f| f.event.matches && !f.before && f.event.sequence > base);
            let mut missing: Vec<u64> = due
                .map(|f| f.event.sequence)
                .filter(|s| *s >= begun && (to_the_end || *s < newest))
                .filter(|s| !told.is_some_and(|t| t.contains(s)))
                .collect();
            if recording.latest_only {
                let end = facts.last().map(|f| f.event.sequence);
                missing.retain(|s| to_the_end && Some(*s) == end);
            }
            if !missing.is_empty() {
                let what = format!("{job} {missing:?} never came (connection {index})");
                breaches.push(breach(Property::Complete, what));
            }
        }
        let unreal = timeline.events().find(|e| {
            let facts = real.get(e.job.as_str());
            !facts.is_some_and(|f| f.iter().any(|f| f.event.sequence == e.sequence))
        });
        if let Some(event) = unreal {
            let what = format!("{} {} never happened", event.job, event.sequence);
            breaches.push(breach(Property::Complete, what));
        }
    }
    breaches
}

/// Events of one commit come in one message, or in a row of messages of which only the last has a token; and nothing
/// else comes with them. "Latest state only" merges commits: a message then has each job once.
pub fn atomic(recording: &Recording, truth: &Truth) -> Vec<Breach> {
    let mut commits: HashMap<(&str, u64), u64> = HashMap::new();
    let mut due: HashMap<u64, BTreeSet<(&str, u64)>> = HashMap::new();
    for fact in &truth.facts {
        let Some(commit) = fact.commit else { continue };
        let key = (fact.event.job.as_str(), fact.event.sequence);
        commits.insert(key, commit);
        if fact.event.matches {
            due.entry(commit).or_default().insert(key);
        }
    }
    let mut breaches = Vec::new();
    let unknown = truth.facts.iter().filter(|fact| fact.commit.is_none()).count();
    if unknown > 0 && !recording.latest_only {
        let what = format!("the commits of {unknown} events are not known: nothing can be said");
        breaches.push(breach(Property::Atomic, what));
    }
    for timeline in timelines(recording) {
        for unit in units(&timeline) {
            let told: BTreeSet<(&str, u64)> = unit.iter().map(|e| (e.job.as_str(), e.sequence)).collect();
            if recording.latest_only {
                let jobs: HashSet<&str> = unit.iter().map(|e| e.job.as_str()).collect();
                if jobs.len() < unit.len() {
                    breaches.push(breach(Property::Atomic, format!("a job stands twice in {told:?}")));
                }
                continue;
            }
            let of: BTreeSet<Option<u64>> = told.iter().map(|key| commits.get(key).copied()).collect();
            if of.len() > 1 {
                breaches.push(breach(Property::Atomic, format!("{told:?} is of several commits: {of:?}")));
            } else if let Some(Some(commit)) = of.first()
                && due.get(commit).is_some_and(|due| !due.is_subset(&told))
            {
                breaches.push(breach(Property::Atomic, format!("{told:?} is not all of commit {commit}")));
            }
        }
    }
    breaches
}

/// Runs of event messages after the snapshot, each up to a token. What has none yet is not judged.
fn units<'a>(timeline: &Timeline<'a>) -> Vec<Vec<&'a Seen>> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    for message in timeline.messages.iter().skip(timeline.snapshot_messages()) {
        if matches!(message.body, Body::Events(_)) {
            open.extend(message.events());
            if message.token.is_some() {
                out.push(std::mem::take(&mut open));
            }
        }
    }
    out
}

/// A token is one that was given, what follows it is what followed it before, and a stream that the server ends names
/// the last one.
pub fn resumable(recording: &Recording) -> Vec<Breach> {
    let histories = timelines(recording);
    let mut breaches = Vec::new();
    for (index, timeline) in histories.iter().enumerate() {
        let connection = timeline.connection;
        if index > 0 && timeline.foreign && timeline.resumed_at == 0 {
            let what = format!("connection {index} was opened with a token that was never given");
            breaches.push(breach(Property::Resumable, what));
        }
        if let End::Status { reason, token } = &connection.end {
            let given = connection.messages.iter().rev().find_map(|m| m.token.as_ref());
            let expected = given.or(connection.token.as_ref());
            if expected != token.as_ref() {
                let what = format!("the end of connection {index} ({reason}) does not name the last token");
                breaches.push(breach(Property::Resumable, what));
            }
        }
        // The merges of a slow reader depend on when it read.
        if recording.latest_only || timeline.resumed_at == 0 {
            continue;
        }
        let again: Vec<_> =
            timeline.messages[timeline.resumed_at..].iter().flat_map(|m| m.events()).collect();
        for (other, known) in histories[..index].iter().enumerate() {
            let token = connection.token.as_deref();
            let Some(at) = known.messages.iter().rposition(|m| m.token.as_deref() == token) else { continue };
            let first: Vec<_> = known.messages[at + 1..].iter().flat_map(|m| m.events()).collect();
            if let Some((old, new)) = first.iter().zip(&again).find(|(old, new)| old != new) {
                let what = format!(
                    "after the same token connection {other} told {} {} and connection {index} {} {}",
                    old.job, old.sequence, new.job, new.sequence
                );
                breaches.push(breach(Property::Resumable, what));
            }
        }
    }
    breaches
}

/// No stream is silent for longer than it may be, and every message has a token but those that must not.
pub fn bookmarked(recording: &Recording) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (index, connection) in recording.connections.iter().enumerate() {
        let mut last = connection.opened;
        let messages = connection.messages.iter().map(|m| (m.asked, m.at));
        for (asked, at) in messages.chain([(connection.asked, connection.closed)]) {
            // A client that did not read cannot tell.
            last = last.max(asked);
            if at.saturating_sub(last) > recording.quiet {
                let what = format!("connection {index} was silent from {last:?} to {at:?}");
                breaches.push(breach(Property::Bookmarked, what));
            }
            last = at;
        }
        let mut in_snapshot = connection.snapshot && connection.token.is_none();
        for (number, message) in connection.messages.iter().enumerate() {
            in_snapshot &= !matches!(message.body, Body::Synced);
            let next = connection.messages.get(number + 1);
            let may_lack = in_snapshot || (is_events(message) && next.is_none_or(is_events));
            if message.token.is_none() && !may_lack {
                let what = format!("message {number} of connection {index} has no token");
                breaches.push(breach(Property::Bookmarked, what));
            }
            if message.token.is_some() && in_snapshot {
                let what =
                    format!("message {number} of connection {index} has a token before the snapshot's end");
                breaches.push(breach(Property::Bookmarked, what));
            }
        }
    }
    breaches
}

fn is_events(message: &Message) -> bool {
    matches!(message.body, Body::Events(_))
}

/// Nothing came that does not match.
pub fn filtered(recording: &Recording) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let messages = recording.connections.iter().flat_map(|c| &c.messages);
    for seen in messages.flat_map(|m| match &m.body {
        Body::Snapshot(seen) => std::slice::from_ref(seen),
        Body::Synced | Body::Events(_) | Body::Heartbeat => m.events(),
    }) {
        if !seen.matches {
            let what = format!("{} {} does not match", seen.job, seen.sequence);
            breaches.push(breach(Property::Filtered, what));
        }
    }
    breaches
}
