//! `deploy/drydock.example.toml` names every key, and every default that it shows is the true one.

use serde::de::DeserializeOwned;

use super::*;
use crate::kit::table::{self, Rule};

const EXAMPLE: &str = include_str!("../../../deploy/drydock.example.toml");

/// The example's lines; those that show a default only (`# key = value`) are switched on when asked.
fn example(with_defaults: bool) -> String {
    let is_key = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(shown) if with_defaults && shown.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => shown,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn load_example(with_defaults: bool) -> Config {
    // The variables that the example says it takes its secrets from.
    let names =
        EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|l| l.starts_with("DRYDOCK__P"));
    let secrets = names.map(|name| (name.to_owned(), Ok("an-example-secret".to_owned())));
    let mut layers = Layers::new(example(with_defaults).parse().unwrap());
    let mut faults = Vec::new();
    Environment(secrets.collect()).lay_over(&mut layers, &mut faults);
    validate::check(layers, Otlp::default(), faults).unwrap()
}

#[test]
fn the_defaults_that_it_shows_are_the_true_ones() {
    assert_ne!(example(true), example(false));
    assert_eq!(format!("{:#?}", load_example(true)), format!("{:#?}", load_example(false)));
}

#[test]
fn it_has_a_provider_of_every_vendor() {
    let mut shown: Vec<_> = load_example(false).providers.iter().map(|provider| provider.vendor).collect();
    let mut known: Vec<_> = crate::vendors::VENDORS.iter().map(|entry| entry.name).collect();
    shown.sort_unstable();
    known.sort_unstable();
    assert_eq!(shown, known);
}

/// The keys that a section knows, by its own word.
fn keys<T: DeserializeOwned>() -> Vec<String> {
    let (_, faults) = table::read::<T>(Table::from_iter([("no_such_key".to_owned(), Value::from(1))]));
    faults
        .into_iter()
        .find_map(|fault| match fault.rule {
            Rule::Unknown { known } => Some(known),
            Rule::Missing | Rule::Unfit(_) => None,
        })
        .unwrap()
}

#[test]
fn it_names_every_key() {
    use crate::vendors::settings::{CommonSettings, Limits, Poll, Tls};

    let sections = [
        keys::<crate::api::settings::GrpcSettings>(),
        keys::<crate::api::settings::TlsSettings>(),
        keys::<crate::app::admin::AdminSettings>(),
        keys::<crate::store::settings::StoreSettings>(),
        keys::<crate::engine::settings::EngineSettings>(),
        keys::<crate::telemetry::settings::TelemetrySettings>(),
        keys::<CommonSettings>(),
        keys::<Limits>(),
        keys::<Poll>(),
        keys::<Tls>(),
    ];
    for key in sections.iter().flatten() {
        let named = |line: &str| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("{key} = ")) || line.starts_with('[') && line.contains(key.as_str())
        };
        assert!(EXAMPLE.lines().any(named), "`{key}` is not in the example");
    }
}
