//! The storm: gateways killed, frozen and stopped, vendors with faults, connections cut, the database restarted, all
//! by dice.

use std::time::Duration;

use drydock::simulators::Fault;
use tokio::time::Instant;

use super::blows::Blows;
use super::dice::Dice;
use super::fleet::Kind;
use super::harm::{self, Harm, Place};
use super::house::House;
use super::options::Options;
use super::process::{Gateway, Orders};
use super::proxy::Cut;
use super::report::Tally;
use super::server::Stop;
use super::sleepers::{Sleepers, past};

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
fn begin(house: &House, seed: u64, blows: &mut Blows<'_>) -> anyhow::Result<()> {
    let rare = rare();
    let nth = usize::try_from(seed % rare.len() as u64)?;
    let Some(harm) = rare.get(nth) else { return Ok(()) };
    for provider in ["zs", "vc", "av", "hw"] {
        match harm {
            Harm::Start(cut) => house.fleet.cut_start(provider, *cut)?,
            Harm::Fault(fault) => house.fleet.fault(provider, None, *fault, 6)?,
            // The others are well: one vendor's outage must not be felt at another.
            _ if provider == "vc" => blows.go_away(&house.fleet, provider)?,
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
    let mut blows = Blows { shared, lease, harms: &harms, dice, tally };
    begin(house, seed, &mut blows)?;
    let until = Instant::now() + options.storm();
    while Instant::now() < until {
        if shared {
            strike_shared(house, &mut asleep, &mut blows).await?;
        } else {
            strike(house, &mut blows).await?;
        }
        asleep.wake(&mut house.gateways, lease, blows.dice, &harms).await?;
        for gateway in &mut house.gateways {
            blows.revive(gateway).await?;
        }
        let wait = if shared { blows.dice.within(20, 160) } else { blows.dice.within(10, 120) };
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

/// Whom the next strike hits: a gateway by its number, and a vendor by its provider.
fn aim(house: &House, dice: &mut Dice) -> (usize, &'static str) {
    let victim = dice.below(house.gateways.len());
    (victim, dice.pick(&Kind::ALL).map_or("zs", Kind::provider))
}

/// Something happens to a gateway that has its store for itself, or to a vendor.
async fn strike(house: &mut House, blows: &mut Blows<'_>) -> anyhow::Result<()> {
    let (victim, provider) = aim(house, blows.dice);
    let House { fleet, gateways, .. } = house;
    let Some(gateway) = gateways.get_mut(victim) else { return Ok(()) };
    match blows.dice.within(0, 99) {
        0..35 => blows.kill(gateway).await,
        35..40 => blows.stop(gateway).await,
        40..50 => {
            let from = harm::now();
            if gateway.signal("STOP").await? {
                tokio::time::sleep(Duration::from_millis(blows.dice.within(20, 500))).await;
                gateway.signal("CONT").await?;
                blows.harms.done(Harm::Freeze, Place::Gateway, from, harm::now());
            }
            Ok(())
        }
        50..75 => blows.spoil(fleet, provider),
        75..77 => blows.go_away(fleet, provider),
        77..88 => blows.cut(fleet, provider),
        _ => blows.cut_start(fleet, provider),
    }
}

/// Something happens to one of several gateways, to a vendor, or to what the gateways share.
async fn strike_shared(
    house: &mut House,
    asleep: &mut Sleepers,
    blows: &mut Blows<'_>,
) -> anyhow::Result<()> {
    let (victim, provider) = aim(house, blows.dice);
    let House { fleet, storage, harms, gateways, .. } = house;
    let Some(gateway) = gateways.get_mut(victim) else { return Ok(()) };
    match blows.dice.within(0, 99) {
        0..20 => blows.kill(gateway).await,
        20..26 => blows.stop(gateway).await,
        26..34 => {
            let until = Instant::now() + Duration::from_millis(blows.dice.within(20, 800));
            if !gateway.is_frozen() && gateway.freeze(until).await? {
                asleep.fell_asleep(victim, Harm::Freeze, harms);
            }
            Ok(())
        }
        34..44 => {
            let until = Instant::now() + past(blows.lease, blows.dice);
            if !gateway.is_frozen() && gateway.freeze(until).await? {
                asleep.fell_asleep(victim, Harm::Oversleep, harms);
            }
            Ok(())
        }
        44..48 => {
            let how = blows.dice.pick(&[Stop::Fast, Stop::Immediate]).unwrap_or(Stop::Fast);
            let from = harm::now();
            storage.restart(how, Duration::from_millis(blows.dice.within(0, 500))).await?;
            harms.done(Harm::Restart, Place::Database, from, harm::now());
            Ok(())
        }
        48..50 => {
            if storage.away_until().is_none() {
                harms.arm(Harm::DatabaseAway);
                storage.go_away(Instant::now() + past(blows.lease, blows.dice));
            }
            Ok(())
        }
        // Done or not: the answer to a commit is lost.
        50..59 => blows.wire(storage, victim, |wire, dice, cut| {
            harms.arm(Harm::Commit(cut));
            wire.cut_marked(dice.below(3), cut);
        }),
        59..65 => blows.wire(storage, victim, |wire, dice, cut| {
            harms.arm(Harm::Statement(cut));
            wire.cut(dice.below(12), cut);
        }),
        65..69 => blows.wire(storage, victim, |wire, _, _| {
            harms.arm(Harm::Sever);
            if wire.sever() > 0 {
                harms.strike(Harm::Sever, Place::Database);
            }
        }),
        69..83 => blows.spoil(fleet, provider),
        83..85 => blows.go_away(fleet, provider),
        85..92 => blows.cut(fleet, provider),
        _ => blows.cut_start(fleet, provider),
    }
}
