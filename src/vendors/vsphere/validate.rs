//! vCenter's published rules for a request, checked without asking anyone.

use crate::domain::error::FieldViolation;
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::TargetKind;
use crate::vendors::contract::Asked;

/// Our own bound on a version's length; the vendor's pages give none.
const MAX_VERSION: usize = 128;

/// Every fault of a request.
pub(super) fn validate(asked: &Asked<'_>) -> Vec<FieldViolation> {
    let mut faults = Vec::new();
    match asked.target.kind {
        TargetKind::Cluster | TargetKind::Supervisor => {}
        TargetKind::Instance => faults.push(FieldViolation::new(
            "target",
            "vSphere has clusters (`…/clusters/domain-c9`) and Supervisors (`…/supervisors/{id}`) only",
        )),
    }
    match asked.operation {
        Operation::Upgrade(upgrade) => check_upgrade(upgrade, &mut faults),
        // That vSphere has no maintenance windows, the engine knows from the capabilities.
        Operation::ScheduledUpgrade(scheduled) => check_upgrade(&scheduled.upgrade, &mut faults),
        Operation::Reinstall(_) => {
            faults.push(FieldViolation::new("target", "vSphere cannot reinstall an operating system"));
        }
    }
    if asked.password.is_some() {
        faults.push(FieldViolation::new("password", "vSphere takes no password; leave it out"));
    }
    faults
}

fn check_upgrade(upgrade: &Upgrade, faults: &mut Vec<FieldViolation>) {
    match upgrade.version.as_deref() {
        None | Some("") => faults
            .push(FieldViolation::new("version", "is required, such as `v1.29.7+vmware.1-fips-vsc0.1.9`")),
        Some(version)
            if version.len() > MAX_VERSION
                || version.chars().any(|c| c.is_whitespace() || c.is_control()) =>
        {
            let rule = format!("must be at most {MAX_VERSION} bytes without white space");
            faults.push(FieldViolation::new("version", rule));
        }
        Some(_) => {}
    }
    if let Some(vendor) = upgrade.options.vendor() {
        let rule = format!("is for vendor `{vendor}`, and this provider's vendor is `vsphere`");
        faults.push(FieldViolation::new(vendor, rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, ScheduledUpgrade, VendorOptions, ZstackUpgradeOptions};
    use crate::domain::target::Target;
    use crate::kit::secret::Secret;

    const CLUSTER: &str = "providers/vc/clusters/domain-c9";

    fn fields(target: &str, operation: &Operation, password: Option<&Secret>) -> Vec<String> {
        let target = Target::parse_name(target).unwrap();
        validate(&Asked { target: &target, operation, password }).into_iter().map(|f| f.field).collect()
    }

    fn to(version: &str) -> Upgrade {
        Upgrade { version: Some(version.into()), ..Upgrade::default() }
    }

    #[test]
    fn what_the_pages_allow_is_allowed() {
        let operation = Operation::Upgrade(to("v1.29.7+vmware.1-fips-vsc0.1.9"));
        assert!(fields(CLUSTER, &operation, None).is_empty());
        assert!(fields("providers/vc/supervisors/8c2f0b1e", &operation, None).is_empty());
        let upgrade = Upgrade { ignore_precheck_warnings: Some(true), ..to("v") };
        let operation = Operation::ScheduledUpgrade(ScheduledUpgrade { upgrade, ..Default::default() });
        assert!(fields(CLUSTER, &operation, None).is_empty());
    }

    #[test]
    fn all_faults_come_at_once() {
        let options = VendorOptions::Zstack(ZstackUpgradeOptions::default());
        let operation = Operation::ScheduledUpgrade(ScheduledUpgrade {
            upgrade: Upgrade { version: None, options, ..Upgrade::default() },
            start_time: None,
            ignore_maintenance_windows: Some(true),
        });
        let found = fields("providers/vc/instances/i", &operation, Some(&Secret::from("p")));
        assert_eq!(found, ["target", "version", "zstack", "password"]);
        assert_eq!(fields(CLUSTER, &Operation::Reinstall(Reinstall::default()), None), ["target"]);
        for version in ["", "v 1", "v\n", &"v".repeat(129)] {
            assert_eq!(fields(CLUSTER, &Operation::Upgrade(to(version)), None), ["version"], "{version:?}");
        }
    }
}
