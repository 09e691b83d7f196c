//! Avisi's JSON, as its pages and its public Go client have it.
//!
//! Every answer field is optional there and here. Texts are read leniently: a number where a word was expected
//! is kept as text, so that one odd member spoils neither its entry nor the page around it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The longest text of a usual field that is kept, in characters.
const TEXT: usize = 256;
/// The longest explanation that is kept, in characters.
const LONG_TEXT: usize = 1500;

/// Body of `POST …/scheduled-cluster-upgrades`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScheduleRequest<'a> {
    pub(super) cluster_identity: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schedule_request_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ignore_maintenance_schedule: Option<bool>,
}

/// Body of `PATCH …/clusters/{environment}/{cluster}`: the one member that Drydock changes.
#[derive(Debug, Serialize)]
pub(super) struct ClusterPatch<'a> {
    pub(super) version: &'a str,
}

/// A scheduled upgrade. The public Go client lacks the three slugs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScheduledUpgrade {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) cluster_identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) modified_at: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) window_start: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) window_end: Option<String>,
    #[serde(deserialize_with = "long_text", skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) from_cluster_version: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) to_cluster_version: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) cluster_slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) environment_slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) organisation_slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) schedule_request_date: Option<String>,
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub(super) ignore_maintenance_schedule: Option<bool>,
}

/// A cluster, as far as Drydock reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) environment_slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) environment_identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) customer_slug: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) customer_identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub(super) update_channel: Option<Named>,
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub(super) auto_upgrade: Option<bool>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) desired_status: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) provision_status: Option<String>,
    #[serde(deserialize_with = "schedule", skip_serializing_if = "Option::is_none")]
    pub(super) maintenance_schedule: Option<MaintenanceSchedule>,
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub(super) highly_available: Option<bool>,
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub(super) delete_protection: Option<bool>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) modified_at: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<String>,
}

/// A maintenance schedule, of the organisation's list or inside a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MaintenanceSchedule {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "windows", skip_serializing_if = "Vec::is_empty")]
    pub(super) windows: Vec<Window>,
}

/// A weekly window: an upper-case weekday, `02:00`, and how many minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Window {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) day: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) duration: Option<String>,
}

/// An update channel, of the organisation's list or inside a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Named {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub(super) available: Option<bool>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) kubernetes_cluster_version: Option<String>,
}

/// An entry of `GET /api/v1/cluster-versions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClusterVersion {
    #[serde(deserialize_with = "text")]
    pub(super) version: Option<String>,
}

/// The error envelope.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(deserialize_with = "long_text", default)]
    pub(super) message: Option<String>,
    #[serde(deserialize_with = "texts", default)]
    pub(super) details: Vec<String>,
}

/// A page of a list. `content` is required: a page without it must not read as an empty list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Paged<T> {
    pub(super) content: Vec<T>,
    #[serde(default = "none")]
    pub(super) last: Option<bool>,
    #[serde(default = "none")]
    pub(super) number: Option<u64>,
    #[serde(default = "none")]
    pub(super) total_pages: Option<u64>,
}

const fn none<T>() -> Option<T> {
    None
}

impl<T> Paged<T> {
    /// Whether page `asked` (0-based) ends the list. Without the vendor's own word, an empty page does.
    pub(super) fn is_last(&self, asked: u64) -> bool {
        let told = self.last.or_else(|| self.total_pages.map(|pages| asked.saturating_add(1) >= pages));
        self.content.is_empty() || told.unwrap_or(false)
    }
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(Value::deserialize(from)?, TEXT))
}

fn long_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(Value::deserialize(from)?, LONG_TEXT))
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => items.into_iter().take(20).filter_map(|item| as_text(item, TEXT)).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            as_text(other, TEXT).into_iter().collect()
        }
    })
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Bool(flag) => Some(flag),
        Value::String(word) => word.parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Named>, D::Error> {
    Ok(match Value::deserialize(from)? {
        value @ Value::Object(_) => serde_json::from_value(value).ok(),
        Value::String(name) => Some(Named { name: as_text(Value::String(name), TEXT), ..Named::default() }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    })
}

fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Option<MaintenanceSchedule>, D::Error> {
    Ok(match Value::deserialize(from)? {
        value @ Value::Object(_) => serde_json::from_value(value).ok(),
        Value::String(name) => {
            let name = as_text(Value::String(name), TEXT);
            Some(MaintenanceSchedule { name, ..MaintenanceSchedule::default() })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    })
}

fn windows<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Window>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => {
            items.into_iter().take(50).filter_map(|item| serde_json::from_value(item).ok()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
    })
}

fn as_text(value: Value, most: usize) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text,
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    Some(text.chars().filter(|c| !c.is_control()).take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_choice_is_not_sent() {
        let body = ScheduleRequest {
            cluster_identity: "c",
            version: "v",
            schedule_request_date: None,
            ignore_maintenance_schedule: None,
        };
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"clusterIdentity":"c","version":"v"}"#);
    }

    #[test]
    fn odd_members_are_kept_as_text_or_left_out() {
        let odd = r#"{"identity":"i","status":17,"reason":null,"windowStart":{"at":1},"ignoreMaintenanceSchedule":"true","new":[1]}"#;
        let upgrade: ScheduledUpgrade = serde_json::from_str(odd).unwrap();
        assert_eq!(upgrade.status.as_deref(), Some("17"));
        assert_eq!(upgrade.reason, None);
        assert_eq!(upgrade.window_start.as_deref(), Some(r#"{"at":1}"#));
        assert_eq!(upgrade.ignore_maintenance_schedule, Some(true));
    }

    #[test]
    fn a_channel_may_be_an_object_or_a_name() {
        let cluster: Cluster = serde_json::from_str(r#"{"updateChannel":"stable"}"#).unwrap();
        assert_eq!(cluster.update_channel.unwrap().name.as_deref(), Some("stable"));
        let cluster: Cluster =
            serde_json::from_str(r#"{"updateChannel":{"name":"v1.35","available":true},"autoUpgrade":null}"#)
                .unwrap();
        assert_eq!(cluster.update_channel.unwrap().available, Some(true));
        assert_eq!(cluster.auto_upgrade, None);
    }

    #[test]
    fn a_page_without_content_is_not_an_empty_list() {
        assert!(serde_json::from_str::<Paged<Cluster>>(r#"{"last":true}"#).is_err());
        let page: Paged<Cluster> = serde_json::from_str(r#"{"content":[{}],"totalPages":3}"#).unwrap();
        assert!(!page.is_last(1) && page.is_last(2));
        let page: Paged<Cluster> = serde_json::from_str(r#"{"content":[{}]}"#).unwrap();
        assert!(!page.is_last(0));
        let page: Paged<Cluster> = serde_json::from_str(r#"{"content":[]}"#).unwrap();
        assert!(page.is_last(0));
    }
}
