//! The rules of an upgrade request that can be checked before anything is sent. Pure.

use crate::domain::error::FieldViolation;
use crate::domain::operation::{Operation, VendorOptions};
use crate::domain::target::TargetKind;
use crate::vendors::contract::Asked;

/// Longer than any version vCenter has used (`v1.30.5+vmware.4-fips-vsc9.1.0.0-24725450` has 42 characters).
const MAX_VERSION: usize = 200;

/// Every fault of a request.
pub(super) fn validate(asked: &Asked<'_>) -> Vec<FieldViolation> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, rule: &str| faults.push(FieldViolation::new(field, rule));
    match asked.target.kind {
        TargetKind::Cluster | TargetKind::Supervisor => {}
        TargetKind::Instance => {
            fault("target", "a vSphere provider has `clusters` and `supervisors`, and no `instances`");
        }
    }
    if asked.password.is_some() {
        fault("password", "must be unset: an upgrade takes no password");
    }
    let upgrade = match asked.operation {
        Operation::Upgrade(upgrade) => upgrade,
        Operation::ScheduledUpgrade(scheduled) => &scheduled.upgrade,
        Operation::Reinstall(_) => {
            fault("target", "vSphere clusters and Supervisors can be upgraded, not reinstalled");
            return faults;
        }
    };
    match upgrade.version.as_deref() {
        None | Some("") => fault(
            "version",
            "is required: one of the target's available versions, such as `v1.29.7+vmware.1-fips-vsc0.1.9`",
        ),
        Some(version) if version.len() > MAX_VERSION => fault("version", "must be at most 200 characters"),
        Some(version) if version.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            fault("version", "must hold no spaces or control characters");
        }
        Some(_) => {}
    }
    match &upgrade.options {
        VendorOptions::None => {}
        VendorOptions::Zstack(_) => {
            fault("zstack", "must be unset: the target belongs to a vSphere provider")
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, ScheduledUpgrade, Upgrade};
    use crate::domain::target::Target;
    use crate::kit::secret::Secret;

    fn fields(target: &str, operation: &Operation, password: Option<&Secret>) -> Vec<String> {
        let target = Target::parse_name(target).unwrap();
        let faults = validate(&Asked { target: &target, operation, password });
        faults.into_iter().map(|f| f.field).collect()
    }

    fn to(version: &str) -> Upgrade {
        Upgrade { version: Some(version.to_owned()), ..Upgrade::default() }
    }

    #[test]
    fn an_upgrade_and_a_scheduled_one_need_a_version() {
        let cluster = "providers/vc/clusters/domain-c9";
        assert_eq!(fields(cluster, &Operation::Upgrade(to("v1.29.7+vmware.1")), None), [""; 0]);
        for bad in ["", "v1 2", "v1\n", &"v".repeat(201)] {
            assert_eq!(fields(cluster, &Operation::Upgrade(to(bad)), None), ["version"], "{bad}");
        }
        let scheduled = ScheduledUpgrade { upgrade: Upgrade::default(), ..ScheduledUpgrade::default() };
        assert_eq!(
            fields("providers/vc/supervisors/s", &Operation::ScheduledUpgrade(scheduled), None),
            ["version"]
        );
    }

    #[test]
    fn all_faults_come_at_once() {
        let operation = Operation::Upgrade(Upgrade {
            options: VendorOptions::Zstack(Box::default()),
            ..Upgrade::default()
        });
        let password = Secret::from("p");
        assert_eq!(
            fields("providers/vc/instances/i", &operation, Some(&password)),
            ["target", "password", "version", "zstack"]
        );
        assert_eq!(
            fields("providers/vc/clusters/c", &Operation::Reinstall(Reinstall::default()), None),
            ["target"]
        );
    }
}
