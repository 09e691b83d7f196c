//! How a reinstall goes here: what an instance shows at a moment after the PUT. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which words the cloud uses for `state`. All three were published, and their dates overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vocabulary {
    /// With `reinstalling` and `failed`.
    Old,
    /// Like the old one, by way of `stopping` and `stopped`.
    Intermediate,
    /// Like the intermediate one, with a reinstall told as a switch of the system: `switch-installing` and
    /// `switch-install-…`. No page says whether one with another image is told so.
    Switch,
    /// With `pending`, `stopped` and `error`.
    #[default]
    Current,
}

/// How a reinstall ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    #[default]
    Succeed,
    /// Half way the vendor gives up, and says why.
    Fail,
    /// Half way somebody deletes the instance; it can still be read, as `terminated`.
    Terminate,
    /// Half way somebody deletes the instance; then nothing knows it any more.
    Vanish,
    /// Never.
    Hang,
}

/// How the cloud behaves where its documents leave it open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// The most ids that one reinstall call may have: 50 by the reference, 10 by the SDKs.
    pub chunk_limit: usize,
    /// The words for `state`.
    pub vocabulary: Vocabulary,
    /// Whether `operation_state` is told.
    pub operation_state: bool,
    /// For how long after the 202 an instance still shows `running` and its old `operation_state`. Real time,
    /// before the pace.
    pub stale: Duration,
    /// How long a reinstall takes. Real time, before the pace.
    pub duration: Duration,
    /// Whether the 202 names the instances.
    pub echoes: bool,
    /// Whether a list with an unknown id is refused as a whole, instead of leaving it out.
    pub list_refuses_unknown: bool,
    /// Whether a 404 or 400 about instances says which.
    pub names_culprits: bool,
    /// An instance that the account may not reinstall: a call with it is refused.
    pub forbidden: Option<usize>,
    /// Whether passwords are refused, in a message that quotes them.
    pub quotes_passwords: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            chunk_limit: 50,
            vocabulary: Vocabulary::Current,
            operation_state: true,
            stale: Duration::from_secs(30),
            duration: Duration::from_secs(20 * 60),
            echoes: true,
            list_refuses_unknown: false,
            names_culprits: true,
            forbidden: None,
            quotes_passwords: false,
        }
    }
}

/// What an instance shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub state: &'static str,
    /// `None` keeps the word from before.
    pub operation: Option<&'static str>,
    pub failed: bool,
    /// Set once it is over: the vendor's final word.
    pub end: Option<&'static str>,
}

/// What an instance shows `passed` (in real time) after the PUT.
pub(super) fn shown(behaviour: &Behaviour, outcome: Outcome, passed: Duration) -> Option<Shown> {
    let at = |state, operation, end| Some(Shown { state, operation, failed: false, end });
    if passed < behaviour.stale {
        return at("running", None, None);
    }
    let whole = behaviour.duration.as_secs_f64().max(0.001);
    let part = passed.as_secs_f64() / whole;
    let [processing, well, badly] = match behaviour.vocabulary {
        Vocabulary::Switch => {
            ["switch-install-processing", "switch-install-succeed", "switch-install-failed"].map(Some)
        }
        Vocabulary::Old | Vocabulary::Intermediate | Vocabulary::Current => {
            ["reinstall-processing", "reinstall-succeed", "reinstall-failed"].map(Some)
        }
    };
    match outcome {
        Outcome::Succeed if part >= 1.0 => {
            return at("running", well, well);
        }
        Outcome::Fail if part >= 0.5 => {
            let state = match behaviour.vocabulary {
                Vocabulary::Old | Vocabulary::Intermediate | Vocabulary::Switch => "failed",
                Vocabulary::Current => "error",
            };
            return Some(Shown { state, operation: badly, failed: true, end: badly });
        }
        Outcome::Terminate if part >= 0.6 => {
            return at("terminated", Some("uninstall-succeed"), Some("terminated"));
        }
        Outcome::Terminate if part >= 0.5 => return at("shutting-down", Some("uninstall-processing"), None),
        Outcome::Vanish if part >= 0.5 => return None,
        Outcome::Succeed | Outcome::Fail | Outcome::Terminate | Outcome::Vanish | Outcome::Hang => {}
    }
    let state = match behaviour.vocabulary {
        Vocabulary::Old => "reinstalling",
        Vocabulary::Intermediate if part < 0.1 => "stopping",
        Vocabulary::Intermediate if part < 0.2 => "stopped",
        Vocabulary::Intermediate => "reinstalling",
        Vocabulary::Switch => "switch-installing",
        Vocabulary::Current if part < 0.8 => "pending",
        Vocabulary::Current => "stopped",
    };
    at(state, processing, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reinstall_is_stale_then_processing_then_over() {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let states = |vocabulary, outcome| -> Vec<_> {
            let behaviour = Behaviour { vocabulary, ..Behaviour::default() };
            [0, 1, 3, 13, 17, 21]
                .map(|m| shown(&behaviour, outcome, minutes(m)).map_or("(gone)", |s| s.state))
                .to_vec()
        };
        assert_eq!(
            states(Vocabulary::Current, Outcome::Succeed),
            ["running", "pending", "pending", "pending", "stopped", "running"]
        );
        assert_eq!(
            states(Vocabulary::Intermediate, Outcome::Fail),
            ["running", "stopping", "stopped", "failed", "failed", "failed"]
        );
        assert_eq!(states(Vocabulary::Old, Outcome::Vanish)[3..], ["(gone)", "(gone)", "(gone)"]);
        assert_eq!(states(Vocabulary::Old, Outcome::Hang)[5], "reinstalling");
    }
}
