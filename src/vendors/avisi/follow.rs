//! Following started upgrades: many jobs, few requests.
//!
//! With an operator's token one list of what is open answers for a hundred clusters, and an upgrade is read singly
//! only once: when it has left that list, which is when it is over. Everything else is concluded from clusters.

use futures_util::future::join_all;

use super::Avisi;
use super::infer::{Evidence, infer, wanted};
use super::lost::{self, Trace};
use super::map::{self, Word};
use super::notes::Notes;
use super::roster::Roster;
use super::wire::ScheduledUpgrade;
use crate::domain::job::{Cancelable, Provenance};
use crate::domain::operation::OperationKind;
use crate::kit::clock;
use crate::vendors::contract::{Observation, Phase, Planned};
use crate::vendors::error::VendorError;

type Seen = Result<Observation, VendorError>;

/// How many single reads are begun at once; the provider's own limits hold on top.
const SINGLE_READS_AT_ONCE: usize = 16;

/// One job on its way through a look.
struct Look<'a> {
    planned: &'a Planned,
    notes: Notes,
    seen: Option<Seen>,
    /// The operator's API does not know its scheduled upgrade any more.
    vanished: bool,
}

/// How these jobs stand now, in their order.
pub(super) async fn observe(vendor: &Avisi, batch: &[Planned]) -> Vec<Seen> {
    let mut looks: Vec<_> = batch
        .iter()
        .map(|planned| Look {
            planned,
            notes: Notes::read(planned.handle.as_ref()),
            seen: None,
            vanished: false,
        })
        .collect();
    if vendor.client.is_operator() {
        read_schedules(vendor, &mut looks).await;
    }
    read_clusters(vendor, &mut looks).await;
    let unseen = || Observation::new(Phase::Unclear, Provenance::Inferred);
    looks.into_iter().map(|look| look.seen.unwrap_or_else(|| Ok(unseen()))).collect()
}

async fn read_schedules(vendor: &Avisi, looks: &mut [Look<'_>]) {
    let scheduled: Vec<_> =
        looks.iter_mut().filter(|l| l.planned.operation.kind() == OperationKind::ScheduledUpgrade).collect();
    if scheduled.is_empty() {
        return;
    }
    let clusters: Vec<&str> = scheduled.iter().map(|l| &*l.planned.target.id).collect();
    let open = match vendor.client.open_upgrades(&clusters).await {
        Ok(open) => open,
        Err(error) => {
            for look in scheduled {
                look.seen = Some(Err(error.again()));
            }
            return;
        }
    };
    let mut left = Vec::new();
    for look in scheduled {
        match ours(&open, look) {
            Some(upgrade) => report(look, upgrade.clone()),
            None => left.push(look),
        }
    }
    for chunk in left.chunks_mut(SINGLE_READS_AT_ONCE) {
        let answers = join_all(chunk.iter().map(|look| over(vendor, look))).await;
        for (look, answer) in chunk.iter_mut().zip(answers) {
            match answer {
                Ok(Some(upgrade)) => report(look, upgrade),
                Ok(None) => look.vanished = look.notes.identity().is_some(),
                Err(error) => look.seen = Some(Err(error)),
            }
        }
    }
}

/// The job's upgrade among those that are open.
fn ours<'u>(open: &'u [ScheduledUpgrade], look: &Look<'_>) -> Option<&'u ScheduledUpgrade> {
    let cluster = &*look.planned.target.id;
    let mut of_cluster = open
        .iter()
        .filter(|u| u.cluster_identity.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(cluster)));
    match look.notes.identity() {
        Some(identity) => of_cluster.find(|u| u.identity.as_deref() == Some(identity)),
        None => of_cluster.find(|u| u.to_cluster_version.as_deref() == Some(wanted(&look.planned.operation))),
    }
}

/// The job's upgrade after it left the list of open ones.
async fn over(vendor: &Avisi, look: &Look<'_>) -> Result<Option<ScheduledUpgrade>, VendorError> {
    if let Some(identity) = look.notes.identity() {
        return vendor.client.scheduled(identity).await;
    }
    let all = vendor.client.upgrades_of(&look.planned.target.id).await?;
    match lost::by_list(all, wanted(&look.planned.operation), look.planned.submit_time) {
        Trace::Arrived(upgrade) => Ok(Some(upgrade)),
        Trace::NotArrived { .. } | Trace::CannotTell(_) => Ok(None),
    }
}

fn report(look: &mut Look<'_>, upgrade: ScheduledUpgrade) {
    let mut seen = map::reported(&upgrade, &look.planned.operation, true);
    let mut notes = look.notes.clone();
    notes.schedule = Some(upgrade);
    seen.handle = notes.handle_if_changed(&look.notes);
    look.seen = Some(Ok(seen));
}

async fn read_clusters(vendor: &Avisi, looks: &mut [Look<'_>]) {
    let wanted: Vec<_> = looks
        .iter()
        .filter(|look| look.seen.is_none())
        .map(|look| (&*look.planned.target.id, look.notes.slugs.clone()))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let roster = Roster::read(&vendor.client, &wanted).await;
    let now = vendor.clock.now();
    for look in looks.iter_mut().filter(|look| look.seen.is_none()) {
        let seen = roster.as_ref().map_err(VendorError::again).map(|roster| {
            let seen = infer(&Evidence {
                operation: &look.planned.operation,
                notes: &look.notes,
                cluster: roster.get(&look.planned.target.id),
                submit_time: look.planned.submit_time,
                now,
                knobs: vendor.knobs,
            });
            // A record made a moment ago may not have reached every reader yet.
            let settled =
                look.planned.submit_time.is_some_and(|sent| clock::since(sent, now) >= vendor.knobs.settle);
            if look.vanished && settled { vanished(seen) } else { seen }
        });
        look.seen = Some(seen);
    }
}

/// A scheduled upgrade that no longer exists was deleted: that is how Avisi's operators cancel one. What the
/// cluster shows comes first.
fn vanished(mut seen: Observation) -> Observation {
    match seen.phase {
        Phase::Scheduled | Phase::Missed | Phase::Unclear => {
            seen.phase = Phase::Cancelled;
            seen.waiting = None;
        }
        Phase::Running
        | Phase::Suspended
        | Phase::Cancelling
        | Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded => {}
    }
    seen.cancelable = Some(Cancelable::no("its schedule does not exist any more"));
    seen
}

/// Whether a scheduled upgrade can still be moved or cancelled: it waits for its time.
pub(super) fn waits(upgrade: &ScheduledUpgrade) -> bool {
    Word::of(upgrade).is_some_and(Word::waits)
}
