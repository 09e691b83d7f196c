//! What a caller asks for: an upgrade, a scheduled upgrade, or a reinstall.
//!
//! What vendors share is a field; what one vendor has alone sits in [`VendorOptions`]. Secrets are not here:
//! a reinstall's password travels beside the operation (see `JobControl::password`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most warnings that one operation accepts by id.
pub const MAX_ACCEPTED_RISKS: usize = 100;

/// The three kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperationKind {
    /// Upgrade as soon as possible.
    Upgrade,
    /// Upgrade at a time or in a maintenance window.
    ScheduledUpgrade,
    /// Reinstall the operating system.
    Reinstall,
}

impl OperationKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Upgrade, Self::ScheduledUpgrade, Self::Reinstall];

    /// The kind as it stands in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upgrade => "UPGRADE",
            Self::ScheduledUpgrade => "SCHEDULED_UPGRADE",
            Self::Reinstall => "REINSTALL",
        }
    }
}

/// An operation with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    /// Upgrade as soon as possible.
    Upgrade(Upgrade),
    /// Upgrade at a time or in a maintenance window.
    ScheduledUpgrade(ScheduledUpgrade),
    /// Reinstall the operating system.
    Reinstall(Reinstall),
}

impl Operation {
    /// Which kind it is.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Upgrade(_) => OperationKind::Upgrade,
            Self::ScheduledUpgrade(_) => OperationKind::ScheduledUpgrade,
            Self::Reinstall(_) => OperationKind::Reinstall,
        }
    }

    /// The upgrade inside, scheduled or not.
    pub const fn upgrade(&self) -> Option<&Upgrade> {
        match self {
            Self::Upgrade(upgrade) => Some(upgrade),
            Self::ScheduledUpgrade(scheduled) => Some(&scheduled.upgrade),
            Self::Reinstall(_) => None,
        }
    }

    /// The warnings that the caller accepts by id.
    pub fn accepted_risks(&self) -> &[String] {
        match self {
            Self::Upgrade(upgrade) => &upgrade.accepted_risks,
            Self::ScheduledUpgrade(scheduled) => &scheduled.upgrade.accepted_risks,
            Self::Reinstall(reinstall) => &reinstall.accepted_risks,
        }
    }

    /// The same operation for a new job, without what a vendor takes once only: ZStack never runs a second long job
    /// under a `resourceUuid`, so the new one gets a fresh one.
    #[must_use]
    pub fn again(mut self) -> Self {
        let upgrade = match &mut self {
            Self::Upgrade(upgrade) => upgrade,
            Self::ScheduledUpgrade(scheduled) => &mut scheduled.upgrade,
            Self::Reinstall(_) => return self,
        };
        match &mut upgrade.options {
            VendorOptions::Zstack(options) => options.resource_uuid = None,
            VendorOptions::None => {}
        }
        self
    }

    /// Accepts further warnings by id, each once.
    pub fn accept_risks(&mut self, risks: impl IntoIterator<Item = String>) {
        let accepted = match self {
            Self::Upgrade(upgrade) => &mut upgrade.accepted_risks,
            Self::ScheduledUpgrade(scheduled) => &mut scheduled.upgrade.accepted_risks,
            Self::Reinstall(reinstall) => &mut reinstall.accepted_risks,
        };
        for risk in risks {
            if !accepted.contains(&risk) {
                accepted.push(risk);
            }
        }
    }

    /// Whether the caller chose the vendors' blanket switch.
    pub fn ignores_warnings(&self) -> bool {
        self.upgrade().and_then(|u| u.ignore_precheck_warnings).unwrap_or(false)
    }
}

/// An upgrade's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upgrade {
    /// The version wanted: ZStack `releaseVersion` (optional there), vSphere `desired_version`, Avisi `version`.
    pub version: Option<String>,
    /// vSphere `ignore_precheck_warnings`. Unset is not sent. Recorded with the job.
    pub ignore_precheck_warnings: Option<bool>,
    /// Finding ids of the warnings that the caller accepts.
    pub accepted_risks: Vec<String>,
    /// What one vendor has alone.
    pub options: VendorOptions,
}

/// A scheduled upgrade's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduledUpgrade {
    /// What to upgrade to.
    pub upgrade: Upgrade,
    /// The earliest start. Unset: the vendor's next window, for vendors that have windows.
    pub start_time: Option<Timestamp>,
    /// Avisi `ignoreMaintenanceSchedule`. Unset is not sent.
    pub ignore_maintenance_windows: Option<bool>,
}

/// A reinstall's parameters. The password is kept apart, see the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reinstall {
    /// The image to install; unset keeps the current one.
    pub image_id: Option<String>,
    /// Finding ids of the warnings that the caller accepts.
    pub accepted_risks: Vec<String>,
}

/// What one vendor has alone. Options of the wrong vendor are refused, never ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "vendor", rename_all = "snake_case")]
pub enum VendorOptions {
    /// None given.
    #[default]
    None,
    /// ZStack's.
    Zstack(Box<ZstackUpgradeOptions>),
}

impl VendorOptions {
    /// The vendor they belong to, if any are given.
    pub const fn vendor(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Zstack(_) => Some("zstack"),
        }
    }
}

/// ZStack `UpdateClusterOS`, field by field (`releaseVersion` is the common `version`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZstackUpgradeOptions {
    /// `excludePackages`: packages not to upgrade. Empty is not sent (ZStack refuses an empty list).
    pub exclude_packages: Vec<String>,
    /// `updatePackages`: packages to upgrade. Empty is not sent.
    pub update_packages: Vec<String>,
    /// `resourceUuid`: the long job's uuid, 32 lower-case hex digits, UUID v1 to v5. Unset: chosen per attempt.
    pub resource_uuid: Option<String>,
    /// `tagUuids`.
    pub tag_uuids: Vec<String>,
    /// `systemTags`, at the body's top level.
    pub system_tags: Vec<String>,
    /// `userTags`, at the body's top level.
    pub user_tags: Vec<String>,
    /// `hostUuid` (ZStack Cloud 4.8.13 and later): only this host.
    pub host_uuid: Option<String>,
    /// `force` (ZStack Cloud 5.2.0 and later): update although VMs carry XML hooks. Unset is not sent.
    pub force: Option<bool>,
}
