//! Jobs for the measurements.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use drydock::api::pb;
use drydock::kit::clock::Clock;
use drydock::simulators;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::transport::Channel;

use super::wire;

/// `GetJob`
pub const GET_JOB: &str = "/drydock.v1.JobService/GetJob";
/// `ScheduleUpgrade`
pub const SCHEDULE: &str = "/drydock.v1.ScheduleService/ScheduleUpgrade";

/// `RescheduleUpgrade`
const RESCHEDULE: &str = "/drydock.v1.ScheduleService/RescheduleUpgrade";
/// `CancelJob`
const CANCEL: &str = "/drydock.v1.JobService/CancelJob";
/// `BatchUpgradeClusters`
const UPGRADES: &str = "/drydock.v1.UpgradeService/BatchUpgradeClusters";
/// `ReinstallInstances`
const REINSTALL: &str = "/drydock.v1.ReinstallService/ReinstallInstances";

/// The first number of their clusters: nothing else in the bench has so many.
const SCHEDULED: usize = 1 << 40;
/// How many targets one request names.
const BATCH: usize = 250;
/// How many calls that make jobs are under way at once.
const AT_ONCE: usize = 64;
/// How often a job is looked at that is about to wait, and for how long.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// Far enough ahead that nothing begins while the bench runs.
const LATER: Duration = Duration::from_secs(30 * 24 * 3600);

/// The `n`th made-up cluster of the first provider, which is a ZStack.
pub fn target(n: usize) -> String {
    format!("providers/zstack-0/clusters/{:032x}", 0xbe00_0000_0000_usize + n)
}

/// A moment far ahead, and so many seconds later.
pub fn later(seconds: i64) -> prost_types::Timestamp {
    let far = i64::try_from(LATER.as_secs()).unwrap_or_default();
    prost_types::Timestamp { seconds: Clock::system().now().as_second() + far + seconds, nanos: 0 }
}

/// Upgrades that wait for their time, so that no vendor is asked anything, when all is told that their start has to tell.
/// Their names.
pub async fn scheduled(channels: &[Channel], count: usize) -> anyhow::Result<Vec<String>> {
    let start = later(0);
    let numbered = channels.iter().cycle().zip(SCHEDULED..).take(count);
    let calls = numbered.map(|(channel, n)| async move {
        let request = pb::ScheduleUpgradeRequest {
            target: target(n),
            start_time: Some(start),
            labels: [("team".to_owned(), "bench".to_owned())].into(),
            ..Default::default()
        };
        let answer = wire::unary(channel, SCHEDULE, Bytes::from(request.encode_to_vec())).await?;
        let job = pb::ScheduleUpgradeResponse::decode(answer)?.job.context("no job")?;
        tokio::time::timeout(PATIENCE, waits(channel, &job.name))
            .await
            .context("a job does not wait for its time")??;
        anyhow::Ok(job.name)
    });
    stream::iter(calls).buffered(AT_ONCE).try_collect().await
}

/// Waits until the driver has taken the job and leaves it alone until its time.
async fn waits(channel: &Channel, name: &str) -> anyhow::Result<()> {
    let ask = Bytes::from(pb::GetJobRequest { name: name.to_owned() }.encode_to_vec());
    loop {
        let answer = wire::unary(channel, GET_JOB, ask.clone()).await?;
        let status =
            pb::GetJobResponse::decode(answer)?.job.and_then(|job| job.status).context("no status")?;
        if status.state() == pb::JobState::Scheduled {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives every job that waits for its time another one, all at once: two events each, the second by its driver.
pub async fn move_all(channels: &[Channel], names: &[String], seconds: i64) -> anyhow::Result<()> {
    let start = later(seconds);
    let calls = names.iter().zip(channels.iter().cycle()).map(|(name, channel)| {
        let request = pb::RescheduleUpgradeRequest {
            name: name.clone(),
            start_time: Some(start),
            ..Default::default()
        };
        wire::unary(channel, RESCHEDULE, request.encode_to_vec().into())
    });
    try_join_all(calls).await?;
    Ok(())
}

/// Cancels jobs that wait for their time, all at once: each ends, by one event.
pub async fn cancel_all(channels: &[Channel], names: &[String]) -> anyhow::Result<()> {
    let calls = names.iter().zip(channels.iter().cycle()).map(|(name, channel)| {
        let request = pb::CancelJobRequest { name: name.clone() };
        wire::unary(channel, CANCEL, request.encode_to_vec().into())
    });
    try_join_all(calls).await?;
    Ok(())
}

/// Starts an upgrade or, of instances, a reinstall on every target.
pub async fn start(channel: &Channel, targets: &[String]) -> anyhow::Result<()> {
    let (instances, clusters): (Vec<_>, Vec<_>) =
        targets.iter().cloned().partition(|target| target.contains("/instances/"));
    for batch in clusters.chunks(BATCH) {
        let upgrade = |target: &String| pb::UpgradeClusterRequest {
            target: target.clone(),
            version: next_version(target).to_owned(),
            ..Default::default()
        };
        let requests = batch.iter().map(upgrade).collect();
        let request = pb::BatchUpgradeClustersRequest { requests, ..Default::default() };
        let answer = wire::unary(channel, UPGRADES, request.encode_to_vec().into()).await?;
        all_started(pb::BatchUpgradeClustersResponse::decode(answer)?.results)?;
    }
    for batch in instances.chunks(BATCH) {
        let request = pb::ReinstallInstancesRequest {
            targets: batch.to_vec(),
            password: "Harbour-2026!".to_owned(),
            ..Default::default()
        };
        let answer = wire::unary(channel, REINSTALL, request.encode_to_vec().into()).await?;
        all_started(pb::ReinstallInstancesResponse::decode(answer)?.results)?;
    }
    Ok(())
}

fn all_started(results: Vec<pb::StartResult>) -> anyhow::Result<()> {
    for result in results {
        match result.outcome {
            Some(pb::start_result::Outcome::Job(_)) => {}
            other => bail!("a job was not started: {other:?}"),
        }
    }
    Ok(())
}

/// A version that the target's simulator offers; ZStack has none to choose.
fn next_version(target: &str) -> &'static str {
    match target.split('/').nth(1).and_then(|provider| provider.split('-').next()) {
        Some("avisi") => simulators::avisi::NEXT_VERSION,
        Some("vsphere") => simulators::vsphere::NEXT_VERSION,
        _ => "",
    }
}

/// How many live jobs stand in each state, from the metrics page.
pub fn by_state(metrics: &str) -> String {
    let lines: Vec<_> = metrics.lines().filter(|line| line.starts_with("drydock_jobs_live{")).collect();
    lines.join("\n")
}
