//! The harness against itself: evidence with one lie in it. A judge that misses one is worth nothing.

use std::collections::BTreeMap;

use drydock::api::pb::{EventKind, FailureReason, JobState};
use drydock::simulators::Route;
use jiff::Timestamp;
use tonic::Code;

use super::fleet::Kind;
use super::harm::{Count, Harm, Place, ROUNDS_FOR_EACH, Strike, never_struck};
use super::judge::{Promised, judge};
use super::proxy::Cut;
use super::record::{Ended, Evidence, Happened, Promise, Refusal, Seen, Start, Wanted, Watched, Wish};

/// A moment of the round, in milliseconds.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + ms).unwrap_or_default()
}

/// A state, when it came (in milliseconds), and what else is to be seen then.
type Step = (JobState, i64, fn(&mut Seen));

/// One job's part of an honest round.
struct Part {
    target: &'static str,
    kind: Kind,
    /// In order.
    events: Vec<Step>,
    /// When it took effect, what the vendor wrote down of it, and its final word.
    start: Option<(i64, &'static str, &'static str)>,
    failure: FailureReason,
}

fn plain(_: &mut Seen) {}

/// A round in which all went as promised. 1: succeeded. 2: its password was lost with a process. 3: in doubt after its
/// start's answer was lost. 4: moved, then prevented. 5: cancelled while it ran.
fn honest() -> Evidence {
    use JobState::{
        Cancelled, Cancelling, Checking, Failed, Indeterminate, Pending, Running, Scheduled, Submitting,
        Succeeded,
    };
    let none = FailureReason::Unspecified;
    let early: fn(&mut Seen) = |seen| seen.start = Some(at(5000));
    let moved: fn(&mut Seen) = |seen| {
        seen.start = Some(at(8000));
        seen.kind = EventKind::Rescheduled;
    };
    let prevented: fn(&mut Seen) = |seen| {
        seen.start = Some(at(8000));
        seen.cancel = true;
    };
    let parts = [
        Part {
            target: "providers/zs/clusters/1",
            kind: Kind::Zstack,
            events: vec![
                (Pending, 0, plain),
                (Checking, 100, plain),
                (Submitting, 200, plain),
                (Running, 400, |seen| seen.key = "key-1".to_owned()),
                (Succeeded, 3000, |seen| seen.key = "key-1".to_owned()),
            ],
            start: Some((300, "key-1", "Succeeded")),
            failure: none,
        },
        Part {
            target: "providers/hw/instances/1",
            kind: Kind::Huawei,
            events: vec![(Pending, 0, plain), (Checking, 100, plain), (Failed, 900, plain)],
            start: None,
            failure: FailureReason::SecretUnavailable,
        },
        Part {
            target: "providers/hw/instances/2",
            kind: Kind::Huawei,
            events: vec![
                (Pending, 1000, plain),
                (Checking, 1100, plain),
                (Submitting, 1200, plain),
                (Submitting, 1500, |seen| seen.lost = true),
                (Indeterminate, 4500, plain),
                (Succeeded, 6000, plain),
            ],
            start: Some((1300, "image=1", "reinstall-succeed")),
            failure: none,
        },
        Part {
            target: "providers/zs/clusters/2",
            kind: Kind::Zstack,
            events: vec![
                (Pending, 0, early),
                (Scheduled, 100, early),
                (Scheduled, 200, moved),
                (Cancelled, 300, prevented),
            ],
            start: None,
            failure: none,
        },
        Part {
            target: "providers/vc/supervisors/1",
            kind: Kind::Supervisor,
            events: vec![
                (Pending, 0, plain),
                (Submitting, 200, plain),
                (Running, 400, plain),
                (Cancelling, 500, |seen| seen.cancel = true),
                (Cancelled, 900, |seen| seen.cancel = true),
            ],
            start: Some((300, "9.1", "CANCELED")),
            failure: none,
        },
    ];
    let mut evidence = Evidence::default();
    for (n, part) in (1..).zip(parts) {
        add(&mut evidence, n, part);
    }
    let wish = |job: &str, wish| (job.to_owned(), wish);
    evidence.wishes = vec![
        wish("jobs/4", Wish::Moved(at(8000))),
        wish("jobs/4", Wish::Prevented),
        wish("jobs/5", Wish::CancelRequested),
    ];
    evidence.strikes = vec![Strike {
        harm: Harm::Start(Cut::AfterRequest),
        place: Place::Vendor("hw", Some(Route::Submit)),
        from: at(1350),
        until: at(1350),
    }];
    // What a client makes of a broken connection is its own, and a vendor may talk nonsense.
    for (code, reason, own) in [(Code::Unknown, "", true), (Code::Internal, "VENDOR_GARBLED", false)] {
        let message = "…".to_owned();
        evidence.refusals.push(Refusal { code, reason: reason.to_owned(), message, own });
    }
    watch(&mut evidence);
    evidence
}

fn add(evidence: &mut Evidence, n: u64, part: Part) {
    let (job, request) = (format!("jobs/{n}"), format!("request-{n}"));
    let target = part.target.to_owned();
    let state = part.events.last().map_or(JobState::Unspecified, |(state, _, _)| *state);
    let seen = |(sequence, (state, ms, more)): (u64, Step)| {
        let message = format!("event {sequence}");
        let mut seen = Seen { sequence, state, message, at: at(ms), ..Seen::default() };
        more(&mut seen);
        seen
    };
    evidence.events.insert(job.clone(), (1..).zip(part.events).map(seen).collect());
    evidence.promises.push(Promise { request: request.clone(), job: job.clone(), target: target.clone() });
    let starts = part.start.iter().map(|(ms, detail, _)| Start { at: at(*ms), detail: (*detail).to_owned() });
    evidence.happened.push(Happened {
        target: target.clone(),
        kind: part.kind,
        partial: false,
        starts: starts.collect(),
        ends: part.start.iter().map(|(_, _, word)| (*word).to_owned()).collect(),
    });
    evidence.jobs.push(Ended {
        name: job,
        target,
        request,
        version: String::new(),
        inferred: false,
        state,
        failure: part.failure,
        settled: false,
    });
}

/// Three watches that were told all that they should be.
fn watch(evidence: &mut Evidence) {
    let all: Vec<_> = evidence
        .events
        .iter()
        .flat_map(|(job, seen)| seen.iter().map(|s| (job.clone(), s.clone())))
        .collect();
    let of_zs = all.iter().filter(|(job, _)| job == "jobs/1" || job == "jobs/4").cloned().collect();
    let last = evidence.events.iter().filter_map(|(job, seen)| Some((job.clone(), seen.last()?.clone())));
    let latest = last.collect();
    for (wanted, events) in
        [(Wanted::Everything, all), (Wanted::Provider("zs".to_owned()), of_zs), (Wanted::LatestState, latest)]
    {
        evidence.watches.push(Watched { wanted, resumed: 3, events });
    }
}

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
