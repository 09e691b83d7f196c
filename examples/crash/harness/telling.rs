//! One telling of a story: what its callers do, while its processes end or sleep where they were told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drydock::api::pb;
use drydock::simulators::{Fault, Route, avisi, vsphere};
use futures_util::future::try_join_all;
use pb::job_service_client::JobServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use tokio::time::Instant;

use super::backend::Storage;
use super::callers::ahead;
use super::clients::Asked;
use super::dice::Dice;
use super::fleet::{Ends, Fleet, Kind};
use super::harm::{self, Harm, Harms, Place};
use super::house::{House, Plan};
use super::judge::{Breach, judge};
use super::points::{Stage, Story, Telling};
use super::process::{Gateway, Orders, PATIENCE};
use super::record::{Wish, moment};
use super::report::Tally;
use super::round::Scene;

/// Faster than in rounds: nothing here is left to chance.
const SPEED: f64 = 3600.0;
/// The seed of every telling.
const SEED: u64 = 1;
/// How many targets of each kind there are.
const TARGETS: usize = 20;
/// How long after the end of its lease a process sleeps on.
const OVERSLEPT: Duration = Duration::from_millis(1500);

/// Tells it once. What was broken.
pub async fn tell(telling: Telling, stage: &Stage<'_>) -> anyhow::Result<(Tally, Vec<Breach>)> {
    let mut tally = Tally { rounds: 1, ..Tally::default() };
    let mut dice = Dice::of(SEED, &telling.name);
    let ends = match telling.story {
        Story::Cancel => Ends::Blocked,
        Story::Retry => Ends::Badly,
        Story::Upgrade
        | Story::Queue
        | Story::Hold
        | Story::LostAnswer
        | Story::Trouble
        | Story::Outage
        | Story::Move
        | Story::Sealed
        | Story::Forgotten => Ends::Well,
    };
    let harms = Harms::default();
    let fleet = Fleet::start(TARGETS, SPEED, ends, stage.replicas, &harms).await?;
    let sealing = telling.story == Story::Sealed;
    let storage = Storage::make(stage.backend, stage.replicas, SEED, None, stage.servers, &harms).await?;
    let plan = Plan { program: stage.program, replicas: stage.replicas, sealing, lease: stage.lease };
    let mut house = House::build(&plan, storage, fleet, harms.clone(), &mut dice)?;
    // Watches are opened on processes that know nothing of their fate, unless they are to die before they can serve.
    house.up().await?;
    let mut scene = Scene::open(&house, SEED).await?;
    for gateway in &mut house.gateways {
        gateway.kill().await?;
    }
    prepare(telling.story, &house)?;
    if let Some((pass, cut)) = telling.cut {
        house.fleet.cut("zs", pass, cut)?;
    }
    let mut gateways = std::mem::take(&mut house.gateways);
    let first = telling.orders.first().cloned().unwrap_or_default();
    try_join_all(gateways.iter_mut().map(|gateway| gateway.up(first.clone()))).await?;
    for n in 0..gateways.len() {
        if let (Some((pass, cut)), Some(wire)) = (telling.commit, house.storage.wire(n)) {
            harms.arm(Harm::Commit(cut));
            wire.cut_marked(pass, cut);
        }
    }
    let (deaths, mut slept) = (AtomicUsize::new(0), 0_u64);
    let end = {
        let play = perform(telling.story, &house, &scene, &deaths, &mut dice);
        let rise = async {
            loop {
                for gateway in &mut gateways {
                    if gateway.note_stop(stage.lease + OVERSLEPT) {
                        slept += 1;
                        let (from, wakes) = (harm::now(), gateway.frozen_until().map(harm::at));
                        let until = wakes.unwrap_or(from);
                        harms.done(Harm::OversleepAtPoint, Place::Gateway, from, until);
                    }
                    gateway.thaw().await?;
                    if !gateway.runs()? {
                        ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
                        let died = deaths.fetch_add(1, Ordering::SeqCst) + 1;
                        gateway.up(telling.orders.get(died).cloned().unwrap_or_default()).await?;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            played = play => played,
            risen = rise => risen,
        }
    };
    end?;
    let deaths = deaths.into_inner();
    tally.crashes += deaths as u64;
    ensure!(slept > 0 || !telling.sleeps(), "nobody fell asleep; the story does not come by this point");
    ensure!(
        deaths >= telling.deaths,
        "it crashed {deaths} times; the story does not come by this point:\n{}",
        gateways.first().map(Gateway::last_words).unwrap_or_default()
    );
    for gateway in &mut gateways {
        // One that was just being started again has no orders and does not serve yet.
        if gateway.has_orders() || !gateway.runs()? || !gateway.serves().await {
            gateway.kill().await?;
            gateway.up(Orders::new()).await?;
        }
    }
    house.gateways = gateways;
    house.fleet.heal();
    house.storage.heal();
    let evidence = scene.close(&mut house, &mut tally).await?;
    house.storage.close(stage.servers).await?;
    Ok((tally, judge(&evidence)))
}

/// What goes wrong at the vendor in a story.
fn prepare(story: Story, house: &House) -> anyhow::Result<()> {
    match story {
        Story::LostAnswer => house.fleet.fault("zs", Some(Route::Submit), Fault::ResetAfter, 1),
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
        | Story::Sealed => Ok(()),
    }
}

/// What callers do in a story, until its jobs have ended.
async fn perform(
    story: Story,
    house: &House,
    scene: &Scene,
    deaths: &AtomicUsize,
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
        Story::Upgrade | Story::LostAnswer | Story::Trouble => {
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
        Story::Hold => {
            let request = schedule(target(Kind::Zstack)?, "", Duration::from_millis(1500), dice);
            let job = start(scene, request, dice).await?;
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
