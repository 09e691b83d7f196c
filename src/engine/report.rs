//! What a driver's replica tells the others about a provider, with its lease: how it is, and how many live jobs it has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::calls::ProviderHealth;
use crate::domain::state::JobState;
use crate::store::lease::ReplicaId;

/// A store keeps no larger report.
const MAX_BYTES: usize = 16 * 1024;

/// A report. Fields that a newer or older replica lacks have defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Whose word it is: after a change of hands the store still shows the earlier holder's.
    pub replica: ReplicaId,
    /// Since when it drives.
    pub since: Timestamp,
    /// How the provider is.
    #[serde(default)]
    pub health: ProviderHealth,
    /// Live jobs by state.
    #[serde(default)]
    pub live_jobs: BTreeMap<JobState, u64>,
}

impl Report {
    /// As the store keeps it.
    pub fn write(&self) -> String {
        // Plain data with text keys always serialises.
        let whole = serde_json::to_string(self).unwrap_or_default();
        if whole.len() <= MAX_BYTES {
            return whole;
        }
        // Only texts can be this long.
        let mut short = self.clone();
        short.health.last_error = Some("the error's text is too long to be passed on".to_owned());
        short.health.version = None;
        serde_json::to_string(&short).unwrap_or_default()
    }

    /// A report that this Drydock can read; another version's may not be.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether the other one tells more than that the provider was heard again.
    pub fn differs(&self, other: &Self) -> bool {
        let without_time = |report: &Self| {
            let mut report = report.clone();
            report.health.last_heard = None;
            report
        };
        without_time(self) != without_time(other)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn report() -> Report {
        Report {
            replica: ReplicaId::new(Uuid::from_u128(1)),
            since: Timestamp::UNIX_EPOCH,
            health: ProviderHealth { reachable: Some(true), ..ProviderHealth::default() },
            live_jobs: BTreeMap::from([(JobState::Running, 2)]),
        }
    }

    #[test]
    fn reads_back_and_bears_fields_it_does_not_know() {
        assert_eq!(Report::read(&report().write()), Some(report()));
        let newer = report().write().replacen('{', r#"{"mood":"good","#, 1);
        assert_eq!(Report::read(&newer), Some(report()));
        assert_eq!(Report::read("gibberish"), None);
    }

    #[test]
    fn is_never_larger_than_a_store_keeps() {
        let mut report = report();
        report.health.last_error = Some("\u{1}".repeat(4000));
        let text = report.write();
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert_eq!(Report::read(&text).unwrap().live_jobs, report.live_jobs);
    }

    #[test]
    fn that_it_was_heard_again_is_no_news() {
        let mut later = report();
        later.health.last_heard = Some(Timestamp::UNIX_EPOCH);
        assert!(!later.differs(&report()));
        later.live_jobs.clear();
        assert!(later.differs(&report()));
    }
}
