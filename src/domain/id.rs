//! Identifiers with their names on the wire (AIP-122).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a valid identifier: the rule it breaks, in words for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub &'static str);

/// A job: `jobs/{uuid v7}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// From a UUID; the engine makes v7 ones, so that jobs sort by age.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The bare UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Reads a resource name, `jobs/{uuid}`.
    pub fn parse_name(name: &str) -> Result<Self, BadId> {
        const RULE: BadId = BadId("must be `jobs/{uuid}`, the `name` of a job");
        let uuid = name.strip_prefix("jobs/").ok_or(RULE)?;
        Uuid::try_parse(uuid).map(Self).map_err(|_| RULE)
    }
}

/// Prints the resource name, `jobs/{uuid}`.
impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jobs/{}", self.0)
    }
}

/// A configured account at a vendor: `providers/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderId(Box<str>);

impl ProviderId {
    /// Reads a bare id: 1 to 63 lower-case letters, digits and hyphens, first a letter, last no hyphen.
    pub fn parse(id: &str) -> Result<Self, BadId> {
        let fits = (1..=63).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && !id.ends_with('-');
        if !fits {
            return Err(BadId(
                "must be 1 to 63 lower-case letters, digits or hyphens, begin with a letter and not end with a hyphen",
            ));
        }
        Ok(Self(id.into()))
    }

    /// Reads a resource name, `providers/{id}`.
    pub fn parse_name(name: &str) -> Result<Self, BadId> {
        name.strip_prefix("providers/")
            .ok_or(BadId("must be `providers/{id}`, the `name` of a provider"))
            .and_then(Self::parse)
    }

    /// The bare id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints the resource name, `providers/{id}`.
impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "providers/{}", self.0)
    }
}

impl TryFrom<String> for ProviderId {
    type Error = BadId;
    fn try_from(id: String) -> Result<Self, BadId> {
        Self::parse(&id)
    }
}

impl From<ProviderId> for String {
    fn from(id: ProviderId) -> Self {
        id.0.into()
    }
}

/// The caller's idempotency key (AIP-155): any UUID but the nil one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Uuid);

impl RequestId {
    /// Reads a UUID in its usual text form.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        match Uuid::try_parse(text) {
            Ok(uuid) if !uuid.is_nil() => Ok(Self(uuid)),
            _ => Err(BadId(
                "must be a UUID such as `6f1e8bb2-3c2e-4d5b-9a70-6f0a6f0f2c11`, and not the nil UUID",
            )),
        }
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let job = JobId::new(Uuid::from_u128(7));
        assert_eq!(JobId::parse_name(&job.to_string()), Ok(job));
        let provider = ProviderId::parse("vcenter-ams").unwrap();
        assert_eq!(ProviderId::parse_name(&provider.to_string()), Ok(provider));
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "jobs/", "jobs/7", "job/00000000-0000-0000-0000-000000000007"] {
            assert!(JobId::parse_name(name).is_err(), "{name}");
        }
        for id in ["", "-a", "a-", "A", "a_b", "1a", &"a".repeat(64)] {
            assert!(ProviderId::parse(id).is_err(), "{id}");
        }
        assert!(RequestId::parse("00000000-0000-0000-0000-000000000000").is_err());
    }
}
