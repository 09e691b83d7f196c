//! What vCenter documents of the answers that decide how a job stands (source: the vSphere Automation API and its
//! Python bindings). Of conditions and messages only the words are known: they vary with components.

use super::judge::{Mood, mood};
use crate::vendors::drift::{Is, Shape};

/// An entry of `software/clusters` and of `software/supervisors/upgrades`.
pub(super) const SUMMARY: Shape = Shape {
    name: "Summary",
    is_complete: true,
    fields: &[
        CLASS,
        ("cluster", Is::Any),
        ("cluster_name", Is::Any),
        ("supervisor", Is::Any),
        ("current_version", Is::Any),
        ("available_versions", Is::Any),
        ("state", Is::Word(is_state)),
        ("last_upgraded_date", Is::Any),
        ("desired_version", Is::Any),
    ],
};

/// The details of one cluster or Supervisor.
pub(super) const INFO: Shape = Shape {
    name: "Info",
    is_complete: true,
    fields: &[
        CLASS,
        ("current_version", Is::Any),
        ("available_versions", Is::Any),
        ("messages", Is::Shaped(&MESSAGE)),
        ("state", Is::Word(is_state)),
        ("last_upgraded_date", Is::Any),
        ("upgrade_status", Is::Shaped(&UPGRADE_STATUS)),
        ("upgrade_prechecks", Is::Shaped(&CONDITION)),
    ],
};

const UPGRADE_STATUS: Shape = Shape {
    name: "UpgradeStatus",
    is_complete: true,
    fields: &[
        CLASS,
        ("desired_version", Is::Any),
        ("messages", Is::Shaped(&MESSAGE)),
        ("progress", Is::Any),
        ("components", Is::Any),
    ],
};

const MESSAGE: Shape =
    Shape { name: "Message", is_complete: false, fields: &[("severity", Is::Word(is_severity))] };

const CONDITION: Shape =
    Shape { name: "Condition", is_complete: false, fields: &[("severity", Is::Word(is_severity))] };

/// What became of one cluster of `upgradeMultiple`.
pub(super) const RESULT: Shape = Shape {
    name: "Result",
    is_complete: true,
    fields: &[
        CLASS,
        ("res", Is::Word(|word| matches!(word, "STARTED" | "REJECTED"))),
        ("exception", Is::Any),
    ],
};

/// A task of `cis/tasks`.
pub(super) const TASK: Shape = Shape {
    name: "Task",
    is_complete: true,
    fields: &[
        CLASS,
        ("description", Is::Any),
        ("service", Is::Any),
        ("operation", Is::Any),
        (
            "status",
            Is::Word(|word| matches!(word, "PENDING" | "RUNNING" | "BLOCKED" | "SUCCEEDED" | "FAILED")),
        ),
        ("cancelable", Is::Any),
        ("progress", Is::Any),
        ("start_time", Is::Any),
        ("end_time", Is::Any),
        ("result", Is::Any),
        ("error", Is::Any),
        ("parent", Is::Any),
        ("target", Is::Any),
        ("user", Is::Any),
        // Not in the specification, and seen in real answers.
        ("last_update_time", Is::Any),
        ("notifications", Is::Any),
    ],
};

/// Not in the specification, and seen in real answers.
const CLASS: (&str, Is) = ("@class", Is::Any);

fn is_state(word: &str) -> bool {
    mood(Some(word)) != Mood::Unknown
}

fn is_severity(word: &str) -> bool {
    matches!(word, "INFO" | "WARNING" | "ERROR")
}
