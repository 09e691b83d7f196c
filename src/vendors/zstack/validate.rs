//! The rules that a request must keep, without asking ZStack.
//!
//! ZStack's agent pastes package names and the release into a shell command, and older management nodes paste
//! them into text that they call JSON. So both are held to a whitelist here, whatever ZStack itself would take.

use super::ids::{is_resource_uuid, is_uuid};
use crate::domain::error::FieldViolation;
use crate::domain::operation::{Operation, Upgrade, VendorOptions, ZstackUpgradeOptions};
use crate::domain::target::TargetKind;
use crate::vendors::contract::Asked;

/// The most entries of one list.
const MAX_ENTRIES: usize = 500;
/// The longest tag.
const MAX_TAG: usize = 2048;

/// Every fault of a request.
pub(super) fn validate(asked: &Asked<'_>) -> Vec<FieldViolation> {
    let mut faults = Faults(Vec::new());
    if asked.target.kind != TargetKind::Cluster {
        faults.add(
            "target",
            "ZStack updates clusters: the target must be `providers/{provider}/clusters/{uuid}`",
        );
    } else if !is_uuid(&asked.target.id) {
        faults.add(
            "target",
            "the cluster's id must be its ZStack uuid: 32 lower-case hex digits without hyphens",
        );
    }
    if asked.password.is_some() {
        faults.add("password", "ZStack's cluster update takes no password");
    }
    match asked.operation {
        Operation::Upgrade(upgrade) => faults.upgrade(upgrade),
        Operation::ScheduledUpgrade(scheduled) => {
            if scheduled.start_time.is_none() {
                faults.add(
                    "start_time",
                    "must be set: ZStack has no maintenance windows of its own to wait for",
                );
            }
            if scheduled.ignore_maintenance_windows.is_some() {
                faults
                    .add("ignore_maintenance_windows", "must not be set: ZStack has no maintenance windows");
            }
            faults.upgrade(&scheduled.upgrade);
        }
        Operation::Reinstall(_) => {
            faults.add("target", "ZStack clusters cannot be reinstalled, only upgraded")
        }
    }
    faults.0
}

struct Faults(Vec<FieldViolation>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(FieldViolation::new(field, rule));
    }

    fn upgrade(&mut self, upgrade: &Upgrade) {
        if upgrade.version.as_deref().is_some_and(|version| !is_release(version)) {
            self.add(
                "version",
                "must be 1 to 64 letters, digits or `. _ -`, and not begin with `-` (`releaseVersion`)",
            );
        }
        match &upgrade.options {
            VendorOptions::None => {}
            VendorOptions::Zstack(options) => self.options(options),
        }
    }

    fn options(&mut self, options: &ZstackUpgradeOptions) {
        let package = "must be 1 to 128 letters, digits or `. _ + * : -`, and not begin with `-`";
        self.each("zstack.exclude_packages", &options.exclude_packages, is_package, package);
        self.each("zstack.update_packages", &options.update_packages, is_package, package);
        if options.resource_uuid.as_deref().is_some_and(|uuid| !is_resource_uuid(uuid)) {
            let rule = "must be a UUID of version 1 to 5 as 32 lower-case hex digits without hyphens (ZStack refuses \
                        version 7)";
            self.add("zstack.resource_uuid", rule);
        }
        self.each(
            "zstack.tag_uuids",
            &options.tag_uuids,
            is_uuid,
            "must be 32 lower-case hex digits without hyphens",
        );
        let tag = "must be 1 to 2048 bytes of text without control characters";
        self.each("zstack.system_tags", &options.system_tags, is_tag, tag);
        self.each("zstack.user_tags", &options.user_tags, is_tag, tag);
        if options.host_uuid.as_deref().is_some_and(|uuid| !is_uuid(uuid)) {
            self.add("zstack.host_uuid", "must be 32 lower-case hex digits without hyphens");
        }
    }

    fn each(&mut self, field: &str, values: &[String], fits: fn(&str) -> bool, rule: &str) {
        if values.len() > MAX_ENTRIES {
            self.add(field, format!("must have at most {MAX_ENTRIES} entries"));
            return;
        }
        for (n, value) in values.iter().enumerate() {
            if !fits(value) {
                self.add(format!("{field}[{n}]"), rule);
            }
        }
    }
}

fn is_package(text: &str) -> bool {
    is_word(text, 128, b"._+*:-")
}

fn is_release(text: &str) -> bool {
    is_word(text, 64, b"._-")
}

fn is_word(text: &str, longest: usize, marks: &[u8]) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || marks.contains(&b))
        && !text.starts_with('-')
}

fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, ScheduledUpgrade};
    use crate::domain::target::Target;
    use crate::kit::secret::Secret;

    const CLUSTER: &str = "providers/z/clusters/932696598b64375ea4ae6226cc0c1407";

    fn faults(target: &str, operation: &Operation) -> Vec<String> {
        let target = Target::parse_name(target).unwrap();
        let asked = Asked { target: &target, operation, password: None };
        validate(&asked).into_iter().map(|f| f.field).collect()
    }

    fn with(options: ZstackUpgradeOptions) -> Operation {
        Operation::Upgrade(Upgrade {
            options: VendorOptions::Zstack(Box::new(options)),
            ..Upgrade::default()
        })
    }

    #[test]
    fn a_full_request_passes() {
        let operation = Operation::Upgrade(Upgrade {
            version: Some("h84r".into()),
            options: VendorOptions::Zstack(Box::new(ZstackUpgradeOptions {
                exclude_packages: vec!["kernel".into(), "systemd*".into()],
                update_packages: vec!["qemu-kvm-ev-2.12.0".into(), "1:libvirt+x".into()],
                resource_uuid: Some("932696598b64375ea4ae6226cc0c1407".into()),
                tag_uuids: vec!["36c27e8ff05c4780bf6d2fa65700f22e".into()],
                system_tags: vec!["a::b".into()],
                user_tags: vec!["für mich".into()],
                host_uuid: Some("36c27e8ff05c4780bf6d2fa65700f22e".into()),
                force: Some(true),
            })),
            ..Upgrade::default()
        });
        assert_eq!(faults(CLUSTER, &operation), Vec::<String>::new());
        assert_eq!(faults(CLUSTER, &Operation::Upgrade(Upgrade::default())), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let operation = Operation::Upgrade(Upgrade {
            version: Some("h84; reboot".into()),
            options: VendorOptions::Zstack(Box::new(ZstackUpgradeOptions {
                exclude_packages: vec!["kernel".into(), "a,b".into(), String::new()],
                update_packages: vec!["--disableexcludes".into(), "$(id)".into()],
                resource_uuid: Some("0197f36d8b64775ea4ae6226cc0c1407".into()),
                tag_uuids: vec!["X".into()],
                system_tags: vec![String::new()],
                user_tags: vec!["a\nb".into()],
                host_uuid: Some("36C27E8FF05C4780BF6D2FA65700F22E".into()),
                force: None,
            })),
            ..Upgrade::default()
        });
        assert_eq!(
            faults("providers/z/clusters/domain-c9", &operation),
            [
                "target",
                "version",
                "zstack.exclude_packages[1]",
                "zstack.exclude_packages[2]",
                "zstack.update_packages[0]",
                "zstack.update_packages[1]",
                "zstack.resource_uuid",
                "zstack.tag_uuids[0]",
                "zstack.system_tags[0]",
                "zstack.user_tags[0]",
                "zstack.host_uuid",
            ]
        );
    }

    #[test]
    fn lists_are_bounded() {
        let packages = vec!["a".to_owned(); MAX_ENTRIES + 1];
        let operation =
            with(ZstackUpgradeOptions { update_packages: packages, ..ZstackUpgradeOptions::default() });
        assert_eq!(faults(CLUSTER, &operation), ["zstack.update_packages"]);
    }

    #[test]
    fn a_schedule_needs_a_time_and_knows_no_windows() {
        let scheduled =
            ScheduledUpgrade { ignore_maintenance_windows: Some(false), ..ScheduledUpgrade::default() };
        assert_eq!(
            faults(CLUSTER, &Operation::ScheduledUpgrade(scheduled)),
            ["start_time", "ignore_maintenance_windows"]
        );
    }

    #[test]
    fn other_targets_and_passwords_are_refused() {
        let operation = Operation::Reinstall(Reinstall::default());
        assert_eq!(faults("providers/z/instances/a", &operation), ["target", "target"]);
        let target = Target::parse_name(CLUSTER).unwrap();
        let password = Secret::from("p");
        let operation = Operation::Upgrade(Upgrade::default());
        let asked = Asked { target: &target, operation: &operation, password: Some(&password) };
        assert_eq!(validate(&asked)[0].field, "password");
    }
}
