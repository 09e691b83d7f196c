//! A vSphere provider's own keys.
//!
//! | key | needed | meaning |
//! |---|---|---|
//! | `username`, `password` | yes | an account such as `drydock@vsphere.local`. Upgrades need `Namespaces.Upgrade` (before 9.1: `Namespaces.Manage`), reading needs `System.Read` |
//! | `service` | no, `auto` | which service upgrades: `clusters`, `supervisors` (since 9.1), or `auto` to ask which one vCenter has; with both, `supervisors` |
//! | `settle_ms` | no, 300000 | how long an idle state that does not fit a started upgrade is not believed; 0 to 86400000 |
//! | `precheck_wait_ms` | no, 30000 | how long a check waits for a Supervisor's prechecks; 0 does not run them |
//! | `details_per_round` | no, 8 | how many targets' details one round of polling asks for; 1 to 100 |

use std::time::Duration;

use super::service::Service;
use crate::kit::secret::Secret;
use crate::vendors::settings::ConfigFault;

/// Keys that hold secrets.
pub(super) const SECRET_KEYS: &[&str] = &["password"];

/// A checked configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub username: String,
    pub password: Secret,
    /// The service to speak; none: ask vCenter.
    pub service: Option<Service>,
    /// How long an idle state that does not fit a started upgrade is not believed.
    pub settle: Duration,
    /// How long a check waits for prechecks.
    pub precheck_wait: Duration,
    /// How many details one round of polling asks for.
    pub details: usize,
}

/// Reads and checks the vendor's own keys; every fault is reported.
pub(super) fn read(mut own: toml::Table) -> Result<Config, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let username = text(&mut own, "username", "the account to log in with", &mut faults);
    let password = text(&mut own, "password", "the account's password", &mut faults).map(Secret::from);
    // Basic authentication has no other way to tell where the name ends.
    if username.as_deref().is_some_and(|name| name.contains(':') || name.chars().any(char::is_control)) {
        faults.push(ConfigFault::new("username", "must not hold a colon or control characters"));
    }
    let service = service(&mut own, &mut faults);
    let settle = whole(&mut own, "settle_ms", 300_000, 0..=86_400_000, &mut faults);
    let wait = whole(&mut own, "precheck_wait_ms", 30_000, 0..=600_000, &mut faults);
    let details = whole(&mut own, "details_per_round", 8, 1..=100, &mut faults);
    for key in own.keys() {
        faults.push(ConfigFault::new(key, format!("`{key}` is not a key of a vsphere provider")));
    }
    match (username, password) {
        (Some(username), Some(password)) if faults.is_empty() => Ok(Config {
            username,
            password,
            service,
            settle: Duration::from_millis(settle),
            precheck_wait: Duration::from_millis(wait),
            details: usize::try_from(details).unwrap_or(1),
        }),
        _ => Err(faults),
    }
}

fn service(own: &mut toml::Table, faults: &mut Vec<ConfigFault>) -> Option<Service> {
    let value = own.remove("service")?;
    match value.as_str() {
        Some("auto") => None,
        Some("clusters") => Some(Service::Clusters),
        Some("supervisors") => Some(Service::Supervisors),
        Some(_) | None => {
            faults.push(ConfigFault::new("service", "must be `auto`, `clusters` or `supervisors`"));
            None
        }
    }
}

fn text(own: &mut toml::Table, key: &str, what: &str, faults: &mut Vec<ConfigFault>) -> Option<String> {
    match own.remove(key) {
        Some(toml::Value::String(text)) if !text.trim().is_empty() => Some(text),
        Some(_) => {
            faults.push(ConfigFault::new(key, "must be a text that is not empty"));
            None
        }
        None => {
            faults.push(ConfigFault::new(key, format!("is needed: {what}")));
            None
        }
    }
}

fn whole(
    own: &mut toml::Table,
    key: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    faults: &mut Vec<ConfigFault>,
) -> u64 {
    let Some(value) = own.remove(key) else { return default };
    match value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n)) {
        Some(number) => number,
        None => {
            let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
            faults.push(ConfigFault::new(key, rule));
            default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        read(text.parse().unwrap()).unwrap_err().into_iter().map(|f| f.key).collect()
    }

    #[test]
    fn defaults_stand_for_what_is_left_out() {
        let config = read("username = 'a@b'\npassword = 'x'".parse().unwrap()).unwrap();
        assert_eq!((config.settle, config.service), (Duration::from_secs(300), None));
        assert_eq!((config.precheck_wait, config.details), (Duration::from_secs(30), 8));
        assert!(!format!("{config:?}").contains("'x'"), "the password does not print");
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let all = keys("username = 'a:b'\nsettle_ms = -1\ndetails_per_round = 'x'\nregion = 'eu'");
        assert_eq!(all, ["password", "username", "settle_ms", "details_per_round", "region"]);
        assert_eq!(keys("password = 4"), ["username", "password"]);
        assert_eq!(keys("username = 'a'\npassword = 'x'\nservice = 'both'"), ["service"]);
    }

    #[test]
    fn no_fault_quotes_a_secret() {
        let faults = read("password = 'hunter2'\nx = 1".parse().unwrap()).unwrap_err();
        assert!(!format!("{faults:?}").contains("hunter2"));
    }
}
