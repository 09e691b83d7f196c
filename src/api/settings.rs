//! The `[grpc]` section of the configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Where and within which bounds the gRPC server serves. Every key has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcSettings {
    /// Address and port to listen on. Port 0 takes a free one.
    pub address: SocketAddr,
    /// The server's certificate. Without it the server speaks plaintext, and only on loopback.
    pub tls: Option<TlsSettings>,
    /// Speak plaintext on an address other than loopback. Anyone on the way can then read passwords, and anyone who
    /// reaches the port can reinstall machines. For a network that is a trusted proxy's alone.
    pub danger_plaintext_on_any_address: bool,
    /// How many connections may be open; more wait in the operating system's queue. 1 to 1000000.
    pub max_connections: usize,
    /// How many calls, open watches included, one connection may have under way. 1 to 100000.
    pub max_concurrent_streams: u32,
    /// The largest request, in bytes. 1024 to 67108864.
    pub max_message_bytes: usize,
    /// The longest that a call may take, in milliseconds, whatever its own deadline says. Open watches have their own
    /// age. 100 to 3600000.
    pub max_deadline_ms: u64,
    /// Send watches gzipped to clients that take it (`grpc-accept-encoding`). It spares the network about four bytes of five
    /// and costs some tens of microseconds for each message and subscriber.
    pub compress_watches: bool,
    /// How long a connection may be silent before it is asked whether it is there, in milliseconds. 1000 to 3600000.
    pub keepalive_interval_ms: u64,
    /// How long that question may go unanswered, in milliseconds. 100 to 600000.
    pub keepalive_timeout_ms: u64,
}

/// The server's certificate and key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file with the certificate, followed by the intermediate ones.
    pub cert_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
}

/// One fault of the section: the key, relative to it, and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// The key, such as `tls.cert_file`.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051),
            tls: None,
            danger_plaintext_on_any_address: false,
            max_connections: 4_096,
            max_concurrent_streams: 1_024,
            max_message_bytes: 4 << 20,
            max_deadline_ms: 120_000,
            compress_watches: false,
            keepalive_interval_ms: 30_000,
            keepalive_timeout_ms: 10_000,
        }
    }
}

impl GrpcSettings {
    /// Every fault that can be told without opening anything.
    pub fn faults(&self) -> Vec<SettingFault> {
        let mut faults = Vec::new();
        let mut range = |key, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                faults.push(SettingFault { key, message: format!("must be {min} to {max}, is {value}") });
            }
        };
        range("max_connections", self.max_connections as u64, 1, 1_000_000);
        range("max_concurrent_streams", u64::from(self.max_concurrent_streams), 1, 100_000);
        range("max_message_bytes", self.max_message_bytes as u64, 1_024, 64 << 20);
        range("max_deadline_ms", self.max_deadline_ms, 100, 3_600_000);
        range("keepalive_interval_ms", self.keepalive_interval_ms, 1_000, 3_600_000);
        range("keepalive_timeout_ms", self.keepalive_timeout_ms, 100, 600_000);
        let address = self.address.ip().to_canonical();
        if self.tls.is_none() && !address.is_loopback() && !self.danger_plaintext_on_any_address {
            faults.push(SettingFault {
                key: "address",
                message: format!(
                    "{} is no loopback address, and without [grpc.tls] everything sent to it can be read on the way; \
                     configure a certificate, listen on 127.0.0.1, or accept the risk with \
                     danger_plaintext_on_any_address = true",
                    self.address
                ),
            });
        }
        faults
    }

    /// How long a connection may go unheard. A client that is there answers the keepalive well before; one that never
    /// began to speak HTTP/2 is not asked.
    pub const fn silence(&self) -> Duration {
        const SLACK_MS: u64 = 10_000;
        Duration::from_millis(self.keepalive_interval_ms + self.keepalive_timeout_ms + SLACK_MS)
    }

    /// The longest that a call may take.
    pub const fn max_deadline(&self) -> Duration {
        Duration::from_millis(self.max_deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GrpcSettings, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_sound_and_local() {
        let settings = read("").unwrap();
        assert_eq!(settings, GrpcSettings::default());
        assert_eq!(settings.faults(), []);
        assert_eq!(settings.address.to_string(), "127.0.0.1:50051");
    }

    #[test]
    fn plaintext_leaves_loopback_only_by_name() {
        let keys = |text: &str| read(text).unwrap().faults().iter().map(|f| f.key).collect::<Vec<_>>();
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(keys(&format!("address = '{open}'")), ["address"], "{open}");
            let accepted = format!("address = '{open}'\ndanger_plaintext_on_any_address = true");
            assert!(keys(&accepted).is_empty(), "{open}");
            let secured = format!("address = '{open}'\ntls = {{ cert_file = 'c', key_file = 'k' }}");
            assert!(keys(&secured).is_empty(), "{open}");
        }
        for local in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"] {
            assert!(keys(&format!("address = '{local}'")).is_empty(), "{local}");
        }
    }

    #[test]
    fn every_key_out_of_range_is_told() {
        let settings = GrpcSettings {
            max_connections: 0,
            max_concurrent_streams: 0,
            max_message_bytes: 1,
            max_deadline_ms: 1,
            keepalive_interval_ms: 1,
            keepalive_timeout_ms: 1,
            ..GrpcSettings::default()
        };
        assert_eq!(settings.faults().len(), 6);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        assert!(read("adress = '127.0.0.1:1'").unwrap_err().contains("adress"));
        assert!(read("tls = { cert_file = 'c' }").unwrap_err().contains("key_file"));
    }
}
