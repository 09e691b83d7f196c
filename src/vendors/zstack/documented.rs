//! What ZStack documents of the answers that decide how a job stands (source: the inventories in zstack's `header`
//! module). Records of clusters and hosts have many more fields, which vary with the plugins: of them only the words
//! are known.

use super::map::Word;
use super::wire::{Cluster, Host, LongJob, TaskProgress};
use crate::vendors::drift::{Is, Shape};

/// A record that ZStack lists as `inventories`, or gives as `inventory`.
pub(super) trait Documented {
    /// Its shape.
    const SHAPE: &'static Shape;
}

impl Documented for LongJob {
    const SHAPE: &'static Shape = &Shape {
        name: "LongJobInventory",
        is_complete: true,
        fields: &[
            ("uuid", Is::Any),
            ("name", Is::Any),
            ("description", Is::Any),
            ("apiId", Is::Any),
            ("jobName", Is::Any),
            ("jobData", Is::Any),
            ("jobResult", Is::Any),
            ("targetResourceUuid", Is::Any),
            ("managementNodeUuid", Is::Any),
            ("parentUuid", Is::Any),
            ("createDate", Is::Any),
            ("lastOpDate", Is::Any),
            ("executeTime", Is::Any),
            ("state", Is::Word(|word| Word::read(word) != Word::Unknown)),
        ],
    };
}

impl Documented for Cluster {
    const SHAPE: &'static Shape = &Shape {
        name: "ClusterInventory",
        is_complete: false,
        fields: &[("state", Is::Word(|word| matches!(word, "Enabled" | "Disabled")))],
    };
}

impl Documented for Host {
    const SHAPE: &'static Shape = &Shape {
        name: "HostInventory",
        is_complete: false,
        fields: &[
            (
                "state",
                Is::Word(|word| matches!(word, "Enabled" | "Disabled" | "PreMaintenance" | "Maintenance")),
            ),
            ("status", Is::Word(|word| matches!(word, "Connecting" | "Connected" | "Disconnected"))),
        ],
    };
}

impl Documented for TaskProgress {
    const SHAPE: &'static Shape = &Shape {
        name: "TaskProgressInventory",
        is_complete: false,
        fields: &[("type", Is::Word(|word| matches!(word, "Progress" | "Task")))],
    };
}
