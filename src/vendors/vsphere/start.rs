//! Starts: many clusters by one call, Supervisors one by one. What an answer means is decided by pure functions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::Client;
use super::fault;
use super::findings;
use super::fresh::{List, stands_against};
use super::map::{NO_CANCEL, id_name, shown, start_answer};
use super::notes::Notes;
use super::observe::{by_id, list_supervisors};
use super::together::{AT_ONCE, together};
use super::wire::{ErrorBody, ResultMap, UpgradeResult, UpgradeSpec, read};
use crate::domain::error::VendorFault;
use crate::domain::failure::Failure;
use crate::domain::finding::Finding;
use crate::domain::job::{Cancelable, Provenance};
use crate::domain::operation::Operation;
use crate::domain::target::TargetKind;
use crate::vendors::contract::{Observation, Phase, Planned, Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::Reply;

/// How many clusters one call starts. vCenter's documents name no bound.
pub(super) const CHUNK: usize = 100;

/// The version that a job asks for. `validate` let nothing pass without one.
pub(super) fn desired(operation: &Operation) -> &str {
    operation.upgrade().and_then(|u| u.version.as_deref()).unwrap_or_default()
}

/// What to tell vCenter about warnings. It only knows a yes or no: yes when the caller chose the blanket switch, or
/// accepted by name every warning that vCenter's prechecks gave, and those were read to their end: a yes also lets pass
/// what nobody has seen.
fn ignores(operation: &Operation, notes: &Notes) -> Option<bool> {
    let accepted = operation.accepted_risks();
    if notes.prechecks_read
        && !notes.warnings.is_empty()
        && notes.warnings.iter().all(|id| accepted.contains(id))
    {
        return Some(true);
    }
    operation.upgrade().and_then(|u| u.ignore_precheck_warnings)
}

/// The notes with which a start is followed, and what it says about warnings.
pub(super) fn notes(planned: &Planned) -> (Notes, Option<bool>) {
    let checked = Notes::read(planned.handle.as_ref());
    let ignore = ignores(&planned.operation, &checked);
    let notes = Notes {
        aim: checked.aim,
        supervisor: checked.supervisor,
        baseline: checked.baseline,
        warnings: checked.warnings,
        prechecks_read: checked.prechecks_read,
        known_tasks: checked.known_tasks,
        ignored_warnings: ignore == Some(true),
        ..Notes::default()
    };
    (notes, ignore)
}

/// One job to start, with its notes.
struct Start<'a> {
    planned: &'a Planned,
    ignore: Option<bool>,
    notes: Notes,
}

impl<'a> Start<'a> {
    fn of(planned: &'a Planned) -> Self {
        let (notes, ignore) = notes(planned);
        Self { planned, ignore, notes }
    }

    fn id(&self) -> &'a str {
        &self.planned.target.id
    }

    fn spec(&self) -> UpgradeSpec<'a> {
        UpgradeSpec {
            desired_version: desired(&self.planned.operation),
            ignore_precheck_warnings: self.ignore,
        }
    }

    fn observation(&self) -> Observation {
        let mut seen = Observation::new(Phase::Running, Provenance::Reported);
        seen.ids.insert(id_name(self.planned.target.kind).to_owned(), self.id().to_owned());
        seen.handle = Some(self.notes.handle());
        if self.planned.target.kind == TargetKind::Cluster {
            seen.cancelable = Some(Cancelable::no(NO_CANCEL));
        }
        seen
    }
}

/// Starts upgrades of clusters. One answer each, in order.
pub(super) async fn clusters(client: &Client, batch: &[&Submission]) -> Vec<Submitted> {
    let starts: Vec<Start<'_>> = batch.iter().map(|s| Start::of(&s.planned)).collect();
    let mut outcomes: Vec<Option<Submitted>> = starts.iter().map(|_| None).collect();
    for chunk in chunks(&starts) {
        for (at, outcome) in start_chunk(client, &starts, chunk).await {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome);
            }
        }
    }
    outcomes.into_iter().map(|o| o.unwrap_or_else(left_out)).collect()
}

fn left_out() -> Submitted {
    let text = "vCenter's answer leaves this cluster out; whether its upgrade began is looked up";
    Submitted::Failed(VendorError::garbled(text))
}

/// Which starts go into which call: at most [`CHUNK`], none twice in one call (the body is a map). A start that was
/// sent before goes alone, so that a refusal of a whole batch cannot repeat for ever.
fn chunks(starts: &[Start<'_>]) -> Vec<Vec<usize>> {
    let mut chunks: Vec<(Vec<usize>, BTreeSet<&str>)> = Vec::new();
    let mut alone = Vec::new();
    for (at, start) in starts.iter().enumerate() {
        if start.planned.attempts > 1 {
            alone.push(vec![at]);
            continue;
        }
        match chunks.iter_mut().find(|(chunk, ids)| chunk.len() < CHUNK && !ids.contains(start.id())) {
            Some((chunk, ids)) => {
                chunk.push(at);
                ids.insert(start.id());
            }
            None => chunks.push((vec![at], BTreeSet::from([start.id()]))),
        }
    }
    chunks.into_iter().map(|(chunk, _)| chunk).chain(alone).collect()
}

/// The places of a chunk that may go out, and the answers for those that may not.
fn sift(list: &List, starts: &[Start<'_>], chunk: &[usize]) -> (Vec<usize>, Vec<(usize, Submitted)>) {
    let (mut go, mut stay) = (Vec::with_capacity(chunk.len()), Vec::new());
    for at in chunk {
        let Some(start) = starts.get(*at) else { continue };
        match stands_against(list, start.id(), start.notes.baseline.as_ref()) {
            None => go.push(*at),
            Some(error) => stay.push((*at, Submitted::Failed(error))),
        }
    }
    (go, stay)
}

async fn start_chunk(client: &Client, starts: &[Start<'_>], chunk: Vec<usize>) -> Vec<(usize, Submitted)> {
    let (chunk, mut outcomes) = sift(&client.clusters().await.map(by_id), starts, &chunk);
    let of = |at: &usize| starts.get(*at).map(|start| (*at, start));
    let specs: BTreeMap<&str, UpgradeSpec<'_>> =
        chunk.iter().filter_map(of).map(|(_, start)| (start.id(), start.spec())).collect();
    // One permit covers a batch; without members there is nothing to send.
    let Some(permit) = chunk.iter().find_map(of).map(|(_, start)| &start.planned.permit) else {
        return outcomes;
    };
    let reply = client.upgrade_clusters(&specs, permit).await;
    match batch_answer(reply, chunk.len()) {
        BatchAnswer::Results(results) => outcomes.extend(
            chunk
                .iter()
                .filter_map(of)
                .map(|(at, start)| (at, cluster_outcome(start, results.get(start.id())))),
        ),
        // One cluster without the privilege spoils the call for all, and nothing was started: one call each finds
        // out which.
        BatchAnswer::TakeApart => {
            for wave in chunk.chunks(AT_ONCE) {
                let (wave, stay) = sift(&client.clusters().await.map(by_id), starts, wave);
                outcomes.extend(stay);
                outcomes.extend(
                    together(wave.iter().filter_map(of).map(|(at, start)| alone(client, at, start))).await,
                );
            }
        }
        BatchAnswer::Refused(error, body) => {
            outcomes.extend(chunk.into_iter().map(|at| (at, refused(error.again(), body.as_ref()))));
        }
    }
    outcomes
}

async fn alone(client: &Client, at: usize, start: &Start<'_>) -> (usize, Submitted) {
    let specs = BTreeMap::from([(start.id(), start.spec())]);
    let reply = client.upgrade_clusters(&specs, &start.planned.permit).await;
    let outcome = match batch_answer(reply, 1) {
        BatchAnswer::Results(results) => cluster_outcome(start, results.get(start.id())),
        BatchAnswer::Refused(error, body) => refused(error, body.as_ref()),
        // A batch of one is never taken apart.
        BatchAnswer::TakeApart => left_out(),
    };
    (at, outcome)
}

/// What the answer to `upgradeMultiple` says about the call as a whole.
#[derive(Debug)]
enum BatchAnswer {
    Results(ResultMap),
    TakeApart,
    Refused(VendorError, Option<ErrorBody>),
}

fn batch_answer(reply: Result<Reply, VendorError>, size: usize) -> BatchAnswer {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return BatchAnswer::Refused(error, None),
    };
    if reply.status.is_success() {
        return match reply.json() {
            Ok(results) => BatchAnswer::Results(results),
            Err(error) => BatchAnswer::Refused(error, None),
        };
    }
    let error = fault::of(&reply);
    if size > 1 {
        // Not documented for a batch: one cluster's fault may have come after others had begun.
        let some_began = match error.kind {
            VendorFault::PermissionDenied => return BatchAnswer::TakeApart,
            VendorFault::NotFound | VendorFault::Rejected => !is_unknown_call(&error),
            // Without vCenter's envelope it is the word of something in between, which let nothing through.
            VendorFault::RateLimited => fault::envelope(&reply).is_some(),
            // Looked up already.
            VendorFault::Unreachable | VendorFault::TimedOut | VendorFault::Garbled => true,
            VendorFault::Unauthenticated => false,
        };
        if some_began {
            return BatchAnswer::Refused(error.with_reached(Reached::Maybe), None);
        }
    }
    BatchAnswer::Refused(error, fault::envelope(&reply))
}

fn is_unknown_call(error: &VendorError) -> bool {
    error.kind == VendorFault::Rejected && error.http_status == Some(404)
}

fn cluster_outcome(start: &Start<'_>, result: Option<&Value>) -> Submitted {
    let result: UpgradeResult = match result.and_then(read) {
        Some(result) => result,
        None => return left_out(),
    };
    match result.res.as_deref() {
        Some("STARTED") => {
            let mut seen = start.observation();
            seen.vendor_state = Some("STARTED".to_owned());
            seen.answer = start_answer(&result);
            Submitted::Started(Box::new(seen))
        }
        Some("REJECTED") => {
            let body = result.exception.unwrap_or_default();
            // "This implies pre-check failed", says the page; the exception may name another reason.
            let reason = match body.error_type.as_deref() {
                None => fault::reason(Some(fault::UNSUPPORTED)),
                some => fault::reason(some),
            };
            let failure = fault::failure(reason, &body, "vCenter rejected the upgrade and did not say why");
            Submitted::Refused(failure, findings::of_error(&body))
        }
        other => Submitted::Failed(VendorError::garbled(format!(
            "vCenter answered `{}`, which is neither STARTED nor REJECTED; whether the upgrade began is looked up",
            shown(other.unwrap_or_default())
        ))),
    }
}

/// A call that failed as a whole. What vCenter certainly refused keeps all its messages.
fn refused(error: VendorError, body: Option<&ErrorBody>) -> Submitted {
    let refusal = match error.kind {
        VendorFault::Rejected | VendorFault::NotFound | VendorFault::PermissionDenied => {
            error.reached == Reached::No
        }
        VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => false,
    };
    match body {
        Some(body) if refusal => {
            let (failure, findings) = refusal_of(&error, body);
            Submitted::Refused(failure, findings)
        }
        Some(_) | None => Submitted::Failed(error),
    }
}

fn refusal_of(error: &VendorError, body: &ErrorBody) -> (Failure, Vec<Finding>) {
    let mut failure = fault::failure(fault::reason(body.error_type.as_deref()), body, &error.message);
    failure.message.clone_from(&error.message);
    failure.metadata = error.metadata();
    (failure, findings::of_error(body))
}

/// Starts upgrades of Supervisors: one call each. One answer each, in order.
pub(super) async fn supervisors(client: &Client, batch: &[&Submission]) -> Vec<Submitted> {
    let mut outcomes = Vec::with_capacity(batch.len());
    for wave in batch.chunks(AT_ONCE) {
        let ids: Vec<&str> = wave.iter().map(|submission| &*submission.planned.target.id).collect();
        let list = list_supervisors(client, &ids).await;
        outcomes.extend(
            together(wave.iter().map(|submission| supervisor(client, &list, &submission.planned))).await,
        );
    }
    outcomes
}

async fn supervisor(client: &Client, list: &List, planned: &Planned) -> Submitted {
    let start = Start::of(planned);
    if let Some(error) = stands_against(list, start.id(), start.notes.baseline.as_ref()) {
        return Submitted::Failed(error);
    }
    let reply = client.upgrade_supervisor(start.id(), &start.spec(), &planned.permit).await;
    supervisor_outcome(start, reply)
}

fn supervisor_outcome(mut start: Start<'_>, reply: Result<Reply, VendorError>) -> Submitted {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Submitted::Failed(error),
    };
    if !reply.status.is_success() {
        return refused(fault::of(&reply), fault::envelope(&reply).as_ref());
    }
    match reply.json::<String>() {
        Ok(task) if !task.is_empty() && task.len() <= 1000 => {
            start.notes.task = Some(task.clone());
            let mut seen = start.observation();
            seen.ids.insert("task".to_owned(), task);
            seen.cancelable = Some(Cancelable::yes("vCenter says that the task can be cancelled"));
            Submitted::Started(Box::new(seen))
        }
        Ok(_) => Submitted::Failed(VendorError::garbled(
            "vCenter accepted the upgrade without a task id; whether it began is looked up",
        )),
        Err(error) => Submitted::Failed(error),
    }
}

/// What a recorded answer means for the start of one cluster, in a call of `size`, or of one Supervisor.
#[cfg(any(test, fuzzing))]
pub(super) fn of_recorded(planned: &Planned, reply: Reply, size: usize) -> Submitted {
    let start = Start::of(planned);
    if planned.target.kind == crate::domain::target::TargetKind::Supervisor {
        return supervisor_outcome(start, Ok(reply));
    }
    match batch_answer(Ok(reply), size) {
        BatchAnswer::Results(results) => cluster_outcome(&start, results.get(start.id())),
        BatchAnswer::TakeApart => Submitted::Failed(VendorError::garbled("taken apart")),
        BatchAnswer::Refused(error, body) => refused(error, body.as_ref()),
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
