//! The storm: gateways killed, frozen and stopped, vendors with faults, connections cut, the database restarted, all
//! by dice.

use std::time::Duration;

use anyhow::Context as _;
use drydock::kit::crash_point::{ARMABLE, CrashPoint};
use drydock::simulators::{Fault, Route};
use tokio::time::Instant;

use super::backend::Storage;
use super::dice::Dice;
use super::fleet::{Fleet, Kind};
use super::harm::{self, Harm, Harms, Place};
use super::house::House;
use super::options::Options;
use super::process::{Gateway, Orders};
use super::proxy::{Cut, Proxy};
use super::report::Tally;
use super::server::Stop;
use super::sleepers::{Sleepers, past};

const ROUTES: [Option<Route>; 6] = [
    None,
    Some(Route::Login),
    Some(Route::Submit),
    Some(Route::Observe),
    Some(Route::Cancel),
    Some(Route::Inventory),
];
/// What a vendor may be at fault in.
pub const FAULTS: [Fault; 13] = [
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::DelayMs(300),
    Fault::DelayMs(1700),
    Fault::TooManyRequests(0),
    Fault::TooManyRequests(1),
    Fault::HtmlBefore(502),
    Fault::HtmlAfter(504),
    Fault::Truncated,
    Fault::WrongTypes,
    Fault::UnknownEnum,
    Fault::MissingOptional,
    Fault::ExpiredSession,
];

/// Harm that needs a request of the right kind to strike; chance alone would leave some of it untried.
fn rare() -> Vec<Harm> {
    let starts = Cut::ALL.map(Harm::Start);
    starts.into_iter().chain(FAULTS.map(Harm::Fault)).chain([Harm::VendorAway]).collect()
}

/// Each round begins with one rare harm, at every vendor, taken in turn by the round's seed.
fn begin(house: &House, seed: u64, lease: Duration, dice: &mut Dice) -> anyhow::Result<()> {
    let rare = rare();
    let nth = usize::try_from(seed % rare.len() as u64)?;
    let Some(harm) = rare.get(nth) else { return Ok(()) };
    for provider in ["zs", "vc", "av", "hw"] {
        match harm {
            Harm::Start(cut) => house.fleet.cut_start(provider, *cut)?,
            Harm::Fault(fault) => house.fleet.fault(provider, None, *fault, 6)?,
            // The others are well: one vendor's outage must not be felt at another.
            _ if provider == "vc" => go_away(&house.fleet, provider, lease, dice)?,
            _ => {}
        }
    }
    Ok(())
}

/// Rages for a while, then leaves every gateway up, every vendor well and the store there.
pub async fn rage(
    house: &mut House,
    options: &Options,
    seed: u64,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let shared = house.storage.is_shared();
    let (harms, lease) = (house.harms.clone(), options.lease());
    let mut asleep = Sleepers::default();
    begin(house, seed, lease, dice)?;
    let until = Instant::now() + options.storm();
    while Instant::now() < until {
        if shared {
            strike_shared(house, lease, &mut asleep, dice, tally).await?;
        } else {
            strike(house, lease, dice, tally).await?;
        }
        asleep.wake(&mut house.gateways, lease, dice, &harms).await?;
        for gateway in &mut house.gateways {
            revive(gateway, shared, &harms, dice, tally).await?;
        }
        let wait = if shared { dice.within(20, 160) } else { dice.within(10, 120) };
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    // What is to last longer than a lease does so.
    while let Some(until) = house.fleet.away_until().max(house.storage.away_until()) {
        tokio::time::sleep_until(until).await;
    }
    house.fleet.heal();
    house.storage.heal();
    asleep.wake(&mut house.gateways, lease, dice, &harms).await?;
    while let Some(until) = house.gateways.iter().filter_map(Gateway::frozen_until).min() {
        tokio::time::sleep_until(until).await;
        asleep.wake(&mut house.gateways, lease, dice, &harms).await?;
    }
    for gateway in &mut house.gateways {
        if !gateway.runs()? || gateway.has_orders() {
            let from = harm::now();
            gateway.kill().await?;
            harms.done(Harm::Kill, Place::Gateway, from, harm::now());
            gateway.up(Orders::new()).await?;
        }
    }
    Ok(())
}

/// Something happens to a gateway that has its store for itself, or to a vendor.
async fn strike(
    house: &mut House,
    lease: Duration,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let victim = dice.below(house.gateways.len());
    let House { fleet, harms, gateways, .. } = house;
    let Some(gateway) = gateways.get_mut(victim) else { return Ok(()) };
    let provider = dice.pick(&Kind::ALL).map_or("zs", Kind::provider);
    match dice.within(0, 99) {
        0..35 => kill(gateway, false, harms, dice, tally).await,
        35..40 => stop(gateway, false, harms, dice).await,
        40..50 => {
            let from = harm::now();
            if gateway.signal("STOP").await? {
                tokio::time::sleep(Duration::from_millis(dice.within(20, 500))).await;
                gateway.signal("CONT").await?;
                harms.done(Harm::Freeze, Place::Gateway, from, harm::now());
            }
            Ok(())
        }
        50..75 => spoil(fleet, provider, dice),
        75..77 => go_away(fleet, provider, lease, dice),
        77..88 => cut(fleet, provider, dice),
        _ => cut_start(fleet, provider, dice),
    }
}

/// Something happens to one of several gateways, to a vendor, or to what the gateways share.
async fn strike_shared(
    house: &mut House,
    lease: Duration,
    asleep: &mut Sleepers,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let victim = dice.below(house.gateways.len());
    let House { fleet, storage, harms, gateways, .. } = house;
    let Some(gateway) = gateways.get_mut(victim) else { return Ok(()) };
    let provider = dice.pick(&Kind::ALL).map_or("zs", Kind::provider);
    match dice.within(0, 99) {
        0..20 => kill(gateway, true, harms, dice, tally).await,
        20..26 => stop(gateway, true, harms, dice).await,
        26..34 => {
            let until = Instant::now() + Duration::from_millis(dice.within(20, 800));
            if !gateway.is_frozen() && gateway.freeze(until).await? {
                asleep.fell_asleep(victim, Harm::Freeze, harms);
            }
            Ok(())
        }
        34..44 => {
            let until = Instant::now() + past(lease, dice);
            if !gateway.is_frozen() && gateway.freeze(until).await? {
                asleep.fell_asleep(victim, Harm::Oversleep, harms);
            }
            Ok(())
        }
        44..48 => {
            let (how, from) = (dice.pick(&[Stop::Fast, Stop::Immediate]).unwrap_or(Stop::Fast), harm::now());
            storage.restart(how, Duration::from_millis(dice.within(0, 500))).await?;
            harms.done(Harm::Restart, Place::Database, from, harm::now());
            Ok(())
        }
        48..50 => {
            if storage.away_until().is_none() {
                harms.arm(Harm::DatabaseAway);
                storage.go_away(Instant::now() + past(lease, dice));
            }
            Ok(())
        }
        // Done or not: the answer to a commit is lost.
        50..59 => wire(storage, victim, dice, |wire, dice, cut| {
            harms.arm(Harm::Commit(cut));
            wire.cut_marked(dice.below(3), cut);
        }),
        59..65 => wire(storage, victim, dice, |wire, dice, cut| {
            harms.arm(Harm::Statement(cut));
            wire.cut(dice.below(12), cut);
        }),
        65..69 => wire(storage, victim, dice, |wire, _, _| {
            harms.arm(Harm::Sever);
            if wire.sever() > 0 {
                harms.strike(Harm::Sever, Place::Database);
            }
        }),
        69..83 => spoil(fleet, provider, dice),
        83..85 => go_away(fleet, provider, lease, dice),
        85..92 => cut(fleet, provider, dice),
        _ => cut_start(fleet, provider, dice),
    }
}

async fn kill(
    gateway: &mut Gateway,
    shared: bool,
    harms: &Harms,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let from = harm::now();
    gateway.kill().await?;
    harms.done(Harm::Kill, Place::Gateway, from, harm::now());
    tally.kills += 1;
    tokio::time::sleep(Duration::from_millis(dice.within(0, 200))).await;
    gateway.up(orders(shared, harms, dice)).await?;
    Ok(())
}

async fn stop(gateway: &mut Gateway, shared: bool, harms: &Harms, dice: &mut Dice) -> anyhow::Result<()> {
    // One that was ordered to fail may do so on the way out, and one that sleeps hears nothing.
    if !gateway.has_orders() && !gateway.is_frozen() && gateway.runs()? {
        let from = harm::now();
        gateway.terminate().await?;
        harms.done(Harm::Stop, Place::Gateway, from, harm::now());
        gateway.up(orders(shared, harms, dice)).await?;
    }
    Ok(())
}

fn spoil(fleet: &Fleet, provider: &str, dice: &mut Dice) -> anyhow::Result<()> {
    let (route, fault) = (dice.pick(&ROUTES).flatten(), dice.pick(&FAULTS));
    let times = u32::try_from(dice.within(1, 3))?;
    fault.map_or(Ok(()), |fault| fleet.fault(provider, route, fault, times))
}

fn cut(fleet: &Fleet, provider: &str, dice: &mut Dice) -> anyhow::Result<()> {
    dice.pick(&Cut::ALL).map_or(Ok(()), |cut| fleet.cut(provider, dice.below(4), cut))
}

/// Done or not: the answer to a start is lost.
fn cut_start(fleet: &Fleet, provider: &str, dice: &mut Dice) -> anyhow::Result<()> {
    dice.pick(&Cut::ALL).map_or(Ok(()), |cut| fleet.cut_start(provider, cut))
}

/// Nobody reaches a vendor for longer than a lease. One at a time.
fn go_away(fleet: &Fleet, provider: &str, lease: Duration, dice: &mut Dice) -> anyhow::Result<()> {
    match fleet.away_until() {
        Some(_) => Ok(()),
        None => fleet.go_away(provider, Instant::now() + past(lease, dice)),
    }
}

fn wire(
    storage: &Storage,
    replica: usize,
    dice: &mut Dice,
    harm: impl FnOnce(&Proxy, &mut Dice, Cut),
) -> anyhow::Result<()> {
    let wire = storage.wire(replica).context("a store that is shared has wires")?;
    if let Some(cut) = dice.pick(&Cut::ALL) {
        harm(wire, dice, cut);
    }
    Ok(())
}

/// Starts a gateway again that ended as it was ordered to.
async fn revive(
    gateway: &mut Gateway,
    shared: bool,
    harms: &Harms,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    for _ in 0..3 {
        if gateway.runs()? {
            return Ok(());
        }
        anyhow::ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
        tally.crashes += 1;
        gateway.up(orders(shared, harms, dice)).await?;
    }
    Ok(())
}

/// What the next process is told, in a build that can be told anything: to crash somewhere, to stand still somewhere
/// until its lease has run out, or to lose the answer of a commit.
fn orders(shared: bool, harms: &Harms, dice: &mut Dice) -> Orders {
    let (order, point, visit) = (dice.within(0, 3), dice.pick(CrashPoint::ALL), dice.within(1, 3));
    let (harm, variable, point) = match (ARMABLE, order, point) {
        (true, 0, Some(point)) => (Harm::Crash, "DRYDOCK_CRASH_AT", point),
        (true, 1, Some(point)) if shared => (Harm::OversleepAtPoint, "DRYDOCK_STOP_AT", point),
        (true, 2, _) => (Harm::LoseCommit, "DRYDOCK_LOSE_AT", CrashPoint::CommitDone),
        _ => return Orders::new(),
    };
    harms.arm(harm);
    vec![(variable, format!("{}:{visit}", point.as_str()))]
}
