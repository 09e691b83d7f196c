//! The published rules of a reinstall request, checked before anything is sent. Pure.

use uuid::Uuid;

use crate::domain::error::FieldViolation;
use crate::domain::operation::Operation;
use crate::domain::target::TargetKind;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::contract::Asked;

/// The special characters that a password may have.
const SPECIALS: &str = "!@$%^-_=+[{}]:,./?";
/// The administrators' names, of Linux and of Windows. Which of the two an instance has is known only later (the
/// image may change it), so both are refused.
const ADMINISTRATORS: [&str; 2] = ["root", "administrator"];

/// Every fault of a request.
pub(super) fn validate(asked: &Asked<'_>) -> Vec<FieldViolation> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, rule: &str| faults.push(FieldViolation::new(field, rule));
    match asked.target.kind {
        TargetKind::Instance if is_uuid(&asked.target.id) => {}
        TargetKind::Instance => fault(
            "target",
            "a CloudDC instance's id is a UUID such as `0197f36d-d83b-7258-b177-3784b7887a17`",
        ),
        TargetKind::Cluster | TargetKind::Supervisor => {
            fault("target", "a Huawei CloudDC provider has only `instances`")
        }
    }
    match asked.operation {
        Operation::Reinstall(reinstall) => {
            // An empty text means the same as none: keep the current image.
            if reinstall.image_id.as_deref().is_some_and(|id| !id.is_empty() && !is_uuid(id)) {
                fault(
                    "image_id",
                    "must be the UUID of a private image in IMS; leave it out to keep the current image",
                );
            }
            match asked.password {
                Some(password) => {
                    password_faults(password).into_iter().for_each(|rule| fault("password", rule))
                }
                None => fault("password", "is needed: the new password of the administrator account"),
            }
        }
        Operation::Upgrade(_) | Operation::ScheduledUpgrade(_) => {
            fault("target", "CloudDC instances can be reinstalled, not upgraded");
        }
    }
    faults
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// The rules that a password breaks. The text of a rule never holds the password.
fn password_faults(password: &Secret) -> Vec<&'static str> {
    let password = password.expose_secret();
    let has = |class: fn(char) -> bool| password.chars().any(class);
    let classes = [
        has(|c| c.is_ascii_uppercase()),
        has(|c| c.is_ascii_lowercase()),
        has(|c| c.is_ascii_digit()),
        has(|c| SPECIALS.contains(c)),
    ];
    let lower = password.to_ascii_lowercase();
    // Whether the vendor compares with or without case is not documented: without is the stricter way.
    let names_user = ADMINISTRATORS
        .iter()
        .any(|name| lower.contains(name) || lower.contains(&name.chars().rev().collect::<String>()));
    [
        (!(8..=26).contains(&password.chars().count()), "must have 8 to 26 characters"),
        (
            classes.into_iter().filter(|class| *class).count() < 3,
            "must have at least three of: upper-case letters, lower-case letters, digits, special characters",
        ),
        (
            !password.chars().all(|c| c.is_ascii_alphanumeric() || SPECIALS.contains(c)),
            "may have only letters, digits and the special characters !@$%^-_=+[{}]:,./?",
        ),
        (names_user, "must not contain `root` or `Administrator`, forwards or backwards"),
    ]
    .into_iter()
    .filter_map(|(broken, rule)| broken.then_some(rule))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, Upgrade};
    use crate::domain::target::Target;

    const ID: &str = "0197f36d-d83b-7258-b177-3784b7887a17";

    fn faults(target: &str, operation: &Operation, password: Option<&str>) -> Vec<(String, String)> {
        let target = Target::parse_name(target).unwrap();
        let password = password.map(Secret::from);
        validate(&Asked { target: &target, operation, password: password.as_ref() })
            .into_iter()
            .map(|f| (f.field, f.rule))
            .collect()
    }

    fn reinstall(image_id: Option<&str>) -> Operation {
        Operation::Reinstall(Reinstall { image_id: image_id.map(str::to_owned), ..Reinstall::default() })
    }

    #[test]
    fn what_the_vendor_documents_passes() {
        let target = format!("providers/hw/instances/{ID}");
        for image in [None, Some(""), Some("5d2c8f3a-1111-4b1e-9a77-000000000001")] {
            assert_eq!(faults(&target, &reinstall(image), Some("Rack-7.unit=Q")), [], "{image:?}");
        }
        for password in ["Aa345678", "aaaa-1111", "AAAA1111!@$%^-_=+[{}]:,./?"] {
            assert_eq!(faults(&target, &reinstall(None), Some(password)), [], "{password}");
        }
    }

    #[test]
    fn each_password_rule_is_told_without_the_password() {
        let rules = |password: &str| {
            let rules = password_faults(&Secret::from(password));
            assert!(rules.iter().all(|r| !r.contains(password)), "{rules:?}");
            rules
        };
        assert_eq!(rules("Aa3-567"), ["must have 8 to 26 characters"]);
        assert_eq!(rules(&"Aa3-".repeat(7)), ["must have 8 to 26 characters"]);
        assert_eq!(rules("abcdefg1").len(), 1);
        assert!(rules("Abc1 defgh")[0].starts_with("may have only"));
        assert!(rules("Äbc1-defgh")[0].starts_with("may have only"));
        for password in ["xRoot-77", "xToor-77", "Administrator1", "1rotartsinimdA"] {
            assert!(rules(password)[0].starts_with("must not contain"), "{password}");
        }
        assert_eq!(rules("toor").len(), 3);
    }

    #[test]
    fn all_faults_come_at_once() {
        let found = faults("providers/hw/instances/i-1", &reinstall(Some("ubuntu")), None);
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["target", "image_id", "password"]);
        let upgrade = Operation::Upgrade(Upgrade::default());
        assert_eq!(faults("providers/hw/clusters/c-1", &upgrade, None).len(), 2);
    }
}
