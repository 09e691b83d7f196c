//! Operations, both ways. A password is never part of one.

use super::time::timestamp;
use super::{Faults, inside};
use crate::api::pb;
use crate::domain::operation::{
    MAX_ACCEPTED_RISKS, Operation, OperationKind, Reinstall, ScheduledUpgrade, Upgrade, VendorOptions,
    ZstackUpgradeOptions,
};

const MAX_VERSION: usize = 256;
const MAX_RISK: usize = 128;
const MAX_VENDOR_LIST: usize = 1000;
const MAX_VENDOR_TEXT: usize = 1024;

/// The kind of an operation, outwards.
pub const fn kind(kind: OperationKind) -> pb::OperationKind {
    match kind {
        OperationKind::Upgrade => pb::OperationKind::Upgrade,
        OperationKind::ScheduledUpgrade => pb::OperationKind::ScheduledUpgrade,
        OperationKind::Reinstall => pb::OperationKind::Reinstall,
    }
}

/// The kind of an operation, inwards; `None` for unspecified or unknown.
pub fn read_kind(value: i32) -> Option<OperationKind> {
    OperationKind::ALL.into_iter().find(|k| kind(*k) as i32 == value)
}

/// An operation, outwards.
pub fn operation(operation: &Operation) -> pb::Operation {
    let kind = match operation {
        Operation::Upgrade(asked) => pb::operation::Kind::Upgrade(upgrade(asked)),
        Operation::ScheduledUpgrade(asked) => pb::operation::Kind::ScheduledUpgrade(pb::ScheduledUpgrade {
            upgrade: Some(upgrade(&asked.upgrade)),
            start_time: asked.start_time.map(timestamp),
            ignore_maintenance_windows: asked.ignore_maintenance_windows,
        }),
        Operation::Reinstall(asked) => pb::operation::Kind::Reinstall(pb::Reinstall {
            image_id: asked.image_id.clone().unwrap_or_default(),
            accepted_risks: asked.accepted_risks.clone(),
        }),
    };
    pb::Operation { kind: Some(kind) }
}

fn upgrade(asked: &Upgrade) -> pb::Upgrade {
    pb::Upgrade {
        version: asked.version.clone().unwrap_or_default(),
        ignore_precheck_warnings: asked.ignore_precheck_warnings,
        accepted_risks: asked.accepted_risks.clone(),
        vendor_options: match &asked.options {
            VendorOptions::None => None,
            VendorOptions::Zstack(options) => Some(pb::upgrade::VendorOptions::Zstack(zstack(options))),
        },
    }
}

fn zstack(options: &ZstackUpgradeOptions) -> pb::ZstackUpgradeOptions {
    pb::ZstackUpgradeOptions {
        exclude_packages: options.exclude_packages.clone(),
        update_packages: options.update_packages.clone(),
        resource_uuid: options.resource_uuid.clone().unwrap_or_default(),
        tag_uuids: options.tag_uuids.clone(),
        system_tags: options.system_tags.clone(),
        user_tags: options.user_tags.clone(),
        host_uuid: options.host_uuid.clone().unwrap_or_default(),
        force: options.force,
    }
}

/// An upgrade's fields as they stand in several requests.
#[derive(Clone, Debug, Default)]
pub struct UpgradeFields {
    /// `version`
    pub version: String,
    /// `ignore_precheck_warnings`
    pub ignore_precheck_warnings: Option<bool>,
    /// `accepted_risks`
    pub accepted_risks: Vec<String>,
    /// `vendor_options.zstack`
    pub zstack: Option<pb::ZstackUpgradeOptions>,
}

/// An upgrade, inwards, with paths below `parent`.
pub fn read_upgrade(faults: &mut Faults, parent: &str, fields: UpgradeFields) -> Upgrade {
    Upgrade {
        version: faults.optional_text(&inside(parent, "version"), MAX_VERSION, fields.version),
        ignore_precheck_warnings: fields.ignore_precheck_warnings,
        accepted_risks: read_risks(faults, parent, fields.accepted_risks),
        options: match fields.zstack {
            Some(options) => {
                VendorOptions::Zstack(Box::new(read_zstack(faults, &inside(parent, "zstack"), options)))
            }
            None => VendorOptions::None,
        },
    }
}

/// A scheduled upgrade, inwards.
pub fn read_scheduled(
    faults: &mut Faults,
    fields: UpgradeFields,
    start_time: Option<prost_types::Timestamp>,
    ignore_maintenance_windows: Option<bool>,
) -> ScheduledUpgrade {
    ScheduledUpgrade {
        upgrade: read_upgrade(faults, "", fields),
        start_time: super::time::read_timestamp(faults, "start_time", start_time),
        ignore_maintenance_windows,
    }
}

/// A reinstall, inwards.
pub fn read_reinstall(faults: &mut Faults, image_id: String, accepted_risks: Vec<String>) -> Reinstall {
    Reinstall {
        image_id: faults.optional_text("image_id", 128, image_id),
        accepted_risks: read_risks(faults, "", accepted_risks),
    }
}

/// The warnings that a caller accepts, inwards.
pub fn read_risks(faults: &mut Faults, parent: &str, risks: Vec<String>) -> Vec<String> {
    let field = inside(parent, "accepted_risks");
    let risks = faults.texts(&field, MAX_ACCEPTED_RISKS, MAX_RISK, risks);
    for (index, risk) in risks.iter().enumerate() {
        if risk.is_empty() {
            faults.add(super::at(&field, index), "must be the id of a finding");
        }
    }
    risks
}

fn read_zstack(faults: &mut Faults, parent: &str, options: pb::ZstackUpgradeOptions) -> ZstackUpgradeOptions {
    let mut list = |field: &str, entries| {
        faults.texts(&inside(parent, field), MAX_VENDOR_LIST, MAX_VENDOR_TEXT, entries)
    };
    let exclude_packages = list("exclude_packages", options.exclude_packages);
    let update_packages = list("update_packages", options.update_packages);
    let tag_uuids = list("tag_uuids", options.tag_uuids);
    let system_tags = list("system_tags", options.system_tags);
    let user_tags = list("user_tags", options.user_tags);
    let mut text = |field: &str, value| faults.optional_text(&inside(parent, field), MAX_VENDOR_TEXT, value);
    ZstackUpgradeOptions {
        exclude_packages,
        update_packages,
        resource_uuid: text("resource_uuid", options.resource_uuid),
        tag_uuids,
        system_tags,
        user_tags,
        host_uuid: text("host_uuid", options.host_uuid),
        force: options.force,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> pb::ZstackUpgradeOptions {
        pb::ZstackUpgradeOptions {
            exclude_packages: vec!["kernel*".to_owned()],
            update_packages: vec!["qemu".to_owned()],
            resource_uuid: "1".repeat(32),
            tag_uuids: vec!["2".repeat(32)],
            system_tags: vec!["a::b".to_owned()],
            user_tags: vec!["u".to_owned()],
            host_uuid: "3".repeat(32),
            force: Some(true),
        }
    }

    #[test]
    fn every_field_of_an_upgrade_reads_back() {
        let fields = UpgradeFields {
            version: "9.1.0".to_owned(),
            ignore_precheck_warnings: Some(false),
            accepted_risks: vec!["vsphere.low_memory".to_owned()],
            zstack: Some(options()),
        };
        let mut faults = Faults::new();
        let start = prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 };
        let asked = read_scheduled(&mut faults, fields, Some(start), Some(true));
        assert!(faults.is_empty(), "{faults:?}");
        let shown = operation(&Operation::ScheduledUpgrade(asked));
        let Some(pb::operation::Kind::ScheduledUpgrade(shown)) = shown.kind else { panic!() };
        let upgrade = shown.upgrade.unwrap();
        assert_eq!(upgrade.version, "9.1.0");
        assert_eq!(upgrade.ignore_precheck_warnings, Some(false));
        assert_eq!(upgrade.accepted_risks, ["vsphere.low_memory"]);
        assert_eq!(upgrade.vendor_options, Some(pb::upgrade::VendorOptions::Zstack(options())));
        assert_eq!(shown.start_time, Some(start));
        assert_eq!(shown.ignore_maintenance_windows, Some(true));
    }

    #[test]
    fn empty_texts_are_unset() {
        let mut faults = Faults::new();
        let fields =
            UpgradeFields { zstack: Some(pb::ZstackUpgradeOptions::default()), ..Default::default() };
        let read = read_upgrade(&mut faults, "", fields);
        assert!(faults.is_empty());
        assert_eq!(read.version, None);
        assert_eq!(read.options, VendorOptions::Zstack(Box::default()));
        assert_eq!(read_reinstall(&mut faults, String::new(), Vec::new()), Reinstall::default());
    }

    #[test]
    fn every_fault_of_an_upgrade_is_told_with_its_path() {
        let long = "x".repeat(MAX_VENDOR_TEXT + 1);
        let fields = UpgradeFields {
            version: "v".repeat(MAX_VERSION + 1),
            ignore_precheck_warnings: None,
            accepted_risks: vec!["ok".to_owned(), String::new(), "x".repeat(MAX_RISK + 1)],
            zstack: Some(pb::ZstackUpgradeOptions {
                exclude_packages: vec!["ok".to_owned(), "bad\u{0}".to_owned()],
                update_packages: vec!["x".to_owned(); MAX_VENDOR_LIST + 1],
                resource_uuid: long.clone(),
                tag_uuids: vec![long.clone()],
                system_tags: vec![long.clone()],
                user_tags: vec![long.clone()],
                host_uuid: long,
                force: None,
            }),
        };
        let mut faults = Faults::new();
        read_upgrade(&mut faults, "requests[2]", fields);
        let paths = super::super::tests::paths(faults.into_error());
        let expected = [
            "requests[2].version",
            "requests[2].accepted_risks[2]",
            "requests[2].accepted_risks[1]",
            "requests[2].zstack.exclude_packages[1]",
            "requests[2].zstack.update_packages",
            "requests[2].zstack.tag_uuids[0]",
            "requests[2].zstack.system_tags[0]",
            "requests[2].zstack.user_tags[0]",
            "requests[2].zstack.resource_uuid",
            "requests[2].zstack.host_uuid",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn kinds_read_back() {
        for known in OperationKind::ALL {
            assert_eq!(kind(known).as_str_name(), format!("OPERATION_KIND_{}", known.as_str()));
            assert_eq!(read_kind(kind(known) as i32), Some(known));
        }
        assert_eq!(read_kind(0), None);
        assert_eq!(read_kind(99), None);
    }
}
