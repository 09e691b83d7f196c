//! What an operation acts on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{BadId, ProviderId};

/// The kinds of target, as they stand in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// `clusters/{id}`
    Cluster,
    /// `supervisors/{id}`
    Supervisor,
    /// `instances/{id}`
    Instance,
}

impl TargetKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::Supervisor, Self::Instance];

    /// The collection's name in a resource name.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Supervisor => "supervisors",
            Self::Instance => "instances",
        }
    }
}

/// One cluster, supervisor or instance of one provider. Prints and reads as its resource name,
/// `providers/{p}/clusters/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The account it belongs to.
    pub provider: ProviderId,
    /// What it is.
    pub kind: TargetKind,
    /// The vendor's own id: 1 to 128 of `A-Z a-z 0-9 . _ ~ : -`. Vendors may be stricter.
    pub id: Box<str>,
}

impl Target {
    /// Reads a resource name.
    pub fn parse_name(name: &str) -> Result<Self, BadId> {
        const SHAPE: BadId = BadId(
            "must be `providers/{provider}/clusters/{id}`, `providers/{provider}/supervisors/{id}` or \
             `providers/{provider}/instances/{id}`",
        );
        let mut parts = name.split('/');
        let (Some("providers"), Some(provider), Some(collection), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SHAPE);
        };
        let provider = ProviderId::parse(provider)?;
        let kind = TargetKind::ALL.into_iter().find(|k| k.collection() == collection).ok_or(SHAPE)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~:-".contains(&b);
        if !(1..=128).contains(&id.len()) || !id.bytes().all(allowed) || id.bytes().all(|b| b == b'.') {
            return Err(BadId("the target's id must be 1 to 128 letters, digits or `. _ ~ : -`"));
        }
        Ok(Self { provider, kind, id: id.into() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.provider, self.kind.collection(), self.id)
    }
}

impl TryFrom<String> for Target {
    type Error = BadId;
    fn try_from(name: String) -> Result<Self, BadId> {
        Self::parse_name(&name)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

/// What a provider tells about one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetInfo {
    /// Its name.
    pub target: Target,
    /// The vendor's display name, when it has one.
    pub display_name: Option<String>,
    /// The version that runs now (of the platform or the OS image), when the vendor tells.
    pub current_version: Option<String>,
    /// The vendor's own word for the target's state.
    pub vendor_state: Option<String>,
    /// Versions it could be brought to, when the vendor lists them with the target.
    pub available_versions: Vec<String>,
    /// Anything else worth showing, under the vendor's own names (zone, hypervisor, image ...).
    pub attributes: std::collections::BTreeMap<String, String>,
    /// An upgrade or reinstall that the vendor shows under way on it, whoever started it.
    pub under_way: Option<UnderWay>,
    /// The vendor could not be asked what is under way just now: `None` then says nothing.
    pub under_way_unknown: bool,
}

/// An operation that a vendor shows under way on a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// What it is, for a person.
    pub what: String,
    /// The vendor's own id of it, when it tells one.
    pub vendor_id: Option<String>,
    /// The vendor's own word for how it stands.
    pub vendor_state: Option<String>,
    /// Since when, as the vendor writes it.
    pub vendor_since: Option<String>,
}

/// A version that a target can be brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableVersion {
    /// What to put in `version`.
    pub version: String,
    /// The vendor's display name.
    pub name: Option<String>,
    /// The vendor's description or release notes.
    pub description: Option<String>,
    /// The vendor's release date, as the vendor writes it.
    pub release_date: Option<String>,
    /// The vendor's update channels that offer this version now.
    pub channels: Vec<String>,
}

/// An image that a reinstall can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What to put in `image_id`.
    pub id: String,
    /// The vendor's display name.
    pub name: Option<String>,
    /// `Linux`, `Windows` or whatever the vendor says.
    pub os_type: Option<String>,
    /// The vendor's own word for the image's state.
    pub vendor_state: Option<String>,
    /// Anything else worth showing, under the vendor's own names.
    pub attributes: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in [
            "providers/vc/clusters/domain-c9",
            "providers/vc/supervisors/8c2f:x",
            "providers/hw/instances/0197f36d",
        ] {
            assert_eq!(Target::parse_name(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in [
            "providers/vc/clusters",
            "providers/vc/clusters/",
            "providers/vc/hosts/a",
            "providers/vc/clusters/a/b",
            "providers/vc/clusters/..",
            "providers/vc/clusters/a b",
            "clusters/a",
        ] {
            assert!(Target::parse_name(name).is_err(), "{name}");
        }
    }
}
