//! How started upgrades stand: one list call for all clusters, one for all Supervisors, one task query for each
//! 200 tasks of one service, and details for a few targets that deserve them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::cancelled::after_cancel;
use super::client::{Client, IDS_PER_QUERY};
use super::judge::Terms;
use super::map::{self, Outcome, Sight};
use super::notes::Notes;
use super::start::desired;
use super::together::together;
use super::wire::{Info, Summary, Task, TaskFilter};
use crate::domain::error::VendorFault;
use crate::domain::target::TargetKind;
use crate::kit::turns::Turns;
use crate::vendors::contract::{Observation, Planned};
use crate::vendors::error::VendorError;

/// How many tasks one query asks for. vCenter refuses more than 1000 matches instead of cutting them off.
const TASKS_PER_QUERY: usize = 200;
/// How many ended upgrades get their details in one round.
const LAST_WORDS: usize = 32;

type Answer<T> = Result<T, VendorError>;

/// What rounds of polling share.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many details a round may ask for besides last words.
    pub details: usize,
    /// How long what does not fit must last.
    pub settle: Duration,
    /// Whose turn it is to get details: of those that somebody watches, and of the others.
    watched: Turns,
    others: Turns,
}

impl Rounds {
    /// So many details a round, and so much patience.
    pub(super) fn new(details: usize, settle: Duration) -> Self {
        Self { details, settle, watched: Turns::default(), others: Turns::default() }
    }

    /// The moment and the patience of a judgement on a job.
    pub(super) fn terms<'a>(&self, planned: &'a Planned, now: Timestamp) -> Terms<'a> {
        Terms {
            desired: desired(&planned.operation),
            now,
            settle: self.settle,
            cancel_requested: planned.cancel_requested,
        }
    }
}

/// One job in a round.
struct Seen<'a> {
    planned: &'a Planned,
    before: Notes,
    notes: Notes,
    outcome: Answer<Outcome>,
    summary: Option<&'a Summary>,
    task: Option<&'a Task>,
    info: Option<Info>,
    /// The task was read with its result.
    result_read: bool,
}

impl Seen<'_> {
    fn state(&self) -> Option<&str> {
        let target = self.summary.and_then(|s| s.state.as_deref());
        self.task.map_or(target, |task| task.status.as_deref())
    }
}

/// Observes jobs on clusters. One answer each, in order.
pub(super) async fn clusters(
    client: &Client,
    rounds: &Rounds,
    batch: &[&Planned],
    now: Timestamp,
) -> Vec<Answer<Observation>> {
    let list = client.clusters().await.map(by_id);
    let mut round: Vec<Seen<'_>> = batch
        .iter()
        .map(|planned| {
            let before = Notes::read(planned.handle.as_ref());
            let mut notes = before.clone();
            let (summary, outcome) = match &list {
                Ok(list) => {
                    let summary = list.get(&*planned.target.id);
                    let sight = Sight { summary, ..Sight::default() };
                    (summary, Ok(map::decide(sight, &mut notes, rounds.terms(planned, now))))
                }
                Err(error) => (None, Err(error.again())),
            };
            Seen { planned, before, notes, outcome, summary, task: None, info: None, result_read: false }
        })
        .collect();
    read_details(client, rounds, &mut round).await;
    finish(rounds, round, now)
}

/// Observes jobs on Supervisors. One answer each, in order.
pub(super) async fn supervisors(
    client: &Client,
    rounds: &Rounds,
    batch: &[&Planned],
    now: Timestamp,
) -> Vec<Answer<Observation>> {
    let ids: Vec<&str> = batch.iter().map(|p| &*p.target.id).collect();
    let list = list_supervisors(client, &ids).await;
    let all: Vec<Notes> = batch.iter().map(|p| Notes::read(p.handle.as_ref())).collect();
    let wanted: Vec<&str> = all.iter().filter_map(|notes| notes.task.as_deref()).collect();
    let tasks = read_tasks(client, &wanted).await;
    let mut round: Vec<Seen<'_>> = batch
        .iter()
        .zip(&all)
        .map(|(planned, before)| {
            let mut notes = before.clone();
            let summary = list.as_ref().ok().and_then(|list| list.get(&*planned.target.id));
            let found = before.task.as_deref().and_then(|id| tasks.get(id));
            let terms = rounds.terms(planned, now);
            let (task, outcome) = match (found, &list) {
                (Some(Ok(Some(task))), Ok(_)) => {
                    let sight = Sight { summary, task: Some(task), info: None };
                    (Some(task), Ok(map::decide(sight, &mut notes, terms)))
                }
                // Without the list, a success cannot be confirmed; everything else the task tells alone.
                (Some(Ok(Some(task))), Err(error)) => {
                    let sight = Sight { task: Some(task), ..Sight::default() };
                    match task.status.as_deref() {
                        Some("SUCCEEDED") if is_passing(error) => (Some(task), Err(error.again())),
                        _ => (Some(task), Ok(map::decide(sight, &mut notes, terms))),
                    }
                }
                (Some(Err(error)), _) => (None, Err(error.again())),
                // The task is gone, or there never was an id: the target tells.
                (Some(Ok(None)) | None, Ok(_)) => {
                    let sight = Sight { summary, ..Sight::default() };
                    (None, Ok(map::decide(sight, &mut notes, terms)))
                }
                (Some(Ok(None)) | None, Err(error)) => (None, Err(error.again())),
            };
            Seen {
                planned,
                before: before.clone(),
                notes,
                outcome,
                summary,
                task,
                info: None,
                result_read: false,
            }
        })
        .collect();
    read_details(client, rounds, &mut round).await;
    let results = read_results(client, &round).await;
    for (seen, result) in round.iter_mut().zip(&results) {
        if result.is_some() {
            seen.task = result.as_ref();
            seen.result_read = true;
        }
    }
    finish(rounds, round, now)
}

pub(super) fn by_id(list: Vec<Summary>) -> HashMap<String, Summary> {
    list.into_iter().filter_map(|s| Some((s.id()?.to_owned(), s))).collect()
}

/// The list entries of some Supervisors: by name while their names fit a query, else from the whole list.
pub(super) async fn list_supervisors(client: &Client, ids: &[&str]) -> Answer<HashMap<String, Summary>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let filter = if ids.len() <= IDS_PER_QUERY { ids.as_slice() } else { &[] };
    client.supervisors(filter).await.map(by_id)
}

/// The tasks with these ids. `None`: vCenter does not list it. All tasks of one query must belong to one service,
/// which the part after the id's first colon names.
async fn read_tasks<'a>(client: &Client, ids: &[&'a str]) -> HashMap<&'a str, Answer<Option<Task>>> {
    let mut services: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for id in ids {
        let service = id.split_once(':').map_or("", |(_, service)| service);
        services.entry(service).or_default().push(id);
    }
    let queries: Vec<&[&str]> = services.values().flat_map(|ids| ids.chunks(TASKS_PER_QUERY)).collect();
    let answers = together(
        queries
            .into_iter()
            .map(|ids| async move { (ids, client.tasks(TaskFilter { tasks: ids, services: &[] }).await) }),
    )
    .await;
    let mut found = HashMap::with_capacity(ids.len());
    for (ids, answer) in answers {
        match answer {
            Ok(mut tasks) => found.extend(ids.iter().map(|id| (*id, Ok(tasks.remove(*id))))),
            Err(error) if is_passing(&error) => {
                found.extend(ids.iter().map(|id| (*id, Err(error.again()))));
            }
            // vCenter will not list tasks for this account: the targets tell.
            Err(error) => {
                tracing::warn!(error = %error, "vCenter refuses to list tasks; upgrades are followed by their targets");
                found.extend(ids.iter().map(|id| (*id, Ok(None))));
            }
        }
    }
    found
}

/// Whether an error is one of the moment, as opposed to a refusal that will stay.
fn is_passing(error: &VendorError) -> bool {
    match error.kind {
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => true,
        VendorFault::PermissionDenied | VendorFault::NotFound | VendorFault::Rejected => false,
    }
}

/// Details for what ended, for what is watched, for what changed its state, and for the others in turn.
async fn read_details(client: &Client, rounds: &Rounds, round: &mut [Seen<'_>]) {
    let chosen = choose(round, rounds);
    let targets: Vec<(usize, &Planned)> =
        chosen.into_iter().filter_map(|at| Some((at, round.get(at)?.planned))).collect();
    let details = together(targets.into_iter().map(|(at, planned)| async move {
        let id = &*planned.target.id;
        let info = match planned.target.kind {
            TargetKind::Supervisor => client.supervisor(id).await,
            TargetKind::Cluster | TargetKind::Instance => client.cluster(id).await,
        };
        (at, info)
    }))
    .await;
    for (at, info) in details {
        match (info, round.get_mut(at)) {
            (Ok(info), Some(seen)) => seen.info = Some(info),
            // Details only enrich what is known.
            (Err(error), Some(seen)) => {
                tracing::debug!(job.id = %seen.planned.job, error = %error, "details could not be read");
            }
            (_, None) => {}
        }
    }
}

/// Which jobs get their details. What is watched leaves a quarter of the budget to the others.
fn choose(round: &[Seen<'_>], rounds: &Rounds) -> Vec<usize> {
    let budget = rounds.details;
    let mut last_words = Vec::new();
    let mut watched = Vec::new();
    let mut changed = Vec::new();
    let mut others = Vec::new();
    for (at, seen) in round.iter().enumerate() {
        match &seen.outcome {
            Ok(outcome) if outcome.ends() => last_words.push(at),
            Ok(_) if seen.planned.watched => watched.push(at),
            Ok(_) if seen.notes.detailed_state.as_deref() != seen.state() => changed.push(at),
            Ok(_) => others.push(at),
            Err(_) => {}
        }
    }
    last_words.truncate(LAST_WORDS);
    let for_others = (budget / 4).min(changed.len() + others.len());
    let watched = rounds.watched.take(&watched, budget - for_others);
    changed.truncate(budget - watched.len());
    let others = rounds.others.take(&others, budget - watched.len() - changed.len());
    [last_words, watched, changed, others].concat()
}

/// The tasks that failed without an error: then the reason is in the result, which lists leave out.
async fn read_results(client: &Client, round: &[Seen<'_>]) -> Vec<Option<Task>> {
    let wants = |seen: &Seen<'_>| -> Option<String> {
        let failed = matches!(seen.outcome, Ok(Outcome::TaskFailed));
        let silent = seen.task.is_some_and(|task| task.error.is_none());
        (failed && silent).then(|| seen.notes.task.clone()).flatten()
    };
    let mut asked = 0;
    let ids: Vec<Option<String>> = round
        .iter()
        .map(|seen| {
            let id = wants(seen).filter(|_| asked < LAST_WORDS);
            asked += usize::from(id.is_some());
            id
        })
        .collect();
    together(ids.into_iter().map(|id| async move {
        match id {
            Some(id) => client.task(&id).await.ok(),
            None => None,
        }
    }))
    .await
}

/// Builds the observations. An end whose details did not fit into this round waits for the next: its messages are
/// worth more than a few seconds.
fn finish(rounds: &Rounds, round: Vec<Seen<'_>>, now: Timestamp) -> Vec<Answer<Observation>> {
    let endings = round.iter().filter(|s| s.outcome.as_ref().is_ok_and(Outcome::ends)).count();
    let mut ended = 0;
    round
        .into_iter()
        .map(|mut seen| {
            let mut outcome = seen.outcome?;
            let terms = rounds.terms(seen.planned, now);
            if outcome == Outcome::TaskFailed && terms.cancel_requested {
                let sight = Sight { summary: seen.summary, info: None, task: seen.task };
                outcome = after_cancel(sight, seen.result_read, &mut seen.notes, terms);
            }
            if outcome.ends() {
                ended += 1;
                if endings > LAST_WORDS && ended > LAST_WORDS && needs_details(&outcome) {
                    outcome = Outcome::Target(super::judge::Stand::Open);
                }
            }
            let sight = Sight { summary: seen.summary, info: seen.info.as_ref(), task: seen.task };
            let mut observation = map::observe(seen.planned, sight, &outcome, &mut seen.notes, terms);
            if seen.notes != seen.before {
                observation.handle = Some(seen.notes.handle());
            }
            Ok(observation)
        })
        .collect()
}

/// Whether an end is told in the details.
const fn needs_details(outcome: &Outcome) -> bool {
    use super::judge::Stand;
    match outcome {
        Outcome::Target(Stand::InError) | Outcome::TaskFailed => true,
        Outcome::Target(
            Stand::Running
            | Stand::Reached
            | Stand::Overtaken(_)
            | Stand::Stopped
            | Stand::Gone
            | Stand::Open,
        )
        | Outcome::TaskRunning
        | Outcome::TaskBlocked
        | Outcome::TaskSucceeded { .. }
        | Outcome::TaskWithoutEffect
        | Outcome::TaskCancelled
        | Outcome::TaskEndedByCancel => false,
    }
}
