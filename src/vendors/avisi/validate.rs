//! Avisi's published rules for a request, checked without asking anyone.

use uuid::Uuid;

use crate::domain::error::FieldViolation;
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::TargetKind;
use crate::vendors::contract::Asked;

/// Our own bound on a version's length; the vendor's page only says "at least 1".
const MAX_VERSION: usize = 128;

/// Every fault of a request.
pub(super) fn validate(asked: &Asked<'_>) -> Vec<FieldViolation> {
    let mut faults = Vec::new();
    match asked.target.kind {
        TargetKind::Cluster => {
            // The hyphenated form only: it is compared with, and sent to, the vendor as it stands.
            let id = &*asked.target.id;
            if id.len() != 36 || Uuid::try_parse(id).is_err() {
                faults.push(FieldViolation::new(
                    "target",
                    "an Avisi cluster's id is its identity, a UUID such as `7b0c1a52-0d2e-4e0a-9a43-0c5d1c1f2a10`",
                ));
            }
        }
        TargetKind::Supervisor | TargetKind::Instance => {
            faults.push(FieldViolation::new(
                "target",
                "Avisi has clusters only: `providers/{provider}/clusters/{id}`",
            ));
        }
    }
    match asked.operation {
        Operation::Upgrade(upgrade) => check_upgrade(upgrade, &mut faults),
        Operation::ScheduledUpgrade(scheduled) => check_upgrade(&scheduled.upgrade, &mut faults),
        Operation::Reinstall(_) => {
            faults.push(FieldViolation::new("target", "Avisi cannot reinstall an operating system"));
        }
    }
    if asked.password.is_some() {
        faults.push(FieldViolation::new("password", "Avisi takes no password; leave it out"));
    }
    faults
}

fn check_upgrade(upgrade: &Upgrade, faults: &mut Vec<FieldViolation>) {
    match upgrade.version.as_deref() {
        None | Some("") => {
            faults.push(FieldViolation::new("version", "is required, such as `v1.35.6-u-ame.4`"));
        }
        Some(version)
            if version.len() > MAX_VERSION
                || version.chars().any(|c| c.is_whitespace() || c.is_control()) =>
        {
            let rule =
                format!("must be at most {MAX_VERSION} bytes without white space, such as `v1.35.6-u-ame.4`");
            faults.push(FieldViolation::new("version", rule));
        }
        Some(_) => {}
    }
    if let Some(vendor) = upgrade.options.vendor() {
        let rule = format!("is for vendor `{vendor}`, and this provider's vendor is `avisi`");
        faults.push(FieldViolation::new(vendor, rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, ScheduledUpgrade, VendorOptions};
    use crate::domain::target::Target;
    use crate::kit::secret::Secret;

    const CLUSTER: &str = "providers/avisi/clusters/7b0c1a52-0d2e-4e0a-9a43-0c5d1c1f2a10";

    fn fields(target: &str, operation: &Operation, password: Option<&Secret>) -> Vec<String> {
        let target = Target::parse_name(target).unwrap();
        validate(&Asked { target: &target, operation, password }).into_iter().map(|f| f.field).collect()
    }

    fn upgrade(version: &str) -> Upgrade {
        Upgrade { version: Some(version.into()), ..Upgrade::default() }
    }

    #[test]
    fn what_the_page_allows_is_allowed() {
        let operation = Operation::Upgrade(upgrade("v1.35.6-u-ame.4"));
        assert!(fields(CLUSTER, &operation, None).is_empty());
        let operation = Operation::ScheduledUpgrade(ScheduledUpgrade {
            upgrade: upgrade("v"),
            start_time: Some("2026-11-29T01:00:00Z".parse().unwrap()),
            ignore_maintenance_windows: Some(false),
        });
        assert!(fields(CLUSTER, &operation, None).is_empty());
    }

    #[test]
    fn all_faults_come_at_once() {
        let options = VendorOptions::Zstack(Box::default());
        let operation = Operation::ScheduledUpgrade(ScheduledUpgrade {
            upgrade: Upgrade { version: None, options, ..Upgrade::default() },
            ..ScheduledUpgrade::default()
        });
        let password = Secret::from("p");
        let found = fields("providers/avisi/clusters/prod-1", &operation, Some(&password));
        assert_eq!(found, ["target", "version", "zstack", "password"]);
    }

    #[test]
    fn odd_versions_ids_and_operations_are_refused() {
        for version in ["", "v1 35", "v1.35\n", &"v".repeat(129)] {
            assert_eq!(
                fields(CLUSTER, &Operation::Upgrade(upgrade(version)), None),
                ["version"],
                "{version:?}"
            );
        }
        let plain = "providers/avisi/clusters/7b0c1a520d2e4e0a9a430c5d1c1f2a10";
        assert_eq!(fields(plain, &Operation::Upgrade(upgrade("v")), None), ["target"]);
        let supervisor = "providers/avisi/supervisors/7b0c1a52-0d2e-4e0a-9a43-0c5d1c1f2a10";
        assert_eq!(fields(supervisor, &Operation::Upgrade(upgrade("v")), None), ["target"]);
        assert_eq!(fields(CLUSTER, &Operation::Reinstall(Reinstall::default()), None), ["target"]);
    }
}
