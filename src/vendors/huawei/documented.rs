//! What Huawei documents of the answers that decide how a job stands: the union of the three vocabularies that its API
//! reference and its two SDKs have.

use crate::vendors::drift::{Is, Shape};

/// An instance of `ListInstances`, and the answer of `ShowInstanceStatus`.
pub(super) const INSTANCE: Shape = Shape {
    name: "Instance",
    is_complete: true,
    fields: &[
        ("id", Is::Any),
        ("name", Is::Any),
        ("vpc_id", Is::Any),
        ("network_interfaces", Is::Any),
        ("tags", Is::Any),
        ("image", Is::Any),
        ("description", Is::Any),
        ("state", Is::Word(is_state)),
        ("operation_state", Is::Word(is_operation_state)),
        // These two may hold secrets, and are never looked into.
        ("metadata", Is::Any),
        ("user_data", Is::Any),
        ("server_id", Is::Any),
        ("created_at", Is::Any),
        ("updated_at", Is::Any),
        ("launched_at", Is::Any),
        ("error", Is::Shaped(&ERROR)),
    ],
};

const ERROR: Shape = Shape {
    name: "ErrorStatus",
    is_complete: true,
    fields: &[
        ("error_code", Is::Any),
        ("error_msg", Is::Any),
        (
            "error_type",
            Is::Word(|word| {
                matches!(
                    word,
                    "create_instance_error"
                        | "delete_instance_error"
                        | "reinstall_error"
                        | "modify_ip_error"
                        | "verify_server_error"
                        | "delete_server_error"
                )
            }),
        ),
    ],
};

/// An image of IMS. It has many more fields, which nothing here depends on.
pub(super) const IMAGE: Shape = Shape {
    name: "CloudImage",
    is_complete: false,
    fields: &[(
        "status",
        Is::Word(|word| matches!(word, "queued" | "saving" | "active" | "killed" | "deleted")),
    )],
};

fn is_state(word: &str) -> bool {
    matches!(
        word,
        "pending"
            | "running"
            | "stopping"
            | "stopped"
            | "reinstalling"
            | "shutting-down"
            | "terminated"
            // So it is misspelt in one SDK.
            | "teminated"
            | "failed"
            | "modifyIping"
            | "switch-installing"
            | "error"
    )
}

/// An operation with how it stands: `reinstall-processing`.
fn is_operation_state(word: &str) -> bool {
    let operation = ["-processing", "-succeed", "-failed"].iter().find_map(|end| word.strip_suffix(end));
    matches!(operation, Some("install" | "reinstall" | "switch-install" | "modify-ip" | "uninstall"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_state_is_an_operation_with_its_stand() {
        assert!(is_operation_state("reinstall-processing") && is_operation_state("switch-install-failed"));
        for word in ["reinstall", "-failed", "reinstall-paused", "wipe-succeed"] {
            assert!(!is_operation_state(word), "{word}");
        }
    }
}
