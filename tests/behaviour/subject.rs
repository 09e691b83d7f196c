//! A subject of the suite: one way of one vendor, with its simulator.

use async_trait::async_trait;
use drydock::domain::operation::Operation;
use drydock::domain::state::JobState;
use drydock::simulators::{Pace, Settings, Simulator};

use crate::faults::{Kind, Phase};

/// What the simulator is told to make of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It ends well.
    Well,
    /// It starts, and ends badly.
    Badly,
    /// It is refused: by a precheck, or by the vendor when it is to start.
    Refused,
}

impl Role {
    /// How its job ends and how often it starts where nothing is in doubt.
    pub const fn end(self) -> (&'static str, usize) {
        match self {
            Self::Well => ("SUCCEEDED", 1),
            Self::Badly => ("FAILED", 1),
            Self::Refused => ("REJECTED", 0),
        }
    }
}

/// An end other than the role's own. Anything that is not listed is a fault of Drydock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The end, with INDETERMINATE before it if the job went through it.
    pub end: &'static str,
    /// How often it started.
    pub starts: usize,
    /// Why.
    pub why: &'static str,
}

impl Doubt {
    /// A start that took effect nowhere, and of which nobody can prove that.
    pub const fn indeterminate(why: &'static str) -> Option<Self> {
        Some(Self { end: "INDETERMINATE", starts: 0, why })
    }

    /// A precheck stopped the job: nothing was started.
    pub const fn rejected(why: &'static str) -> Option<Self> {
        Some(Self { end: "REJECTED", starts: 0, why })
    }
}

/// One way of one vendor.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Its name in the matrix.
    fn name(&self) -> &'static str;

    /// Starts the simulator, which then treats its first target as the role says, and others well.
    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator>;

    /// How fast the simulator runs.
    fn pace(&self) -> Pace;

    /// The provider's table, for this way.
    fn table(&self, simulator: &dyn Simulator) -> toml::Table {
        simulator.provider()
    }

    /// Whether there are logins.
    fn logs_in(&self) -> bool {
        true
    }

    /// The collection of its targets, such as `clusters`.
    fn collection(&self) -> &'static str;

    /// The id of a target, from 0.
    fn target(&self, n: usize) -> String;

    /// What is asked of it.
    fn operation(&self) -> Operation;

    /// The password that goes with it.
    fn password(&self) -> Option<&'static str> {
        None
    }

    /// The state in which a job must end when the simulator's record has this last word.
    fn end(&self, word: &str) -> Option<JobState>;

    /// Where the job cannot end as its role says.
    fn doubt(&self, phase: Phase, kind: Kind) -> Option<Doubt>;
}
