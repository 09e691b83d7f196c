//! How an instance's words are read: golden bodies, whole stories, and random ones.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::map::{Context, answer, find, gone, observe};
use super::notes::Notes;
use super::wire::Instance;
use crate::domain::failure::FailureReason;
use crate::domain::job::Provenance;
use crate::vendors::contract::{Found, Observation, Phase};

const SENT: &str = "2026-01-02T03:00:00Z";

fn instance(body: Value) -> Instance {
    serde_json::from_value(body).unwrap()
}

/// Follows one job through answers, as the engine does: each keeps what the last one noted.
struct Followed {
    notes: Notes,
    minutes: i64,
}

impl Followed {
    fn after(baseline: Value) -> Self {
        let notes = Notes { accepted: true, ..Notes::before(&instance(baseline)) };
        Self { notes, minutes: 1 }
    }

    fn lost(baseline: Value) -> Self {
        Self { notes: Notes::before(&instance(baseline)), minutes: 1 }
    }

    fn context(&self) -> Context<'_> {
        let sent: Timestamp = SENT.parse().unwrap();
        let now = sent + jiff::SignedDuration::from_mins(self.minutes);
        Context { notes: &self.notes, submitted: Some(sent), now }
    }

    fn sees(&mut self, body: Value) -> Observation {
        let observation = observe(&instance(body), self.context());
        if let Some(handle) = &observation.handle {
            self.notes = Notes::read(Some(handle));
        }
        observation
    }

    fn phases(&mut self, bodies: impl IntoIterator<Item = Value>) -> Vec<&'static str> {
        bodies.into_iter().map(|body| name(&self.sees(body).phase)).collect()
    }

    fn find(&self, body: Value, image: Option<&str>) -> Found {
        find(&instance(body), self.context(), image)
    }
}

fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Succeeded => "succeeded",
        Phase::Failed(_) => "failed",
        Phase::Unclear => "unclear",
        Phase::Scheduled
        | Phase::Suspended
        | Phase::Cancelling
        | Phase::Cancelled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed => "never said by this vendor",
    }
}

fn words(state: &str, operation: &str) -> Value {
    json!({"state": state, "operation_state": operation})
}

fn state(state: &str) -> Value {
    json!({ "state": state })
}

#[test]
fn a_stale_running_and_a_leftover_word_end_nothing() {
    let mut job = Followed::after(words("running", "reinstall-succeed"));
    let stale = words("running", "reinstall-succeed");
    assert_eq!(job.phases([stale.clone(), stale.clone(), stale]), ["unclear", "unclear", "unclear"]);
    assert_eq!(
        job.phases([words("pending", "reinstall-processing"), words("running", "reinstall-succeed")]),
        ["running", "succeeded"]
    );
    // The same with a leftover failure, which must not be taken for ours.
    let mut job = Followed::after(words("running", "reinstall-failed"));
    let bodies = [
        words("running", "reinstall-failed"),
        words("pending", "reinstall-failed"),
        words("stopped", "reinstall-processing"),
        words("running", "reinstall-succeed"),
    ];
    assert_eq!(job.phases(bodies), ["unclear", "running", "running", "succeeded"]);
}

#[test]
fn all_three_vocabularies_come_to_their_end_without_an_operation_state() {
    for way in [
        vec!["running", "reinstalling", "running"],
        vec!["running", "stopping", "stopped", "reinstalling", "pending", "running"],
        vec!["running", "pending", "stopped", "running"],
        vec!["stopped", "running"],
    ] {
        let mut job = Followed::after(state("running"));
        let phases = job.phases(way.iter().map(|s| state(s)));
        assert_eq!(phases.last(), Some(&"succeeded"), "{way:?} {phases:?}");
        assert!(phases[..phases.len() - 1].iter().all(|p| ["unclear", "running"].contains(p)), "{phases:?}");
    }
}

#[test]
fn running_is_no_end_while_the_operation_goes_on() {
    let mut job = Followed::after(words("running", "install-succeed"));
    let bodies = [
        words("running", "reinstall-processing"),
        words("running", "reinstall-processing"),
        words("stopped", "reinstall-succeed"),
        words("running", "reinstall-succeed"),
    ];
    assert_eq!(job.phases(bodies), ["running", "running", "running", "succeeded"]);
}

#[test]
fn an_operation_that_turned_to_succeed_unseen_is_an_end() {
    let mut job = Followed::after(words("running", "install-succeed"));
    assert_eq!(job.phases([words("running", "reinstall-succeed")]), ["succeeded"]);
    // A member that is new altogether proves nothing, unless the instance changed with it.
    let mut job = Followed::after(json!({"state": "running", "updated_at": "A"}));
    let same = json!({"state": "running", "operation_state": "reinstall-succeed", "updated_at": "A"});
    let other = json!({"state": "running", "operation_state": "reinstall-succeed", "updated_at": "B"});
    assert_eq!(job.phases([same, other]), ["unclear", "succeeded"]);
}

#[test]
fn failures_carry_the_vendors_words() {
    let golden = json!({
        "state": "error",
        "operation_state": "reinstall-failed",
        "error": {
            "error_code": "iMetal.0099", "error_msg": "provision timed out", "error_type": "reinstall_error",
        },
    });
    let mut job = Followed::after(words("running", "install-succeed"));
    let Phase::Failed(failure) = job.sees(golden.clone()).phase else { panic!("not failed") };
    assert_eq!(failure.vendor_code.as_deref(), Some("iMetal.0099"));
    assert_eq!(
        failure.message,
        "CloudDC reports `error`, `reinstall-failed`: provision timed out (reinstall_error)"
    );
    for body in [state("failed"), state("error"), words("running", "reinstall-failed"), golden] {
        let mut job = Followed::after(words("running", "install-succeed"));
        assert_eq!(
            job.phases([words("pending", "reinstall-processing"), body.clone()]),
            ["running", "failed"],
            "{body}"
        );
    }
}

#[test]
fn an_error_left_from_before_is_not_ours() {
    let error = json!({"error_code": "x", "error_msg": "old", "error_type": "reinstall_error"});
    let old = json!({"state": "running", "error": error});
    let mut job = Followed::after(old.clone());
    assert_eq!(job.phases([old.clone(), state("pending"), old]), ["unclear", "running", "succeeded"]);
    let mut job = Followed::after(state("running"));
    let new = json!({"state": "running", "error": error});
    assert_eq!(job.phases([new]), ["failed"]);
}

#[test]
fn a_deleted_instance_ends_the_job() {
    for word in ["shutting-down", "terminated", "teminated"] {
        let mut job = Followed::after(state("running"));
        let Phase::Failed(failure) = job.sees(words(word, "uninstall-processing")).phase else {
            panic!("{word}")
        };
        assert!(failure.message.contains("deleted"), "{failure:?}");
    }
    let Phase::Failed(failure) = gone("i", "iMetal.0200: not found").phase else { panic!("not failed") };
    assert_eq!(failure.reason, FailureReason::TargetNotFound);
    assert!(failure.message.contains("iMetal.0200"));
}

#[test]
fn unknown_words_are_kept_and_decide_nothing() {
    let mut job = Followed::after(state("running"));
    let observation = job.sees(state("BRAND_NEW_STATE"));
    assert_eq!(observation.phase, Phase::Unclear);
    assert_eq!(observation.vendor_state.as_deref(), Some("BRAND_NEW_STATE"));
    assert_eq!(observation.findings[0].id, "huawei.unknown_state");
    assert_eq!(job.phases([state("running")]), ["unclear"]);
    assert_eq!(
        job.phases([state("pending"), words("running", "reinstall-verifying")]),
        ["running", "unclear"]
    );
    assert_eq!(job.phases([json!({}), words("modifyIping", "modify-ip-processing")]), ["unclear", "unclear"]);
    assert_eq!(job.sees(json!({"state": 17})).vendor_state.as_deref(), Some("17"));
}

#[test]
fn a_reinstall_that_passed_unseen_is_concluded_from_the_launch_time_only_when_running_cannot_be_stale() {
    let before = json!({"state": "running", "launched_at": "2025-12-01T00:00:00Z"});
    let later = json!({"state": "running", "launched_at": "2026-01-02T03:20:00Z"});
    let mut job = Followed::after(before.clone());
    assert_eq!(job.phases([later.clone()]), ["unclear"]);
    job.minutes = 6;
    assert_eq!(job.phases([before]), ["unclear"]);
    let over = job.sees(later);
    assert_eq!((over.phase, over.provenance), (Phase::Succeeded, Provenance::Inferred));
    // With an older success still shown, too; with an older failure, no.
    for (word, end) in [("reinstall-succeed", "succeeded"), ("reinstall-failed", "unclear")] {
        let body = |at: &str| json!({"state": "running", "operation_state": word, "launched_at": at});
        let mut job = Followed::after(body("A"));
        job.minutes = 60;
        assert_eq!(job.phases([body("B")]), [end], "{word}");
    }
}

#[test]
fn after_a_lost_answer_only_signs_of_a_reinstall_count() {
    let before = json!({
        "state": "running", "operation_state": "install-succeed", "image": {"id": "old"},
        "launched_at": "A", "updated_at": "A",
    });
    let job = Followed::lost(before.clone());
    for body in [
        words("running", "reinstall-processing"),
        words("running", "reinstall-succeed"),
        words("error", "reinstall-failed"),
        state("pending"),
        state("reinstalling"),
        json!({"state": "running", "launched_at": "B"}),
        json!({"state": "running", "image": {"id": "new"}}),
        json!({"state": "error", "error": {"error_type": "reinstall_error"}}),
    ] {
        let Found::Arrived(observation) = job.find(body.clone(), Some("new")) else { panic!("{body}") };
        let notes = Notes::read(observation.handle.as_ref());
        assert!(notes.accepted && notes.baseline.is_some(), "{body}");
        assert_ne!(observation.phase, Phase::Unclear, "{body}");
    }
    for body in [
        before,
        // Changed, but anybody may have changed it.
        json!({"state": "running", "operation_state": "install-succeed", "updated_at": "B"}),
        json!({"state": "running", "image": {"id": "other"}}),
        words("running", "modify-ip-processing"),
        state("stopped"),
        state("stopping"),
        state("error"),
        state("terminated"),
        state("BRAND_NEW_STATE"),
        json!({}),
    ] {
        let Found::CannotTell(why) = job.find(body.clone(), Some("new")) else { panic!("{body}") };
        assert!(!why.is_empty());
    }
}

#[test]
fn a_job_that_nobody_could_determine_is_not_settled_by_a_power_cycle() {
    let mut job = Followed::lost(state("running"));
    assert_eq!(job.phases(["stopping", "stopped", "running", "error"].map(state)), ["unclear"; 4]);
    assert_eq!(job.phases(["pending", "running"].map(state)), ["running", "succeeded"]);
}

#[test]
fn the_answer_is_bounded_and_holds_no_user_data() {
    let body = json!({
        "id": "i", "state": "running", "description": "d".repeat(20_000),
        "metadata": {"k": "canary"}, "user_data": "canary",
        "tags": vec![json!({"key": "k".repeat(20_000), "value": "v"}); 100],
    });
    let text = answer(&instance(body)).unwrap();
    assert_eq!(text, r#"{"id":"i","state":"running"}"#);
    let body = json!({"id": "i", "name": "n", "tags": [{"key": "a", "value": "b"}], "user_data": "canary"});
    assert_eq!(answer(&instance(body)).unwrap(), r#"{"id":"i","name":"n","tags":[{"key":"a","value":"b"}]}"#);
}

#[test]
fn a_switch_of_the_system_is_ours_only_once_the_vendor_took_our_start() {
    let before = Notes::before(&instance(json!({"state": "running", "operation_state": "install-succeed"})));
    let taken = Notes { accepted: true, ..before.clone() };
    let phase = |notes: &Notes, state: &str, operation: &str| {
        let seen = instance(json!({"state": state, "operation_state": operation}));
        observe(&seen, Context { notes, submitted: None, now: Timestamp::UNIX_EPOCH }).phase
    };
    for (state, operation, want) in [
        ("running", "switch-install-processing", Phase::Running),
        ("switch-installing", "install-succeed", Phase::Running),
        ("running", "switch-install-succeed", Phase::Succeeded),
    ] {
        assert_eq!(phase(&taken, state, operation), want, "{state} {operation}");
        assert_eq!(phase(&before, state, operation), Phase::Unclear, "{state} {operation}");
    }
    for state in ["running", "error"] {
        assert!(matches!(phase(&taken, state, "switch-install-failed"), Phase::Failed(_)), "{state}");
    }
    let processing = Notes { processing_seen: true, ..taken };
    assert!(matches!(phase(&processing, "running", "switch-install-failed"), Phase::Failed(_)));
}

fn any_word() -> impl Strategy<Value = Option<String>> {
    const KNOWN: &[&str] = &[
        "running",
        "pending",
        "stopped",
        "stopping",
        "reinstalling",
        "failed",
        "error",
        "terminated",
        "",
        "reinstall-processing",
        "reinstall-succeed",
        "reinstall-failed",
        "install-succeed",
        "zzz",
    ];
    prop::option::of(prop::sample::select(KNOWN).prop_map(str::to_owned))
}

proptest! {
    /// Whatever the instance shows, while it looks as it did before the start, the job neither ends nor "arrives".
    #[test]
    fn nothing_new_never_ends_a_job(
        operation in any_word(), minutes in 0_i64..10_000, accepted: bool, launched in prop::option::of("[AB]"),
    ) {
        prop_assume!(operation.as_deref() != Some("reinstall-processing"));
        let body = json!({"state": "running", "operation_state": operation, "launched_at": launched});
        let mut job = Followed::lost(body.clone());
        job.notes.accepted = accepted;
        job.minutes = minutes;
        prop_assert_eq!(name(&job.sees(body.clone()).phase), "unclear");
        prop_assert!(matches!(job.find(body, None), Found::CannotTell(_)));
    }

    /// Success needs `running`, whatever came before, and no answer makes it panic.
    #[test]
    fn success_needs_running(
        baseline in (any_word(), any_word()), seen in prop::collection::vec((any_word(), any_word()), 1..8),
        accepted: bool,
    ) {
        let body = |(state, operation): (Option<String>, Option<String>)| {
            json!({"id": "i", "state": state, "operation_state": operation})
        };
        let mut job = Followed::lost(body(baseline));
        job.notes.accepted = accepted;
        for words in seen {
            let running = words.0.as_deref() == Some("running");
            let processing = words.1.as_deref() == Some("reinstall-processing");
            let observation = job.sees(body(words));
            if observation.phase == Phase::Succeeded {
                prop_assert!(running && !processing);
            }
        }
    }
}
