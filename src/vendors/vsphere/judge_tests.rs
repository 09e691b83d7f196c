//! Every state that a target can show before and after a start.

use serde_json::{Value, json};

use super::*;
use crate::vendors::vsphere::wire::read;

const OLD: &str = "v1.28.3";
const NEW: &str = "v1.29.7";
const SETTLE: Duration = Duration::from_secs(300);

fn at(second: i64) -> Terms<'static> {
    Terms {
        desired: NEW,
        now: Timestamp::from_second(1_000_000 + second).unwrap(),
        settle: SETTLE,
        cancel_requested: false,
    }
}

fn target(state: &str, current: &str, desired: Option<&str>) -> Summary {
    read(&json!({"cluster": "domain-c9", "state": state, "current_version": current, "desired_version": desired}))
        .unwrap()
}

fn before(state: &str) -> Notes {
    Notes::before(&target(state, OLD, None), &[])
}

fn walk(notes: &mut Notes, second: i64, state: &str, current: &str, desired: Option<&str>) -> Stand {
    judge(Some(&target(state, current, desired)), notes, at(second))
}

#[test]
fn under_way_then_idle_with_the_version_is_success() {
    for busy in ["PENDING", "INPROGRESS"] {
        let mut notes = before("READY");
        assert_eq!(walk(&mut notes, 0, busy, OLD, Some(NEW)), Stand::Running);
        assert_eq!(walk(&mut notes, 9, "READY", NEW, None), Stand::Reached);
    }
}

#[test]
fn idle_right_after_the_start_is_not_believed_until_it_lasts() {
    let mut notes = before("READY");
    assert_eq!(walk(&mut notes, 0, "READY", OLD, None), Stand::Open);
    assert_eq!(walk(&mut notes, 299, "READY", OLD, None), Stand::Open);
    let mut late = notes.clone();
    assert_eq!(walk(&mut late, 299, "PENDING", OLD, Some(NEW)), Stand::Running, "it was only stale");
    assert_eq!(late.odd_since, None);
    assert_eq!(walk(&mut notes, 300, "READY", OLD, None), Stand::Stopped);
}

#[test]
fn idle_again_without_the_version_is_not_believed_at_once_either() {
    let mut notes = before("READY");
    walk(&mut notes, 0, "PENDING", OLD, Some(NEW));
    assert_eq!(walk(&mut notes, 10, "READY", OLD, None), Stand::Open);
    assert_eq!(walk(&mut notes, 20, "READY", NEW, None), Stand::Reached, "the version came late");
    let mut notes = before("READY");
    walk(&mut notes, 0, "PENDING", OLD, Some(NEW));
    walk(&mut notes, 10, "READY", OLD, None);
    assert_eq!(walk(&mut notes, 310, "READY", OLD, None), Stand::Stopped);
}

#[test]
fn another_upgrade_in_our_place_overtakes() {
    let mut notes = before("READY");
    walk(&mut notes, 0, "PENDING", OLD, Some(NEW));
    assert_eq!(walk(&mut notes, 1, "PENDING", OLD, Some("v1.30.0")), Stand::Overtaken("v1.30.0".to_owned()));
    let mut notes = before("READY");
    assert_eq!(walk(&mut notes, 0, "PENDING", OLD, Some("v1.30.0")), Stand::Open);
    assert_eq!(walk(&mut notes, 300, "READY", "v1.30.0", None), Stand::Overtaken("v1.30.0".to_owned()));
}

#[test]
fn an_old_error_is_not_ours_until_it_lasts() {
    assert_eq!(walk(&mut before("READY"), 0, "ERROR", OLD, None), Stand::InError);
    let mut notes = before("ERROR");
    assert_eq!(walk(&mut notes, 0, "ERROR", OLD, None), Stand::Open);
    assert_eq!(walk(&mut notes, 300, "ERROR", OLD, None), Stand::InError);
    let mut notes = before("ERROR");
    walk(&mut notes, 0, "PENDING", OLD, Some(NEW));
    assert_eq!(walk(&mut notes, 1, "ERROR", OLD, None), Stand::InError);
}

#[test]
fn unknown_words_and_missing_targets_conclude_nothing_at_once() {
    let mut notes = before("READY");
    assert_eq!(walk(&mut notes, 0, "BRAND_NEW", OLD, None), Stand::Open);
    assert_eq!(walk(&mut notes, 9999, "BRAND_NEW", OLD, None), Stand::Open);
    assert_eq!(judge(None, &mut notes, at(10_000)), Stand::Open);
    assert_eq!(judge(None, &mut notes, at(10_300)), Stand::Gone);
}

fn found(summary: Value, baseline: &str) -> Trace {
    let summary: Summary = read(&summary).unwrap();
    trace(Some(&summary), before(baseline).baseline.as_ref(), None, NEW)
}

fn is_either(trace: &Trace) -> bool {
    matches!(trace, Trace::Either(_))
}

#[test]
fn a_lost_start_is_proven_or_not() {
    let running = json!({"state": "PENDING", "current_version": OLD, "desired_version": NEW});
    assert_eq!(found(running.clone(), "READY"), Trace::Arrived(Stand::Running));
    assert_eq!(found(running.clone(), "ERROR"), Trace::Arrived(Stand::Running));
    assert!(is_either(&found(running, "PENDING")), "somebody's upgrade ran before");
    let done = json!({"state": "READY", "current_version": NEW});
    assert_eq!(found(done, "READY"), Trace::Arrived(Stand::Reached));
    let failed = json!({"state": "ERROR", "current_version": OLD, "desired_version": NEW});
    assert_eq!(found(failed, "READY"), Trace::Arrived(Stand::InError));
    let same = json!({"state": "READY", "current_version": OLD});
    assert_eq!(found(same.clone(), "READY"), Trace::Untouched);
    assert!(is_either(&found(same, "ERROR")), "ERROR became READY: something happened");
}

#[test]
fn only_an_untouched_target_allows_a_second_start() {
    for odd in [
        json!({"state": "PENDING", "current_version": OLD, "desired_version": "v1.30.0"}),
        json!({"state": "PENDING", "current_version": OLD}),
        json!({"state": "READY", "current_version": "v1.30.0"}),
        json!({"state": "READY", "current_version": OLD, "last_upgraded_date": "2026-02-03T04:05:06.000Z"}),
        json!({"state": "READY"}),
        json!({"state": "ERROR", "current_version": OLD}),
        json!({"state": "BRAND_NEW", "current_version": OLD}),
        json!({"state": 17, "current_version": OLD}),
        json!({}),
    ] {
        assert!(is_either(&found(odd.clone(), "READY")), "{odd}");
    }
    let same: Summary = read(&json!({"state": "READY", "current_version": OLD})).unwrap();
    assert!(is_either(&trace(Some(&same), None, None, NEW)), "no baseline");
    assert!(is_either(&trace(None, before("READY").baseline.as_ref(), None, NEW)), "not listed");
}

#[test]
fn the_details_can_tell_the_version() {
    let busy: Summary = read(&json!({"state": "PENDING", "current_version": OLD})).unwrap();
    let notes = before("READY");
    let told = trace(Some(&busy), notes.baseline.as_ref(), Some(NEW), NEW);
    assert_eq!(told, Trace::Arrived(Stand::Running));
}
