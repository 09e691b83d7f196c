//! What the organisation's own settings say about upgrades: update channels and maintenance schedules.
//!
//! Both only explain: a version or a cluster is told without them when they cannot be read.

use std::collections::{BTreeMap, HashMap};

use super::client::Client;
use super::wire::{ClusterVersion, MaintenanceSchedule, Named, Window};
use crate::domain::target::AvailableVersion;
use crate::vendors::error::VendorError;

/// The most versions that are listed.
const MAX_VERSIONS: usize = 1000;
/// The most windows of one schedule that are told.
const MAX_WINDOWS: usize = 50;

/// The versions that exist, each with the channels that offer it now. A version that only a channel names comes
/// after the others.
pub(super) async fn versions(client: &Client) -> Result<Vec<AvailableVersion>, VendorError> {
    let listed = client.versions().await?;
    let channels = client.update_channels().await.unwrap_or_else(|error| {
        tracing::debug!(error = %error, "Avisi's update channels cannot be read");
        Vec::new()
    });
    Ok(with_channels(listed, channels))
}

pub(super) fn with_channels(listed: Vec<ClusterVersion>, channels: Vec<Named>) -> Vec<AvailableVersion> {
    let mut offered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // A channel that does not say whether it is available is one like any other.
    for channel in channels.into_iter().filter(|channel| channel.available != Some(false)) {
        if let (Some(name), Some(version)) = (channel.name, channel.kubernetes_cluster_version) {
            offered.entry(version).or_default().push(name);
        }
    }
    let mut versions: Vec<AvailableVersion> = Vec::new();
    for version in listed.into_iter().filter_map(|v| v.version).take(MAX_VERSIONS) {
        let channels = offered.remove(&version).unwrap_or_default();
        versions.push(available(version, channels));
    }
    let rest = MAX_VERSIONS - versions.len();
    versions.extend(offered.into_iter().take(rest).map(|(version, channels)| available(version, channels)));
    versions
}

fn available(version: String, channels: Vec<String>) -> AvailableVersion {
    AvailableVersion { version, name: None, description: None, release_date: None, channels }
}

/// The organisation's maintenance schedules by identity.
#[derive(Debug, Default)]
pub(super) struct Schedules(HashMap<String, String>);

impl Schedules {
    /// Reads them; none when they cannot be read.
    pub(super) async fn read(client: &Client) -> Self {
        match client.maintenance_schedules().await {
            Ok(all) => {
                Self(all.into_iter().filter_map(|s| Some((s.identity?, windows(&s.windows)?))).collect())
            }
            Err(error) => {
                tracing::debug!(error = %error, "Avisi's maintenance schedules cannot be read");
                Self::default()
            }
        }
    }

    /// The windows of a cluster's schedule: as the cluster tells them, or else as the list does.
    pub(super) fn windows_of(&self, schedule: &MaintenanceSchedule) -> Option<String> {
        windows(&schedule.windows).or_else(|| self.0.get(schedule.identity.as_deref()?).cloned())
    }
}

/// `SUNDAY 02:00 for 240 min, MONDAY 03:00 for 60 min`. In which zone, Avisi does not say.
pub(super) fn windows(windows: &[Window]) -> Option<String> {
    let one = |window: &Window| {
        let start = window.start_time.as_deref().unwrap_or("at an untold time");
        let length = window.duration.as_deref().map(|minutes| format!(" for {minutes} min"));
        Some(format!("{} {start}{}", window.day.as_deref()?, length.unwrap_or_default()))
    };
    let told: Vec<String> = windows.iter().take(MAX_WINDOWS).filter_map(one).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_the_channels_that_offer_it() {
        let listed = serde_json::from_str(r#"[{"version":"v1"},{"version":"v2"},{}]"#).unwrap();
        let channels = serde_json::from_str(
            r#"[{"name":"stable","available":true,"kubernetesClusterVersion":"v2"},
                {"name":"v1.35","kubernetesClusterVersion":"v2"},{"name":"preview","kubernetesClusterVersion":"v3"},
                {"name":"old","available":false,"kubernetesClusterVersion":"v1"},{"name":"odd"},{}]"#,
        )
        .unwrap();
        let told: Vec<_> =
            with_channels(listed, channels).into_iter().map(|v| (v.version, v.channels)).collect();
        let want = [("v1", vec![]), ("v2", vec!["stable", "v1.35"]), ("v3", vec!["preview"])];
        assert_eq!(told, want.map(|(v, c)| (v.to_owned(), c.into_iter().map(str::to_owned).collect())));
    }

    #[test]
    fn windows_are_told_in_one_line() {
        let schedule: MaintenanceSchedule = serde_json::from_str(
            r#"{"identity":"m","windows":[{"day":"SUNDAY","startTime":"02:00","duration":240},{"day":"MONDAY"},{}]}"#,
        )
        .unwrap();
        let text = "SUNDAY 02:00 for 240 min, MONDAY at an untold time";
        assert_eq!(windows(&schedule.windows).as_deref(), Some(text));
        let listed = Schedules(HashMap::from([("m".to_owned(), text.to_owned())]));
        let bare = MaintenanceSchedule { windows: Vec::new(), ..schedule };
        assert_eq!(listed.windows_of(&bare).as_deref(), Some(text));
        assert_eq!(Schedules::default().windows_of(&bare), None);
    }
}
