//! What a scenario may ask for: how upgrades, cancels and checks turn out.

use serde::Deserialize;

/// How an upgrade turns out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target gets the version.
    #[default]
    Succeed,
    /// Half-way, the target turns to ERROR and the task to FAILED.
    Fail,
    /// The same, with a task that has no `error` and holds its reason in `result`.
    FailInResult,
    /// The start is refused: REJECTED with an exception, or 400.
    Refuse,
    /// Prechecks find an ERROR beforehand, and stop the upgrade.
    PrecheckError,
    /// Prechecks find a WARNING beforehand, and stop the upgrade unless warnings are ignored.
    PrecheckWarning,
    /// Prechecks find an ERROR only once the upgrade was accepted, and stop it.
    LatePrecheckError,
    /// The task is BLOCKED from a third of the way on, until it is cancelled.
    Block,
    /// Half-way, the target is READY again without the version.
    GiveUp,
    /// Half-way, another upgrade, to the later version, takes the place of this one.
    Overtake,
    /// The task is soon gone; the upgrade goes on.
    LoseTask,
    /// The task cannot be cancelled.
    Uncancelable,
}

/// What an upgrade's task ends with after a cancel. It is always FAILED; nobody could verify what it says besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelEnd {
    /// An error of the type CANCELED.
    #[default]
    Told,
    /// No reason at all.
    Silent,
    /// An error of another type, whose text speaks of the cancel.
    Worded,
    /// The upgrade fails by itself meanwhile.
    Fails,
}

/// How a version fits the infrastructure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Well.
    #[default]
    Compatible,
    /// It works, and lacks a feature.
    Degraded,
    /// Not at all.
    Incompatible,
    /// vCenter has no such check (before 9.0).
    Unchecked,
}
