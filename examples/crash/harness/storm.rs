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
use super::house::House;
use super::options::Options;
use super::process::{Gateway, Orders};
use super::proxy::{Cut, Proxy};
use super::report::Tally;
use super::server::Stop;

const ROUTES: [Option<Route>; 6] = [
    None,
    Some(Route::Login),
    Some(Route::Submit),
    Some(Route::Observe),
    Some(Route::Cancel),
    Some(Route::Inventory),
];
const FAULTS: [Fault; 13] = [
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

/// Rages for a while, then leaves every gateway up, every vendor well and the store there.
pub async fn rage(
    house: &mut House,
    options: &Options,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let shared = house.storage.is_shared();
    let until = Instant::now() + options.storm();
    while Instant::now() < until {
        if shared {
            strike_shared(house, options.lease(), dice, tally).await?;
        } else {
            strike(house, dice, tally).await?;
        }
        for gateway in &mut house.gateways {
            tally.overslept += u64::from(gateway.note_stop(past(options.lease(), dice)));
            gateway.thaw().await?;
            revive(gateway, shared, dice, tally).await?;
        }
        let wait = if shared { dice.within(20, 160) } else { dice.within(10, 120) };
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    house.fleet.heal();
    house.storage.heal();
    for gateway in &mut house.gateways {
        tally.overslept += u64::from(gateway.note_stop(past(options.lease(), dice)));
    }
    while let Some(until) = house.gateways.iter().filter_map(Gateway::frozen_until).min() {
        tokio::time::sleep_until(until).await;
        for gateway in &mut house.gateways {
            gateway.thaw().await?;
        }
    }
    for gateway in &mut house.gateways {
        if !gateway.runs()? || gateway.has_orders() {
            gateway.kill().await?;
            gateway.up(Orders::new()).await?;
        }
    }
    Ok(())
}

/// Something happens to a gateway that has its store for itself, or to a vendor.
async fn strike(house: &mut House, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    let victim = dice.below(house.gateways.len());
    let Some(gateway) = house.gateways.get_mut(victim) else { return Ok(()) };
    let provider = dice.pick(&Kind::ALL).map_or("zs", Kind::provider);
    match dice.within(0, 99) {
        0..35 => kill(gateway, false, dice, tally).await,
        35..40 => stop(gateway, false, dice, tally).await,
        40..50 => {
            if gateway.signal("STOP").await? {
                tally.frozen += 1;
                tokio::time::sleep(Duration::from_millis(dice.within(20, 500))).await;
                gateway.signal("CONT").await?;
            }
            Ok(())
        }
        50..78 => spoil(&house.fleet, provider, dice, tally),
        _ => cut(&house.fleet, provider, dice, tally),
    }
}

/// Something happens to one of several gateways, to a vendor, or to what the gateways share.
async fn strike_shared(
    house: &mut House,
    lease: Duration,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let victim = dice.below(house.gateways.len());
    let House { fleet, storage, gateways, .. } = house;
    let Some(gateway) = gateways.get_mut(victim) else { return Ok(()) };
    let provider = dice.pick(&Kind::ALL).map_or("zs", Kind::provider);
    match dice.within(0, 99) {
        0..20 => kill(gateway, true, dice, tally).await,
        20..26 => stop(gateway, true, dice, tally).await,
        26..34 => {
            let until = Instant::now() + Duration::from_millis(dice.within(20, 800));
            tally.frozen += u64::from(!gateway.is_frozen() && gateway.freeze(until).await?);
            Ok(())
        }
        34..46 => {
            let until = Instant::now() + past(lease, dice);
            tally.overslept += u64::from(!gateway.is_frozen() && gateway.freeze(until).await?);
            Ok(())
        }
        46..51 => {
            let how = dice.pick(&[Stop::Fast, Stop::Immediate]).unwrap_or(Stop::Fast);
            storage.restart(how, Duration::from_millis(dice.within(0, 500))).await?;
            tally.restarts += 1;
            Ok(())
        }
        // Done or not: the answer to a commit is lost.
        51..60 => wire(storage, victim, dice, tally, |wire, dice, cut| wire.cut_commit(dice.below(3), cut)),
        60..66 => wire(storage, victim, dice, tally, |wire, dice, cut| wire.cut(dice.below(12), cut)),
        66..70 => wire(storage, victim, dice, tally, |wire, _, _| wire.sever()),
        70..86 => spoil(fleet, provider, dice, tally),
        _ => cut(fleet, provider, dice, tally),
    }
}

/// Somewhat longer than a lease.
fn past(lease: Duration, dice: &mut Dice) -> Duration {
    lease + Duration::from_millis(dice.within(100, 1500))
}

async fn kill(gateway: &mut Gateway, shared: bool, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    gateway.kill().await?;
    tally.kills += 1;
    tokio::time::sleep(Duration::from_millis(dice.within(0, 200))).await;
    gateway.up(orders(shared, dice)).await?;
    Ok(())
}

async fn stop(gateway: &mut Gateway, shared: bool, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    // One that was ordered to fail may do so on the way out, and one that sleeps hears nothing.
    if !gateway.has_orders() && !gateway.is_frozen() && gateway.runs()? {
        gateway.terminate().await?;
        tally.stops += 1;
        gateway.up(orders(shared, dice)).await?;
    }
    Ok(())
}

fn spoil(fleet: &Fleet, provider: &str, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    let (route, fault) = (dice.pick(&ROUTES).flatten(), dice.pick(&FAULTS));
    let times = u32::try_from(dice.within(1, 3))?;
    if let Some(fault) = fault {
        fleet.fault(provider, route, fault, times)?;
        tally.faults += 1;
    }
    Ok(())
}

fn cut(fleet: &Fleet, provider: &str, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    if let Some(cut) = dice.pick(&Cut::ALL) {
        fleet.cut(provider, dice.below(4), cut)?;
        tally.cuts += 1;
    }
    Ok(())
}

fn wire(
    storage: &Storage,
    replica: usize,
    dice: &mut Dice,
    tally: &mut Tally,
    harm: impl FnOnce(&Proxy, &mut Dice, Cut),
) -> anyhow::Result<()> {
    let wire = storage.wire(replica).context("a store that is shared has wires")?;
    if let Some(cut) = dice.pick(&Cut::ALL) {
        harm(wire, dice, cut);
        tally.wires += 1;
    }
    Ok(())
}

/// Starts a gateway again that ended as it was ordered to.
async fn revive(
    gateway: &mut Gateway,
    shared: bool,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    for _ in 0..3 {
        if gateway.runs()? {
            return Ok(());
        }
        anyhow::ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
        tally.crashes += 1;
        gateway.up(orders(shared, dice)).await?;
    }
    Ok(())
}

/// What the next process is told, in a build that can be told anything: to crash somewhere, to stand still somewhere
/// until its lease has run out, or to lose the answer of a commit.
fn orders(shared: bool, dice: &mut Dice) -> Orders {
    let (order, point, visit) = (dice.within(0, 3), dice.pick(CrashPoint::ALL), dice.within(1, 3));
    match (ARMABLE, order, point) {
        (true, 0, Some(point)) => vec![("DRYDOCK_CRASH_AT", format!("{}:{visit}", point.as_str()))],
        (true, 1, Some(point)) if shared => vec![("DRYDOCK_STOP_AT", format!("{}:{visit}", point.as_str()))],
        (true, 2, _) => vec![("DRYDOCK_LOSE_AT", format!("{}:{visit}", CrashPoint::CommitDone.as_str()))],
        _ => Orders::new(),
    }
}
