//! How long a provider's jobs are left alone when the gateway that drives it dies, and when it is stopped in order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drydock::api::pb;
use drydock::simulators::{avisi, vsphere};
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::backend::Storage;
use super::clients::Asked;
use super::database::{Database, Holder};
use super::dice::Dice;
use super::fleet::{Ends, Fleet, Kind};
use super::harm::{self, Harm, Harms, Place};
use super::house::{House, Plan, name_of};
use super::judge::{Breach, judge};
use super::options::Options;
use super::process::{Orders, PATIENCE};
use super::report::Tally;
use super::round::Scene;
use super::server::Servers;

/// What a death may cost beside the lease.
const AFTER_LEASE: Duration = Duration::from_secs(2);
/// What a stop in order may cost.
const AFTER_STOP: Duration = Duration::from_secs(1);
/// How many targets of each kind have a job.
const TARGETS: usize = 2;
/// How long the spread must have been the same to count as at rest.
const REST: Duration = Duration::from_millis(1500);
/// A measurement says nothing of Drydock while the machine comes later than this, in all, to what it has to do…
const DISTURBED: Duration = Duration::from_millis(150);
/// … so it is made again, so often at most; the last one counts, whatever the machine did.
const AGAIN: u64 = 6;
/// How often the database is asked who drives.
const LOOK: Duration = Duration::from_millis(4);

/// How a gateway goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

/// One provider that changed hands.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Until another replica had the lease.
    lease: Duration,
    /// Until another replica asked the vendor something after that.
    request: Duration,
}

/// What was measured.
#[derive(Debug)]
pub struct Takeovers {
    lease: Duration,
    killed: Vec<Change>,
    stopped: Vec<Change>,
    /// How many ends were measured again, because the machine had too much to do.
    disturbed: u64,
    /// Promises that were broken meanwhile.
    pub breaches: Vec<Breach>,
}

impl Takeovers {
    /// Whether every change of hands was within its bound, and nothing else broke.
    pub fn good(&self) -> bool {
        let within = |changes: &[Change], bound| changes.iter().all(|change| change.request <= bound);
        within(&self.killed, self.lease + AFTER_LEASE)
            && within(&self.stopped, AFTER_STOP)
            && self.breaches.is_empty()
    }
}

impl fmt::Display for Takeovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = |what: &str, changes: &[Change], bound: Duration| {
            for (which, of) in [
                ("lease taken", (|change| change.lease) as fn(&Change) -> Duration),
                ("vendor asked", |change| change.request),
            ] {
                let mut times: Vec<_> = changes.iter().map(of).collect();
                times.sort_unstable();
                let median = times.get(times.len() / 2).copied().unwrap_or_default();
                let most = times.last().copied().unwrap_or_default();
                writeln!(
                    f,
                    "{what:<18} {which:<14} {:>4} times, median {:>5} ms, at most {:>5} ms, bound {} ms",
                    times.len(),
                    median.as_millis(),
                    most.as_millis(),
                    bound.as_millis()
                )?;
            }
            Ok(())
        };
        rows("killed (SIGKILL)", &self.killed, self.lease + AFTER_LEASE)?;
        rows("stopped (SIGTERM)", &self.stopped, AFTER_STOP)?;
        writeln!(f, "measured again, because the machine had too much to do: {}", self.disturbed)?;
        self.breaches.iter().try_for_each(|breach| writeln!(f, "{breach}"))
    }
}

/// Kills the driver of some provider `count` times and stops one as often, while jobs run at every provider.
pub async fn measure(options: &Options, count: u64, seed: u64, program: &Path) -> anyhow::Result<Takeovers> {
    let servers = Servers::default();
    let harms = Harms::default();
    let storage = Storage::make(options.store, options.replicas(), seed, None, &servers, &harms).await?;
    ensure!(storage.is_shared() && options.replicas() > 1, "it takes two to take over: `--store postgres`");
    let fleet = Fleet::start(TARGETS, options.store.speed(), Ends::Well, options.replicas(), &harms).await?;
    fleet.hold(true);
    let mut dice = Dice::of(seed, "takeover");
    let plan = Plan { program, replicas: options.replicas(), sealing: true, lease: options.lease() };
    let mut house = House::build(&plan, storage, fleet, harms, &mut dice)?;
    house.up().await?;
    let mut scene = Scene::open(&house, seed).await?;
    let jobs = begin(&house, &scene, &mut dice).await?;
    under_way(&scene, jobs, &mut dice).await?;
    let mut beside = match &house.storage {
        Storage::Database(database) => database.beside().await?,
        Storage::File => anyhow::bail!("a file is driven by one gateway"),
    };
    let mut measured = Takeovers {
        lease: options.lease(),
        killed: Vec::new(),
        stopped: Vec::new(),
        disturbed: 0,
        breaches: Vec::new(),
    };
    for n in 0..count {
        let kind = Kind::ALL.into_iter().cycle().nth(usize::try_from(n)?).unwrap_or(Kind::Zstack);
        for end in [End::Killed, End::Stopped] {
            let mut again = 0;
            let changes = loop {
                let late = scene.stalls.late();
                let changes = one(&mut house, &mut beside, kind.provider(), end).await?;
                let disturbed = scene.stalls.late().saturating_sub(late) > DISTURBED;
                if !disturbed || again == AGAIN {
                    break changes;
                }
                again += 1;
            };
            measured.disturbed += again;
            match end {
                End::Killed => measured.killed.extend(changes),
                End::Stopped => measured.stopped.extend(changes),
            }
        }
    }
    house.fleet.hold(false);
    let evidence = scene.close(&mut house, &mut Tally::default()).await?;
    measured.breaches = judge(&evidence);
    drop(beside);
    house.storage.close(&servers).await?;
    servers.remove().await?;
    Ok(measured)
}

/// One operation on every target. The jobs' names.
async fn begin(house: &House, scene: &Scene, dice: &mut Dice) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for target in house.fleet.targets() {
        let upgrade = |version: &str, dice: &mut Dice| {
            Asked::Upgrade(pb::UpgradeClusterRequest {
                target: target.name.clone(),
                version: version.to_owned(),
                request_id: dice.uuid(),
                on_busy: pb::OnBusy::Queue.into(),
                ..Default::default()
            })
        };
        let asked = match target.kind {
            Kind::Zstack => upgrade("", dice),
            Kind::Cluster | Kind::Supervisor => upgrade(vsphere::NEXT_VERSION, dice),
            Kind::Avisi => upgrade(avisi::NEXT_VERSION, dice),
            Kind::Huawei => Asked::Reinstall(pb::ReinstallInstancesRequest {
                targets: vec![target.name.clone()],
                password: house.password.clone(),
                request_id: dice.uuid(),
                ..Default::default()
            }),
        };
        let jobs = scene.clients.start(dice, &asked).await??;
        scene.told.promised(asked.request_id(), &jobs);
        names.extend(jobs.into_iter().map(|job| job.name));
    }
    Ok(names)
}

/// Waits until all these run at their vendors, so that their driver has something to ask about all the time.
async fn under_way(scene: &Scene, jobs: Vec<String>, dice: &mut Dice) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let listed = scene.clients.jobs(dice).await?;
        let runs = |name: &String| {
            let job = listed.iter().find(|job| job.name == *name);
            job.and_then(|job| job.status.as_ref())
                .is_some_and(|status| status.state() == pb::JobState::Running)
        };
        if jobs.iter().all(runs) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the jobs do not begin: {listed:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Has the gateway end that drives `provider`, and measures how long each of its providers was left alone.
async fn one(
    house: &mut House,
    beside: &mut PgConnection,
    provider: &str,
    end: End,
) -> anyhow::Result<Vec<Change>> {
    let holders = at_rest(house, beside).await?;
    let victim = holders.get(provider).context("the provider has a driver")?.replica.clone();
    let mut left: BTreeMap<_, _> = holders.iter().filter(|(_, holder)| holder.replica == victim).collect();
    let gateways = house.gateways.iter_mut().enumerate();
    let count = gateways.len();
    let (door, gateway) =
        gateways.into_iter().find(|(n, _)| name_of(*n) == victim).context("the driver is one of ours")?;
    // Its own last words to a vendor, such as the end of its session, are nobody's driving.
    let requests = |provider: &str| house.fleet.requests_of_others(provider, door, count);
    let (begun, from) = (Instant::now(), harm::now());
    let harm = match end {
        End::Killed => {
            gateway.kill().await?;
            Harm::Kill
        }
        End::Stopped => {
            ensure!(gateway.signal("TERM").await?, "nobody to be stopped");
            Harm::Stop
        }
    };
    house.harms.done(harm, Place::Gateway, from, harm::now());
    let (mut taken, mut changes) = (BTreeMap::new(), Vec::new());
    while !left.is_empty() || !taken.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "nobody takes over {:?}", left.keys());
        let now = Database::holders(beside).await?;
        left.retain(|provider, old| {
            let other = now.get(*provider).is_some_and(|new| new.replica != victim && new.fence > old.fence);
            if other {
                taken.insert((*provider).clone(), (begun.elapsed(), requests(provider)));
            }
            !other
        });
        taken.retain(|provider, (lease, before)| {
            let asked = requests(provider) > *before;
            if asked {
                changes.push(Change { lease: *lease, request: begun.elapsed() });
            }
            !asked
        });
        tokio::time::sleep(LOOK).await;
    }
    if end == End::Stopped {
        let status = gateway.died().await?;
        ensure!(status.success(), "a stop in order ended with {status}:\n{}", gateway.last_words());
    }
    gateway.up(Orders::new()).await?;
    Ok(changes)
}

/// Waits until every gateway drives something and nothing has moved for a while.
async fn at_rest(house: &House, beside: &mut PgConnection) -> anyhow::Result<BTreeMap<String, Holder>> {
    let begun = Instant::now();
    let (mut holders, mut since) = (BTreeMap::new(), begun);
    loop {
        let now = Database::holders(beside).await?;
        if now != holders {
            (holders, since) = (now, Instant::now());
        }
        let all =
            (0..house.gateways.len()).all(|n| holders.values().any(|holder| holder.replica == name_of(n)));
        if all && since.elapsed() >= REST {
            return Ok(holders);
        }
        ensure!(begun.elapsed() < PATIENCE, "the providers are never spread: {holders:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
