//! The keys of an Avisi provider's table.

use std::time::Duration;

use super::auth::Pat;
use crate::kit::secret::Secret;
use crate::vendors::settings::{CommonSettings, ConfigFault};

/// Keys that hold secrets.
pub(super) const SECRET_KEYS: &[&str] = &["token", "admin_token"];
const KEYS: &str = "`organisation`, `token`, `admin_token`, `missed_margin_ms`, `settle_ms`";
/// A day: no knob of following may be longer.
const MAX_KNOB_MS: i64 = 86_400_000;

/// An Avisi provider's own settings, checked.
#[derive(Debug)]
pub(super) struct Config {
    /// The organisation's slug: a path segment of nearly every call.
    pub(super) organisation: String,
    /// The personal access token of a customer.
    pub(super) token: Pat,
    /// A token that reaches `/admin/v1`: with it scheduled upgrades can be read back and cancelled.
    pub(super) admin_token: Option<Pat>,
    /// How conclusions are drawn where the vendor reports nothing.
    pub(super) knobs: Knobs,
    /// A scheduled start nearer than this may already have been taken up by the vendor.
    pub(super) imminent: Duration,
}

/// How patient conclusions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Knobs {
    /// How long after a window's end the old version must still run before the upgrade counts as missed, and
    /// how long a cluster must rest on its old version after it was busy before the upgrade counts as failed.
    pub(super) margin: Duration,
    /// How long a cluster that was never seen busy must run another version before that is believed: the
    /// vendor may show a wanted version before it works on it.
    pub(super) settle: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { margin: Duration::from_secs(900), settle: Duration::from_secs(60) }
    }
}

/// How long the HTTP client lets a call wait for the provider's request budget, see `vendors/http/client.rs`.
const BUDGET_WAIT: Duration = Duration::from_secs(60);
/// How much the vendor's clock may differ from ours.
const SKEW: Duration = Duration::from_secs(30);

impl Config {
    /// Reads the table and reports every fault.
    pub(super) fn read(common: &CommonSettings, mut own: toml::Table) -> Result<Self, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let organisation = text(&mut own, "organisation", &mut faults);
        let token = secret(&mut own, "token", &mut faults);
        let admin_token = secret(&mut own, "admin_token", &mut faults);
        let defaults = Knobs::default();
        let knobs = Knobs {
            margin: millis(&mut own, "missed_margin_ms", defaults.margin, &mut faults),
            settle: millis(&mut own, "settle_ms", defaults.settle, &mut faults),
        };
        for key in own.keys() {
            faults.push(ConfigFault::new(key, format!("is not a key of vendor `avisi`, which has {KEYS}")));
        }
        match &organisation {
            Some(slug) if !is_slug(slug) => faults.push(ConfigFault::new(
                "organisation",
                "must be the organisation's slug: 1 to 128 letters, digits, `-`, `_` or `.`",
            )),
            None if faults.iter().all(|f| f.key != "organisation") => {
                faults.push(ConfigFault::new("organisation", "is missing: the organisation's slug"));
            }
            Some(_) | None => {}
        }
        if token.is_none() && faults.iter().all(|f| f.key != "token") {
            faults.push(ConfigFault::new(
                "token",
                "is missing: a personal access token, by `token_file` or the environment",
            ));
        }
        match (organisation, token) {
            (Some(organisation), Some(token)) if faults.is_empty() => {
                // A repeat may wait for the request budget, then for its answer; and the clocks may differ.
                let timeout = Duration::from_millis(common.limits.request_timeout_ms);
                let imminent = timeout.max(BUDGET_WAIT).saturating_add(timeout).saturating_add(SKEW);
                Ok(Self { organisation, token, admin_token, knobs, imminent })
            }
            _ => Err(faults),
        }
    }
}

fn is_slug(slug: &str) -> bool {
    (1..=128).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !slug.bytes().all(|b| b == b'.')
}

fn text(own: &mut toml::Table, key: &str, faults: &mut Vec<ConfigFault>) -> Option<String> {
    match own.remove(key)? {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => {
            faults.push(ConfigFault::new(key, "must be a text"));
            None
        }
    }
}

fn secret(own: &mut toml::Table, key: &str, faults: &mut Vec<ConfigFault>) -> Option<Pat> {
    let token = text(own, key, faults)?;
    if token.is_empty() || token.len() > 4096 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        faults.push(ConfigFault::new(
            key,
            "must be 1 to 4096 visible ASCII characters, without the word `Token` before it",
        ));
        return None;
    }
    Some(Pat::new(Secret::from(token)))
}

fn millis(own: &mut toml::Table, key: &str, default: Duration, faults: &mut Vec<ConfigFault>) -> Duration {
    let Some(value) = own.remove(key) else {
        return default;
    };
    let fits = value.as_integer().filter(|ms| (0..=MAX_KNOB_MS).contains(ms));
    fits.and_then(|ms| u64::try_from(ms).ok()).map_or_else(
        || {
            let rule = format!("must be a number of milliseconds from 0 to {MAX_KNOB_MS}");
            faults.push(ConfigFault::new(key, rule));
            default
        },
        Duration::from_millis,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common() -> CommonSettings {
        toml::from_str("endpoint = 'https://api.avisi.cloud'").unwrap()
    }

    fn table(own: &str) -> toml::Table {
        own.parse().unwrap()
    }

    fn read(own: &str) -> Result<Config, Vec<ConfigFault>> {
        Config::read(&common(), table(own))
    }

    fn keys(own: &str) -> Vec<String> {
        read(own).unwrap_err().into_iter().map(|f| f.key).collect()
    }

    #[test]
    fn reads_what_it_needs_and_prints_no_secret() {
        let config = read(
            "organisation = 'acme'\ntoken = 'acpat_canary'\nadmin_token = 'acpat_canary2'\nsettle_ms = 5",
        )
        .unwrap();
        assert_eq!(config.organisation, "acme");
        assert_eq!(config.knobs, Knobs { settle: Duration::from_millis(5), ..Knobs::default() });
        assert!(!format!("{config:?}").contains("canary"), "{config:?}");
    }

    #[test]
    fn reports_every_fault_at_once_and_quotes_no_secret() {
        let own = "organisation = 'a/b'\ntoken = 'can ary'\nadmin_token = 7\nsettle_ms = -1\nproject = 'x'\nzone = 1";
        let faults = read(own).unwrap_err();
        let mut found: Vec<_> = faults.iter().map(|f| f.key.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["admin_token", "organisation", "project", "settle_ms", "token", "zone"]);
        assert!(faults.iter().all(|f| !f.message.contains("can ary")));
    }

    #[test]
    fn names_what_is_missing_once() {
        assert_eq!(keys(""), ["organisation", "token"]);
        assert_eq!(keys("organisation = 5\ntoken = 'x'"), ["organisation"]);
        assert_eq!(keys("organisation = '..'\ntoken = 'x'"), ["organisation"]);
    }
}
