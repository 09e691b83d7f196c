//! A crash at every point of the code, once and twice in a row, each in a story that comes by it; and answers lost
//! at every commit and at every request.
//!
//! [`story`] has no wildcard: a point without a story does not compile.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drydock::api::pb;
use drydock::kit::crash_point::CrashPoint;
use drydock::simulators::{Fault, Route, avisi, vsphere};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pb::job_service_client::JobServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use tokio::time::Instant;

use super::backend::Storage;
use super::callers::ahead;
use super::clients::Asked;
use super::dice::Dice;
use super::fleet::{Ends, Fleet, Kind};
use super::house::{House, Plan};
use super::judge::{Breach, judge};
use super::process::{Orders, PATIENCE};
use super::proxy::Cut;
use super::report::Tally;
use super::round::Scene;

/// Faster than in rounds: nothing here is left to chance.
const SPEED: f64 = 3600.0;
/// How many targets of each kind there are.
const TARGETS: usize = 20;
/// How many stories are told at once.
const AT_ONCE: usize = 6;
/// The shortest lease that several gateways may have.
const LEASE: Duration = Duration::from_secs(3);
/// How thoroughly stories are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Depth {
    /// Each point once.
    Short,
    /// Points that every commit or request comes by at several visits; more answers lost.
    Full,
}

impl Depth {
    /// At how many visits the points of every commit and request are tried.
    const fn visits(self) -> u64 {
        match self {
            Self::Short => 1,
            Self::Full => 8,
        }
    }

    /// How many commits, and how many requests, have their answer lost, one in each telling.
    const fn losses(self) -> u64 {
        match self {
            Self::Short => 4,
            Self::Full => 12,
        }
    }
}

/// What happens while the crash waits at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// One upgrade, from the call to the end.
    Upgrade,
    /// Two upgrades of one target, one after the other.
    Queue,
    /// An upgrade whose start Drydock waits for.
    Hold,
    /// A start whose answer is lost.
    LostAnswer,
    /// Prechecks that cannot be asked for at first.
    Trouble,
    /// A vendor that is away until its pause begins.
    Outage,
    /// An operation that is cancelled while it runs.
    Cancel,
    /// A scheduled upgrade that the vendor keeps, moved.
    Move,
    /// An upgrade that fails, and is tried again.
    Retry,
    /// A reinstall whose password waits on disk.
    Sealed,
    /// A reinstall whose password was in the memory of a process that died.
    Forgotten,
}

impl Story {
    /// Every story.
    pub const ALL: [Self; 11] = [
        Self::Upgrade,
        Self::Queue,
        Self::Hold,
        Self::LostAnswer,
        Self::Trouble,
        Self::Outage,
        Self::Cancel,
        Self::Move,
        Self::Retry,
        Self::Sealed,
        Self::Forgotten,
    ];
}

/// The story that comes by a point.
pub const fn story(point: CrashPoint) -> Story {
    match point {
        CrashPoint::StoreOpened
        | CrashPoint::CommitOpen
        | CrashPoint::CommitDone
        | CrashPoint::AcceptUncommitted
        | CrashPoint::AcceptCommitted
        | CrashPoint::CheckUnsent
        | CrashPoint::CheckAnswered
        | CrashPoint::StartUnsent
        | CrashPoint::StartAnswered
        | CrashPoint::ObserveUnsent
        | CrashPoint::ObserveAnswered
        | CrashPoint::RequestUnsent
        | CrashPoint::AnswerUnread
        | CrashPoint::CheckBeganWritten
        | CrashPoint::IntentWritten
        | CrashPoint::StartedWritten
        | CrashPoint::ObservedWritten => Story::Upgrade,
        CrashPoint::AcquiredWritten | CrashPoint::StillBusyWritten => Story::Queue,
        CrashPoint::HeldWritten => Story::Hold,
        CrashPoint::LookUnsent | CrashPoint::LookAnswered | CrashPoint::LookedWritten => Story::LostAnswer,
        CrashPoint::CheckedWritten => Story::Trouble,
        CrashPoint::PausedWritten => Story::Outage,
        CrashPoint::WishUncommitted
        | CrashPoint::WishCommitted
        | CrashPoint::CancelUnsent
        | CrashPoint::CancelAnswered
        | CrashPoint::CancelledWritten => Story::Cancel,
        CrashPoint::MoveUnsent | CrashPoint::MoveAnswered | CrashPoint::MovedWritten => Story::Move,
        CrashPoint::LogUnemptied => Story::Sealed,
        CrashPoint::PasswordGoneWritten => Story::Forgotten,
    }
}

/// One telling: what the processes are told, one after the other, and what happens to the wire.
struct Telling {
    name: String,
    story: Story,
    /// For each process; those after the last are told nothing.
    orders: Vec<Orders>,
    /// How many of the processes must have died of their orders.
    deaths: usize,
    cut: Option<(usize, Cut)>,
}

/// Tells every telling of a story. What was broken, with its telling's name.
pub async fn tell_all(
    story: Story,
    depth: Depth,
    program: &Path,
) -> anyhow::Result<(Tally, Vec<(String, Breach)>)> {
    let told: Vec<_> = stream::iter(tellings(story, depth))
        .map(|telling| async move {
            let name = telling.name.clone();
            tell(telling, program)
                .await
                .with_context(|| name.clone())
                .map(|(tally, found)| (name, tally, found))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let (mut tally, mut breaches) = (Tally::default(), Vec::new());
    for (name, counts, found) in told {
        tally.add(counts);
        breaches.extend(found.into_iter().map(|breach| (name.clone(), breach)));
    }
    Ok((tally, breaches))
}

/// How many tellings a story has.
pub fn count(told: Story, depth: Depth) -> usize {
    tellings(told, depth).len()
}

fn tellings(told: Story, depth: Depth) -> Vec<Telling> {
    let mut all = Vec::new();
    let crash =
        |point: CrashPoint, visit: u64| vec![("DRYDOCK_CRASH_AT", format!("{}:{visit}", point.as_str()))];
    for point in CrashPoint::ALL.iter().copied().filter(|point| story(*point) == told) {
        let visits = match point {
            CrashPoint::CommitOpen
            | CrashPoint::CommitDone
            | CrashPoint::RequestUnsent
            | CrashPoint::AnswerUnread => depth.visits(),
            _ => 1,
        };
        for visit in 1..=visits {
            let mut orders = vec![crash(point, visit), crash(point, visit)];
            if told == Story::Forgotten {
                // The password goes with a first process.
                orders.insert(0, crash(CrashPoint::AcceptCommitted, 1));
            }
            let deaths = orders.len() - 1;
            let name = format!("{}, visit {visit}, twice in a row", point.as_str());
            all.push(Telling { name, story: told, orders, deaths, cut: None });
        }
    }
    if told == Story::Retry {
        // The second job that comes to be is the new try; the next process meets it as its first.
        for point in [CrashPoint::AcceptUncommitted, CrashPoint::AcceptCommitted] {
            let name = format!("{} of another try, twice in a row", point.as_str());
            let orders = vec![crash(point, 2), crash(point, 1)];
            all.push(Telling { name, story: told, orders, deaths: 1, cut: None });
        }
    }
    if told == Story::Upgrade {
        for n in 1..=depth.losses() {
            let lose = vec![("DRYDOCK_LOSE_AT", format!("{}:{n}", CrashPoint::CommitDone.as_str()))];
            let name = format!("the answer of commit {n} is lost");
            all.push(Telling { name, story: told, orders: vec![lose], deaths: 0, cut: None });
            let pass = usize::try_from(n - 1).unwrap_or(0);
            let name = format!("the answer of request {n} is swallowed");
            let cut = Some((pass, Cut::SwallowAnswer));
            all.push(Telling { name, story: told, orders: Vec::new(), deaths: 0, cut });
        }
    }
    all
}

async fn tell(telling: Telling, program: &Path) -> anyhow::Result<(Tally, Vec<Breach>)> {
    let mut tally = Tally { rounds: 1, ..Tally::default() };
    let seed = u64::from(std::process::id());
    let mut dice = Dice::of(seed, &telling.name);
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
    let fleet = Fleet::start(TARGETS, SPEED, ends).await?;
    let sealing = telling.story == Story::Sealed;
    let plan = Plan { program, replicas: 1, sealing, lease: LEASE };
    let mut house = House::build(&plan, Storage::File, fleet, &mut dice)?;
    let mut orders = telling.orders.into_iter();
    let mut gateway = house.gateways.pop().context("one gateway")?;
    // Watches are opened on a process that knows nothing of its fate, unless it is to die before it can serve.
    gateway.up(Orders::new()).await?;
    house.gateways.push(gateway);
    let mut scene = Scene::open(&house, seed).await?;
    let mut gateway = house.gateways.pop().context("one gateway")?;
    gateway.kill().await?;
    prepare(telling.story, &house)?;
    if let Some((pass, cut)) = telling.cut {
        house.fleet.cut("zs", pass, cut)?;
    }
    gateway.up(orders.next().unwrap_or_default()).await?;
    let deaths = AtomicUsize::new(0);
    let end = {
        let play = perform(telling.story, &house, &scene, &deaths, &mut dice);
        let rise = async {
            loop {
                if !gateway.runs()? {
                    ensure!(gateway.has_orders(), "the gateway ended by itself:\n{}", gateway.last_words());
                    deaths.fetch_add(1, Ordering::SeqCst);
                    gateway.up(orders.next().unwrap_or_default()).await?;
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
    ensure!(
        deaths >= telling.deaths,
        "it crashed {deaths} times; the story does not come by this point:\n{}",
        gateway.last_words()
    );
    if gateway.has_orders() || !gateway.runs()? {
        gateway.kill().await?;
        gateway.up(Orders::new()).await?;
    }
    house.gateways.push(gateway);
    house.fleet.heal();
    let evidence = scene.close(&mut house, &mut tally).await?;
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
            let _ = scene.clients.call(dice, ask).await?;
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
            let request = pb::RescheduleUpgradeRequest {
                name: job.clone(),
                start_time: Some(ahead(Duration::from_millis(300))),
                ignore_maintenance_windows: Some(true),
            };
            let ask = |channel| {
                let request = request.clone();
                async move { ScheduleServiceClient::new(channel).reschedule_upgrade(request).await }
            };
            let _ = scene.clients.call(dice, ask).await?;
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
    let jobs = scene.clients.call(dice, |channel| asked.clone().ask(channel)).await??;
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
