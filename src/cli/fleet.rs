//! The four simulated vendors, started together.

use std::io;
use std::net::SocketAddr;

use toml::{Table, Value};

use crate::simulators::{self, Pace, Settings, Simulator};
use crate::vendors;

/// Every simulated vendor, each with the provider id that it is known by.
pub(super) struct Fleet(Vec<(String, Box<dyn Simulator>)>);

impl Fleet {
    /// Starts them on free loopback ports, with `targets` targets of each kind.
    pub(super) async fn start(targets: usize, speed: f64) -> io::Result<Self> {
        let settings =
            Settings { address: SocketAddr::from(([127, 0, 0, 1], 0)), targets, pace: Pace::new(speed) };
        let all: Vec<Box<dyn Simulator>> = vec![
            Box::new(simulators::zstack::SimZstack::start(settings).await?),
            Box::new(simulators::vsphere::start(settings).await?),
            Box::new(simulators::avisi::start(settings).await?),
            Box::new(simulators::huawei::start(settings).await?),
        ];
        Ok(Self(all.into_iter().map(|one| (format!("sim-{}", one.vendor()), one)).collect()))
    }

    /// Each with its provider id.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, &dyn Simulator)> {
        self.0.iter().map(|(id, one)| (id.as_str(), one.as_ref()))
    }

    /// The `[providers]` section that speaks to them, credentials included.
    pub(super) fn providers(&self) -> Table {
        self.0.iter().map(|(id, one)| (id.clone(), Value::Table(one.provider()))).collect()
    }

    pub(super) async fn stop(&self) {
        for (_, one) in &self.0 {
            one.stop().await;
        }
    }
}

/// A provider's table as it may stand in a file, and its secrets.
pub(super) fn without_secrets(mut table: Table) -> (Table, Vec<(&'static str, String)>) {
    let vendor = table.get("vendor").and_then(Value::as_str).unwrap_or_default();
    let keys = vendors::entry(vendor).map_or(&[][..], |entry| entry.secret_keys);
    let mut secrets = Vec::new();
    for key in keys {
        if let Some(Value::String(secret)) = table.remove(*key) {
            secrets.push((*key, secret));
        }
    }
    (table, secrets)
}
