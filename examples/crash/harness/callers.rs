//! Callers: what a round asks for, decided by dice, and what they were promised.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::api::pb;
use drydock::kit::clock::{self, Clock};
use drydock::simulators::{avisi, vsphere};
use pb::job_service_client::JobServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use tokio::task::JoinSet;

use super::clients::{Asked, Clients};
use super::dice::Dice;
use super::fleet::{Kind, Target};
use super::record::{Promise, Wish, moment};

/// What callers were told. Clones share it.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    promises: Vec<Promise>,
    wishes: Vec<(String, Wish)>,
}

impl Told {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down the jobs that a request was answered with.
    pub fn promised(&self, request: &str, jobs: &[pb::Job]) {
        let promises = jobs.iter().map(|job| Promise {
            request: request.to_owned(),
            job: job.name.clone(),
            target: job.target.clone(),
        });
        self.with(|inner| inner.promises.extend(promises));
    }

    /// Writes down that a wish about a job was answered with OK.
    pub fn granted(&self, job: &str, wish: Wish) {
        self.with(|inner| inner.wishes.push((job.to_owned(), wish)));
    }

    /// The promises, and the wishes that were granted.
    pub fn take(&self) -> (Vec<Promise>, Vec<(String, Wish)>) {
        self.with(|inner| (std::mem::take(&mut inner.promises), std::mem::take(&mut inner.wishes)))
    }
}

/// A caller: one request, and what comes after it.
pub struct Caller {
    asked: Asked,
    /// When it calls, after the round's beginning.
    at: Duration,
    /// The same call at the same time from somewhere else.
    doubled: bool,
    /// When it cancels what it got, if it does.
    cancels: Option<Duration>,
    /// When it moves what it got, and to when.
    moves: Option<(Duration, Duration)>,
}

/// Decides a round's callers: each target gets one operation, and some a second one that waits for the first.
pub fn decide(targets: &[Target], password: &str, within: Duration, dice: &mut Dice) -> Vec<Caller> {
    let mut callers = Vec::new();
    let mut batch = Vec::new();
    let mut instances = Vec::new();
    for target in targets {
        // A second reinstall that came and went unseen is believed only after minutes, of which there are none here.
        let second = dice.chance(20) && !matches!(target.kind, Kind::Avisi | Kind::Huawei);
        for nth in 0..=u32::from(second) {
            let busy = if nth == 0 && dice.chance(50) || dice.chance(20) {
                pb::OnBusy::Reject
            } else {
                pb::OnBusy::Queue
            };
            if target.kind == Kind::Huawei {
                instances.push(target.name.clone());
                continue;
            }
            let upgrade = upgrade(target, nth, busy, dice);
            let in_batch = nth == 0 && dice.chance(30) && !target.fails_unseen;
            let scheduled =
                dice.chance(if target.kind == Kind::Avisi { 70 } else { 25 }) || target.fails_unseen;
            let asked = if in_batch {
                batch.push(pb::UpgradeClusterRequest {
                    request_id: String::new(),
                    on_busy: pb::OnBusy::Unspecified.into(),
                    ..upgrade
                });
                continue;
            } else if scheduled {
                Asked::Schedule(pb::ScheduleUpgradeRequest {
                    target: upgrade.target,
                    version: upgrade.version,
                    ignore_precheck_warnings: upgrade.ignore_precheck_warnings,
                    request_id: upgrade.request_id,
                    on_busy: upgrade.on_busy,
                    start_time: Some(ahead(Duration::from_millis(dice.within(200, 2500)))),
                    ignore_maintenance_windows: (target.kind == Kind::Avisi).then_some(true),
                    ..Default::default()
                })
            } else {
                Asked::Upgrade(upgrade)
            };
            callers.push(caller(asked, within, dice));
        }
    }
    for chunk in batch.chunks(4) {
        let asked = Asked::Batch(pb::BatchUpgradeClustersRequest {
            requests: chunk.to_vec(),
            request_id: dice.uuid(),
            on_busy: pb::OnBusy::Queue.into(),
            ..Default::default()
        });
        callers.push(caller(asked, within, dice));
    }
    while !instances.is_empty() {
        let rest = instances.split_off(instances.len().min(dice.below(3) + 1));
        let chunk = std::mem::replace(&mut instances, rest);
        let asked = Asked::Reinstall(pb::ReinstallInstancesRequest {
            targets: chunk,
            password: password.to_owned(),
            request_id: dice.uuid(),
            ..Default::default()
        });
        callers.push(caller(asked, within, dice));
    }
    callers
}

fn upgrade(target: &Target, nth: u32, busy: pb::OnBusy, dice: &mut Dice) -> pb::UpgradeClusterRequest {
    let version = match (target.kind, nth) {
        (Kind::Zstack | Kind::Huawei, _) => "",
        (Kind::Cluster | Kind::Supervisor, 0) => vsphere::NEXT_VERSION,
        (Kind::Cluster | Kind::Supervisor, _) => vsphere::LATER_VERSION,
        (Kind::Avisi, _) => avisi::NEXT_VERSION,
    };
    let ignores = matches!(target.kind, Kind::Cluster | Kind::Supervisor) && dice.chance(70);
    pb::UpgradeClusterRequest {
        target: target.name.clone(),
        version: version.to_owned(),
        ignore_precheck_warnings: ignores.then_some(true),
        request_id: dice.uuid(),
        on_busy: busy.into(),
        ..Default::default()
    }
}

fn caller(asked: Asked, within: Duration, dice: &mut Dice) -> Caller {
    let millis = |from: u64, to: u64, dice: &mut Dice| Duration::from_millis(dice.within(from, to));
    let most = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let moves = matches!(asked, Asked::Schedule(_)) && dice.chance(40);
    Caller {
        asked,
        at: millis(0, most, dice),
        doubled: dice.chance(25),
        cancels: dice.chance(20).then(|| millis(0, 1500, dice)),
        moves: moves.then(|| (millis(0, 800, dice), millis(300, 2000, dice))),
    }
}

/// A moment from now, as the contract has it.
pub fn ahead(by: Duration) -> prost_types::Timestamp {
    let at = clock::after(Clock::system().now(), by);
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

impl Caller {
    /// Calls, and does what comes after.
    pub async fn run(self, clients: Clients, told: Told, mut dice: Dice) -> anyhow::Result<()> {
        tokio::time::sleep(self.at).await;
        let request = self.asked.request_id().to_owned();
        let mut calls = JoinSet::new();
        for _ in 0..=u32::from(self.doubled) {
            let (asked, clients) = (self.asked.clone(), clients.clone());
            let mut dice = Dice::of(dice.within(0, u64::MAX), "call");
            calls.spawn(async move { clients.start(&mut dice, &asked).await });
        }
        let mut jobs = Vec::new();
        while let Some(answer) = calls.join_next().await {
            // A refusal is an answer too: a busy target, for one.
            if let Ok(answered) = answer?? {
                told.promised(&request, &answered);
                jobs = answered;
            }
        }
        let Some(job) = jobs.first().map(|job| job.name.clone()) else { return Ok(()) };
        if let Some((wait, by)) = self.moves {
            tokio::time::sleep(wait).await;
            let to = ahead(by);
            let request = pb::RescheduleUpgradeRequest {
                name: job.clone(),
                start_time: Some(to),
                ignore_maintenance_windows: None,
            };
            let ask = |channel| {
                let request = request.clone();
                async move { ScheduleServiceClient::new(channel).reschedule_upgrade(request).await }
            };
            // It may have begun by now.
            if let (Ok(_), Some(to)) = (clients.call(&mut dice, ask).await?, moment(&to)) {
                told.granted(&job, Wish::Moved(to));
            }
        }
        if let Some(wait) = self.cancels {
            tokio::time::sleep(wait).await;
            let request = pb::CancelJobRequest { name: job.clone() };
            let ask = |channel| {
                let request = request.clone();
                async move { JobServiceClient::new(channel).cancel_job(request).await }
            };
            // It may have ended by now, or the vendor may have no way.
            if let Ok(answer) = clients.call(&mut dice, ask).await? {
                let wish = match answer.outcome() {
                    pb::CancelOutcome::Prevented => Wish::Prevented,
                    pb::CancelOutcome::Requested | pb::CancelOutcome::Unspecified => Wish::CancelRequested,
                };
                told.granted(&job, wish);
            }
        }
        Ok(())
    }
}
