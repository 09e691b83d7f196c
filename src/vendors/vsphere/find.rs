//! After a lost answer: did the start arrive?
//!
//! A cluster's upgrade has no id, so its state and versions are compared with those before the start. A Supervisor's
//! upgrade has a task, and a task that vCenter did not know before the start is that start's.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::client::Client;
use super::judge::{Mood, Stand, Terms, Trace, mood, trace};
use super::map::{self, Outcome, Sight};
use super::notes::Notes;
use super::observe::{Rounds, by_id};
use super::roster::{Roster, Targets};
use super::start::notes;
use super::wire::{Info, Summary, Task, TaskFilter};
use crate::domain::job::Provenance;
use crate::domain::target::TargetKind;
use crate::kit::clock;
use crate::vendors::contract::{Found, Planned};
use crate::vendors::error::VendorError;

/// The service that owns Supervisor upgrade tasks, as its path names it. Nobody could verify it: where it is another,
/// the query finds nothing and the targets alone tell.
pub(super) const TASK_SERVICE: &str =
    "com.vmware.vcenter.namespace_management.software.supervisors.upgrades.jobs";

/// For how long after a start was sent an untouched target shows that it did not begin. An upgrade takes longer than
/// this to fail and be reset.
const UNTOUCHED_PROOF: Duration = Duration::from_secs(900);

/// The upgrade tasks that vCenter knows.
pub(super) type Tasks = BTreeMap<String, Task>;

/// All upgrade tasks; none when vCenter does not tell.
pub(super) async fn all_tasks(client: &Client) -> Option<Tasks> {
    match client.tasks(TaskFilter { tasks: &[], services: &[TASK_SERVICE] }).await {
        Ok(tasks) => Some(tasks),
        Err(error) => {
            tracing::debug!(error = %error, "upgrade tasks cannot be listed by their service");
            None
        }
    }
}

/// The ids of the tasks that work on one Supervisor.
pub(super) fn tasks_of(tasks: &Tasks, supervisor: &str) -> Vec<String> {
    let on = |task: &Task| task.target.as_ref().and_then(|t| t.id.as_deref()) == Some(supervisor);
    tasks.iter().filter(|(_, task)| on(task)).map(|(id, _)| id.clone()).collect()
}

/// Looks for a start.
pub(super) async fn find(
    client: &Client,
    rosters: (&Roster, &Roster),
    rounds: &Rounds,
    planned: &Planned,
    now: Timestamp,
) -> Result<Found, VendorError> {
    let (notes, _) = notes(planned);
    let terms = rounds.terms(planned, now);
    let (clusters, supervisors) = rosters;
    let id = &*planned.target.id;
    match planned.target.kind {
        TargetKind::Supervisor => {
            let targets: Targets =
                supervisors.fresh(|| async { client.supervisors(&[]).await.map(by_id) }).await?;
            let tasks = if notes.known_tasks.is_some() { all_tasks(client).await } else { None };
            let info = details(client, planned, targets.get(id)).await;
            Ok(supervisor(planned, targets.get(id), info.as_ref(), tasks.as_ref(), notes, terms))
        }
        TargetKind::Cluster | TargetKind::Instance => {
            let targets: Targets = clusters.fresh(|| async { client.clusters().await.map(by_id) }).await?;
            let info = details(client, planned, targets.get(id)).await;
            Ok(by_target(planned, targets.get(id), info.as_ref(), notes, terms))
        }
    }
}

/// The details, where they can tell more than the list.
async fn details(client: &Client, planned: &Planned, summary: Option<&Summary>) -> Option<Info> {
    let summary = summary?;
    let telling = match mood(summary.state.as_deref()) {
        Mood::Busy => summary.desired_version.is_none(),
        Mood::Error => true,
        Mood::Ready | Mood::Unknown => false,
    };
    if !telling {
        return None;
    }
    match planned.target.kind {
        TargetKind::Supervisor => client.supervisor(&planned.target.id).await.ok(),
        TargetKind::Cluster | TargetKind::Instance => client.cluster(&planned.target.id).await.ok(),
    }
}

fn traced(summary: Option<&Summary>, info: Option<&Info>, notes: &Notes, terms: Terms<'_>) -> Trace {
    let wanted = info.and_then(|i| i.upgrade_status.as_ref()).and_then(|s| s.desired_version.as_deref());
    trace(summary, notes.baseline.as_ref(), wanted, terms.desired)
}

fn by_target(
    planned: &Planned,
    summary: Option<&Summary>,
    info: Option<&Info>,
    notes: Notes,
    terms: Terms<'_>,
) -> Found {
    match traced(summary, info, &notes, terms) {
        Trace::Untouched => untouched(planned, terms.now),
        Trace::Either(why) => Found::CannotTell(why),
        Trace::Arrived(stand) => {
            arrived(planned, Sight { summary, info, task: None }, &Outcome::Target(stand), notes, terms)
        }
    }
}

/// Ready on the old version: soon after the start was sent, it has not begun. Much later it may have begun, been
/// stopped by a person and reset, so the proof grows old.
fn untouched(planned: &Planned, now: Timestamp) -> Found {
    let until = planned.submit_time.map(|sent| clock::after(sent, UNTOUCHED_PROOF));
    if until.is_none_or(|until| now < until) {
        return Found::NotArrived { until };
    }
    Found::CannotTell(
        "the target is ready on its old version, but the start was sent so long ago that it may have begun and failed"
            .to_owned(),
    )
}

fn supervisor(
    planned: &Planned,
    summary: Option<&Summary>,
    info: Option<&Info>,
    tasks: Option<&Tasks>,
    mut notes: Notes,
    terms: Terms<'_>,
) -> Found {
    let trace = traced(summary, info, &notes, terms);
    let known = notes.known_tasks.clone();
    let (Some(tasks), Some(known)) = (tasks, known) else {
        return by_target(planned, summary, info, notes, terms);
    };
    let mut new = tasks_of(tasks, &planned.target.id);
    new.retain(|id| !known.contains(id));
    match (new.as_slice(), trace) {
        // Tasks can be slow to show, and their service is a guess: none proves nothing beyond what the target shows.
        ([], _) => by_target(planned, summary, info, notes, terms),
        (_, Trace::Either(why)) => Found::CannotTell(why),
        ([id], Trace::Untouched | Trace::Arrived(_)) => {
            notes.task = Some(id.clone());
            let sight = Sight { summary, info, task: tasks.get(id) };
            let outcome = map::decide(sight, &mut notes, terms);
            arrived(planned, sight, &outcome, notes, terms)
        }
        (_, Trace::Arrived(stand)) => {
            arrived(planned, Sight { summary, info, task: None }, &Outcome::Target(stand), notes, terms)
        }
        (_, Trace::Untouched) => {
            Found::CannotTell("several upgrades of the Supervisor were started since".to_owned())
        }
    }
}

fn arrived(
    planned: &Planned,
    sight: Sight<'_>,
    outcome: &Outcome,
    mut notes: Notes,
    terms: Terms<'_>,
) -> Found {
    notes.running_seen |= *outcome == Outcome::Target(Stand::Running);
    let mut seen = map::observe(planned, sight, outcome, &mut notes, terms);
    seen.provenance = Provenance::Inferred;
    seen.handle = Some(notes.handle());
    Found::Arrived(Box::new(seen))
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
