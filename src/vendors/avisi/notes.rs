//! What the adapter keeps with a job: the baseline before the start, and what was seen since.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::wire::{Cluster, ScheduledUpgrade};
use crate::domain::job::Handle;

/// The job's handle, as JSON. A few KiB at most: every text in it was cut when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// The cluster's version before the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) baseline: Option<String>,
    /// Where the cluster was last found. A slug can change hands, so it is a hint and never an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slugs: Option<Slugs>,
    /// The vendor's latest answer about the scheduled upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<ScheduledUpgrade>,
    /// Whether the cluster was seen busy at a time when this upgrade could have been running.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) moved: bool,
    /// The version at which the cluster has been seen running, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resting: Option<Resting>,
}

/// The two slugs that address a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slugs {
    pub(super) environment: String,
    pub(super) cluster: String,
}

/// A version at which a cluster was seen running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resting {
    pub(super) version: String,
    pub(super) since: Timestamp,
}

impl Slugs {
    /// Where a cluster is, when it says.
    pub(super) fn of(cluster: &Cluster) -> Option<Self> {
        let (environment, cluster) = (cluster.environment_slug.clone()?, cluster.slug.clone()?);
        (!environment.is_empty() && !cluster.is_empty()).then_some(Self { environment, cluster })
    }
}

impl Notes {
    /// Reads a handle. One that cannot be read says nothing: conclusions then wait for stronger evidence.
    pub(super) fn read(handle: Option<&Handle>) -> Self {
        handle
            .map(|handle| {
                serde_json::from_str(&handle.0).unwrap_or_else(|error| {
                    tracing::warn!(error = %error, "an Avisi job's notes cannot be read; following it without them");
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

    /// The scheduled upgrade's identity, when the vendor told it.
    pub(super) fn identity(&self) -> Option<&str> {
        // Anything without a letter or digit could not be a path segment.
        self.schedule
            .as_ref()
            .and_then(|s| s.identity.as_deref())
            .filter(|id| id.bytes().any(|b| b.is_ascii_alphanumeric()))
    }

    /// Notes after the vendor accepted a (new) schedule: what was seen before says nothing about it.
    pub(super) fn accepted(&self, answer: ScheduledUpgrade) -> Self {
        Self {
            baseline: self.baseline.clone().or_else(|| answer.from_cluster_version.clone()),
            slugs: self.slugs.clone(),
            schedule: Some(answer),
            moved: false,
            resting: None,
        }
    }
}

/// Reads a date-time of the vendor's. Anything else says nothing.
pub(super) fn instant(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|t| t.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_what_was_kept() {
        let notes = Notes {
            baseline: Some("v1.34.9-u-ame.2".into()),
            slugs: Some(Slugs { environment: "production".into(), cluster: "prod-1".into() }),
            schedule: Some(ScheduledUpgrade { identity: Some("i".into()), ..ScheduledUpgrade::default() }),
            moved: true,
            resting: Some(Resting { version: "v".into(), since: "2026-11-29T01:00:00Z".parse().unwrap() }),
        };
        let handle = notes.handle().unwrap();
        assert_eq!(Notes::read(Some(&handle)), notes);
        assert_eq!(notes.handle_if_changed(&notes.clone()), None);
        assert_eq!(Notes::read(Some(&Handle("{}".into()))), Notes::default());
        assert_eq!(Notes::read(Some(&Handle("not json".into()))), Notes::default());
    }

    #[test]
    fn only_a_date_time_with_zone_is_an_instant() {
        assert!(instant(Some("2026-11-29T01:00:00Z")).is_some());
        assert!(instant(Some("2026-11-29T02:00:00.123+01:00")).is_some());
        assert_eq!(instant(Some("2026-11-29")), None);
        assert_eq!(instant(Some("")), None);
        assert_eq!(instant(None), None);
    }
}
