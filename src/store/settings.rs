//! Where the store lives: the `[store]` section of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// The `[store]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// `sqlite:///var/lib/drydock/drydock.db` for an absolute path, `sqlite://drydock.db` for one relative to
    /// the working directory. Default: `sqlite://drydock.db`.
    pub url: String,
    /// The most that the database file may grow to, in MiB; further writes fail until there is room again.
    /// 1 to 1048576. Default: no limit but the disk's. The write-ahead log beside the file is not counted.
    pub max_size_mib: Option<u32>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { url: "sqlite://drydock.db".to_owned(), max_size_mib: None }
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

impl StoreSettings {
    /// Every fault of the section; empty when it can be used.
    pub fn faults(&self) -> Vec<SettingsFault> {
        let mut faults = Vec::new();
        if let Err(fault) = self.sqlite_path() {
            faults.push(fault);
        }
        if self.max_size_mib.is_some_and(|mib| !(1..=MAX_SIZE_MIB).contains(&mib)) {
            let message = format!("must be 1 to {MAX_SIZE_MIB}");
            faults.push(SettingsFault { key: "max_size_mib", message });
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
            return Err(fault("must be `sqlite:///absolute/path` or `sqlite://relative/path`"));
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
            "postgres://u:hunter2@h/d",
            "sqlite://",
            "sqlite:///var/",
            "sqlite://..",
            "sqlite://:memory:",
            "sqlite://d.db?mode=ro",
        ] {
            let faults = StoreSettings { max_size_mib: Some(0), ..at(url) }.faults();
            assert_eq!(faults.iter().map(|f| f.key).collect::<Vec<_>>(), ["url", "max_size_mib"], "{url}");
            assert!(!faults[0].message.contains("hunter2"));
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<StoreSettings>("urll = 'x'").unwrap_err();
        assert!(error.message().contains("urll"), "{error}");
        assert_eq!(toml::from_str::<StoreSettings>("").unwrap(), StoreSettings::default());
    }
}
