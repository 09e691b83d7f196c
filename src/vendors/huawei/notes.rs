//! What this adapter keeps with a job: how the instance stood before the start, and what was seen since.

use serde::{Deserialize, Serialize};

use super::wire::{ErrorStatus, Instance};
use crate::domain::job::Handle;

/// The adapter's notes about one job. No secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    /// How the instance stood before the start.
    pub baseline: Option<Baseline>,
    /// The vendor accepted the start (202), or the start was found to have arrived.
    pub accepted: bool,
    /// After the start, the instance was seen being worked on.
    pub processing_seen: bool,
    /// After the start, `operation_state` was seen to move: its words are about our reinstall from then on.
    pub operation_moved: bool,
}

/// How an instance stood before the start. CloudDC gives no job id, so what changed since is all there is to
/// tell our reinstall from an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Baseline {
    pub state: Option<String>,
    pub operation_state: Option<String>,
    pub image_id: Option<String>,
    pub updated_at: Option<String>,
    pub launched_at: Option<String>,
    pub error: Option<ErrorStatus>,
}

impl Baseline {
    pub(super) fn of(instance: &Instance) -> Self {
        Self {
            state: instance.state.clone(),
            operation_state: instance.operation_state.clone(),
            image_id: instance.image.as_ref().and_then(|i| i.id.clone()),
            updated_at: instance.updated_at.clone(),
            launched_at: instance.launched_at.clone(),
            error: instance.error.clone(),
        }
    }
}

impl Notes {
    /// Notes that hold only a baseline.
    pub(super) fn before(instance: &Instance) -> Self {
        Self { baseline: Some(Baseline::of(instance)), ..Self::default() }
    }

    /// Reads a handle. One that cannot be read counts as none: then less is known, and less is concluded.
    pub(super) fn read(handle: Option<&Handle>) -> Self {
        handle.and_then(|h| serde_json::from_str(&h.0).ok()).unwrap_or_default()
    }

    /// As it is stored.
    pub(super) fn handle(&self) -> Handle {
        // Plain text and truth values: serialising to memory cannot fail.
        Handle(serde_json::to_string(self).unwrap_or_default())
    }
}

/// Whether both are known and differ.
pub(super) fn changed(before: Option<&String>, now: Option<&String>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}
