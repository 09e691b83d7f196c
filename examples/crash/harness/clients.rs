//! gRPC clients that behave as good ones do: a call that was cut is made again, with the same `request_id`, on any
//! replica, until somebody gives an answer that stands.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use drydock::api::pb;
use pb::job_service_client::JobServiceClient;
use pb::reinstall_service_client::ReinstallServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tonic_types::{ErrorInfo, RpcStatusExt as _, StatusExt as _};

use super::canaries::Canaries;
use super::dice::Dice;
use super::process::PATIENCE;
use super::record::Refusal;

/// How long one try of a call may take.
const TRY: Duration = Duration::from_secs(4);
/// The wait between two tries.
const AGAIN: Duration = Duration::from_millis(40);

/// A channel to each replica.
#[derive(Clone)]
pub struct Clients {
    channels: Vec<Channel>,
    canaries: Canaries,
    refusals: Refusals,
}

/// Answers of which the judge has to hear. Clones share them.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<Vec<Refusal>>>);

impl Refusals {
    /// Writes a status down if it may say that Drydock is at fault.
    pub fn note(&self, status: &Status) {
        let info = status.get_details_error_info();
        let own = info.is_none() && std::error::Error::source(status).is_some();
        self.push(status.code(), info, status.message(), own);
    }

    /// The same for a status inside an answer.
    fn note_inside(&self, status: &tonic_types::pb::Status) {
        self.push(Code::from_i32(status.code), status.get_details_error_info(), &status.message, false);
    }

    fn push(&self, code: Code, info: Option<ErrorInfo>, message: &str, own: bool) {
        if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
            let reason = info.map(|info| info.reason).unwrap_or_default();
            let refusal = Refusal { code, reason, message: message.to_owned(), own };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
        }
    }

    /// What was written down.
    pub fn all(&self) -> Vec<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clients {
    /// Clients of these replicas, which need not be up.
    pub fn new(replicas: impl Iterator<Item = SocketAddr>, canaries: &Canaries) -> anyhow::Result<Self> {
        let open = |address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
            anyhow::Ok(endpoint.connect_timeout(TRY).connect_lazy())
        };
        Ok(Self {
            channels: replicas.map(open).collect::<Result<_, _>>()?,
            canaries: canaries.clone(),
            refusals: Refusals::default(),
        })
    }

    /// The answers of which the judge has to hear.
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// A replica's channel.
    pub fn any(&self, dice: &mut Dice) -> anyhow::Result<Channel> {
        match self.channels.get(dice.below(self.channels.len())) {
            Some(channel) => Ok(channel.clone()),
            None => bail!("no replica"),
        }
    }

    /// The channel of another replica than `last`, where there is another, and which one that is.
    pub fn other(&self, dice: &mut Dice, last: Option<usize>) -> anyhow::Result<(usize, Channel)> {
        let alone = self.channels.len() == 1;
        let others: Vec<_> =
            self.channels.iter().enumerate().filter(|(n, _)| alone || Some(*n) != last).collect();
        match others.get(dice.below(others.len())) {
            Some((n, channel)) => Ok((*n, (*channel).clone())),
            None => bail!("no replica"),
        }
    }

    /// Makes a call until it is answered: with what was asked for, or with a refusal that stands. Looks for secrets
    /// in whatever comes back.
    pub async fn call<T, F>(
        &self,
        dice: &mut Dice,
        mut one: impl FnMut(Channel) -> F,
    ) -> anyhow::Result<Result<T, Status>>
    where
        T: std::fmt::Debug,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        loop {
            let answer = tokio::time::timeout(TRY, one(self.any(dice)?)).await;
            let status = match answer {
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    self.canaries.look_at("an answer", &answer);
                    return Ok(Ok(answer));
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the harness' own patience"),
            };
            self.canaries.look_at("an error", &status);
            self.refusals.note(&status);
            if stands(&status) {
                return Ok(Err(status));
            }
            if begun.elapsed() > PATIENCE {
                bail!("nobody ever answered: {status:?}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Asks for operations, by [`Self::call`].
    pub async fn start(
        &self,
        dice: &mut Dice,
        asked: &Asked,
    ) -> anyhow::Result<Result<Vec<pb::Job>, Status>> {
        let refusals = self.refusals.clone();
        let ask = |channel| {
            let (asked, refusals) = (asked.clone(), refusals.clone());
            async move { asked.ask(channel, &refusals).await }
        };
        self.call(dice, ask).await
    }

    /// Every job there is.
    pub async fn jobs(&self, dice: &mut Dice) -> anyhow::Result<Vec<pb::Job>> {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListJobsRequest { page_size: 500, page_token, ..Default::default() };
            let ask = |channel| {
                let request = request.clone();
                async move { JobServiceClient::new(channel).list_jobs(request).await }
            };
            let page = self.call(dice, ask).await??;
            jobs.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    /// Every event of a job.
    pub async fn events(&self, dice: &mut Dice, job: &str) -> anyhow::Result<Vec<pb::JobEvent>> {
        let (mut events, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListJobEventsRequest { parent: job.to_owned(), page_size: 500, page_token };
            let ask = |channel| {
                let request = request.clone();
                async move { JobServiceClient::new(channel).list_job_events(request).await }
            };
            let page = self.call(dice, ask).await??;
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// Whether a status is the gateway's last word: it says why, and not that the call may be made again.
fn stands(status: &Status) -> bool {
    let details = status.get_error_details();
    details.error_info().is_some() && details.retry_info().is_none()
}

/// A request that starts operations.
#[derive(Clone)]
pub enum Asked {
    /// `UpgradeCluster`.
    Upgrade(pb::UpgradeClusterRequest),
    /// `BatchUpgradeClusters`.
    Batch(pb::BatchUpgradeClustersRequest),
    /// `ScheduleUpgrade`.
    Schedule(pb::ScheduleUpgradeRequest),
    /// `ReinstallInstances`.
    Reinstall(pb::ReinstallInstancesRequest),
    /// `RetryJob`.
    Retry(pb::RetryJobRequest),
}

impl Asked {
    /// Its request id.
    pub fn request_id(&self) -> &str {
        match self {
            Self::Upgrade(request) => &request.request_id,
            Self::Batch(request) => &request.request_id,
            Self::Schedule(request) => &request.request_id,
            Self::Reinstall(request) => &request.request_id,
            Self::Retry(request) => &request.request_id,
        }
    }

    /// Makes the call once. The jobs that it answers with; of results that are none, `refusals` hears.
    pub async fn ask(self, channel: Channel, refusals: &Refusals) -> Result<Response<Vec<pb::Job>>, Status> {
        Ok(match self {
            Self::Upgrade(request) => {
                let answer = UpgradeServiceClient::new(channel).upgrade_cluster(request).await?;
                answer.map(|answer| answer.job.into_iter().collect())
            }
            Self::Batch(request) => {
                let answer = UpgradeServiceClient::new(channel).batch_upgrade_clusters(request).await?;
                answer.map(|answer| jobs_of(answer.results, refusals))
            }
            Self::Schedule(request) => {
                let answer = ScheduleServiceClient::new(channel).schedule_upgrade(request).await?;
                answer.map(|answer| answer.job.into_iter().collect())
            }
            Self::Reinstall(request) => {
                let answer = ReinstallServiceClient::new(channel).reinstall_instances(request).await?;
                answer.map(|answer| jobs_of(answer.results, refusals))
            }
            Self::Retry(request) => {
                let answer = JobServiceClient::new(channel).retry_job(request).await?;
                answer.map(|answer| answer.job.into_iter().collect())
            }
        })
    }
}

fn jobs_of(results: Vec<pb::StartResult>, refusals: &Refusals) -> Vec<pb::Job> {
    let job = |result: pb::StartResult| match result.outcome {
        Some(pb::start_result::Outcome::Job(job)) => Some(job),
        Some(pb::start_result::Outcome::Error(status)) => {
            refusals.note_inside(&status);
            None
        }
        Some(pb::start_result::Outcome::Plan(_)) | None => None,
    };
    results.into_iter().filter_map(job).collect()
}
