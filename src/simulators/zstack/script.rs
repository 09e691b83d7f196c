//! How an update is to go: every end that ZStack knows, and its traps on the way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulators::Pace;

/// How long an update takes in life.
const UPDATE: Duration = Duration::from_secs(40 * 60);

/// How an update on a cluster is to go. Set beforehand with `SimZstack::script`, or by
/// `POST /_sim/outcomes` with `{"target":"…","outcome":"one_host_fails"}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every host well.
    #[default]
    Succeed,
    /// The long job ends `Succeeded`, and the first host's result is an error text.
    OneHostFails,
    /// The long job ends `Succeeded`, and every host's result is an error text.
    AllHostsFail,
    /// The long job ends `Succeeded` with `{}`.
    EmptyResult,
    /// The long job ends `Succeeded` with the bare word `Succeeded` as result.
    BareResult,
    /// The long job ends `Failed` with a reason.
    Fail,
    /// The long job ends `Failed` without a result, as after a restart of the management node; a host is left
    /// in PreMaintenance.
    FailSilently,
    /// Suspended for a while, then resumed and ended well.
    Suspend,
    /// Cancelled by somebody at ZStack: `Canceling`, then `Canceled`.
    Cancel,
    /// `Waiting` for a while before it runs.
    WaitFirst,
    /// Runs for ever.
    NeverEnds,
    /// Runs for ever, in a state that no document has.
    UnknownState,
    /// Taken with 202, then refused with a cause: no long job.
    RefuseAtApi,
    /// Taken with 202, then the API job never ends: no long job.
    ApiNeverEnds,
    /// The API job ends with a timeout although the long job was started.
    ApiTimesOut,
    /// Taken with 202; the API job waits until the simulator is let go, and then finds its session expired: no long job.
    /// The next start goes well.
    SessionExpiresLate,
}

/// Where a long job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub word: &'static str,
    pub ended: bool,
}

const fn live(word: &'static str) -> Stage {
    Stage { word, ended: false }
}

const fn ended(word: &'static str) -> Stage {
    Stage { word, ended: true }
}

impl Outcome {
    /// Where the long job stands after `passed` of its work.
    pub(super) fn stage(self, pace: Pace, passed: Duration) -> Stage {
        let done = pace.fraction(passed, UPDATE);
        match self {
            Self::Succeed
            | Self::OneHostFails
            | Self::AllHostsFail
            | Self::EmptyResult
            | Self::BareResult
            | Self::ApiTimesOut => {
                if done < 1.0 {
                    live("Running")
                } else {
                    ended("Succeeded")
                }
            }
            Self::Fail | Self::FailSilently => {
                if done < 0.5 {
                    live("Running")
                } else {
                    ended("Failed")
                }
            }
            Self::Suspend => match done {
                d if d < 0.3 => live("Running"),
                d if d < 0.6 => live("Suspended"),
                d if d < 1.0 => live("Running"),
                _ => ended("Succeeded"),
            },
            Self::Cancel => match done {
                d if d < 0.3 => live("Running"),
                d if d < 0.6 => live("Canceling"),
                _ => ended("Canceled"),
            },
            Self::WaitFirst => match done {
                d if d < 0.4 => live("Waiting"),
                d if d < 1.0 => live("Running"),
                _ => ended("Succeeded"),
            },
            Self::NeverEnds | Self::RefuseAtApi | Self::ApiNeverEnds | Self::SessionExpiresLate => {
                live("Running")
            }
            Self::UnknownState => live("Migrating"),
        }
    }

    /// How many of `hosts` are done after `passed`; they finish one after the other.
    pub(super) fn hosts_done(self, pace: Pace, passed: Duration, hosts: usize) -> usize {
        if self == Self::NeverEnds {
            return 0;
        }
        let done = pace.fraction(passed, UPDATE);
        (1..=hosts).filter(|n| share(*n, hosts) <= done).count()
    }

    /// When a long job's work is over.
    pub(super) fn work(self, pace: Pace) -> Duration {
        pace.scaled(UPDATE)
    }
}

/// `part` of `whole`, from 0.0 to 1.0.
fn share(part: usize, whole: usize) -> f64 {
    let small = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    small(part) / small(whole).max(1.0)
}
