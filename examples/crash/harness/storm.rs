//! The storm: gateways killed, frozen and stopped, vendors with faults, connections cut, all by dice.

use std::time::Duration;

use drydock::kit::crash_point::{ARMABLE, CrashPoint};
use drydock::simulators::{Fault, Route};
use tokio::time::Instant;

use super::dice::Dice;
use super::fleet::{Fleet, Kind};
use super::house::House;
use super::process::{Gateway, Orders};
use super::proxy::Cut;
use super::report::Tally;

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

/// Rages for so long, then leaves every gateway up and every vendor well.
pub async fn rage(
    house: &mut House,
    lasts: Duration,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        let House { fleet, gateways, .. } = house;
        let victim = dice.below(gateways.len());
        if let Some(gateway) = gateways.get_mut(victim) {
            strike(gateway, fleet, dice, tally).await?;
        }
        for gateway in gateways {
            revive(gateway, dice, tally).await?;
        }
        tokio::time::sleep(Duration::from_millis(dice.within(10, 120))).await;
    }
    house.fleet.heal();
    for gateway in &mut house.gateways {
        if !gateway.runs()? || gateway.has_orders() {
            gateway.kill().await?;
            gateway.up(Orders::new()).await?;
        }
    }
    Ok(())
}

async fn strike(
    gateway: &mut Gateway,
    fleet: &Fleet,
    dice: &mut Dice,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let provider = dice.pick(&Kind::ALL).map_or("zs", Kind::provider);
    match dice.within(0, 99) {
        0..35 => {
            gateway.kill().await?;
            tally.kills += 1;
            tokio::time::sleep(Duration::from_millis(dice.within(0, 200))).await;
            gateway.up(orders(dice)).await?;
        }
        35..40 => {
            // One that was ordered to fail may do so on the way out.
            if !gateway.has_orders() && gateway.runs()? {
                gateway.terminate().await?;
                tally.stops += 1;
                gateway.up(orders(dice)).await?;
            }
        }
        40..50 => {
            if gateway.signal("STOP").await? {
                tally.frozen += 1;
                tokio::time::sleep(Duration::from_millis(dice.within(20, 500))).await;
                gateway.signal("CONT").await?;
            }
        }
        50..78 => {
            let (route, fault) = (dice.pick(&ROUTES).flatten(), dice.pick(&FAULTS));
            let times = u32::try_from(dice.within(1, 3))?;
            if let Some(fault) = fault {
                fleet.fault(provider, route, fault, times)?;
                tally.faults += 1;
            }
        }
        _ => {
            if let Some(cut) = dice.pick(&Cut::ALL) {
                fleet.cut(provider, dice.below(4), cut)?;
                tally.cuts += 1;
            }
        }
    }
    Ok(())
}

/// Starts a gateway again that ended as it was ordered to.
async fn revive(gateway: &mut Gateway, dice: &mut Dice, tally: &mut Tally) -> anyhow::Result<()> {
    for _ in 0..3 {
        if gateway.runs()? {
            return Ok(());
        }
        anyhow::ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
        tally.crashes += 1;
        gateway.up(orders(dice)).await?;
    }
    Ok(())
}

/// What the next process is told, in a build that can be told anything: to crash somewhere, or to lose the answer
/// of a commit.
fn orders(dice: &mut Dice) -> Orders {
    let (crash, point, visit) = (dice.within(0, 2), dice.pick(CrashPoint::ALL), dice.within(1, 3));
    match (ARMABLE, crash, point) {
        (true, 0, Some(point)) => vec![("DRYDOCK_CRASH_AT", format!("{}:{visit}", point.as_str()))],
        (true, 1, _) => vec![("DRYDOCK_LOSE_AT", format!("{}:{visit}", CrashPoint::CommitDone.as_str()))],
        _ => Orders::new(),
    }
}
