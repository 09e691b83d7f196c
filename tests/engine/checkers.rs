//! The checkers of watches themselves: a stream that keeps every promise passes, and each breach is seen.

use std::time::Duration;

use crate::watch_checks::{
    Body, Connection, End, Fact, Message, Property, Recording, Seen, Truth, assert_kept, judge,
    judge_without_commits,
};

const QUIET: Duration = Duration::from_secs(10);

fn seen(job: &str, sequence: u64) -> Seen {
    Seen { job: job.to_owned(), sequence, matches: true }
}

fn message(at: u64, body: Body, token: Option<&str>) -> Message {
    Message { at: Duration::from_secs(at), asked: Duration::ZERO, body, token: token.map(str::to_owned) }
}

fn events(at: u64, events: &[(&str, u64)], token: &str) -> Message {
    let events = events.iter().map(|(job, sequence)| seen(job, *sequence)).collect();
    message(at, Body::Events(events), Some(token).filter(|t| !t.is_empty()))
}

/// Two jobs in one commit, then each on its own; `a` was there before the watch.
fn truth() -> Truth {
    let fact = |commit, job: &str, sequence, before| Fact {
        event: seen(job, sequence),
        commit: Some(commit),
        before,
    };
    let facts = vec![
        fact(1, "a", 1, true),
        fact(2, "a", 2, true),
        fact(3, "b", 1, false),
        fact(3, "c", 1, false),
        fact(5, "a", 3, false),
        fact(6, "b", 2, false),
        fact(7, "b", 3, false),
    ];
    Truth { facts, told_to_the_end: true }
}

/// A snapshot, a commit of two, a cut, and what follows after the resume.
fn good() -> Recording {
    let first = Connection {
        token: None,
        snapshot: true,
        opened: Duration::ZERO,
        messages: vec![
            message(0, Body::Snapshot(seen("a", 2)), None),
            message(0, Body::Synced, Some("t2")),
            events(1, &[("b", 1), ("c", 1)], "t4"),
            message(9, Body::Heartbeat, Some("t4")),
            events(10, &[("a", 3)], "t5"),
            events(11, &[("b", 2)], "t6"),
        ],
        closed: Duration::from_secs(12),
        asked: Duration::ZERO,
        end: End::Status { reason: "WATCH_AGED".to_owned(), token: Some("t6".to_owned()) },
    };
    // It had kept an older token than the last.
    let second = Connection {
        token: Some("t5".to_owned()),
        snapshot: false,
        opened: Duration::from_secs(20),
        messages: vec![events(21, &[("b", 2)], "t6"), events(22, &[("b", 3)], "t7")],
        closed: Duration::from_secs(25),
        asked: Duration::ZERO,
        end: End::Cut,
    };
    Recording { latest_only: false, quiet: QUIET, connections: vec![first, second] }
}

/// What is found in the good recording after a change to it.
fn found(change: impl FnOnce(&mut Recording)) -> Vec<Property> {
    let mut recording = good();
    change(&mut recording);
    let mut found: Vec<_> = judge(&recording, &truth()).into_iter().map(|b| b.property).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn a_stream_that_keeps_every_promise_passes() {
    assert_kept(&good(), &truth());
    // A commit too large for one message comes in several.
    let cut = found(|r| {
        r.connections[0].messages[2] = events(1, &[("b", 1)], "");
        r.connections[0].messages.insert(3, events(1, &[("c", 1)], "t4"));
    });
    assert_eq!(cut, []);
}

#[test]
fn disorder_is_seen() {
    let found = found(|r| r.connections[1].messages.swap(0, 1));
    assert!(found.contains(&Property::Ordered), "{found:?}");
}

#[test]
fn repeats_are_seen() {
    let again = found(|r| r.connections[1].messages.push(events(23, &[("b", 3)], "t7")));
    assert_eq!(again, [Property::Unique]);
    let in_snapshot = found(|r| r.connections[0].messages[4] = events(10, &[("a", 2)], "t5"));
    assert!(in_snapshot.contains(&Property::Unique), "{in_snapshot:?}");
    let shown_twice = found(|r| {
        r.connections[0].messages.insert(0, message(0, Body::Snapshot(seen("a", 2)), None));
    });
    assert_eq!(shown_twice, [Property::Unique]);
}

#[test]
fn what_is_missing_is_seen() {
    let hole = found(|r| {
        r.connections[0].messages.remove(5);
        r.connections[0].end = End::Cut;
        r.connections[1].messages.remove(0);
    });
    assert_eq!(hole, [Property::Complete]);
    let tail = found(|r| _ = r.connections[1].messages.pop());
    assert_eq!(tail, [Property::Complete]);
    let snapshot = found(|r| _ = r.connections[0].messages.remove(0));
    assert_eq!(snapshot, [Property::Complete]);
    let invented = found(|r| r.connections[1].messages.push(events(23, &[("d", 1)], "t8")));
    assert!(invented.contains(&Property::Complete), "{invented:?}");
}

#[test]
fn a_hole_is_seen_even_where_the_end_is_not_known() {
    let mut recording = good();
    recording.connections.truncate(1);
    let open = Truth { told_to_the_end: false, ..truth() };
    assert_kept(&recording, &open);
    recording.connections[0].messages[5] = events(11, &[("b", 3)], "t6");
    let found = judge(&recording, &open);
    assert!(found.iter().all(|b| b.property == Property::Complete) && !found.is_empty(), "{found:?}");
}

#[test]
fn a_commit_in_pieces_is_seen() {
    let torn = found(|r| {
        r.connections[0].messages[2] = events(1, &[("b", 1)], "t3");
        r.connections[0].messages.insert(3, events(1, &[("c", 1)], "t4"));
    });
    assert_eq!(torn, [Property::Atomic]);
    let mixed = found(|r| {
        r.connections[1].messages = vec![events(21, &[("b", 2), ("b", 3)], "t7")];
    });
    assert_eq!(mixed, [Property::Atomic]);
}

#[test]
fn commits_that_nobody_knows_are_not_taken_for_whole() {
    let mut blind = truth();
    blind.facts.iter_mut().for_each(|fact| fact.commit = None);
    let found: Vec<_> = judge(&good(), &blind).into_iter().map(|b| b.property).collect();
    assert!(!found.is_empty() && found.iter().all(|p| *p == Property::Atomic), "{found:?}");
    assert_eq!(judge_without_commits(&good(), &blind), []);
}

#[test]
fn a_token_that_does_not_continue_is_seen() {
    let unknown = found(|r| r.connections[1].token = Some("t9".to_owned()));
    assert!(unknown.contains(&Property::Resumable), "{unknown:?}");
    let other = found(|r| r.connections[1].messages[0] = events(21, &[("c", 2)], "t6"));
    assert!(other.contains(&Property::Resumable), "{other:?}");
    let forgot = found(|r| {
        r.connections[0].end = End::Status { reason: "WATCH_AGED".to_owned(), token: None };
    });
    assert_eq!(forgot, [Property::Resumable]);
}

#[test]
fn silence_and_missing_tokens_are_seen() {
    let silent = found(|r| r.connections[1].closed = Duration::from_secs(33));
    assert_eq!(silent, [Property::Bookmarked]);
    // The client's own silence is not the stream's.
    let own = found(|r| {
        r.connections[1].closed = Duration::from_secs(33);
        r.connections[1].asked = Duration::from_secs(32);
    });
    assert_eq!(own, []);
    let bare = found(|r| r.connections[0].messages[3].token = None);
    assert_eq!(bare, [Property::Bookmarked]);
    let early = found(|r| r.connections[0].messages[0].token = Some("t1".to_owned()));
    assert_eq!(early, [Property::Bookmarked]);
}

#[test]
fn what_does_not_match_is_seen() {
    let found = found(|r| {
        let Body::Snapshot(seen) = &mut r.connections[0].messages[0].body else { panic!() };
        seen.matches = false;
    });
    assert_eq!(found, [Property::Filtered]);
}

#[test]
fn a_merged_watch_may_skip_but_must_end_right() {
    let merged = |messages: Vec<Message>| {
        let mut recording = good();
        recording.latest_only = true;
        recording.connections.truncate(1);
        recording.connections[0].end = End::Cut;
        recording.connections[0].messages.truncate(2);
        recording.connections[0].messages.extend(messages);
        judge(&recording, &truth()).into_iter().map(|b| b.property).collect::<Vec<_>>()
    };
    assert_eq!(merged(vec![events(9, &[("c", 1), ("a", 3), ("b", 3)], "t7")]), []);
    assert_eq!(merged(vec![events(9, &[("c", 1), ("a", 3), ("b", 2)], "t6")]), [Property::Complete]);
    let twice = merged(vec![events(9, &[("c", 1), ("a", 3), ("b", 2), ("b", 3)], "t7")]);
    assert_eq!(twice, [Property::Atomic]);
}
