//! Starts upgrades: clusters in batches, Supervisors one by one.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;

use super::errors;
use super::map;
use super::notes::Notes;
use super::wire::UpgradeSpec;
use super::{CLUSTERS_PER_START, Vsphere, ignores_warnings, wanted};
use crate::domain::error::VendorFault;
use crate::domain::target::TargetKind;
use crate::vendors::contract::{Planned, Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// How many single starts are under way at once.
const SIDE_BY_SIDE: usize = 8;

/// A job with its place in the batch.
type Placed<'a> = (usize, &'a Planned);

/// Starts a batch; one outcome for each entry, in order.
pub(super) async fn submit(vsphere: &Vsphere, batch: &[Submission]) -> Vec<Submitted> {
    let placed = || batch.iter().map(|s| &s.planned).enumerate();
    let of = |kind| placed().filter(move |(_, p)| p.target.kind == kind).collect::<Vec<_>>();
    let (clusters, supervisors) = (of(TargetKind::Cluster), of(TargetKind::Supervisor));
    let (clusters, supervisors) =
        join(start_clusters(vsphere, &clusters), start_supervisors(vsphere, &supervisors)).await;
    let mut outcomes: BTreeMap<usize, Submitted> = clusters.into_iter().chain(supervisors).collect();
    let missing = || {
        let text = "vSphere has clusters and Supervisors only; nothing was sent";
        errors::not_started(VendorError::new(VendorFault::Rejected, Reached::No, text))
    };
    (0..batch.len()).map(|at| outcomes.remove(&at).unwrap_or_else(missing)).collect()
}

async fn start_clusters(vsphere: &Vsphere, jobs: &[Placed<'_>]) -> Vec<(usize, Submitted)> {
    let mut out = Vec::with_capacity(jobs.len());
    let mut unique: Vec<Placed<'_>> = Vec::with_capacity(jobs.len());
    let mut seen = std::collections::BTreeSet::new();
    for &(at, planned) in jobs {
        // One map holds a cluster once; a second wish for it must not be answered with the first one's start.
        if seen.insert(&*planned.target.id) {
            unique.push((at, planned));
        } else {
            let text = "another job of the same batch starts this cluster; nothing was sent for this one";
            out.push((at, Submitted::Failed(VendorError::new(VendorFault::RateLimited, Reached::No, text))));
        }
    }
    for chunk in unique.chunks(CLUSTERS_PER_START) {
        match start_together(vsphere, chunk).await {
            Ok(outcomes) => out.extend(outcomes),
            // One cluster without the privilege fails the whole call before anything starts: taken apart, so
            // that the others start.
            Err(error) if error.kind == VendorFault::PermissionDenied && chunk.len() > 1 => {
                let singly: Vec<_> = chunk.iter().map(|&job| start_alone(vsphere, job)).collect();
                out.extend(stream::iter(singly).buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await);
            }
            Err(error) => {
                out.extend(chunk.iter().map(|(at, _)| (*at, errors::not_started(errors::again(&error)))));
            }
        }
    }
    out
}

async fn start_alone(vsphere: &Vsphere, job: Placed<'_>) -> (usize, Submitted) {
    match start_together(vsphere, &[job]).await {
        Ok(mut outcomes) if outcomes.len() == 1 => outcomes.remove(0),
        Ok(_) => (job.0, Submitted::Failed(VendorError::garbled("one start had several outcomes"))),
        Err(error) => (job.0, errors::not_started(error)),
    }
}

async fn start_together(
    vsphere: &Vsphere,
    jobs: &[Placed<'_>],
) -> Result<Vec<(usize, Submitted)>, VendorError> {
    let notes: Vec<Notes> = jobs.iter().map(|(_, p)| Notes::read(p.handle.as_ref())).collect();
    let specs: BTreeMap<&str, UpgradeSpec<'_>> =
        jobs.iter().zip(&notes).map(|((_, p), notes)| (&*p.target.id, spec(p, notes))).collect();
    let results = vsphere.client.upgrade_clusters(&specs).await?;
    let outcome = |((at, planned), notes): (&Placed<'_>, &Notes)| {
        let cluster = &*planned.target.id;
        (*at, map::started(cluster, results.get(cluster), notes))
    };
    Ok(jobs.iter().zip(&notes).map(outcome).collect())
}

async fn start_supervisors(vsphere: &Vsphere, jobs: &[Placed<'_>]) -> Vec<(usize, Submitted)> {
    let starts: Vec<_> = jobs
        .iter()
        .map(|&(at, planned)| async move {
            let notes = Notes::read(planned.handle.as_ref());
            let supervisor = &*planned.target.id;
            let outcome = match vsphere.client.upgrade_supervisor(supervisor, &spec(planned, &notes)).await {
                Ok(task) => Submitted::Started(Box::new(map::accepted(supervisor, task, &notes))),
                Err(error) => errors::not_started(error),
            };
            (at, outcome)
        })
        .collect();
    stream::iter(starts).buffered(SIDE_BY_SIDE).collect().await
}

/// What is sent. The flag is left out where nobody said anything: vCenter takes that as `false`.
fn spec<'a>(planned: &'a Planned, notes: &Notes) -> UpgradeSpec<'a> {
    let said = planned.operation.upgrade().and_then(|u| u.ignore_precheck_warnings);
    let ignores = ignores_warnings(&planned.operation, notes);
    UpgradeSpec {
        desired_version: wanted(&planned.operation),
        ignore_precheck_warnings: if ignores { Some(true) } else { said },
    }
}
