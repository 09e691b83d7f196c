//! Reads recorded answers of vCenter, see [`crate::vendors::recorded`].

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::auth::{Auth, Session};
use super::fault;
use super::findings;
use super::judge::{Terms, trace};
use super::map::{self, Sight};
use super::notes::{Baseline, Notes};
use super::start::{desired, of_recorded};
use super::wire::{
    Info, PrecheckList, Summary, SupervisorList, Task, TaskMap, UpgradeList, VersionNotes, read as part,
};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::{Target, TargetKind};
use crate::kit::secret::Secret;
use crate::vendors::contract::Planned;
use crate::vendors::error::VendorError;
use crate::vendors::http::Reply;
use crate::vendors::recorded::{CANARY, Reading, names};

const OLD: &str = "v1.29.7";
const NEW: &str = "v1.30.5";
const CLUSTER: &str = "domain-c8";
const SUPERVISOR: &str = "s-1";
const NOW: i64 = 1_800_000_000;

/// What the adapter makes of an answer; `None` for a question that it does not ask.
pub fn read(question: &str, reply: Reply) -> Option<Reading> {
    let listed = reply.status.is_success();
    let reply = Auth::redact(reply, &Session { made: Secret::from(CANARY), login: 1 });
    let cluster = planned(TargetKind::Cluster, CLUSTER)?;
    let supervisor = planned(TargetKind::Supervisor, SUPERVISOR)?;
    let mut out = Reading::new(proves_success(&reply.body)).listed(listed);
    match question {
        "start-clusters" => {
            out.submitted(of_recorded(&cluster, reply.clone(), 1));
            out.fact("of a call for two:");
            out.submitted(of_recorded(&cluster, reply, 2));
        }
        "start-supervisor" => out.submitted(of_recorded(&supervisor, reply, 1)),
        "clusters" => out.either(list(&reply), |out, list: Vec<Value>| {
            for summary in list.iter().filter_map(part::<Summary>).take(8) {
                target(out, &cluster, &summary);
            }
        }),
        "supervisors" => out.either(good(&reply), |out, list: UpgradeList| {
            for summary in list.supervisors.iter().flatten().filter_map(part::<Summary>).take(8) {
                target(out, &supervisor, &summary);
            }
        }),
        "cluster" | "supervisor" => out.either(good(&reply), |out, info: Info| {
            for finding in findings::of_info(&info) {
                out.fact(format!("{finding:?}"));
            }
            // In error, so that the details must tell why.
            let summary = Summary {
                state: Some("ERROR".to_owned()),
                current_version: Some(OLD.to_owned()),
                supervisor: (question == "supervisor").then(|| SUPERVISOR.to_owned()),
                ..Summary::default()
            };
            let planned = if question == "supervisor" { &supervisor } else { &cluster };
            sight(out, planned, Sight { summary: Some(&summary), info: Some(&info), task: None });
        }),
        "tasks" => out.either(good(&reply), |out, tasks: TaskMap| {
            for task in tasks.values().filter_map(part::<Task>).take(8) {
                of_task(out, &supervisor, &task);
            }
        }),
        "task" => out.either(good(&reply), |out, task: Task| of_task(out, &supervisor, &task)),
        "prechecks" => out.either(good(&reply), |out, list: PrecheckList| {
            for result in list.precheck_results.iter().take(8) {
                out.fact(format!("{:?} {:?}", result.target_version, result.status));
                for finding in findings::of_conditions(&result.conditions) {
                    out.fact(format!("{finding:?}"));
                }
            }
        }),
        "versions" => out.either(list(&reply), |out, list: Vec<Value>| {
            for version in list.iter().filter_map(part::<VersionNotes>).take(8) {
                out.fact(format!("{version:?}"));
            }
        }),
        "summaries" => out.either(good(&reply), |out, list: SupervisorList| {
            for item in list.items.iter().take(8) {
                out.fact(format!("{item:?}"));
            }
        }),
        _ => return None,
    }
    Some(out)
}

/// A list's entry right after the start, later, and after a lost answer.
fn target(out: &mut Reading, planned: &Planned, summary: &Summary) {
    out.fact(format!("{:?}", summary.id()));
    sight(out, planned, Sight { summary: Some(summary), ..Sight::default() });
    let seen = trace(Some(summary), notes().baseline.as_ref(), None, NEW);
    out.fact(format!("after a lost answer: {seen:?}"));
}

fn of_task(out: &mut Reading, planned: &Planned, task: &Task) {
    for version in [OLD, NEW] {
        let summary = Summary {
            state: Some("READY".to_owned()),
            current_version: Some(version.to_owned()),
            supervisor: Some(SUPERVISOR.to_owned()),
            ..Summary::default()
        };
        out.fact(format!("with {version}:"));
        sight(out, planned, Sight { summary: Some(&summary), info: None, task: Some(task) });
    }
}

fn sight(out: &mut Reading, planned: &Planned, sight: Sight<'_>) {
    let Ok(now) = Timestamp::from_second(NOW) else { return };
    let terms = Terms {
        desired: desired(&planned.operation),
        now,
        settle: Duration::from_secs(300),
        cancel_requested: false,
    };
    for odd_since in [None, Timestamp::from_second(NOW - 3600).ok()] {
        let mut notes = Notes { odd_since, ..notes() };
        out.fact(if odd_since.is_none() { "at first:" } else { "after an hour:" });
        let outcome = map::decide(sight, &mut notes, terms);
        let mut seen = map::observe(planned, sight, &outcome, &mut notes, terms);
        seen.handle = Some(notes.handle());
        out.observation(seen);
    }
}

fn good<T: DeserializeOwned>(reply: &Reply) -> Result<T, VendorError> {
    if reply.status.is_success() { reply.json() } else { Err(fault::of(reply)) }
}

fn list<T: DeserializeOwned>(reply: &Reply) -> Result<Vec<T>, VendorError> {
    if reply.status.is_success() { reply.json_list() } else { Err(fault::of(reply)) }
}

fn notes() -> Notes {
    let baseline = Baseline {
        state: Some("READY".to_owned()),
        current_version: Some(OLD.to_owned()),
        last_upgraded_date: Some("2026-01-01T00:00:00Z".to_owned()),
        ..Baseline::default()
    };
    Notes { baseline: Some(baseline), ..Notes::default() }
}

fn planned(kind: TargetKind, id: &str) -> Option<Planned> {
    Some(Planned {
        job: JobId::new(Uuid::from_u128(1)),
        target: Target { provider: ProviderId::parse("v").ok()?, kind, id: id.into() },
        operation: Operation::Upgrade(Upgrade { version: Some(NEW.to_owned()), ..Upgrade::default() }),
        key: Uuid::from_u128(2),
        attempts: 1,
        submit_time: Timestamp::from_second(NOW - 600).ok(),
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    })
}

/// Whether a target is `READY` with the wanted version, or a task says `SUCCEEDED`.
fn proves_success(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return names(body, &["SUCCEEDED", NEW]) };
    let entries = match &body {
        Value::Array(entries) => entries.iter().collect(),
        Value::Object(map) => match map.get("supervisors").and_then(Value::as_array) {
            Some(entries) => entries.iter().collect(),
            None => map.values().chain([&body]).collect(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    entries
        .iter()
        .any(|one| one["status"] == "SUCCEEDED" || (one["state"] == "READY" && one["current_version"] == NEW))
}
