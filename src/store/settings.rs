//! Where the store lives: the `[store]` section of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::postgres::{NOT_FOR_READS, address};

/// The `[store]` section. Its `Debug` leaves a password out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// `sqlite:///var/lib/drydock/drydock.db` for an absolute path, `sqlite://drydock.db` for one relative to
    /// the working directory; or `postgres://user@host:port/database`, with `sslmode` and `sslrootcert` as libpq
    /// knows them. With a password in it, it may not stand in the configuration file. Default: `sqlite://drydock.db`.
    pub url: String,
    /// SQLite only: the most that the database file may grow to, in MiB; further writes fail until there is room
    /// again. 1 to 1048576. Default: no limit but the disk's. The write-ahead log beside the file is not counted.
    pub max_size_mib: Option<u32>,
    /// PostgreSQL only: how many connections one replica opens at most. 5 to 1000; one writes, one listens, two are
    /// for leases, and the others read. Default: 10.
    pub max_connections: Option<u32>,
    /// PostgreSQL only: how long the server may work on one statement, in milliseconds. 1000 to 600000. Default:
    /// 10000.
    pub statement_timeout_ms: Option<u32>,
    /// PostgreSQL only: how often is asked what other replicas committed, in milliseconds; notifications hurry it.
    /// 10 to 60000. Default: 500.
    pub poll_ms: Option<u32>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: "sqlite://drydock.db".to_owned(),
            max_size_mib: None,
            max_connections: None,
            statement_timeout_ms: None,
            poll_ms: None,
        }
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A url that is wrong may hold a password at any place.
        let url = if self.is_sqlite() { &self.url } else { "(not shown)" };
        f.debug_struct("StoreSettings")
            .field("url", &url)
            .field("max_size_mib", &self.max_size_mib)
            .field("max_connections", &self.max_connections())
            .field("statement_timeout", &self.statement_timeout())
            .field("poll", &self.poll())
            .finish()
    }
}

/// One fault of the section: the key and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFault {
    /// The key within the section.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

const MAX_SIZE_MIB: u32 = 1024 * 1024;
const DEFAULT_CONNECTIONS: u32 = 10;
const DEFAULT_STATEMENT_TIMEOUT_MS: u32 = 10_000;
const DEFAULT_POLL_MS: u32 = 500;

/// Whether a url of `store.url` holds a password, and so may not stand in the configuration file.
pub fn carries_password(url: &str) -> bool {
    address::carries_password(url)
}

impl StoreSettings {
    /// Whether the store is a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        address::is_postgres(&self.url)
    }

    fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite://")
    }

    /// How many connections to PostgreSQL one replica opens at most.
    pub fn max_connections(&self) -> u32 {
        self.max_connections.unwrap_or(DEFAULT_CONNECTIONS)
    }

    /// How long PostgreSQL may work on one statement.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms.unwrap_or(DEFAULT_STATEMENT_TIMEOUT_MS).into())
    }

    /// How often PostgreSQL is asked what others committed.
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms.unwrap_or(DEFAULT_POLL_MS).into())
    }

    /// Every fault of the section; empty when it can be used.
    pub fn faults(&self) -> Vec<SettingsFault> {
        let mut faults = Vec::new();
        if self.is_postgres() {
            if let Err(rule) = address::parse(&self.url) {
                faults.push(SettingsFault { key: "url", message: rule });
            }
        } else if let Err(fault) = self.sqlite_path() {
            faults.push(fault);
        }
        let keys = [
            ("max_size_mib", self.max_size_mib, 1..=MAX_SIZE_MIB, false),
            ("max_connections", self.max_connections, NOT_FOR_READS + 1..=1000, true),
            ("statement_timeout_ms", self.statement_timeout_ms, 1000..=600_000, true),
            ("poll_ms", self.poll_ms, 10..=60_000, true),
        ];
        for (key, value, range, of_postgres) in keys {
            let Some(value) = value else { continue };
            if of_postgres && self.is_sqlite() {
                faults.push(SettingsFault {
                    key,
                    message: "has no meaning with SQLite; take it out".to_owned(),
                });
            } else if !of_postgres && self.is_postgres() {
                let message = "has no meaning with PostgreSQL; take it out".to_owned();
                faults.push(SettingsFault { key, message });
            } else if !range.contains(&value) {
                let message = format!("must be {} to {}", range.start(), range.end());
                faults.push(SettingsFault { key, message });
            }
        }
        faults
    }

    /// The database file that `url` names.
    ///
    /// # Errors
    /// The fault of `url`. The message does not repeat the value: an address may carry a password.
    pub fn sqlite_path(&self) -> Result<PathBuf, SettingsFault> {
        let fault = |message: &str| SettingsFault { key: "url", message: message.to_owned() };
        let Some(path) = self.url.strip_prefix("sqlite://") else {
            return Err(fault(
                "must be `sqlite:///absolute/path`, `sqlite://relative/path` or `postgres://user@host:port/database`",
            ));
        };
        if path.contains(['?', '#', '%', '\0']) {
            return Err(fault("is a plain path after `sqlite://`: `?`, `#` and `%` mean nothing there"));
        }
        if path.is_empty() || path.ends_with('/') || path.split('/').next_back() == Some("..") {
            return Err(fault("must name a file after `sqlite://`"));
        }
        if path.starts_with(':') {
            return Err(fault("must name a file: jobs kept in memory only would be lost"));
        }
        Ok(PathBuf::from(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> StoreSettings {
        StoreSettings { url: url.to_owned(), ..StoreSettings::default() }
    }

    #[test]
    fn paths_are_read() {
        let path = |url| at(url).sqlite_path().unwrap();
        assert_eq!(path("sqlite:///var/lib/d.db"), PathBuf::from("/var/lib/d.db"));
        assert_eq!(path("sqlite://d.db"), PathBuf::from("d.db"));
        assert_eq!(path("sqlite://./a/d.db"), PathBuf::from("./a/d.db"));
        assert!(StoreSettings::default().faults().is_empty());
    }

    #[test]
    fn every_fault_is_told_and_no_value_repeated() {
        for url in [
            "",
            "d.db",
            "postgres://u:hunter2@h",
            "mysql://u:hunter2@h/d",
            "sqlite://",
            "sqlite:///var/",
            "sqlite://..",
            "sqlite://:memory:",
            "sqlite://d.db?mode=ro",
        ] {
            let settings = StoreSettings { max_size_mib: Some(0), ..at(url) };
            let faults = settings.faults();
            assert_eq!(faults.iter().map(|f| f.key).collect::<Vec<_>>(), ["url", "max_size_mib"], "{url}");
            assert!(!format!("{faults:?} {settings:?}").contains("hunter2"));
        }
    }

    #[test]
    fn keys_of_the_other_kind_are_refused() {
        let all = |url| StoreSettings {
            max_size_mib: Some(10),
            max_connections: Some(10),
            statement_timeout_ms: Some(5000),
            poll_ms: Some(100),
            ..at(url)
        };
        let keys = |settings: StoreSettings| settings.faults().iter().map(|f| f.key).collect::<Vec<_>>();
        assert_eq!(keys(all("postgres://u@h/d")), ["max_size_mib"]);
        assert_eq!(keys(all("sqlite://d.db")), ["max_connections", "statement_timeout_ms", "poll_ms"]);
        let few = StoreSettings { max_connections: Some(4), ..at("postgresql://u@h/d") };
        assert_eq!(keys(few), ["max_connections"]);
        assert!(at("postgresql://u@h/d").faults().is_empty());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<StoreSettings>("urll = 'x'").unwrap_err();
        assert!(error.message().contains("urll"), "{error}");
        assert_eq!(toml::from_str::<StoreSettings>("").unwrap(), StoreSettings::default());
    }
}
