//! What ZStack sends and takes, as its documents have it. Every member that a build may leave out is optional,
//! unknown members are ignored, and words are kept as text whatever they are.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::fault::cut;

/// The longest word, id or name that is kept, in bytes.
const MAX_WORD: usize = 512;
/// The longest text of an error that is kept, in bytes.
const MAX_TEXT: usize = 4096;

/// The `name` and `jobName` of the long jobs that `UpdateClusterOS` makes.
pub(super) const JOB_NAME: &str = "APIUpdateClusterOSMsg";

/// An answer that is a list. An answer without the list is not one.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub inventories: Vec<T>,
}

/// An answer about one thing: with `inventory`, or (asynchronous) with `location` and `apiTimeout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct One<T> {
    pub inventory: Option<T>,
    #[serde(default, deserialize_with = "text")]
    pub location: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    pub api_timeout: Option<u64>,
}

/// `LongJobInventory`, all fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LongJob {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(deserialize_with = "long_text", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub api_id: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    #[serde(deserialize_with = "long_text", skip_serializing_if = "Option::is_none")]
    pub job_data: Option<String>,
    #[serde(deserialize_with = "long_text", skip_serializing_if = "Option::is_none")]
    pub job_result: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub target_resource_uuid: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub management_node_uuid: Option<String>,
    /// zsv 4.10 and later.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub parent_uuid: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub create_date: Option<String>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub last_op_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execute_time: Option<Value>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// `ClusterInventory`, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "text")]
    pub uuid: Option<String>,
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub description: Option<String>,
    #[serde(deserialize_with = "text")]
    pub zone_uuid: Option<String>,
    #[serde(deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(deserialize_with = "text")]
    pub hypervisor_type: Option<String>,
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "text")]
    pub architecture: Option<String>,
}

/// `HostInventory`, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Host {
    #[serde(deserialize_with = "text")]
    pub uuid: Option<String>,
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub cluster_uuid: Option<String>,
    #[serde(deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(deserialize_with = "text")]
    pub status: Option<String>,
    #[serde(deserialize_with = "text")]
    pub os_distribution: Option<String>,
    #[serde(deserialize_with = "text")]
    pub os_release: Option<String>,
    #[serde(deserialize_with = "text")]
    pub os_version: Option<String>,
}

/// One entry of a task's progress.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TaskProgress {
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "long_text")]
    pub content: Option<String>,
    /// Milliseconds; some builds write a float.
    pub time: Option<f64>,
}

/// What a login answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Session {
    #[serde(deserialize_with = "text")]
    pub uuid: Option<String>,
    #[serde(deserialize_with = "text")]
    pub create_date: Option<String>,
    #[serde(deserialize_with = "text")]
    pub expired_date: Option<String>,
}

/// The body of `UpdateClusterOS` inside its key. A member that was not asked for is not sent: ZStack refuses
/// empty lists, and older builds do not know `hostUuid` and `force`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateClusterOs<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub exclude_packages: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub update_packages: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_version: Option<&'a str>,
    pub resource_uuid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub tag_uuids: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_uuid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

/// `ErrorCode`, read by hand: it comes from many builds, and a strange one must still be shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorCode {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elaboration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<ErrorCode>>,
}

impl ErrorCode {
    /// Reads an `error` member; a bare text counts as its details. `None` for null and what says nothing.
    pub fn read(value: &Value) -> Option<Self> {
        Self::read_within(value, 16)
    }

    fn read_within(value: &Value, depth: u32) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        match value {
            Value::Object(map) if !map.is_empty() => {
                let word = |name: &str| Some(cut(&map.get(name).and_then(shown)?, MAX_TEXT));
                let cause = map.get("cause").and_then(|c| Self::read_within(c, depth)).or_else(|| {
                    let first = map.get("causes").and_then(Value::as_array).and_then(|all| all.first())?;
                    Self::read_within(first, depth)
                });
                Some(Self {
                    code: map.get("code").and_then(shown).map(|code| cut(&code, MAX_WORD)),
                    description: word("description"),
                    details: word("details"),
                    elaboration: word("elaboration"),
                    opaque: map.get("opaque").filter(|v| !v.is_null()).cloned(),
                    cause: cause.map(Box::new),
                })
            }
            Value::String(text) => Some(Self { details: Some(cut(text, MAX_TEXT)), ..Self::default() }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The error that caused all the others.
    pub fn deepest(&self) -> &Self {
        self.cause.as_deref().map_or(self, Self::deepest)
    }

    /// Whether this very error (not one below it) has the code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// A scalar as text; anything larger as its JSON.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// A word, id or name. What is longer than any of those is cut, and marked so: it is kept with a job.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(long_text(from)?.map(|text| cut(&text, MAX_WORD)))
}

/// What must be read to its end, such as a result of hundreds of hosts.
fn long_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Value>::deserialize(from)?.as_ref().and_then(shown))
}

fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.as_ref().and_then(|v| v.as_u64().or_else(|| v.as_str().and_then(|t| t.parse().ok()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_the_wrong_type_spoils_nothing_else() {
        let job: LongJob = serde_json::from_str(
            r#"{"uuid":"a","state":17,"executeTime":"9","jobResult":{"h":"success"},"new":[1]}"#,
        )
        .unwrap();
        assert_eq!((job.uuid.as_deref(), job.state.as_deref()), (Some("a"), Some("17")));
        assert_eq!(job.job_result.as_deref(), Some(r#"{"h":"success"}"#));
    }

    #[test]
    fn a_list_without_its_list_is_no_list() {
        assert!(serde_json::from_str::<List<LongJob>>("{}").is_err());
        assert!(serde_json::from_str::<List<LongJob>>(r#"{"inventories":[],"schema":{}}"#).is_ok());
    }

    #[test]
    fn errors_read_to_their_deepest_cause() {
        let value = serde_json::json!({
            "code": "SYS.1006", "description": "outer", "elaboration": null,
            "causes": [{"code": "HOST.1003", "cause": {"code": "SYS.1016", "details": "disk", "location": "x"}}],
        });
        let error = ErrorCode::read(&value).unwrap();
        assert_eq!(error.deepest().details.as_deref(), Some("disk"));
        assert_eq!(ErrorCode::read(&Value::Null), None);
        assert_eq!(ErrorCode::read(&serde_json::json!("odd")).unwrap().details.as_deref(), Some("odd"));
    }
}
