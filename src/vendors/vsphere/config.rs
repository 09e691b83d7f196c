//! A vCenter's own keys in a provider's table.

use std::time::Duration;

use serde::Deserialize;

use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::settings::{CommonSettings, ConfigFault, read_own};

/// Keys that hold secrets.
pub(super) const SECRET_KEYS: &[&str] = &["password"];

/// As it stands in the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default = "settle_ms")]
    settle_ms: u64,
    #[serde(default = "precheck_wait_ms")]
    precheck_wait_ms: u64,
}

const fn settle_ms() -> u64 {
    120_000
}

const fn precheck_wait_ms() -> u64 {
    20_000
}

/// Checked.
#[derive(Debug)]
pub(super) struct Config {
    /// The account: `user@domain`.
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) knobs: Knobs,
}

/// Waits before a conclusion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knobs {
    /// After a start, how long `READY` at the old version is taken for an answer from before the start.
    pub(super) settle: Duration,
    /// How long a check waits for a Supervisor's pre-checks.
    pub(super) precheck_wait: Duration,
}

impl Config {
    /// Reads and checks the table.
    pub(super) fn read(common: &CommonSettings, own: toml::Table) -> Result<Self, Vec<ConfigFault>> {
        let own: Own = read_own(own)?;
        let mut faults = Vec::new();
        let mut fault = |key: &str, rule: &str| faults.push(ConfigFault::new(key, rule));
        if common.endpoint.cannot_be_a_base() || common.endpoint.query().is_some() {
            fault("endpoint", "must be the vCenter's address alone, such as `https://vcenter.example.com`");
        }
        if common.endpoint.path().trim_end_matches('/').ends_with("/api") {
            fault("endpoint", "must not end with `/api`; Drydock adds the path");
        }
        // HTTP Basic ends the name at the first colon.
        if own.username.is_empty() || own.username.contains(':') || own.username.chars().any(char::is_control)
        {
            fault(
                "username",
                "is required, without colons, such as `drydock@vsphere.local`; it needs System.Read and \
                 Namespaces.Upgrade (before 9.1 Namespaces.Manage)",
            );
        }
        let password = Secret::from(own.password);
        if password.expose_secret().is_empty() {
            fault("password", "is required: give `password_file`, or set it in the environment");
        }
        if own.settle_ms > 3_600_000 {
            fault("settle_ms", "must be at most 3600000 (an hour)");
        }
        if own.precheck_wait_ms > 60_000 {
            fault("precheck_wait_ms", "must be at most 60000 (a minute)");
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let knobs = Knobs {
            settle: Duration::from_millis(own.settle_ms),
            precheck_wait: Duration::from_millis(own.precheck_wait_ms),
        };
        Ok(Self { username: own.username, password, knobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(endpoint: &str) -> CommonSettings {
        toml::from_str(&format!("endpoint = \"{endpoint}\"")).unwrap()
    }

    fn faults(endpoint: &str, own: &str) -> Vec<String> {
        let faults = Config::read(&common(endpoint), own.parse().unwrap()).unwrap_err();
        faults.into_iter().map(|f| f.key).collect()
    }

    #[test]
    fn the_least_table_has_the_documented_waits() {
        let own = "username = \"a@b\"\npassword = \"p\"".parse().unwrap();
        let config = Config::read(&common("https://vc.example.com"), own).unwrap();
        assert_eq!(config.knobs.settle, Duration::from_secs(120));
        assert!(!format!("{config:?}").contains("\"p\""));
    }

    #[test]
    fn all_faults_come_at_once() {
        let own = "username = \"a:b\"\nsettle_ms = 3600001\nprecheck_wait_ms = 60001";
        assert_eq!(
            faults("https://vc.example.com/api/", own),
            ["endpoint", "username", "password", "settle_ms", "precheck_wait_ms"]
        );
    }

    #[test]
    fn an_unknown_key_is_a_fault() {
        assert_eq!(faults("https://vc.example.com", "user = \"a\""), ["user"]);
    }
}
