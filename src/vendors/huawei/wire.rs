//! What travels: CloudDC's, IAM's and IMS's JSON, as their API references write it.
//!
//! Everything that the references call optional is optional here, and so is everything that Drydock can do
//! without. State words stay text: three vocabularies of them exist. Unknown members are ignored; `metadata` and
//! `user_data` are left out on purpose, since both may hold secrets.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The longest word, id or name that is kept, in characters.
const TEXT: usize = 256;
/// The longest explanation that is kept, in characters.
const LONG_TEXT: usize = 1500;

/// Body of `PUT /v1/{project_id}/instances/reinstall`.
#[derive(Serialize)]
pub(super) struct ReinstallBody<'a> {
    /// Absent keeps the current image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<&'a str>,
    pub password: &'a str,
    pub instance_id_set: &'a [&'a str],
}

/// The 202 of a reinstall. Entries are read one by one, so that an odd one does not hide the others.
#[derive(Debug, Deserialize)]
pub(super) struct ReinstallReply {
    pub instances: Option<Vec<Value>>,
}

/// A page of `GET /v1/{project_id}/instances`. Entries are read one by one, see [`ReinstallReply`].
#[derive(Debug, Deserialize)]
pub(super) struct InstancesReply {
    pub instances: Option<Vec<Value>>,
    pub page_info: Option<PageInfo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PageInfo {
    pub next_marker: Option<String>,
}

/// An instance; also what `GET …/instances/{id}/status` answers, with only the state members filled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Instance {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub operation_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub error: Option<ErrorStatus>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub image: Option<InstanceImage>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub server_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub vpc_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub launched_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "long_text")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub network_interfaces: Option<Vec<NetworkInterface>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub tags: Option<Vec<Tag>>,
}

/// Why an instance is in trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ErrorStatus {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "long_text")]
    pub error_msg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub error_type: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct InstanceImage {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub os_type: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NetworkInterface {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub subnet_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub ipv4_address: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tag {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub value: Option<String>,
}

/// A page of `GET {ims}/v2/cloudimages`.
#[derive(Debug, Deserialize)]
pub(super) struct ImagesReply {
    pub images: Option<Vec<CloudImage>>,
}

/// An image of IMS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CloudImage {
    #[serde(deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub status: Option<String>,
    #[serde(rename = "__imagetype", deserialize_with = "text")]
    pub imagetype: Option<String>,
    #[serde(rename = "__os_type", deserialize_with = "text")]
    pub os_type: Option<String>,
    #[serde(rename = "__platform", deserialize_with = "text")]
    pub platform: Option<String>,
    #[serde(rename = "__os_version", deserialize_with = "text")]
    pub os_version: Option<String>,
    #[serde(deserialize_with = "text")]
    pub virtual_env_type: Option<String>,
    #[serde(deserialize_with = "text")]
    pub min_disk: Option<String>,
    #[serde(deserialize_with = "text")]
    pub min_ram: Option<String>,
    #[serde(deserialize_with = "text")]
    pub created_at: Option<String>,
    #[serde(deserialize_with = "text")]
    pub updated_at: Option<String>,
    #[serde(deserialize_with = "text")]
    pub visibility: Option<String>,
}

/// Body of `POST {iam}/v3/auth/tokens`.
#[derive(Serialize)]
pub(super) struct TokenBody<'a> {
    pub auth: TokenAuth<'a>,
}

#[derive(Serialize)]
pub(super) struct TokenAuth<'a> {
    pub identity: Identity<'a>,
    pub scope: Scope<'a>,
}

#[derive(Serialize)]
pub(super) struct Identity<'a> {
    pub methods: [&'static str; 1],
    pub password: PasswordMethod<'a>,
}

#[derive(Serialize)]
pub(super) struct PasswordMethod<'a> {
    pub user: TokenUser<'a>,
}

#[derive(Serialize)]
pub(super) struct TokenUser<'a> {
    pub name: &'a str,
    pub password: &'a str,
    pub domain: Named<'a>,
}

#[derive(Serialize)]
pub(super) struct Named<'a> {
    pub name: &'a str,
}

#[derive(Serialize)]
pub(super) struct Scope<'a> {
    pub project: ProjectRef<'a>,
}

/// IAM takes either.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ProjectRef<'a> {
    Id { id: &'a str },
    Name { name: &'a str },
}

/// The answer to `GET {iam}/v3/projects`.
#[derive(Debug, Deserialize)]
pub(super) struct ProjectsReply {
    pub projects: Option<Vec<ProjectEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProjectEntry {
    #[serde(deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
}

/// What IAM answers beside the header `X-Subject-Token`.
#[derive(Debug, Deserialize)]
pub(super) struct TokenReply {
    pub token: Option<TokenInfo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenInfo {
    #[serde(default, deserialize_with = "text")]
    pub expires_at: Option<String>,
}

/// Text where the reference says text; a number or a truth value is kept as its text, anything else is absent. What
/// is longer than any word, id or name is cut: it is kept with a job.
fn text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(read_text(input)?.map(|text| text.chars().take(TEXT).collect()))
}

/// The same for explanations.
fn long_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(read_text(input)?.map(|text| text.chars().take(LONG_TEXT).collect()))
}

fn read_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(input)? {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

/// A member that is only shown: one of an unexpected shape is absent, and does not spoil the rest.
fn object<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(input)?).ok())
}
