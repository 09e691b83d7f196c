//! The record of a round in which nothing is wrong, for the lies.

use drydock::api::pb::{EventKind, FailureReason, JobState};
use drydock::simulators::Route;
use jiff::Timestamp;
use tonic::Code;

use super::fleet::Kind;
use super::harm::{Harm, Place, Strike};
use super::proxy::Cut;
use super::record::{Ended, Evidence, Happened, Promise, Refusal, Seen, Start, Wanted, Watched, Wish};

/// A moment of the round, in milliseconds.
pub fn at(ms: i64) -> Timestamp {
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
pub fn honest() -> Evidence {
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
pub fn watch(evidence: &mut Evidence) {
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
