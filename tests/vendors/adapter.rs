//! A real adapter from a simulator's table, built as the program builds it from its configuration.

use std::sync::Arc;

use drydock::domain::id::ProviderId;
use drydock::kit::clock::Clock;
use drydock::vendors;
use drydock::vendors::contract::Vendor;
use drydock::vendors::http::HttpClient;
use drydock::vendors::settings::{COMMON_KEYS, CommonSettings};
use serde::Deserialize;

/// An adapter, and what its table says for all vendors alike. Without `limits`, nothing but the simulator holds it up.
pub fn adapter(provider: &str, mut table: toml::Table) -> (CommonSettings, Arc<dyn Vendor>) {
    let name = table.remove("vendor").expect("a table names its vendor");
    let entry = vendors::entry(name.as_str().unwrap()).unwrap();
    let (mut common, own): (toml::Table, toml::Table) =
        table.into_iter().partition(|(key, _)| COMMON_KEYS.contains(&key.as_str()));
    let unlimited = toml::toml! {
        requests_per_second = 10000.0
        burst = 10000
        max_concurrent_requests = 100
        request_timeout_ms = 5000
    };
    common.entry("limits").or_insert_with(|| unlimited.into());
    let common = CommonSettings::deserialize(toml::Value::Table(common)).unwrap();
    assert_eq!(common.faults(), [], "the table is one that the program takes");
    let build = (entry.configure)(&common, own).unwrap_or_else(|faults| panic!("{faults:?}"));
    let id = ProviderId::parse(provider).unwrap();
    let http = HttpClient::build(entry.name, id.clone(), &common.limits, &common.tls).unwrap();
    let vendor = build(id, http, Clock::system());
    (common, vendor)
}
