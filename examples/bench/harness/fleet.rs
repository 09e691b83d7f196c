//! The simulated vendors, each behind a tap. They live in the bench's own process, so what they cost is not the
//! gateway's.

use std::net::SocketAddr;

use anyhow::Context as _;
use drydock::simulators::zstack::SimZstack;
use drydock::simulators::{Pace, Settings, Simulator, avisi, huawei, vsphere, zstack};
use drydock::vendors;
use toml::{Table, Value};

use super::tap::{Passed, Tap};

/// How much faster than life they run: an upgrade of an hour takes some seconds.
const SPEED: f64 = 1000.0;

struct Member {
    id: String,
    simulator: Box<dyn Simulator>,
    tap: Tap,
}

/// The vendors.
pub struct Fleet(Vec<Member>);

impl Fleet {
    /// Starts so many providers, one vendor after the other, with so many targets each. Operations that begin are held
    /// where every vendor shows them under way, if `held`.
    pub async fn start(providers: usize, targets: usize, held: bool) -> anyhow::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings { address, targets, pace: Pace::new(SPEED) };
        let mut members = Vec::new();
        for n in 0..providers {
            let simulator: Box<dyn Simulator> = match n % 4 {
                0 => Box::new(SimZstack::start(settings).await?),
                1 => Box::new(vsphere::start(settings).await?),
                2 => Box::new(avisi::start(settings).await?),
                _ => Box::new(huawei::start(settings).await?),
            };
            simulator.hold().set(held);
            let behind = simulator.base();
            let behind = behind.strip_prefix("http://").context("a simulator's base")?.parse()?;
            let id = format!("{}-{n}", simulator.vendor());
            members.push(Member { id, simulator, tap: Tap::start(behind).await? });
        }
        Ok(Self(members))
    }

    /// The providers' tables, and their secrets (provider, key, value) taken out of them.
    pub fn providers(&self) -> (Table, Vec<(String, String, String)>) {
        let (mut all, mut secrets) = (Table::new(), Vec::new());
        for Member { id, simulator, tap } in &self.0 {
            let (base, front) = (simulator.base(), format!("http://{}", tap.address()));
            let mut table = simulator.provider();
            for (_, value) in table.iter_mut() {
                if let Value::String(text) = value {
                    *text = text.replace(&base, &front);
                }
            }
            for key in vendors::entry(simulator.vendor()).map_or(&[][..], |entry| entry.secret_keys) {
                if let Some(Value::String(secret)) = table.remove(*key) {
                    secrets.push((id.clone(), (*key).to_owned(), secret));
                }
            }
            all.insert(id.clone(), table.into());
        }
        (all, secrets)
    }

    /// The providers' ids.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|member| member.id.clone()).collect()
    }

    /// The resource name of each provider's `n`th target.
    pub fn targets(&self, n: usize) -> Vec<String> {
        let target = |member: &Member| {
            let (collection, id) = match member.simulator.vendor() {
                "zstack" => ("clusters", zstack::target_id(n)),
                "vsphere" => ("supervisors", vsphere::supervisor_id(n)),
                "avisi" => ("clusters", avisi::target_id(n)),
                _ => ("instances", huawei::instance_id(n)),
            };
            format!("providers/{}/{collection}/{id}", member.id)
        };
        self.0.iter().map(target).collect()
    }

    /// What was asked of the vendors since this was asked last: by provider.
    pub fn passed(&self) -> Vec<(String, Vec<Passed>)> {
        self.0.iter().map(|member| (member.id.clone(), member.tap.take())).collect()
    }

    /// Stops everything.
    pub async fn stop(&self) {
        for Member { simulator, tap, .. } in &self.0 {
            tap.stop().await;
            simulator.stop().await;
        }
    }
}
