//! One round: a storm over callers and watchers, then calm, then the judge.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use drydock::api::pb;
use drydock::kit::tasks::Tasks;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backend::Storage;
use super::callers::{self, Told};
use super::clients::Clients;
use super::dice::Dice;
use super::fleet::{Ends, Fleet};
use super::harm::Harms;
use super::house::{House, Plan};
use super::judge::{Breach, Excuse, Promised, doubt, judge};
use super::options::Options;
use super::process::{Gateway, PATIENCE};
use super::record::{Ended, Evidence, Seen, Wanted};
use super::report::Tally;
use super::server::Servers;
use super::settle::{all_ended, happened};
use super::stalls::Stalls;
use super::storm;
use super::watchers::Watcher;

/// How long watches may take to tell what was committed.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How long a watch is listened to after it told everything: it must not tell more.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Plays the round with this seed.
pub async fn play(
    options: &Options,
    seed: u64,
    program: &Path,
    servers: &Servers,
) -> anyhow::Result<(Tally, Vec<Breach>)> {
    let mut tally = Tally { rounds: 1, ..Tally::default() };
    let mut dice = Dice::of(seed, "round");
    let harms = Harms::default();
    let mut ends = Dice::of(seed, "ends");
    let (speed, gateways) = (options.store.speed(), options.replicas());
    let fleet = Fleet::start(options.targets, speed, Ends::Any(&mut ends), gateways, &harms).await?;
    let mut door = Dice::of(seed, "password");
    let password = door.chance(20).then(|| format!("canary{:016x}", door.within(0, u64::MAX)));
    let storage = Storage::make(options.store, options.replicas(), seed, password, servers, &harms).await?;
    let plan =
        Plan { program, replicas: options.replicas(), sealing: dice.chance(60), lease: options.lease() };
    let mut house = House::build(&plan, storage, fleet, harms, &mut dice)?;
    let played = torment(&mut house, options, seed, &mut tally).await;
    if !played.as_ref().is_ok_and(Vec::is_empty)
        && let Some(keep) = &options.keep
    {
        copy(house.folder.path(), &keep.join(format!("seed-{seed}")))?;
    }
    let breaches = played?;
    tally.harms = house.harms.counts();
    house.storage.close(servers).await?;
    Ok((tally, breaches))
}

async fn torment(
    house: &mut House,
    options: &Options,
    seed: u64,
    tally: &mut Tally,
) -> anyhow::Result<Vec<Breach>> {
    house.up().await?;
    let mut scene = Scene::open(house, seed).await?;
    let mut calls = JoinSet::new();
    let decided = callers::decide(
        house.fleet.targets(),
        &house.password,
        options.storm(),
        &mut Dice::of(seed, "callers"),
    );
    for (n, caller) in decided.into_iter().enumerate() {
        let dice = Dice::of(seed, &format!("caller {n}"));
        calls.spawn(caller.run(scene.clients.clone(), scene.told.clone(), dice));
    }
    storm::rage(house, options, seed, &mut Dice::of(seed, "storm"), tally).await?;
    while let Some(call) = calls.join_next().await {
        call??;
    }
    let evidence = scene.close(house, tally).await?;
    Ok(judge(&evidence))
}

/// Callers' and watchers' side of a round.
pub struct Scene {
    /// How gateways are reached.
    pub clients: Clients,
    /// What callers were told.
    pub told: Told,
    watchers: Vec<Watcher>,
    /// When the machine stood still.
    pub stalls: Stalls,
    tasks: Tasks,
    dice: Dice,
}

impl Scene {
    /// Opens the watches, and waits until nothing can be missed. The gateways must be up.
    pub async fn open(house: &House, seed: u64) -> anyhow::Result<Self> {
        let addresses = house.gateways.iter().map(Gateway::grpc);
        let clients = Clients::new(addresses, &house.canaries)?;
        let wanted =
            [Wanted::Everything, Wanted::Everything, Wanted::Provider("zs".to_owned()), Wanted::LatestState];
        let (tasks, stalls) = (Tasks::new(), Stalls::default());
        stalls.watch(&tasks);
        let mut watchers = Vec::new();
        for (n, wanted) in wanted.into_iter().enumerate() {
            let watcher = Watcher::new(wanted, &house.canaries);
            let dice = Dice::of(seed, &format!("watcher {n}"));
            tasks.spawn("watcher", watcher.clone().run(clients.clone(), dice, tasks.token().clone()));
            watchers.push(watcher);
        }
        let begun = Instant::now();
        while !watchers.iter().all(Watcher::has_begun) {
            ensure!(begun.elapsed() < PATIENCE, "a watch never began");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let dice = Dice::of(seed, "scene");
        Ok(Self { clients, told: Told::default(), watchers, stalls, tasks, dice })
    }

    /// Waits for every end, gathers the evidence, and stops the gateways in order. Every gateway must be up.
    pub async fn close(&mut self, house: &mut House, tally: &mut Tally) -> anyhow::Result<Evidence> {
        all_ended(&self.clients, &house.fleet, &mut self.dice).await?;
        let (mut evidence, events) = self.lists(tally).await?;
        let begun = Instant::now();
        loop {
            evidence.watches = self.watchers.iter().map(Watcher::told).collect();
            let gaps = judge(&evidence).iter().any(|breach| breach.promise == Promised::NoGaps);
            if !gaps || begun.elapsed() > CATCH_UP {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(AFTERWARDS).await;
        evidence.watches = self.watchers.iter().map(Watcher::told).collect();
        self.tasks.shutdown(PATIENCE).await;
        // Some vendors show that an operation cannot succeed before it is over.
        let begun = Instant::now();
        evidence.happened = happened(&house.fleet)?;
        while evidence.happened.iter().any(|h| h.ends.len() < h.starts.len()) && begun.elapsed() < CATCH_UP {
            tokio::time::sleep(Duration::from_millis(20)).await;
            evidence.happened = happened(&house.fleet)?;
        }
        try_join_all(house.gateways.iter_mut().map(Gateway::terminate)).await?;
        house.fleet.stop().await;
        let commits = house.commits().await?;
        evidence.unkept =
            self.watchers.iter().flat_map(|watcher| watcher.breaches(&events, &commits)).collect();
        (evidence.promises, evidence.wishes) = self.told.take();
        evidence.refusals = self.clients.refusals().all();
        evidence.strikes = house.strikes();
        evidence.stalls = self.stalls.all();
        tally.stalls += evidence.stalls.len() as u64;
        for (name, events) in &evidence.events {
            match doubt(name, events, &evidence) {
                Some(Ok(Excuse::Harm(harm))) => *tally.doubts.entry(harm.to_string()).or_default() += 1,
                Some(Ok(Excuse::Stall)) => *tally.doubts.entry("a stall".to_owned()).or_default() += 1,
                Some(Err(_)) | None => {}
            }
        }
        evidence.bugs = house.bugs();
        evidence.leaks = house.search().await?;
        tally.starts += evidence.happened.iter().map(|h| h.starts.len() as u64).sum::<u64>();
        tally.watches += evidence.watches.len() as u64;
        tally.resumed += evidence.watches.iter().map(|w| w.resumed).sum::<u64>();
        Ok(evidence)
    }

    /// Every job and every event, as listed.
    async fn lists(&mut self, tally: &mut Tally) -> anyhow::Result<(Evidence, Vec<pb::JobEvent>)> {
        let (mut evidence, mut all) = (Evidence::default(), Vec::new());
        for job in self.clients.jobs(&mut self.dice).await? {
            let events = self.clients.events(&mut self.dice, &job.name).await?;
            let status = job.status.unwrap_or_default();
            let seen: Vec<Seen> = events.iter().map(Seen::from).collect();
            tally.jobs += 1;
            tally.events += events.len() as u64;
            *tally.ends.entry(status.state().as_str_name().trim_start_matches("JOB_STATE_")).or_default() +=
                1;
            let settled = events.iter().any(|event| event.kind() == pb::EventKind::Settled);
            tally.settled += u64::from(settled);
            if seen.iter().any(|event| event.state == pb::JobState::Indeterminate) {
                let provider = job.target.split('/').nth(1).unwrap_or_default();
                *tally.indeterminate.entry(provider.to_owned()).or_default() += 1;
            }
            let version = job.operation.map(version_of).unwrap_or_default();
            evidence.jobs.push(Ended {
                name: job.name.clone(),
                target: job.target,
                request: job.request_id,
                version,
                inferred: status.provenance() == pb::Provenance::Inferred,
                state: status.state(),
                failure: status.failure.as_ref().map_or(pb::FailureReason::Unspecified, pb::Failure::reason),
                settled,
            });
            evidence.events.insert(job.name, seen);
            all.extend(events);
        }
        Ok((evidence, all))
    }
}

/// The version that an operation asks for, if it asks for one.
fn version_of(operation: pb::Operation) -> String {
    use pb::operation::Kind;
    match operation.kind {
        Some(Kind::Upgrade(upgrade)) => upgrade.version,
        Some(Kind::ScheduledUpgrade(scheduled)) => scheduled.upgrade.unwrap_or_default().version,
        Some(Kind::Reinstall(_)) | None => String::new(),
    }
}

/// Copies a folder with everything below it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
