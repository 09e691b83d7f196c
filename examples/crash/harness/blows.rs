//! The single blows of a storm: what one of them does to a gateway, to a vendor, or to a wire.

use std::time::Duration;

use anyhow::Context as _;
use drydock::kit::crash_point::{ARMABLE, CrashPoint};
use drydock::simulators::Route;
use tokio::time::Instant;

use super::backend::Storage;
use super::dice::Dice;
use super::fleet::Fleet;
use super::harm::{self, Harm, Harms, Place};
use super::process::{Gateway, Orders};
use super::proxy::{Cut, Proxy};
use super::report::Tally;
use super::sleepers::past;
use super::storm::FAULTS;

const ROUTES: [Option<Route>; 6] = [
    None,
    Some(Route::Login),
    Some(Route::Submit),
    Some(Route::Observe),
    Some(Route::Cancel),
    Some(Route::Inventory),
];

/// What blows are dealt with, and where they are counted.
pub struct Blows<'a> {
    /// The gateways share their store.
    pub shared: bool,
    pub lease: Duration,
    pub harms: &'a Harms,
    pub dice: &'a mut Dice,
    pub tally: &'a mut Tally,
}

impl Blows<'_> {
    /// Kills a gateway, and starts it again soon.
    pub async fn kill(&mut self, gateway: &mut Gateway) -> anyhow::Result<()> {
        let from = harm::now();
        gateway.kill().await?;
        self.harms.done(Harm::Kill, Place::Gateway, from, harm::now());
        self.tally.kills += 1;
        tokio::time::sleep(Duration::from_millis(self.dice.within(0, 200))).await;
        gateway.up(self.orders()).await?;
        Ok(())
    }

    /// Has a gateway end in order, and starts it again.
    pub async fn stop(&mut self, gateway: &mut Gateway) -> anyhow::Result<()> {
        // One that was ordered to fail may do so on the way out, and one that sleeps hears nothing.
        if !gateway.has_orders() && !gateway.is_frozen() && gateway.runs()? {
            let from = harm::now();
            gateway.terminate().await?;
            self.harms.done(Harm::Stop, Place::Gateway, from, harm::now());
            gateway.up(self.orders()).await?;
        }
        Ok(())
    }

    /// Starts a gateway again that ended as it was ordered to.
    pub async fn revive(&mut self, gateway: &mut Gateway) -> anyhow::Result<()> {
        for _ in 0..3 {
            if gateway.runs()? {
                return Ok(());
            }
            anyhow::ensure!(gateway.has_orders(), "a gateway ended by itself:\n{}", gateway.last_words());
            self.tally.crashes += 1;
            gateway.up(self.orders()).await?;
        }
        Ok(())
    }

    /// Lets a vendor have a fault.
    pub fn spoil(&mut self, fleet: &Fleet, provider: &str) -> anyhow::Result<()> {
        let (route, fault) = (self.dice.pick(&ROUTES).flatten(), self.dice.pick(&FAULTS));
        let times = u32::try_from(self.dice.within(1, 3))?;
        fault.map_or(Ok(()), |fault| fleet.fault(provider, route, fault, times))
    }

    /// Cuts a vendor's connection.
    pub fn cut(&mut self, fleet: &Fleet, provider: &str) -> anyhow::Result<()> {
        self.dice.pick(&Cut::ALL).map_or(Ok(()), |cut| fleet.cut(provider, self.dice.below(4), cut))
    }

    /// Done or not: the answer to a start is lost.
    pub fn cut_start(&mut self, fleet: &Fleet, provider: &str) -> anyhow::Result<()> {
        self.dice.pick(&Cut::ALL).map_or(Ok(()), |cut| fleet.cut_start(provider, cut))
    }

    /// Nobody reaches a vendor for longer than a lease. One at a time.
    pub fn go_away(&mut self, fleet: &Fleet, provider: &str) -> anyhow::Result<()> {
        match fleet.away_until() {
            Some(_) => Ok(()),
            None => fleet.go_away(provider, Instant::now() + past(self.lease, self.dice)),
        }
    }

    /// Does `harm` to a gateway's way to the database.
    pub fn wire(
        &mut self,
        storage: &Storage,
        replica: usize,
        harm: impl FnOnce(&Proxy, &mut Dice, Cut),
    ) -> anyhow::Result<()> {
        let wire = storage.wire(replica).context("a store that is shared has wires")?;
        if let Some(cut) = self.dice.pick(&Cut::ALL) {
            harm(wire, self.dice, cut);
        }
        Ok(())
    }

    /// What the next process is told, in a build that can be told anything: to crash somewhere, to stand still somewhere
    /// until its lease has run out, or to lose the answer of a commit.
    fn orders(&mut self) -> Orders {
        let (order, point) = (self.dice.within(0, 3), self.dice.pick(CrashPoint::ALL));
        let visit = self.dice.within(1, 3);
        let (harm, variable, point) = match (ARMABLE, order, point) {
            (true, 0, Some(point)) => (Harm::Crash, "DRYDOCK_CRASH_AT", point),
            (true, 1, Some(point)) if self.shared => (Harm::OversleepAtPoint, "DRYDOCK_STOP_AT", point),
            (true, 2, _) => (Harm::LoseCommit, "DRYDOCK_LOSE_AT", CrashPoint::CommitDone),
            _ => return Orders::new(),
        };
        self.harms.arm(harm);
        vec![(variable, format!("{}:{visit}", point.as_str()))]
    }
}
