//! How a provider is configured: what all vendors share, and the entry by which a vendor's folder is listed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::contract::Vendor;
use super::http::{HttpClient, Pin};
use crate::domain::cadence::Cadence;
use crate::domain::id::ProviderId;
use crate::kit::clock::Clock;
use crate::kit::table;

/// What every provider's table can say, whatever its vendor. Flattened by hand: each vendor's config has one
/// field of this type named `common`, filled from the keys listed in [`COMMON_KEYS`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonSettings {
    /// Base address of the vendor's API, `http://` or `https://`.
    pub endpoint: Url,
    /// Marks for filters and for people.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Bounds on the traffic to the vendor.
    #[serde(default)]
    pub limits: Limits,
    /// How often running jobs are looked at.
    #[serde(default)]
    pub poll: Poll,
    /// How the vendor's certificate is checked.
    #[serde(default)]
    pub tls: Tls,
}

impl CommonSettings {
    /// Every value that is out of its range.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, key: &str, rule: &str| {
            if !holds {
                faults.push(ConfigFault::new(key, rule));
            }
        };
        let url = &self.endpoint;
        must(
            matches!(url.scheme(), "http" | "https") && url.has_host(),
            "endpoint",
            "must be an address that begins with `http://` or `https://`",
        );
        must(
            url.username().is_empty() && url.password().is_none(),
            "endpoint",
            "must not hold a user name or password; they have keys of their own",
        );
        must(
            url.query().is_none() && url.fragment().is_none(),
            "endpoint",
            "must be a base address, without `?` and `#`",
        );
        must(
            self.labels.len() <= 64
                && self.labels.iter().all(|(k, v)| (1..=63).contains(&k.len()) && v.len() <= 256),
            "labels",
            "must be at most 64 labels, with names of 1 to 63 bytes and values of at most 256",
        );
        let limits = &self.limits;
        must(
            (0.1..=10_000.0).contains(&limits.requests_per_second),
            "limits.requests_per_second",
            "must be 0.1 to 10000",
        );
        must((1..=10_000).contains(&limits.burst), "limits.burst", "must be 1 to 10000");
        must(
            (1..=1_000).contains(&limits.max_concurrent_requests),
            "limits.max_concurrent_requests",
            "must be 1 to 1000",
        );
        must(
            (100..=120_000).contains(&limits.connect_timeout_ms),
            "limits.connect_timeout_ms",
            "must be 100 to 120000 (2 minutes)",
        );
        must(
            (100..=600_000).contains(&limits.request_timeout_ms),
            "limits.request_timeout_ms",
            "must be 100 to 600000 (10 minutes)",
        );
        must(
            (limits.lost_answer_grace_ms..=86_400_000).contains(&limits.lost_answer_limit_ms),
            "limits.lost_answer_limit_ms",
            "must be at least `limits.lost_answer_grace_ms` and at most 86400000 (a day)",
        );
        must((50..=3_600_000).contains(&self.poll.min_ms), "poll.min_ms", "must be 50 to 3600000 (an hour)");
        must(
            (self.poll.min_ms..=3_600_000).contains(&self.poll.max_ms),
            "poll.max_ms",
            "must be at least `poll.min_ms` and at most 3600000 (an hour)",
        );
        faults.extend(self.tls.faults(&self.endpoint));
        faults
    }
}

/// The keys of [`CommonSettings`]; every other key of a provider's table belongs to its vendor.
pub const COMMON_KEYS: &[&str] = &["endpoint", "labels", "limits", "poll", "tls"];

/// Bounds on the traffic to one provider.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The provider's request budget. 0.1 to 10000 a second.
    pub requests_per_second: f64,
    /// How many requests may go out at once after a quiet time. 1 to 10000.
    pub burst: u32,
    /// How many requests may be under way at once. 1 to 1000.
    pub max_concurrent_requests: u32,
    /// How long the network may be silent, in milliseconds: for a connection to come about, and for what was sent to be
    /// acknowledged.
    pub connect_timeout_ms: u64,
    /// How long a whole call may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// After a lost answer, how long "it did not arrive" is not believed yet, in milliseconds. Raised to what
    /// [`Limits::over_after`] says.
    pub lost_answer_grace_ms: u64,
    /// After a lost answer, how long to look before the job is called indeterminate, in milliseconds.
    pub lost_answer_limit_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 10.0,
            burst: 20,
            max_concurrent_requests: 8,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            lost_answer_grace_ms: 60_000,
            lost_answer_limit_ms: 900_000,
        }
    }
}

impl Limits {
    /// How long after its permit ended a request can still reach the vendor: the call goes on until its own deadline, and
    /// the kernel goes on sending what it had taken until nobody has acknowledged it for so long.
    pub const fn over_after(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms).saturating_add(self.unacknowledged())
    }

    /// How long what was sent may go without an acknowledgement (`TCP_USER_TIMEOUT`). It holds for a closed socket too:
    /// without it the kernel of a dead process would go on sending for a quarter of an hour.
    pub const fn unacknowledged(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

/// How often running jobs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// Never look more often, in milliseconds.
    pub min_ms: u64,
    /// Never look less often, in milliseconds.
    pub max_ms: u64,
}

impl Default for Poll {
    fn default() -> Self {
        Self { min_ms: 5_000, max_ms: 60_000 }
    }
}

impl Poll {
    /// As the engine uses it.
    pub const fn cadence(self) -> Cadence {
        Cadence { min: Duration::from_millis(self.min_ms), max: Duration::from_millis(self.max_ms) }
    }
}

/// How a vendor's certificate is checked.
///
/// Without any key: by the system's CAs and the endpoint's host name. A pin without `ca_bundle_file` takes the place of
/// both, for servers that sign their own certificate; with it, the pin must hold besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the CA certificates to trust besides the system's. With `pin_sha256`, only these are trusted.
    pub ca_bundle_file: Option<PathBuf>,
    /// SHA-256 fingerprints ("thumbprints") of the server's own certificate: 64 hex digits in any case, with or without
    /// colons. The certificate that the server shows must have one of them. Several allow a change of certificates.
    pub pin_sha256: Vec<String>,
    /// Trust any certificate. Anyone between Drydock and the vendor can then read the credentials.
    pub danger_accept_any_certificate: bool,
}

/// The most pins that one provider may have.
const MAX_PINS: usize = 16;

impl Tls {
    /// What a person should know of these settings.
    pub fn warnings(&self) -> Vec<String> {
        let off = "`tls.danger_accept_any_certificate` is on: anyone between Drydock and the vendor can read the \
                   provider's credentials and answer in the vendor's name. Set `tls.pin_sha256` or \
                   `tls.ca_bundle_file` instead";
        self.danger_accept_any_certificate.then(|| off.to_owned()).into_iter().collect()
    }

    /// The pins; those that cannot be read are left out (the configuration's check names them).
    pub fn pins(&self) -> Vec<Pin> {
        self.pin_sha256.iter().filter_map(|text| Pin::parse(text)).collect()
    }

    fn faults(&self, endpoint: &Url) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if let Some(path) = &self.ca_bundle_file
            && let Err(error) = std::fs::File::open(path)
        {
            let message = format!("{} cannot be read: {error}", path.display());
            faults.push(ConfigFault::new("tls.ca_bundle_file", message));
        }
        for text in self.pin_sha256.iter().filter(|text| Pin::parse(text).is_none()) {
            let shown: String = text.chars().take(100).collect();
            let rule = format!(
                "`{shown}` is no SHA-256 fingerprint: it must be 64 hex digits, with or without colons (as from \
                 `openssl x509 -noout -fingerprint -sha256`)"
            );
            faults.push(ConfigFault::new("tls.pin_sha256", rule));
        }
        if self.pin_sha256.len() > MAX_PINS {
            faults
                .push(ConfigFault::new("tls.pin_sha256", format!("must be at most {MAX_PINS} fingerprints")));
        }
        if !self.pin_sha256.is_empty() && self.danger_accept_any_certificate {
            let rule = "cannot be on together with `tls.pin_sha256`: one trusts any certificate, the other only those";
            faults.push(ConfigFault::new("tls.danger_accept_any_certificate", rule));
        }
        if !self.pin_sha256.is_empty() && endpoint.scheme() == "http" {
            let rule = "pins nothing: `endpoint` begins with `http://`, where no certificate is shown";
            faults.push(ConfigFault::new("tls.pin_sha256", rule));
        }
        faults
    }
}

/// One fault of a provider's table: the key (relative to the table) and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, such as `limits.burst`.
    pub key: String,
    /// What is wrong and what would be right. Never contains a secret's value.
    pub message: String,
}

impl ConfigFault {
    /// A fault.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Builds a vendor from its HTTP client; the configuration was checked before.
pub type Build = Box<dyn FnOnce(ProviderId, HttpClient, Clock) -> Arc<dyn Vendor> + Send>;

/// A vendor's line in the list.
#[derive(Clone, Copy)]
pub struct VendorEntry {
    /// `vendor = "..."` in a provider's table.
    pub name: &'static str,
    /// Keys that hold secrets. They may come from the environment, or from a file by `{key}_file`; never from
    /// the configuration file itself.
    pub secret_keys: &'static [&'static str],
    /// Reads the vendor's own keys of a provider's table (without `vendor` and the common keys) beside the
    /// common settings, and reports every fault.
    pub configure: fn(common: &CommonSettings, own: toml::Table) -> Result<Build, Vec<ConfigFault>>,
}

impl std::fmt::Debug for VendorEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VendorEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads a vendor's own table into its config struct; every unknown, missing or unfit key becomes a fault.
pub fn read_own<T: serde::de::DeserializeOwned>(own: toml::Table) -> Result<T, Vec<ConfigFault>> {
    match table::read(own) {
        (Some(value), faults) if faults.is_empty() => Ok(value),
        (_, faults) => {
            Err(faults.iter().map(|fault| ConfigFault::new(fault.key(), fault.message())).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (settings, misread) = table::read::<CommonSettings>(text.parse().unwrap());
        assert_eq!(misread, []);
        settings.unwrap().faults().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn the_defaults_are_within_their_own_rules() {
        assert_eq!(faults("endpoint = 'https://vcenter.example'"), [""; 0]);
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let text = "
            endpoint = 'ftp://user:pw@h/?q'
            labels = { '' = 'x' }
            [limits]
            requests_per_second = 0.0
            burst = 0
            max_concurrent_requests = 1001
            connect_timeout_ms = 1
            request_timeout_ms = 86400000
            lost_answer_grace_ms = 10
            lost_answer_limit_ms = 5
            [poll]
            min_ms = 10
            max_ms = 5
            [tls]
            ca_bundle_file = '/no/such/file.pem'
            pin_sha256 = ['AB:CD']
            danger_accept_any_certificate = true";
        assert_eq!(
            faults(text),
            [
                "endpoint",
                "endpoint",
                "endpoint",
                "labels",
                "limits.requests_per_second",
                "limits.burst",
                "limits.max_concurrent_requests",
                "limits.connect_timeout_ms",
                "limits.request_timeout_ms",
                "limits.lost_answer_limit_ms",
                "poll.min_ms",
                "poll.max_ms",
                "tls.ca_bundle_file",
                "tls.pin_sha256",
                "tls.danger_accept_any_certificate",
            ]
        );
    }

    #[test]
    fn a_pin_is_read_as_people_write_it_and_needs_tls() {
        let pin = "AB:".repeat(31) + "ab";
        let plain =
            format!("endpoint = 'https://vc.example'\n[tls]\npin_sha256 = ['{pin}', '{}']", "ab".repeat(32));
        assert_eq!(faults(&plain), [""; 0]);
        assert_eq!(faults(&plain.replace("https", "http")), ["tls.pin_sha256"]);
        let many = vec![format!("'{pin}'"); 17].join(", ");
        assert_eq!(
            faults(&format!("endpoint = 'https://vc.example'\n[tls]\npin_sha256 = [{many}]")),
            ["tls.pin_sha256"]
        );
    }
}
