//! What the harness saw in one round: plain data for the judge.

use std::collections::{BTreeMap, BTreeSet};

use drydock::api::pb;

use super::fleet::Kind;

/// An event, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number within the job.
    pub sequence: u64,
    /// The state after it.
    pub state: pb::JobState,
    /// What it said.
    pub message: String,
}

impl From<&pb::JobEvent> for Seen {
    fn from(event: &pb::JobEvent) -> Self {
        let state = event.status.as_ref().map_or(pb::JobState::Unspecified, pb::JobStatus::state);
        Self { sequence: event.sequence, state, message: event.message.clone() }
    }
}

/// A job that an RPC answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The request's id.
    pub request: String,
    /// The job's name.
    pub job: String,
    /// Its target's name.
    pub target: String,
}

/// A job as it stands at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// Its target's name.
    pub target: String,
    /// The request's id.
    pub request: String,
    /// Its state, after it was settled if it had to be.
    pub state: pb::JobState,
    /// The version that was asked for; empty when the vendor was to choose.
    pub version: String,
    /// Concluded, because the vendor lets nobody read it.
    pub inferred: bool,
    /// Why it did not succeed.
    pub failure: pb::FailureReason,
    /// A person had to say how it ended.
    pub settled: bool,
}

/// What a vendor wrote down about one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The target's name.
    pub target: String,
    /// What it is.
    pub kind: Kind,
    /// The vendor calls the whole a success although a part of it fails.
    pub partial: bool,
    /// How many operations started.
    pub starts: usize,
    /// The vendor's final words, in order.
    pub ends: Vec<String>,
}

/// What a watch was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every event of every job.
    Everything,
    /// Every event of the jobs of one provider.
    Provider(String),
    /// Where jobs stand, not how they got there.
    LatestState,
}

impl Wanted {
    /// Whether jobs on a target are asked for.
    pub fn matches(&self, target: &str) -> bool {
        match self {
            Self::Everything | Self::LatestState => true,
            Self::Provider(provider) => target.starts_with(&format!("providers/{provider}/")),
        }
    }
}

/// What a watch was told, over all its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it was asked for.
    pub wanted: Wanted,
    /// How often it was resumed.
    pub resumed: u64,
    /// Job and event, as they came.
    pub events: Vec<(String, Seen)>,
}

/// Everything about a round.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Jobs that callers were told of.
    pub promises: Vec<Promise>,
    /// Jobs whose cancel was answered with "nothing was sent".
    pub prevented: Vec<String>,
    /// Every job there is at the end.
    pub jobs: Vec<Ended>,
    /// Every event of every job, as listed at the end.
    pub events: BTreeMap<String, Vec<Seen>>,
    /// What the vendors wrote down.
    pub happened: Vec<Happened>,
    /// Jobs that were there before any watch: its snapshot says where they stood, without how they got there.
    pub before: BTreeSet<String>,
    /// What watches were told.
    pub watches: Vec<Watched>,
    /// What the checkers of a watch's seven properties found.
    pub unkept: Vec<String>,
    /// Secrets that were found, and where.
    pub leaks: Vec<String>,
    /// What a gateway says in its log only when Drydock itself is wrong.
    pub bugs: Vec<String>,
}
