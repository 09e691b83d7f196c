//! The harness against itself: evidence with one lie in it. A judge that misses one is worth nothing.

use drydock::api::pb::{FailureReason, JobState};

use super::fleet::Kind;
use super::judge::{Promised, judge};
use super::record::{Ended, Evidence, Happened, Promise, Seen, Wanted, Watched};

const TARGET: &str = "providers/zs/clusters/1";
const OTHER: &str = "providers/hw/instances/1";

/// A round in which all went as promised: one job that succeeded, and one whose password was lost with a process.
fn honest() -> Evidence {
    let mut evidence = Evidence::default();
    let states = [JobState::Pending, JobState::Checking, JobState::Submitting, JobState::Running];
    for (n, target, kind, end) in
        [(1, TARGET, Kind::Zstack, JobState::Succeeded), (2, OTHER, Kind::Huawei, JobState::Failed)]
    {
        let (job, request) = (format!("jobs/{n}"), format!("request-{n}"));
        let seen =
            |(at, state): (u64, JobState)| Seen { sequence: at, state, message: format!("event {at}") };
        let events: Vec<_> = (1..).zip(states.into_iter().chain([end])).map(seen).collect();
        evidence.promises.push(Promise {
            request: request.clone(),
            job: job.clone(),
            target: target.to_owned(),
        });
        evidence.events.insert(job.clone(), events);
        let started = end == JobState::Succeeded;
        evidence.happened.push(Happened {
            target: target.to_owned(),
            kind,
            partial: false,
            starts: usize::from(started),
            ends: if started { vec!["Succeeded".to_owned()] } else { Vec::new() },
        });
        let failure = if started { FailureReason::Unspecified } else { FailureReason::SecretUnavailable };
        evidence.jobs.push(Ended {
            name: job,
            target: target.to_owned(),
            request,
            version: String::new(),
            inferred: false,
            state: end,
            failure,
            settled: false,
        });
    }
    let all: Vec<_> = evidence
        .events
        .iter()
        .flat_map(|(job, seen)| seen.iter().map(|s| (job.clone(), s.clone())))
        .collect();
    let of_one = all.iter().filter(|(job, _)| job == "jobs/1").cloned().collect();
    let last = evidence.events.iter().filter_map(|(job, seen)| Some((job.clone(), seen.last()?.clone())));
    let latest = last.collect();
    for (wanted, events) in [
        (Wanted::Everything, all),
        (Wanted::Provider("zs".to_owned()), of_one),
        (Wanted::LatestState, latest),
    ] {
        evidence.watches.push(Watched { wanted, resumed: 3, events });
    }
    evidence
}

type Lie = (&'static str, Promised, fn(&mut Evidence));

const LIES: &[Lie] = &[
    ("a job is gone", Promised::NothingLost, |e| {
        e.jobs.remove(0);
        e.events.remove("jobs/1");
        e.happened.remove(0);
        e.watches.clear();
    }),
    ("a job never ends", Promised::NothingLost, |e| e.jobs[0].state = JobState::Running),
    ("a second start", Promised::NothingTwice, |e| {
        e.happened[0].starts = 2;
        e.happened[0].ends.push("Succeeded".to_owned());
    }),
    ("a second start that has not ended", Promised::NothingTwice, |e| e.happened[0].starts = 2),
    ("a request made two jobs", Promised::NothingTwice, |e| {
        let twin = Ended { name: "jobs/3".to_owned(), ..e.jobs[1].clone() };
        e.jobs.push(twin);
    }),
    ("a success that failed", Promised::TrueEnds, |e| e.happened[0].ends = vec!["Failed".to_owned()]),
    ("a success of one host less", Promised::TrueEnds, |e| e.happened[0].partial = true),
    ("a success without a start", Promised::TrueEnds, |e| {
        e.happened[0].starts = 0;
        e.happened[0].ends.clear();
    }),
    ("a start of a job that says it never began", Promised::TrueEnds, |e| {
        e.happened[1].starts = 1;
        e.happened[1].ends = vec!["reinstall-succeed".to_owned()];
    }),
    ("a word that no vendor has", Promised::TrueEnds, |e| e.happened[0].ends = vec!["Sideways".to_owned()]),
    ("a prevented job that ran", Promised::TrueEnds, |e| e.prevented.push("jobs/1".to_owned())),
    ("doubt about what was never sent", Promised::NoNeedlessDoubt, |e| {
        if let Some(event) = e.events.get_mut("jobs/1").and_then(|events| events.get_mut(2)) {
            event.state = JobState::Indeterminate;
        }
    }),
    ("an event is missing", Promised::NoGaps, |e| {
        e.watches[0].events.remove(2);
    }),
    ("an event is missing of a job that was there before its watch", Promised::NoGaps, |e| {
        e.before.insert("jobs/1".to_owned());
        e.watches[0].events.drain(..2);
        e.watches[0].events.remove(1);
    }),
    ("an event twice", Promised::NoGaps, |e| {
        let again = e.watches[0].events[2].clone();
        e.watches[0].events.insert(3, again);
    }),
    ("events in another order", Promised::NoGaps, |e| e.watches[0].events.swap(1, 2)),
    ("an event with other words", Promised::NoGaps, |e| e.watches[0].events[1].1.message.push('!')),
    ("an event that was not asked for", Promised::NoGaps, |e| {
        let foreign = e.watches[0].events.iter().find(|(job, _)| job == "jobs/2").cloned();
        e.watches[1].events.extend(foreign);
    }),
    ("a job that is not there", Promised::NoGaps, |e| e.watches[0].events[0].0 = "jobs/9".to_owned()),
    ("an old state as the latest", Promised::NoGaps, |e| e.watches[2].events[0].1.sequence = 2),
    ("a number left out", Promised::NoGaps, |e| {
        if let Some(events) = e.events.get_mut("jobs/1") {
            events.remove(1);
        }
    }),
    ("a property of a watch", Promised::NoGaps, |e| e.unkept.push("not Atomic".to_owned())),
    ("a secret in a file", Promised::NoSecretsOut, |e| {
        e.leaks.push("the password stands in log.json".to_owned())
    }),
    ("a panic", Promised::NoBugs, |e| e.bugs.push("a driver died".to_owned())),
];

/// Tells the judge every lie. What it missed, or saw where nothing was; empty is good.
pub fn missed() -> Vec<String> {
    let mut missed: Vec<_> =
        judge(&honest()).iter().map(|breach| format!("nothing was wrong, yet: {breach}")).collect();
    for (name, promise, tell) in LIES {
        let mut evidence = honest();
        tell(&mut evidence);
        if !judge(&evidence).iter().any(|breach| breach.promise == *promise) {
            missed.push(format!("not found: {name} ({})", promise.broken()));
        }
    }
    let untried = Promised::ALL.into_iter().filter(|p| !LIES.iter().any(|(_, promise, _)| promise == p));
    missed.extend(untried.map(|promise| format!("no lie about: {}", promise.broken())));
    missed
}

/// How many lies there are.
pub const fn count() -> usize {
    LIES.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lie_is_found_and_the_truth_is_believed() {
        assert_eq!(missed(), Vec::<String>::new(), "of {} lies", count());
    }
}
