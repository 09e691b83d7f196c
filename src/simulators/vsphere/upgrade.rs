//! One upgrade, and how it stands at any moment: computed from elapsed time.

use std::time::Duration;

use jiff::Timestamp;

use super::script::{CancelEnd, Outcome};
use super::world::Place;
use crate::kit::clock::since;
use crate::simulators::hold::Hold;
use crate::simulators::pace::Pace;

/// How long an upgrade takes.
const UPGRADE: Duration = Duration::from_secs(40 * 60);
/// How long its prechecks take, and prechecks on their own.
pub(super) const PRECHECKS: Duration = Duration::from_secs(2 * 60);
/// How long a cancel takes.
const CANCELLING: Duration = Duration::from_secs(60);

/// How an upgrade ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Failed,
    PrecheckFailed,
    Cancelled,
    GaveUp,
    Overtaken,
}

impl End {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::PrecheckFailed => "PRECHECK_FAILED",
            Self::Cancelled => "CANCELED",
            Self::GaveUp => "GAVE_UP",
            Self::Overtaken => "OVERTAKEN",
        }
    }
}

/// How an upgrade stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    Prechecks,
    /// So far, 0.0 to 1.0.
    Working(f64),
    Blocked,
    Ended(End),
}

/// An upgrade that began.
#[derive(Clone)]
pub(super) struct Upgrade {
    pub(super) number: usize,
    pub(super) place: Place,
    pub(super) to: String,
    pub(super) ignores_warnings: bool,
    pub(super) began: Timestamp,
    pub(super) outcome: Outcome,
    /// It was started by Supervisor, so it has a task.
    pub(super) tasked: bool,
    pub(super) cancelled: Option<Timestamp>,
    pub(super) ended: Option<(End, Timestamp)>,
}

impl Upgrade {
    /// How it stands `now`, by the time that has passed. It remembers nothing: what an end changes is the world's matter.
    pub(super) fn stage(&self, pace: &Pace, hold: &Hold, cancel_end: CancelEnd, now: Timestamp) -> Stage {
        if let Some(at) = self.cancelled
            && since(at, now) >= pace.scaled(CANCELLING)
        {
            return Stage::Ended(match cancel_end {
                CancelEnd::Told | CancelEnd::Silent | CancelEnd::Worded => End::Cancelled,
                CancelEnd::Fails => End::Failed,
            });
        }
        let passed = hold.cap(since(self.began, now), pace.scaled(UPGRADE));
        let done = pace.fraction(passed, UPGRADE);
        let checking = passed < pace.scaled(PRECHECKS);
        let stopped = match self.outcome {
            Outcome::PrecheckError | Outcome::LatePrecheckError => true,
            Outcome::PrecheckWarning => !self.ignores_warnings,
            Outcome::Succeed
            | Outcome::Fail
            | Outcome::FailInResult
            | Outcome::Refuse
            | Outcome::Block
            | Outcome::GiveUp
            | Outcome::Overtake
            | Outcome::LoseTask
            | Outcome::Uncancelable => false,
        };
        if checking {
            return Stage::Prechecks;
        }
        if stopped {
            return Stage::Ended(End::PrecheckFailed);
        }
        match self.outcome {
            Outcome::Fail | Outcome::FailInResult if done >= 0.5 => Stage::Ended(End::Failed),
            Outcome::GiveUp if done >= 0.5 => Stage::Ended(End::GaveUp),
            Outcome::Overtake if done >= 0.5 => Stage::Ended(End::Overtaken),
            Outcome::Block if done >= 0.3 => Stage::Blocked,
            Outcome::Succeed
            | Outcome::Fail
            | Outcome::FailInResult
            | Outcome::Refuse
            | Outcome::PrecheckError
            | Outcome::PrecheckWarning
            | Outcome::LatePrecheckError
            | Outcome::Block
            | Outcome::GiveUp
            | Outcome::Overtake
            | Outcome::LoseTask
            | Outcome::Uncancelable => {
                if done >= 1.0 {
                    Stage::Ended(End::Succeeded)
                } else {
                    Stage::Working(done)
                }
            }
        }
    }
}
