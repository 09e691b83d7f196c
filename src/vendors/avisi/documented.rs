//! What Avisi documents of the answers that decide how a job stands. The object of a scheduled upgrade is documented in
//! full; of a cluster neither all fields nor all words of `status` are, so the words are those that Drydock
//! understands: another one may mean that a job is followed wrongly.

use super::infer::Condition;
use super::map::Word;
use crate::vendors::drift::{Is, Shape};

/// `ScheduledClusterUpgrade`, of the operators' API and of the answer to a schedule.
pub(super) const SCHEDULED_UPGRADE: Shape = Shape {
    name: "ScheduledClusterUpgrade",
    is_complete: true,
    fields: &[
        ("identity", Is::Any),
        ("clusterIdentity", Is::Any),
        ("createdAt", Is::Any),
        ("modifiedAt", Is::Any),
        ("windowStart", Is::Any),
        ("windowEnd", Is::Any),
        ("reason", Is::Any),
        ("fromClusterVersion", Is::Any),
        ("toClusterVersion", Is::Any),
        ("status", Is::Word(|word| Word::read(word).is_some())),
        ("clusterSlug", Is::Any),
        ("environmentSlug", Is::Any),
        ("organisationSlug", Is::Any),
        ("scheduleRequestDate", Is::Any),
        ("ignoreMaintenanceSchedule", Is::Any),
    ],
};

/// `Cluster`.
pub(super) const CLUSTER: Shape = Shape {
    name: "Cluster",
    is_complete: false,
    fields: &[
        ("status", Is::Word(Condition::understands)),
        (
            "provisionStatus",
            Is::Word(|word| {
                matches!(
                    word,
                    "UNKNOWN"
                        | "ACCEPTED"
                        | "OIDC_PROVISIONED"
                        | "CLUSTER_PROVISIONED"
                        | "INITIAL_NODE_POOLS_PROVISIONED"
                        | "INITIAL_ADDONS_PROVISIONED"
                        | "DONE"
                )
            }),
        ),
    ],
};
