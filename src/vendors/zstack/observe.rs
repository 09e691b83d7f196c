//! How started updates stand, for hundreds of jobs in a few requests.
//!
//! Long jobs are read by list, a hundred a request. Only jobs whose long job is not known yet cost a request
//! each, and only for the moment between "taken" and "started". Progress costs a request a job too, so each round
//! asks for a bounded share of it and takes turns.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};

use super::client::Client;
use super::fault;
use super::ids;
use super::map::{self, Context, Word};
use super::notes::Notes;
use super::outcome;
use super::read::ApiJob;
use super::start::context;
use super::wire::{Host, LongJob};
use crate::domain::error::VendorFault;
use crate::domain::job::Progress;
use crate::kit::clock::Clock;
use crate::kit::turns;
use crate::vendors::contract::{Observation, Planned};
use crate::vendors::error::{Reached, VendorError};

/// How many calls of one round are under way at once.
const AT_ONCE: usize = 4;
/// With so few running jobs each one's progress is asked for in every round.
const FEW: usize = 8;

/// Whose turn it is to be asked for progress: those that somebody watches, and the others.
#[derive(Debug, Default)]
pub(super) struct Turns {
    watched: turns::Turns,
    others: turns::Turns,
}

impl Turns {
    /// Which of the running jobs are asked in this round: all of a few, else one in two hundred, at least four. Those that
    /// are `watched` come first, and leave a quarter to the others.
    fn pick(&self, watched: &[bool]) -> Vec<usize> {
        let running = watched.len();
        let share = if running <= FEW { running } else { (running / 200).max(4) };
        let (watched, others): (Vec<usize>, Vec<usize>) =
            (0..running).partition(|n| watched.get(*n) == Some(&true));
        let mut picked = self.watched.take(&watched, share - (share / 4).min(others.len()));
        picked.extend(self.others.take(&others, share - picked.len()));
        picked
    }
}

/// One job of a round.
struct Case<'a> {
    planned: &'a Planned,
    notes: Notes,
    record: Record,
}

/// What was heard about it.
enum Record {
    /// Nothing yet.
    Unread,
    /// Its long job.
    LongJob(Box<LongJob>),
    /// Something final about this round already.
    Told(Result<Box<Observation>, VendorError>),
}

/// Observes a batch.
pub(super) async fn observe(
    client: &Client,
    clock: &Clock,
    turns: &Turns,
    batch: &[Planned],
) -> Vec<Result<Observation, VendorError>> {
    let mut cases: Vec<Case<'_>> = batch
        .iter()
        .map(|planned| Case { planned, notes: Notes::of(planned), record: Record::Unread })
        .collect();
    read(
        client,
        &mut cases,
        "uuid",
        |case| case.notes.long_job.iter().cloned().collect(),
        |job| job.uuid.as_ref(),
    )
    .await;
    // Those without a known long job, and those whose record was not under its uuid.
    read(client, &mut cases, "apiId", api_ids, |job| job.api_id.as_ref()).await;
    api_jobs(client, clock, &mut cases).await;
    let hosts = hosts_after(client, &cases).await;
    let progress = progress(client, turns, &cases).await;
    cases
        .into_iter()
        .enumerate()
        .map(|(n, case)| {
            let Case { planned, notes, record } = case;
            let job = match record {
                Record::LongJob(job) => job,
                Record::Told(told) => return told.map(|observation| *observation),
                // `api_jobs` leaves none unread.
                Record::Unread => return Err(VendorError::garbled("ZStack said nothing about the update")),
            };
            let after = hosts.get(&*planned.target.id);
            if let Some(Err(error)) = after
                && must_know_hosts(&job, &notes)
            {
                return Err(error.again());
            }
            let hosts_after = after.and_then(|hosts| hosts.as_ref().ok()).map(Vec::as_slice);
            let mut out = map::long_job(&job, Context { hosts_after, ..context(clock, planned, &notes) });
            out.progress = progress.get(&n).cloned();
            Ok(out)
        })
        .collect()
}

/// The API jobs under which a job's start can have gone out.
fn api_ids(case: &Case<'_>) -> Vec<String> {
    match &case.notes.api_job {
        Some(id) => vec![id.clone()],
        None => ids::job_ids(case.planned.key).to_vec(),
    }
}

/// Reads the long jobs of all unread cases by one field.
async fn read(
    client: &Client,
    cases: &mut [Case<'_>],
    field: &str,
    wanted: impl Fn(&Case<'_>) -> Vec<String>,
    value: impl Fn(&LongJob) -> Option<&String>,
) {
    let mut owners: HashMap<String, usize> = HashMap::new();
    for (n, case) in cases.iter().enumerate().filter(|(_, case)| matches!(case.record, Record::Unread)) {
        owners.extend(wanted(case).into_iter().map(|id| (id, n)));
    }
    let mut values: Vec<String> = owners.keys().cloned().collect();
    values.sort_unstable();
    for (asked, answer) in client.long_jobs(field, &values).await {
        match answer {
            Ok(rows) => {
                for job in rows {
                    let owner = value(&job).and_then(|id| owners.get(id)).and_then(|n| cases.get_mut(*n));
                    if let Some(case) = owner {
                        case.record = Record::LongJob(Box::new(job));
                    }
                }
            }
            Err(error) => {
                for case in asked.iter().filter_map(|id| owners.get(id)) {
                    if let Some(case) = cases.get_mut(*case) {
                        case.record = Record::Told(Err(error.again()));
                    }
                }
            }
        }
    }
}

/// Asks for the API jobs of all that are still unread.
async fn api_jobs(client: &Client, clock: &Clock, cases: &mut [Case<'_>]) {
    let asked: Vec<_> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| matches!(case.record, Record::Unread))
        .map(|(n, case)| async move { (n, api_job(client, clock, case).await) })
        .collect();
    let told: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    for (n, told) in told {
        if let Some(case) = cases.get_mut(n) {
            case.record = Record::Told(told.map(Box::new));
        }
    }
}

async fn api_job(client: &Client, clock: &Clock, case: &Case<'_>) -> Result<Observation, VendorError> {
    let context = context(clock, case.planned, &case.notes);
    if case.notes.long_job.is_some() {
        // Only finished ones can be deleted.
        let why = "ZStack's record of the update was deleted, which is possible only after its end; how it ended \
                   cannot be read any more";
        return Ok(map::api_job_lost(context, why));
    }
    for id in api_ids(case) {
        return match client.api_job(&id).await? {
            ApiJob::Pending => Ok(map::api_job_pending(context)),
            ApiJob::Done(Some(job)) => Ok(map::long_job(&job, context)),
            ApiJob::Done(None) => {
                Err(VendorError::garbled("ZStack's API job succeeded without naming a long job"))
            }
            ApiJob::Failed(error) if fault::is_ambiguous(&error) => {
                let why = format!("ZStack lost sight of the start: {}", fault::sentence(&error));
                Ok(map::api_job_lost(context, &why))
            }
            // A start that met a dead session leaves its next id free; only a sent one is worth a look.
            ApiJob::Failed(error) if error.is(fault::INVALID_SESSION) && case.notes.api_job.is_none() => {
                continue;
            }
            ApiJob::Failed(error) => Ok(map::api_job_failed(&error, context)),
            ApiJob::Unknown => {
                let why = "ZStack knows neither the API job nor a long job of this start";
                Ok(map::api_job_lost(context, why))
            }
        };
    }
    Err(VendorError::new(
        VendorFault::Rejected,
        Reached::Yes,
        "each try to start the update met an expired session",
    ))
}

/// The hosts of the clusters whose update ended well in this round.
async fn hosts_after(client: &Client, cases: &[Case<'_>]) -> HashMap<String, Result<Vec<Host>, VendorError>> {
    let mut clusters: Vec<String> = cases
        .iter()
        .filter(|case| matches!(&case.record, Record::LongJob(job) if Word::of(job) == Word::Succeeded))
        .map(|case| case.planned.target.id.to_string())
        .collect();
    clusters.sort_unstable();
    clusters.dedup();
    if clusters.is_empty() {
        return HashMap::new();
    }
    match client.hosts(&clusters).await.and_then(|hosts| by_cluster(&clusters, hosts)) {
        Ok(by_cluster) => by_cluster.into_iter().map(|(uuid, hosts)| (uuid, Ok(hosts))).collect(),
        Err(error) => clusters.into_iter().map(|uuid| (uuid, Err(error.again()))).collect(),
    }
}

/// The hosts of each of these clusters.
///
/// # Errors
/// One host does not tell its cluster. It may belong to any of them, and a list without it would say that it left.
pub(super) fn by_cluster(
    clusters: &[String],
    hosts: Vec<Host>,
) -> Result<HashMap<String, Vec<Host>>, VendorError> {
    let mut lists: HashMap<_, _> = clusters.iter().map(|uuid| (uuid.clone(), Vec::new())).collect();
    for host in hosts {
        let Some(cluster) = &host.cluster_uuid else {
            return Err(VendorError::garbled("a host in ZStack's list does not tell its cluster")
                .with_reached(Reached::Yes));
        };
        if let Some(list) = lists.get_mut(cluster) {
            list.push(host);
        }
    }
    Ok(lists)
}

/// Whether the end cannot be told without the cluster's hosts: some have no result.
fn must_know_hosts(job: &LongJob, notes: &Notes) -> bool {
    Word::of(job) == Word::Succeeded && outcome::needs_hosts(job.job_result.as_deref(), notes.hosts)
}

/// Progress for those whose turn it is. A progress that cannot be read is no reason to say nothing about the job.
async fn progress(client: &Client, turns: &Turns, cases: &[Case<'_>]) -> HashMap<usize, Progress> {
    let running: Vec<(usize, &String)> = cases
        .iter()
        .enumerate()
        .filter_map(|(n, case)| match &case.record {
            Record::LongJob(job) if Word::of(job) == Word::Running => {
                job.api_id.as_ref().filter(|id| ids::is_uuid(id)).map(|id| (n, id))
            }
            Record::LongJob(_) | Record::Told(_) | Record::Unread => None,
        })
        .collect();
    let watched: Vec<bool> =
        running.iter().map(|(n, _)| cases.get(*n).is_some_and(|case| case.planned.watched)).collect();
    let asked: Vec<_> = turns
        .pick(&watched)
        .into_iter()
        .filter_map(|turn| running.get(turn).copied())
        .map(|(n, id)| async move {
            match client.task_progress(id).await {
                Ok(entries) => map::progress(&entries).map(|progress| (n, progress)),
                Err(error) => {
                    tracing::debug!(error = %error, "the progress could not be read");
                    None
                }
            }
        })
        .collect();
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_does_not_tell_its_cluster_makes_the_list_unreadable() {
        let host =
            |cluster: Option<&str>| Host { cluster_uuid: cluster.map(str::to_owned), ..Host::default() };
        let clusters = ["c1".to_owned(), "c2".to_owned()];
        let lists = by_cluster(&clusters, vec![host(Some("c1")), host(Some("else"))]).unwrap();
        assert_eq!((lists["c1"].len(), lists["c2"].len()), (1, 0));
        let error = by_cluster(&clusters, vec![host(Some("c1")), host(None)]).unwrap_err();
        assert_eq!(error.kind, VendorFault::Garbled);
    }

    #[test]
    fn every_running_job_gets_its_turn() {
        let turns = Turns::default();
        assert_eq!(turns.pick(&[]), Vec::<usize>::new());
        assert_eq!(Turns::default().pick(&[false; 3]), [0, 1, 2]);
        let mut seen: Vec<_> = (0..25).flat_map(|_| turns.pick(&[false; 100])).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(turns.pick(&[false; 2000]).len(), 10);
    }

    #[test]
    fn watched_jobs_come_first_and_leave_turns_to_the_others() {
        let turns = Turns::default();
        let mut running = [false; 100];
        running[70] = true;
        let rounds: Vec<_> = (0..40).map(|_| turns.pick(&running)).collect();
        assert!(rounds.iter().all(|round| round.len() == 4 && round.contains(&70)), "{rounds:?}");
        let all = [true; 50].into_iter().chain([false; 50]).collect::<Vec<_>>();
        let rounds: Vec<_> = (0..200).map(|_| turns.pick(&all)).collect();
        assert!(
            rounds.iter().all(|round| round.len() == 4 && round.iter().filter(|n| **n < 50).count() == 3)
        );
        let mut seen = rounds.concat();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100, "everybody has a turn");
    }
}
