//! Tasks and targets after a lost answer.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::id::JobId;
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::Target;
use crate::vendors::contract::Phase;
use crate::vendors::vsphere::wire::read;

const OLD: &str = "v1.29.7";
const NEW: &str = "v1.30.5";

fn job() -> Planned {
    Planned {
        job: JobId::new(Uuid::nil()),
        target: Target::parse_name("providers/vc/supervisors/s-1").unwrap(),
        operation: Operation::Upgrade(Upgrade { version: Some(NEW.to_owned()), ..Upgrade::default() }),
        key: Uuid::nil(),
        attempts: 1,
        submit_time: None,
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

fn target(state: &str, current: &str, desired: Option<&str>) -> Summary {
    read(
        &json!({"supervisor": "s-1", "state": state, "current_version": current, "desired_version": desired}),
    )
    .unwrap()
}

fn look(summary: &Summary, tasks: Option<Value>, known: Option<&[&str]>) -> Found {
    let notes = Notes {
        known_tasks: known.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
        ..Notes::before(&target("READY", OLD, None), &[])
    };
    let terms = Terms {
        desired: NEW,
        now: Timestamp::UNIX_EPOCH,
        settle: Duration::from_secs(300),
        cancel_requested: false,
    };
    let tasks: Option<Tasks> = tasks.map(|map| {
        let map = map.as_object().unwrap().clone();
        map.into_iter().map(|(id, task)| (id, read(&task).unwrap())).collect()
    });
    supervisor(&job(), Some(summary), None, tasks.as_ref(), notes, terms)
}

fn on(id: &str, status: &str) -> Value {
    json!({"status": status, "target": {"type": "Supervisor", "id": id}})
}

fn arrived(found: Found) -> Box<crate::vendors::contract::Observation> {
    match found {
        Found::Arrived(seen) => seen,
        other => panic!("not arrived: {other:?}"),
    }
}

#[test]
fn a_new_task_is_the_starts_own() {
    let tasks = json!({"old:svc": on("s-1", "FAILED"), "new:svc": on("s-1", "RUNNING"), "x:svc": on("s-2", "RUNNING")});
    let seen = arrived(look(&target("INPROGRESS", OLD, Some(NEW)), Some(tasks.clone()), Some(&["old:svc"])));
    assert_eq!((&seen.phase, seen.provenance), (&Phase::Running, Provenance::Inferred));
    assert_eq!(seen.ids["task"], "new:svc");
    assert_eq!(Notes::read(seen.handle.as_ref()).task.as_deref(), Some("new:svc"));
    // The task shows before the Supervisor does: no second start.
    let seen = arrived(look(&target("READY", OLD, None), Some(tasks), Some(&["old:svc"])));
    assert_eq!(seen.phase, Phase::Running);
}

#[test]
fn no_new_task_leaves_the_word_to_the_target() {
    let tasks = json!({"old:svc": on("s-1", "SUCCEEDED")});
    let ready = target("READY", OLD, None);
    assert!(matches!(look(&ready, Some(tasks.clone()), Some(&["old:svc"])), Found::NotArrived { .. }));
    let busy = target("INPROGRESS", OLD, Some(NEW));
    let seen = arrived(look(&busy, Some(tasks.clone()), Some(&["old:svc"])));
    assert!(!seen.ids.contains_key("task"));
    assert!(!seen.cancelable.unwrap().possible);
    // Which tasks there were before is not known: they prove nothing.
    assert!(matches!(look(&ready, Some(tasks), None), Found::NotArrived { .. }));
    assert!(matches!(look(&ready, None, Some(&[])), Found::NotArrived { .. }));
}

#[test]
fn somebody_elses_upgrade_or_several_are_not_ours() {
    let two = json!({"a:svc": on("s-1", "FAILED"), "b:svc": on("s-1", "FAILED")});
    assert!(matches!(look(&target("READY", OLD, None), Some(two), Some(&[])), Found::CannotTell(_)));
    let one = json!({"a:svc": on("s-1", "RUNNING")});
    let other = target("INPROGRESS", OLD, Some("v1.31.0"));
    assert!(matches!(look(&other, Some(one), Some(&[])), Found::CannotTell(_)));
}

#[test]
fn a_new_task_that_failed_tells_how_our_start_ended() {
    let tasks = json!({"a:svc": {"status": "FAILED", "target": {"id": "s-1"},
        "error": {"error_type": "UNSUPPORTED", "messages": [{"default_message": "Prechecks."}]}}});
    let seen = arrived(look(&target("READY", OLD, None), Some(tasks), Some(&[])));
    let Phase::Failed(failure) = seen.phase else { panic!("not failed") };
    assert_eq!(failure.message, "Prechecks.");
}
