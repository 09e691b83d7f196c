//! vCenter's JSON, as far as Drydock reads and writes it.
//!
//! Reading is lenient: what is absent or `null` is none, a state word of another type is kept as its JSON text,
//! and a broken entry of a list costs that entry alone. Members that are not named here are ignored (vCenter adds
//! some that its specification does not list, such as `@class` and `last_update_time`). What is read can be
//! written again: that is how the vendor's own words get into a job's `answer`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// `UpgradeSpec` of `software/clusters` and `CreateSpec` of `upgrades/jobs`: the same two members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct UpgradeSpec<'a> {
    pub desired_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_precheck_warnings: Option<bool>,
}

/// The body of `prechecks?action=run`.
#[derive(Debug, Serialize)]
pub(super) struct PrecheckSpec<'a> {
    pub target_version: &'a str,
}

/// The body of `cis/tasks?action=list`.
#[derive(Debug, Serialize)]
pub(super) struct TaskQuery<'a> {
    pub filter_spec: TaskFilter<'a>,
    pub result_spec: TaskResultSpec,
}

/// Which tasks; all members must match, and `tasks` or `services` must be given.
#[derive(Debug, Default, Serialize)]
pub(super) struct TaskFilter<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tasks: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub services: &'a [&'a str],
}

/// How much of each task.
#[derive(Debug, Serialize)]
pub(super) struct TaskResultSpec {
    pub exclude_result: bool,
}

/// A message in the reader's language, or in English.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Localizable {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub default_message: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "any", skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub localized: Option<String>,
}

impl Localizable {
    /// The text for a person; may be empty.
    pub(super) fn text(&self) -> &str {
        [&self.localized, &self.default_message, &self.id]
            .into_iter()
            .filter_map(|text| text.as_deref().map(str::trim))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }
}

/// A message with a severity. Some places put the text under `details`, others (nobody could verify which) may
/// put it beside `severity`: both are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub details: Option<Localizable>,
    #[serde(flatten)]
    pub beside: Localizable,
}

impl Message {
    /// The text with its id.
    pub(super) fn details(&self) -> &Localizable {
        self.details.as_ref().unwrap_or(&self.beside)
    }
}

/// One precheck's or component's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type", deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub description: Option<Localizable>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// How far something is; see `map::progress` for what the numbers mean where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub message: Option<Localizable>,
}

/// One entry of `software/clusters` or of `upgrades`: the two differ in the member that holds the id, and in the
/// word for "under way".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub available_versions: Option<Vec<String>>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub last_upgraded_date: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub desired_version: Option<String>,
}

impl Summary {
    /// The cluster's or Supervisor's id.
    pub(super) fn id(&self) -> Option<&str> {
        self.cluster.as_deref().or(self.supervisor.as_deref())
    }
}

/// The details of one cluster or Supervisor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub available_versions: Option<Vec<String>>,
    #[serde(deserialize_with = "list")]
    pub messages: Vec<Message>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub last_upgraded_date: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub upgrade_status: Option<UpgradeStatus>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub upgrade_prechecks: Vec<Condition>,
}

/// How an upgrade stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpgradeStatus {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub desired_version: Option<String>,
    #[serde(deserialize_with = "list")]
    pub messages: Vec<Message>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Condition>,
}

/// What became of one cluster of `upgradeMultiple`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpgradeResult {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub res: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub exception: Option<ErrorBody>,
}

/// The error envelope, also inside a REJECTED result and a FAILED task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The outermost first, its causes after it.
    #[serde(deserialize_with = "list")]
    pub messages: Vec<Localizable>,
    #[serde(deserialize_with = "any", skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// A task of `cis/tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub description: Option<Localizable>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub cancelable: Option<bool>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    #[serde(deserialize_with = "any", skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Option::is_none")]
    pub target: Option<TaskTarget>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a task works on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TaskTarget {
    #[serde(rename = "type", deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "word", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The answer of `GET upgrades`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UpgradeList {
    #[serde(deserialize_with = "maybe")]
    pub supervisors: Option<Vec<Value>>,
}

/// The answer of `GET prechecks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PrecheckList {
    #[serde(deserialize_with = "list")]
    pub precheck_results: Vec<PrecheckResult>,
}

/// The prechecks for one version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct PrecheckResult {
    #[serde(deserialize_with = "word")]
    pub target_version: Option<String>,
    #[serde(deserialize_with = "list")]
    pub conditions: Vec<Condition>,
    #[serde(deserialize_with = "word")]
    pub status: Option<String>,
}

/// The answer of `GET supervisors/summaries`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SupervisorList {
    #[serde(deserialize_with = "list")]
    pub items: Vec<SupervisorItem>,
}

/// One Supervisor of the inventory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SupervisorItem {
    #[serde(deserialize_with = "word")]
    pub supervisor: Option<String>,
    #[serde(deserialize_with = "maybe")]
    pub info: Option<SupervisorInfo>,
}

/// What the inventory says about a Supervisor.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SupervisorInfo {
    #[serde(deserialize_with = "word")]
    pub name: Option<String>,
    #[serde(deserialize_with = "word")]
    pub config_status: Option<String>,
    #[serde(deserialize_with = "word")]
    pub kubernetes_status: Option<String>,
}

/// A version's notes, of `cluster-available-versions` and of `versions/{version}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionNotes {
    #[serde(deserialize_with = "word")]
    pub version: Option<String>,
    #[serde(deserialize_with = "word")]
    pub name: Option<String>,
    #[serde(deserialize_with = "word")]
    pub description: Option<String>,
    #[serde(deserialize_with = "word")]
    pub release_date: Option<String>,
    #[serde(deserialize_with = "word")]
    pub release_notes: Option<String>,
}

/// The answer of `versions/{version}?action=check-compatibility`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Compatibility {
    #[serde(deserialize_with = "word")]
    pub compatibility: Option<String>,
    #[serde(deserialize_with = "list")]
    pub capabilities: Vec<VersionCapability>,
    #[serde(deserialize_with = "list")]
    incompatibility_reasons: Vec<Value>,
}

impl Compatibility {
    /// The reasons: messages, or plain texts (nobody could verify which).
    pub(super) fn reasons(&self) -> Vec<Localizable> {
        let one = |reason: &Value| match reason {
            Value::String(text) => {
                Some(Localizable { default_message: Some(text.clone()), ..Localizable::default() })
            }
            Value::Object(_) => read(reason),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        self.incompatibility_reasons.iter().filter_map(one).collect()
    }
}

/// A feature of a version, and whether it can be had here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionCapability {
    #[serde(deserialize_with = "word")]
    pub name: Option<String>,
    #[serde(deserialize_with = "word")]
    pub status: Option<String>,
}

/// One zone of a Supervisor, of `topology`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Zone {
    #[serde(deserialize_with = "list")]
    pub clusters: Vec<String>,
}

/// The answer of `cis/tasks?action=list`.
pub(super) type TaskMap = BTreeMap<String, Value>;
/// The answer of `upgradeMultiple`.
pub(super) type ResultMap = BTreeMap<String, Value>;

/// Reads one value leniently.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

/// Text; a number or truth value is kept as its JSON text. What is longer than any of vCenter's own texts is cut:
/// words and messages are kept with a job.
fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(mut text) => {
            if text.len() > MAX_TEXT {
                let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                text.truncate(end);
            }
            Some(text)
        }
        other @ (Value::Bool(_) | Value::Number(_)) => Some(other.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

/// A whole number; digits in a text count.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// Something, when it has the documented shape.
fn maybe<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(read(&Value::deserialize(from)?))
}

/// The entries of a list that have the documented shape.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(entries) => entries.iter().filter_map(read).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
    })
}

/// Anything but `null`.
fn any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Ok(Some(Value::deserialize(from)?).filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_types_cost_only_what_they_touch() {
        let info: Info = read(&json!({
            "state": 17, "messages": [4, {"severity": "INFO", "details": {"id": "a", "args": null}}],
            "available_versions": "v1", "upgrade_status": {"progress": {"total": "3", "completed": 1}},
            "upgrade_prechecks": null, "unknown": {}
        }))
        .unwrap();
        assert_eq!(info.state.as_deref(), Some("17"));
        assert_eq!(info.messages.len(), 1);
        assert_eq!(info.available_versions, None);
        let progress = info.upgrade_status.unwrap().progress.unwrap();
        assert_eq!((progress.total, progress.completed), (Some(3), Some(1)));
    }

    #[test]
    fn a_message_is_read_with_its_text_inside_or_beside() {
        let inside: Message =
            read(&json!({"severity": "ERROR", "details": {"id": "a", "default_message": "t"}})).unwrap();
        let beside: Message = read(&json!({"id": "a", "default_message": "t"})).unwrap();
        assert_eq!((inside.details().text(), beside.details().text()), ("t", "t"));
    }

    #[test]
    fn the_text_is_the_localised_one_when_there_is_one() {
        let text = |localized: &str| {
            let message = Localizable {
                localized: Some(localized.to_owned()),
                default_message: Some("english".to_owned()),
                id: Some("id".to_owned()),
                ..Localizable::default()
            };
            message.text().to_owned()
        };
        assert_eq!((text("deutsch").as_str(), text("").as_str()), ("deutsch", "english"));
    }

    #[test]
    fn an_unset_choice_is_not_sent() {
        let spec = UpgradeSpec { desired_version: "v1", ignore_precheck_warnings: None };
        assert_eq!(serde_json::to_value(&spec).unwrap(), json!({"desired_version": "v1"}));
    }
}
