//! The stories: what goes wrong at the vendor in each, and what its callers do until its jobs have ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drydock::api::pb;
use drydock::simulators::{Fault, Route, avisi, vsphere};
use pb::job_service_client::JobServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use tokio::time::Instant;

use super::callers::ahead;
use super::cases::Story;
use super::clients::Asked;
use super::dice::Dice;
use super::fleet::Kind;
use super::house::House;
use super::process::PATIENCE;
use super::record::{Wish, moment};
use super::round::Scene;

/// How many targets of each kind there are.
pub const TARGETS: usize = 20;

/// What goes wrong at the vendor in a story.
pub fn prepare(story: Story, house: &House) -> anyhow::Result<()> {
    match story {
        Story::LostAnswer => house.fleet.fault("zs", Some(Route::Submit), Fault::ResetAfter, 1),
        // Twice as long as the driver waits before it writes that a job is CHECKING.
        Story::SlowCheck => house.fleet.fault("zs", Some(Route::Inventory), Fault::DelayMs(20), 8),
        Story::Trouble => house.fleet.fault("zs", Some(Route::Inventory), Fault::HtmlBefore(502), 3),
        // Until a process has died of it.
        Story::Outage => house.fleet.fault("zs", None, Fault::ResetBefore, 1_000_000),
        Story::Forgotten => house.fleet.fault("hw", None, Fault::ResetBefore, 4),
        Story::Upgrade
        | Story::Queue
        | Story::Hold
        | Story::Cancel
        | Story::Move
        | Story::Retry
        | Story::Sealed
        | Story::Handover
        | Story::Opening
        | Story::Purging
        | Story::Moving => Ok(()),
    }
}

/// What callers do in a story, until its jobs have ended. Says by `live` when gateways may be stopped.
pub async fn perform(
    story: Story,
    house: &House,
    scene: &Scene,
    deaths: &AtomicUsize,
    live: &AtomicBool,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let target = |kind| house.fleet.target(kind, 0).map(|target| target.name.clone());
    let upgrade = |target: String, dice: &mut Dice| pb::UpgradeClusterRequest {
        target,
        request_id: dice.uuid(),
        on_busy: pb::OnBusy::Queue.into(),
        ..Default::default()
    };
    match story {
        Story::Upgrade
        | Story::LostAnswer
        | Story::SlowCheck
        | Story::Trouble
        | Story::Opening
        | Story::Purging
        | Story::Moving => {
            let job = start(scene, Asked::Upgrade(upgrade(target(Kind::Zstack)?, dice)), dice).await?;
            ended(scene, &job, pb::JobState::Succeeded, dice).await
        }
        Story::Outage => {
            // One job finds out that the vendor is away; one that comes during the pause is told so.
            let mut jobs = Vec::new();
            for n in 0..TARGETS {
                let target = house.fleet.target(Kind::Zstack, n)?.name.clone();
                jobs.push(start(scene, Asked::Upgrade(upgrade(target, dice)), dice).await?);
                if deaths.load(Ordering::SeqCst) > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            house.fleet.heal();
            for job in jobs {
                ended(scene, &job, pb::JobState::Succeeded, dice).await?;
            }
            Ok(())
        }
        Story::Queue => {
            let first = start(scene, Asked::Upgrade(upgrade(target(Kind::Zstack)?, dice)), dice).await?;
            let second = start(scene, Asked::Upgrade(upgrade(target(Kind::Zstack)?, dice)), dice).await?;
            ended(scene, &first, pb::JobState::Succeeded, dice).await?;
            ended(scene, &second, pb::JobState::Succeeded, dice).await
        }
        Story::Hold | Story::Handover => {
            // Whoever hands over must have taken over before, from one that died.
            let ahead_by = Duration::from_millis(if story == Story::Hold { 1500 } else { 8000 });
            let request = schedule(target(Kind::Zstack)?, "", ahead_by, dice);
            let job = start(scene, request, dice).await?;
            live.store(true, Ordering::SeqCst);
            ended(scene, &job, pb::JobState::Succeeded, dice).await
        }
        Story::Cancel => {
            let request = pb::UpgradeClusterRequest {
                version: vsphere::NEXT_VERSION.to_owned(),
                ..upgrade(target(Kind::Supervisor)?, dice)
            };
            let job = start(scene, Asked::Upgrade(request), dice).await?;
            until(scene, &job, dice, |status| {
                status.state() == pb::JobState::Suspended
                    && status.cancelability.as_ref().is_some_and(|c| c.possible)
            })
            .await?;
            let request = pb::CancelJobRequest { name: job.clone() };
            let ask = |channel| {
                let request = request.clone();
                async move { JobServiceClient::new(channel).cancel_job(request).await }
            };
            // The answer to the first try may have died with its process, and the job be cancelled by now.
            if scene.clients.call(dice, ask).await?.is_ok() {
                scene.told.granted(&job, Wish::CancelRequested);
            }
            ended(scene, &job, pb::JobState::Cancelled, dice).await
        }
        Story::Move => {
            let request =
                schedule(target(Kind::Avisi)?, avisi::NEXT_VERSION, Duration::from_secs(3600), dice);
            let job = start(scene, request, dice).await?;
            until(scene, &job, dice, |status| {
                status.state() == pb::JobState::Scheduled && status.submit_time.is_some()
            })
            .await?;
            let to = ahead(Duration::from_millis(300));
            let request = pb::RescheduleUpgradeRequest {
                name: job.clone(),
                start_time: Some(to),
                ignore_maintenance_windows: Some(true),
            };
            let ask = |channel| {
                let request = request.clone();
                async move { ScheduleServiceClient::new(channel).reschedule_upgrade(request).await }
            };
            if let (Ok(_), Some(to)) = (scene.clients.call(dice, ask).await?, moment(&to)) {
                scene.told.granted(&job, Wish::Moved(to));
            }
            ended(scene, &job, pb::JobState::Succeeded, dice).await
        }
        Story::Retry => {
            let job = start(scene, Asked::Upgrade(upgrade(target(Kind::Zstack)?, dice)), dice).await?;
            ended(scene, &job, pb::JobState::Failed, dice).await?;
            let request = pb::RetryJobRequest { name: job, request_id: dice.uuid(), ..Default::default() };
            let job = start(scene, Asked::Retry(request), dice).await?;
            ended(scene, &job, pb::JobState::Failed, dice).await
        }
        Story::Sealed | Story::Forgotten => {
            let request = pb::ReinstallInstancesRequest {
                targets: vec![target(Kind::Huawei)?],
                password: house.password.clone(),
                request_id: dice.uuid(),
                ..Default::default()
            };
            let job = start(scene, Asked::Reinstall(request), dice).await?;
            let end = if story == Story::Sealed { pb::JobState::Succeeded } else { pb::JobState::Failed };
            ended(scene, &job, end, dice).await
        }
    }
}

fn schedule(target: String, version: &str, ahead_by: Duration, dice: &mut Dice) -> Asked {
    Asked::Schedule(pb::ScheduleUpgradeRequest {
        target,
        version: version.to_owned(),
        request_id: dice.uuid(),
        start_time: Some(ahead(ahead_by)),
        ignore_maintenance_windows: (!version.is_empty()).then_some(true),
        ..Default::default()
    })
}

async fn start(scene: &Scene, asked: Asked, dice: &mut Dice) -> anyhow::Result<String> {
    let jobs = scene.clients.start(dice, &asked).await??;
    scene.told.promised(asked.request_id(), &jobs);
    Ok(jobs.into_iter().next().context("a job")?.name)
}

async fn ended(scene: &Scene, job: &str, end: pb::JobState, dice: &mut Dice) -> anyhow::Result<()> {
    until(scene, job, dice, |status| status.state() == end).await
}

async fn until(
    scene: &Scene,
    job: &str,
    dice: &mut Dice,
    wanted: impl Fn(&pb::JobStatus) -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let request = pb::GetJobRequest { name: job.to_owned() };
        let ask = |channel| {
            let request = request.clone();
            async move { JobServiceClient::new(channel).get_job(request).await }
        };
        let status = scene.clients.call(dice, ask).await??.job.and_then(|job| job.status).unwrap_or_default();
        if wanted(&status) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the job does not get there: {status:#?}");
        ensure!(!super::truth::is_end(status.state()), "the job ended otherwise: {status:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
