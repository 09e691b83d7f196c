//! Looks at started upgrades, with as few requests as vCenter allows.
//!
//! One list answers for all clusters, one for all Supervisors, one `tasks?action=list` for up to 200 tasks. Detail
//! (messages, nodes done) costs a request for each target, so at most twenty a round are asked for, in turn.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::check::{entry_of, older};
use super::errors;
use super::map::{self, Scene};
use super::notes::Notes;
use super::state::{Moment, Word};
use super::wire::{Info, Summary, Task};
use super::{Vsphere, wanted};
use crate::domain::target::TargetKind;
use crate::vendors::contract::{Observation, Planned};
use crate::vendors::error::VendorError;

/// How many tasks one list asks for. vCenter refuses more than 1000 matches.
const TASKS_PER_CALL: usize = 200;
/// How many details one round asks for.
const DETAILS_PER_ROUND: usize = 20;
/// How many of them side by side.
const SIDE_BY_SIDE: usize = 4;

type Seen<T> = Result<T, VendorError>;

/// Observes a batch.
pub(super) async fn observe(vsphere: &Vsphere, batch: &[Planned]) -> Vec<Seen<Observation>> {
    let notes: Vec<Notes> = batch.iter().map(|p| Notes::read(p.handle.as_ref())).collect();
    let clusters = list(vsphere, batch, TargetKind::Cluster).await;
    let supervisors = list(vsphere, batch, TargetKind::Supervisor).await;
    let tasks = tasks(vsphere, &notes).await;
    let entry = |planned: &Planned| -> Seen<Option<&Summary>> {
        let (kind, id) = (planned.target.kind, &*planned.target.id);
        let entries = match kind {
            TargetKind::Cluster => &clusters,
            TargetKind::Supervisor | TargetKind::Instance => &supervisors,
        };
        entries.as_ref().map(|all| entry_of(all, kind, id)).map_err(errors::again)
    };
    let entries: Vec<_> = batch.iter().map(entry).collect();
    let details = details(vsphere, batch, &entries).await;
    let now = vsphere.clock.now();
    let looks = batch.iter().zip(&notes).zip(entries).enumerate();
    looks
        .map(|(at, ((planned, notes), entry))| {
            let task = match notes.task.as_deref().and_then(|id| tasks.get(id)) {
                Some(Ok(task)) => Some(task),
                // The list of upgrades still says something, if it could be read.
                Some(Err(error)) if entry.is_err() => return Err(errors::again(error)),
                Some(Err(_)) | None => None,
            };
            let entry = match entry {
                Ok(entry) => entry,
                // The task alone tells less, but not nothing.
                Err(_) if task.is_some() => None,
                Err(error) => return Err(error),
            };
            Ok(map::observe(
                planned.target.kind,
                &Scene {
                    wanted: wanted(&planned.operation),
                    ignores_warnings: super::ignores_warnings(&planned.operation, notes),
                    notes,
                    moment: Moment { now, submitted: planned.submit_time, settle: vsphere.knobs.settle },
                    entry,
                    task,
                    detail: details.get(&at),
                },
            ))
        })
        .collect()
}

async fn list(vsphere: &Vsphere, batch: &[Planned], kind: TargetKind) -> Seen<Vec<Summary>> {
    if batch.iter().any(|p| p.target.kind == kind) {
        vsphere.client.summaries(kind).await.map_err(|error| older(kind, error))
    } else {
        Ok(Vec::new())
    }
}

/// The tasks of these jobs by id; a task that has gone has no entry.
async fn tasks(vsphere: &Vsphere, notes: &[Notes]) -> BTreeMap<String, Seen<Task>> {
    // One list must ask for the tasks of one of vCenter's own providers, which the id's suffix names.
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in notes.iter().filter_map(|n| n.task.as_deref()) {
        groups.entry(id.split_once(':').map_or("", |(_, service)| service)).or_default().push(id);
    }
    let mut all = BTreeMap::new();
    for ids in groups.values().flat_map(|ids| ids.chunks(TASKS_PER_CALL)) {
        match vsphere.client.tasks(ids).await {
            Ok(tasks) => all.extend(tasks.into_iter().map(|(id, task)| (id, Ok(task)))),
            Err(error) => all.extend(ids.iter().map(|id| ((*id).to_owned(), Err(errors::again(&error))))),
        }
    }
    all
}

/// The details of some targets, by place in the batch: those that came to rest first, then others in turn.
async fn details(
    vsphere: &Vsphere,
    batch: &[Planned],
    entries: &[Seen<Option<&Summary>>],
) -> BTreeMap<usize, Info> {
    let word =
        |at: usize| entries.get(at).and_then(|e| e.as_ref().ok()).copied().flatten().and_then(Word::of);
    let is_busy = |at: usize| match word(at) {
        Some(Word::Busy) => true,
        Some(Word::Ready | Word::Error) | None => false,
    };
    let reached = |at: usize| {
        let version = entries.get(at).and_then(|e| e.as_ref().ok()).copied().flatten();
        let wanted = batch.get(at).map(|p| wanted(&p.operation));
        version.and_then(|e| e.current_version.as_deref()) == wanted
    };
    // Why something failed is asked for before how far another one is.
    let mut places: Vec<usize> =
        (0..batch.len()).filter(|at| word(*at).is_some() && !is_busy(*at) && !reached(*at)).collect();
    let busy: Vec<usize> = (0..batch.len()).filter(|at| is_busy(*at)).collect();
    let left = DETAILS_PER_ROUND.saturating_sub(places.len());
    let taken = left.min(busy.len());
    let turn = vsphere.turn.fetch_add(taken, Ordering::Relaxed);
    places.extend((0..taken).filter_map(|n| busy.get((turn.wrapping_add(n)) % busy.len().max(1))));
    places.truncate(DETAILS_PER_ROUND);
    let asked: Vec<_> = places
        .into_iter()
        .filter_map(|at| Some((at, batch.get(at)?)))
        .map(|(at, planned)| async move {
            let detail = vsphere.client.detail(planned.target.kind, &planned.target.id).await;
            // One look poorer: the list told the state already.
            detail
                .inspect_err(|error| tracing::debug!(error = %error, "a vSphere detail cannot be read"))
                .ok()
                .map(|info| (at, info))
        })
        .collect();
    stream::iter(asked).buffered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await
}
