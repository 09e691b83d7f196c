//! What the adapter keeps with a job: how its target stood before the start, and what was learnt since.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::wire::Summary;
use crate::domain::job::Handle;

/// The job's handle, as JSON. A few KiB at most: every text in it was cut when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// The target before the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) baseline: Option<Baseline>,
    /// Whether the vendor's pre-checks or messages warned. A start then says `ignore_precheck_warnings`, if the
    /// caller accepted the warnings.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) warned: bool,
    /// The task of a Supervisor's upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<String>,
    /// Whether the target was seen on its way to the wanted version since the start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) moved: bool,
    /// Since when the task has said that it succeeded while the version is not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done_since: Option<Timestamp>,
}

/// A target before the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Baseline {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) desired: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upgraded: Option<String>,
}

impl Baseline {
    /// How a target stands.
    pub(super) fn of(summary: &Summary) -> Self {
        Self {
            version: summary.current_version.clone(),
            desired: summary.desired_version.clone(),
            state: summary.state.clone(),
            upgraded: summary.last_upgraded_date.clone(),
        }
    }
}

impl Notes {
    /// Reads a handle. One that cannot be read says nothing: conclusions then wait for stronger evidence.
    pub(super) fn read(handle: Option<&Handle>) -> Self {
        handle
            .map(|handle| {
                serde_json::from_str(&handle.0).unwrap_or_else(|error| {
                    tracing::warn!(error = %error, "a vSphere job's notes cannot be read; following it without them");
                    Self::default()
                })
            })
            .unwrap_or_default()
    }

    /// As a handle.
    pub(super) fn handle(&self) -> Option<Handle> {
        // Texts, booleans and times in a struct always serialise.
        serde_json::to_string(self).ok().map(Handle)
    }

    /// As a handle, if it differs from what was kept before: unchanged notes need no write.
    pub(super) fn handle_if_changed(&self, before: &Self) -> Option<Handle> {
        if self == before { None } else { self.handle() }
    }

    /// The version before the start.
    pub(super) fn version(&self) -> Option<&str> {
        self.baseline.as_ref().and_then(|b| b.version.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_what_was_kept() {
        let baseline = Baseline { version: Some("v1".into()), ..Baseline::default() };
        let notes = Notes {
            baseline: Some(baseline),
            warned: true,
            task: Some("52c1:svc".into()),
            moved: true,
            done_since: Some("2026-11-29T01:00:00Z".parse().unwrap()),
        };
        let handle = notes.handle().unwrap();
        assert_eq!(Notes::read(Some(&handle)), notes);
        assert_eq!(notes.handle_if_changed(&notes.clone()), None);
        assert_eq!(Notes::read(Some(&Handle("not json".into()))), Notes::default());
    }
}
