//! vCenter's JSON, as its OpenAPI documents have it.
//!
//! Read leniently: "missing" and `null` are the same, unknown members are passed over, enums are open words, and
//! one odd member spoils neither its entry nor the list around it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The longest text that is kept, in characters.
const TEXT: usize = 1024;
/// The most entries of a list inside an entry that are kept.
const ENTRIES: usize = 64;

/// What to upgrade to: the value of `upgradeMultiple`'s map, and the body of a Supervisor's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct UpgradeSpec<'a> {
    pub(super) desired_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ignore_precheck_warnings: Option<bool>,
}

/// Body of `prechecks?action=run`.
#[derive(Debug, Serialize)]
pub(super) struct PrecheckSpec<'a> {
    pub(super) target_version: &'a str,
}

/// Body of `cis/tasks?action=list`.
#[derive(Debug, Serialize)]
pub(super) struct TaskQuery<'a> {
    pub(super) filter_spec: TaskFilter<'a>,
    pub(super) result_spec: ResultSpec,
}

/// Which tasks.
#[derive(Debug, Serialize)]
pub(super) struct TaskFilter<'a> {
    pub(super) tasks: &'a [&'a str],
}

/// How much of them.
#[derive(Debug, Serialize)]
pub(super) struct ResultSpec {
    pub(super) exclude_result: bool,
}

/// A message for people (`LocalizableMessage`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Localizable {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) default_message: Option<String>,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) localized: Option<String>,
}

impl Localizable {
    /// What to show: `localized`, which may be empty, else `default_message`, else `id`.
    pub(super) fn words(&self) -> Option<&str> {
        [&self.localized, &self.default_message, &self.id]
            .into_iter()
            .filter_map(|text| text.as_deref())
            .find(|text| !text.trim().is_empty())
    }
}

/// A message with a severity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) severity: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Localizable>,
}

/// A condition: the result of one pre-check, or of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Localizable>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) severity: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Value>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) last_transition_time: Option<String>,
}

/// How far something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<i64>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<i64>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Localizable>,
}

/// An upgrade under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpgradeStatus {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) desired_version: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Message>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<Condition>,
}

/// One cluster or Supervisor in detail. It does not name itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) current_version: Option<String>,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub(super) available_versions: Vec<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) last_upgraded_date: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Message>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) upgrade_status: Option<UpgradeStatus>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) upgrade_prechecks: Vec<Condition>,
}

/// One cluster or Supervisor in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) cluster_name: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) supervisor: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) current_version: Option<String>,
    #[serde(deserialize_with = "maybe_texts", skip_serializing_if = "Option::is_none")]
    pub(super) available_versions: Option<Vec<String>>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) last_upgraded_date: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) desired_version: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
}

/// A list of summaries. Entries that are no objects are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Summaries(#[serde(deserialize_with = "long_list")] pub(super) Vec<Summary>);

/// Answer of `software/supervisors/upgrades`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SupervisorUpgrades {
    #[serde(deserialize_with = "long_list")]
    pub(super) supervisors: Vec<Summary>,
}

/// What became of one cluster in `upgradeMultiple`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpgradeResult {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) res: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) exception: Option<ErrorBody>,
}

/// Answer of `upgradeMultiple`.
pub(super) type UpgradeResults = BTreeMap<String, UpgradeResult>;

/// vCenter's error envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) error_type: Option<String>,
    /// The full name, beside or instead of `error_type` in nested errors (seen on 8.0.3).
    #[serde(rename = "@class", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Localizable>,
}

impl ErrorBody {
    /// The type's word, such as `NOT_FOUND`; from the class when there is no type.
    pub(super) fn word(&self) -> Option<String> {
        let class = || {
            let name = self.class.as_deref()?.rsplit('.').next()?.to_ascii_uppercase();
            (!name.is_empty()).then_some(name)
        };
        self.error_type.clone().filter(|word| !word.is_empty()).or_else(class)
    }

    /// All messages, outermost first, each text once.
    pub(super) fn words(&self) -> Option<String> {
        let mut words: Vec<&str> = Vec::new();
        for text in self.messages.iter().filter_map(Localizable::words) {
            if !words.contains(&text) {
                words.push(text);
            }
        }
        (!words.is_empty()).then(|| words.join("; caused by: "))
    }
}

/// A task (`cis/tasks`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Localizable>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) cancelable: Option<bool>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) end_time: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorBody>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<String>,
    #[serde(deserialize_with = "odd", skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<TaskTarget>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
}

/// What a task works on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TaskTarget {
    #[serde(rename = "type", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// Answer of `cis/tasks?action=list`: a task by its id. A task that has gone is simply missing.
pub(super) type Tasks = BTreeMap<String, Task>;

/// Answer of `{supervisor}/prechecks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Prechecks {
    #[serde(deserialize_with = "list")]
    pub(super) precheck_results: Vec<PrecheckResult>,
}

/// What the pre-checks for one version found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct PrecheckResult {
    #[serde(deserialize_with = "text")]
    pub(super) target_version: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(super) conditions: Vec<Condition>,
    #[serde(deserialize_with = "text")]
    pub(super) status: Option<String>,
}

/// Answer of `supervisors/summaries`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Inventory {
    #[serde(deserialize_with = "long_list")]
    pub(super) items: Vec<InventoryItem>,
}

/// One Supervisor of the inventory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InventoryItem {
    #[serde(deserialize_with = "text")]
    pub(super) supervisor: Option<String>,
    #[serde(deserialize_with = "odd")]
    pub(super) info: Option<InventoryInfo>,
}

/// What the inventory tells of a Supervisor.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InventoryInfo {
    #[serde(deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) config_status: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) kubernetes_status: Option<String>,
}

/// A version with its notes: an entry of `cluster-available-versions`, or `versions/{version}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionInfo {
    #[serde(deserialize_with = "text")]
    pub(super) version: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) description: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) release_date: Option<String>,
}

/// A text, cut; a number or boolean in its place is kept as text.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(Value::deserialize(from)?))
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if text.chars().nth(TEXT).is_none() => Some(text),
        Value::String(text) => Some(text.chars().take(TEXT).collect()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(maybe_texts(from)?.unwrap_or_default())
}

fn maybe_texts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => Some(items.into_iter().filter_map(as_text).take(ENTRIES).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    })
}

/// A member that is dropped when it does not fit.
fn odd<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(from)?).ok())
}

/// A list inside an entry: entries that do not fit are dropped, and it is cut.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<Value>>::deserialize(Value::deserialize(from)?).ok().flatten();
    let items = items.unwrap_or_default().into_iter().take(ENTRIES);
    Ok(items.filter_map(|item| T::deserialize(item).ok()).collect())
}

/// The list that an answer is about: it has to be a list, and is as long as the answer's size allows.
fn long_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Value>::deserialize(from)?;
    Ok(items.into_iter().filter_map(|item| T::deserialize(item).ok()).collect())
}
