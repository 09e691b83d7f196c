//! The harness against itself: evidence with one lie in it. A judge that misses one is worth nothing.

use std::collections::BTreeMap;

use drydock::api::pb::JobState;
use drydock::simulators::Route;

use super::harm::{Count, Harm, Place, ROUNDS_FOR_EACH, never_struck};
use super::honest::{at, honest, watch};
use super::judge::{Promised, judge};
use super::record::{Ended, Evidence, Seen, Start, Wish};

/// Changes a job's events where they are listed; watches are told the same, so that nothing else is wrong.
fn retell(evidence: &mut Evidence, job: &str, change: impl FnOnce(&mut Vec<Seen>)) {
    if let Some(events) = evidence.events.get_mut(job) {
        change(events);
        (1..).zip(events.iter_mut()).for_each(|(n, event)| event.sequence = n);
    }
    evidence.watches.clear();
    watch(evidence);
}

fn again(start: &Start, ms: i64) -> Start {
    Start { at: at(ms), ..start.clone() }
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
        let twin = again(&e.happened[0].starts[0], 310);
        e.happened[0].starts.push(twin);
        e.happened[0].ends.push("Succeeded".to_owned());
    }),
    ("a second start that has not ended", Promised::NothingTwice, |e| {
        let twin = again(&e.happened[0].starts[0], 310);
        e.happened[0].starts.push(twin);
    }),
    // A target with as many jobs as starts hides it from who counts by targets.
    ("a second start beside a job that never began", Promised::NothingTwice, |e| {
        e.jobs[1].target = e.jobs[2].target.clone();
        e.jobs[1].state = JobState::Succeeded;
        retell(e, "jobs/2", |events| events[2].state = JobState::Succeeded);
        let twin = again(&e.happened[2].starts[0], 1400);
        e.happened[2].starts.push(twin);
        e.happened[2].ends.push("reinstall-succeed".to_owned());
    }),
    ("a second start under one id beside another job's time", Promised::NothingTwice, |e| {
        let other = Ended { name: "jobs/6".to_owned(), request: "request-6".to_owned(), ..e.jobs[0].clone() };
        e.jobs.push(other);
        let events = e.events["jobs/1"].iter().map(|seen| Seen {
            key: if seen.key.is_empty() { String::new() } else { "key-6".to_owned() },
            ..seen.clone()
        });
        let events = events.collect();
        e.events.insert("jobs/6".to_owned(), events);
        let twin = again(&e.happened[0].starts[0], 310);
        e.happened[0].starts.push(twin);
        e.happened[0].ends.push("Succeeded".to_owned());
        e.watches.clear();
        watch(e);
    }),
    ("a request made two jobs", Promised::NothingTwice, |e| {
        let twin = Ended { name: "jobs/9".to_owned(), ..e.jobs[1].clone() };
        e.jobs.push(twin);
    }),
    ("a success that failed", Promised::TrueEnds, |e| e.happened[0].ends = vec!["Failed".to_owned()]),
    ("a success of one host less", Promised::TrueEnds, |e| e.happened[0].partial = true),
    ("a success without a start", Promised::TrueEnds, |e| {
        e.happened[0].starts.clear();
        e.happened[0].ends.clear();
    }),
    ("a start of a job that says it never began", Promised::TrueEnds, |e| {
        e.happened[1].starts = vec![Start { at: at(300), detail: "image=1".to_owned() }];
        e.happened[1].ends = vec!["reinstall-succeed".to_owned()];
    }),
    ("a start under somebody else's id", Promised::TrueEnds, |e| {
        e.happened[0].starts[0].detail = "key-9".to_owned();
    }),
    ("a start before its intent", Promised::TrueEnds, |e| e.happened[0].starts[0].at = at(50)),
    ("a start after its outcome", Promised::TrueEnds, |e| e.happened[0].starts[0].at = at(2000)),
    ("a start before the time that is wanted", Promised::TrueEnds, |e| {
        retell(e, "jobs/1", |events| events.iter_mut().for_each(|event| event.start = Some(at(1000))));
    }),
    ("another version", Promised::TrueEnds, |e| e.jobs[4].version = "9.2".to_owned()),
    ("a word that no vendor has", Promised::TrueEnds, |e| e.happened[0].ends = vec!["Sideways".to_owned()]),
    ("a prevented job that ran", Promised::TrueEnds, |e| {
        // It was cancelled at the vendor, so its end alone says nothing.
        e.wishes.push(("jobs/5".to_owned(), Wish::Prevented));
    }),
    ("a prevented job that ended otherwise", Promised::WishesKept, |e| {
        e.wishes.push(("jobs/1".to_owned(), Wish::Prevented));
    }),
    ("a cancel that nobody remembers", Promised::WishesKept, |e| {
        e.wishes.push(("jobs/1".to_owned(), Wish::CancelRequested));
    }),
    ("a cancel of which no event tells", Promised::WishesKept, |e| {
        retell(e, "jobs/4", |events| events.iter_mut().for_each(|event| event.cancel = false));
    }),
    ("a start after a cancel", Promised::WishesKept, |e| {
        retell(e, "jobs/1", |events| events[1].cancel = true);
    }),
    ("a new start that nobody remembers", Promised::WishesKept, |e| {
        e.wishes.push(("jobs/4".to_owned(), Wish::Moved(at(9000))));
    }),
    ("a new start that is undone", Promised::WishesKept, |e| {
        retell(e, "jobs/4", |events| events[3].start = Some(at(5000)));
    }),
    ("doubt about what was never sent", Promised::NoNeedlessDoubt, |e| {
        retell(e, "jobs/2", |events| events[1].state = JobState::Indeterminate);
    }),
    ("doubt where nothing had struck", Promised::NoNeedlessDoubt, |e| e.strikes.clear()),
    ("doubt after harm to another vendor", Promised::NoNeedlessDoubt, |e| {
        e.strikes[0].place = Place::Vendor("av", Some(Route::Submit));
    }),
    ("doubt after harm to another request", Promised::NoNeedlessDoubt, |e| {
        e.strikes[0].place = Place::Vendor("hw", Some(Route::Inventory));
    }),
    ("doubt before the harm", Promised::NoNeedlessDoubt, |e| {
        (e.strikes[0].from, e.strikes[0].until) = (at(2000), at(2000));
    }),
    ("doubt after harm that was over", Promised::NoNeedlessDoubt, |e| {
        (e.strikes[0].from, e.strikes[0].until) = (at(1000), at(1100));
    }),
    ("doubt after a stop in order", Promised::NoNeedlessDoubt, |e| {
        (e.strikes[0].harm, e.strikes[0].place) = (Harm::Stop, Place::Gateway);
    }),
    ("an event is missing", Promised::NoGaps, |e| {
        e.watches[0].events.remove(2);
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
    ("an answer INTERNAL", Promised::NoBugs, |e| e.refusals[1].reason = "INTERNAL".to_owned()),
    ("an answer UNKNOWN without a reason", Promised::NoBugs, |e| e.refusals[0].own = false),
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
    // Of a whole run: what was armed in every round, and never met anybody.
    let armed = BTreeMap::from([(Harm::Sever, Count { armed: ROUNDS_FOR_EACH, struck: 0 })]);
    if never_struck(ROUNDS_FOR_EACH, &[Harm::Sever], &armed) != [Harm::Sever] {
        missed.push(format!("not found: harm that never struck ({})", Promised::AllTried.broken()));
    }
    let told =
        |promise: &Promised| *promise == Promised::AllTried || LIES.iter().any(|(_, lie, _)| lie == promise);
    let untried = Promised::ALL.into_iter().filter(|promise| !told(promise));
    missed.extend(untried.map(|promise| format!("no lie about: {}", promise.broken())));
    missed
}

/// How many lies there are.
pub const fn count() -> usize {
    LIES.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lie_is_found_and_the_truth_is_believed() {
        assert_eq!(missed(), Vec::<String>::new(), "of {} lies", count());
    }
}
