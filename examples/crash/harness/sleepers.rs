//! Gateways that sleep through a storm, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::dice::Dice;
use super::harm::{self, Harm, Harms, Place};
use super::process::Gateway;

/// Gateways that are frozen, and the harm that is.
#[derive(Default)]
pub struct Sleepers(BTreeMap<usize, (Harm, Timestamp)>);

impl Sleepers {
    /// Notes that a gateway was frozen just now.
    pub fn fell_asleep(&mut self, gateway: usize, harm: Harm, harms: &Harms) {
        harms.arm(harm);
        self.0.insert(gateway, (harm, harm::now()));
    }

    /// Wakes those whose time has come, and writes down how long they slept; also of those that were killed asleep.
    pub async fn wake(
        &mut self,
        gateways: &mut [Gateway],
        lease: Duration,
        dice: &mut Dice,
        harms: &Harms,
    ) -> anyhow::Result<()> {
        for (n, gateway) in gateways.iter_mut().enumerate() {
            if gateway.note_stop(past(lease, dice)) {
                // It was armed with its order.
                self.0.insert(n, (Harm::OversleepAtPoint, harm::now()));
            }
            gateway.thaw().await?;
            if !gateway.is_frozen()
                && let Some((harm, from)) = self.0.remove(&n)
            {
                harms.strike_since(harm, Place::Gateway, from);
            }
        }
        Ok(())
    }
}

/// Somewhat longer than a lease.
pub fn past(lease: Duration, dice: &mut Dice) -> Duration {
    lease + Duration::from_millis(dice.within(100, 1500))
}
