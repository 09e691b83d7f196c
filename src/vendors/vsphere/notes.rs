//! What this adapter keeps with a job: how the target stood before the start, and what was seen since.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aim::Aim;
use super::wire::Summary;
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::Handle;

/// The most warnings that are remembered.
const MAX_WARNINGS: usize = 200;

/// The adapter's notes about one job. No secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// By what the target is upgraded, when that is not the name that the caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
    /// The Supervisor to which the target belongs, where the check could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<String>,
    /// How the target stood before the start.
    pub baseline: Option<Baseline>,
    /// Ids of the warnings that vCenter's own prechecks gave: with all of them accepted, vCenter is told to
    /// ignore warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// vCenter's prechecks were run and their results read to the end: there are no warnings but these.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prechecks_read: bool,
    /// The upgrade tasks that vCenter knew for the Supervisor before the start; none when they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_tasks: Option<Vec<String>>,
    /// The task of a Supervisor's upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Whether vCenter was told to ignore warnings.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignored_warnings: bool,
    /// After the start, our upgrade was seen under way.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub running_seen: bool,
    /// Since when the target has shown something that does not fit an upgrade of ours under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub odd_since: Option<Timestamp>,
    /// The state at which details were last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detailed_state: Option<String>,
}

/// How a target stood before the start. A cluster's upgrade has no id, so what changed since is all there is to
/// tell ours from an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Baseline {
    pub state: Option<String>,
    pub current_version: Option<String>,
    pub desired_version: Option<String>,
    pub last_upgraded_date: Option<String>,
}

impl Notes {
    /// Notes of a check.
    pub(super) fn before(summary: &Summary, vendor_findings: &[Finding]) -> Self {
        let mut warnings: Vec<String> = vendor_findings
            .iter()
            .filter(|f| f.severity == Severity::Warning)
            .map(|f| f.id.clone())
            .take(MAX_WARNINGS)
            .collect();
        warnings.sort_unstable();
        warnings.dedup();
        let baseline = Baseline {
            state: summary.state.clone(),
            current_version: summary.current_version.clone(),
            desired_version: summary.desired_version.clone(),
            last_upgraded_date: summary.last_upgraded_date.clone(),
        };
        Self { baseline: Some(baseline), warnings, ..Self::default() }
    }

    /// Reads a handle. One that cannot be read counts as none: then less is known, and less is concluded.
    pub(super) fn read(handle: Option<&Handle>) -> Self {
        handle.and_then(|h| serde_json::from_str(&h.0).ok()).unwrap_or_default()
    }

    /// As it is stored.
    pub(super) fn handle(&self) -> Handle {
        // Plain text and truth values: serialising to memory cannot fail.
        Handle(serde_json::to_string(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_and_a_broken_handle_counts_as_none() {
        let summary = Summary { state: Some("READY".to_owned()), ..Summary::default() };
        let findings = [
            Finding::new("vsphere.b", Severity::Warning, "b"),
            Finding::new("vsphere.i", Severity::Info, "i"),
        ];
        let notes = Notes { task: Some("t:s".to_owned()), ..Notes::before(&summary, &findings) };
        assert_eq!(notes.warnings, ["vsphere.b"]);
        assert_eq!(Notes::read(Some(&notes.handle())), notes);
        assert_eq!(Notes::read(Some(&Handle("{".to_owned()))), Notes::default());
    }
}
