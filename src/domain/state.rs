//! A job's life: one function moves a job, and it lists every pair.
//!
//! [`JobState::next`] is the only way from one state to another, for live work and for recovery after a crash
//! alike. A pair it does not know is a loud [`IllegalTransition`], never a silent one; the matches have no
//! wildcard arm over states, so that a new state or signal does not compile until it is placed.

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Accepted and durable; nothing was sent.
    Pending,
    /// Waits for its time or window, here or at the vendor.
    Scheduled,
    /// Prechecks run; nothing was sent that starts anything.
    Checking,
    /// A starting call is in flight, or its answer was lost and is being looked up.
    Submitting,
    /// The vendor works on it.
    Running,
    /// The vendor holds it (suspended, blocked).
    Suspended,
    /// A cancel was asked of the vendor.
    Cancelling,
    /// Every part succeeded.
    Succeeded,
    /// It ran and did not fully succeed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A precheck or the vendor refused it before it started.
    Rejected,
    /// The vendor overtook it by another change.
    Superseded,
    /// Its window passed without a start.
    Missed,
    /// It may have been sent, and nobody can say. Watched on until the vendor or a person settles it.
    Indeterminate,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Its start lies ahead, and Drydock keeps the time.
    Hold,
    /// Prechecks begin (also: begin again after a crash).
    Check,
    /// A precheck, or the vendor in answer to the starting call, refused it.
    Refuse,
    /// The intent to start is written down; the call follows. Also: sent again after it provably did not arrive.
    Submit,
    /// The starting call provably did not take effect and will be made later (rate limit, unreachable).
    Postpone,
    /// What the vendor took was dropped before it began: the vendor is asked once more, as after a lost answer.
    Lapse,
    /// The vendor accepted it and keeps its schedule.
    VendorScheduled,
    /// The vendor works on it.
    VendorRunning,
    /// The vendor holds it.
    VendorSuspended,
    /// The vendor is cancelling it.
    VendorCancelling,
    /// The vendor finished it and every part succeeded.
    VendorSucceeded,
    /// The vendor finished it and not every part succeeded.
    VendorFailed,
    /// The vendor cancelled it.
    VendorCancelled,
    /// The vendor overtook it by another change.
    VendorSuperseded,
    /// The vendor's window passed without a start.
    VendorMissed,
    /// A caller asked to cancel, and the vendor was or will be asked.
    AskCancel,
    /// A caller cancelled it before anything was sent.
    Prevent,
    /// The vendor answered that it does not cancel; the job is followed on.
    CancelRefused,
    /// Drydock cannot go on (secret gone, own deadline, inner fault).
    Abort,
    /// Nobody can say whether it was started.
    GiveUp,
    /// A person states that it succeeded.
    SettleSucceeded,
    /// A person states that it failed.
    SettleFailed,
    /// A person states that it never happened.
    SettleCancelled,
}

impl Signal {
    /// All signals, for the property tests.
    pub const ALL: [Self; 23] = [
        Self::Hold,
        Self::Check,
        Self::Refuse,
        Self::Submit,
        Self::Postpone,
        Self::Lapse,
        Self::VendorScheduled,
        Self::VendorRunning,
        Self::VendorSuspended,
        Self::VendorCancelling,
        Self::VendorSucceeded,
        Self::VendorFailed,
        Self::VendorCancelled,
        Self::VendorSuperseded,
        Self::VendorMissed,
        Self::AskCancel,
        Self::Prevent,
        Self::CancelRefused,
        Self::Abort,
        Self::GiveUp,
        Self::SettleSucceeded,
        Self::SettleFailed,
        Self::SettleCancelled,
    ];

    /// Where the vendor's own word leads once something was sent.
    const fn vendor_word(self) -> Option<JobState> {
        match self {
            Self::VendorScheduled => Some(JobState::Scheduled),
            Self::VendorRunning => Some(JobState::Running),
            Self::VendorSuspended => Some(JobState::Suspended),
            Self::VendorCancelling => Some(JobState::Cancelling),
            Self::VendorSucceeded => Some(JobState::Succeeded),
            Self::VendorFailed => Some(JobState::Failed),
            Self::VendorCancelled => Some(JobState::Cancelled),
            Self::VendorSuperseded => Some(JobState::Superseded),
            Self::VendorMissed => Some(JobState::Missed),
            Self::Hold
            | Self::Check
            | Self::Refuse
            | Self::Submit
            | Self::Postpone
            | Self::Lapse
            | Self::AskCancel
            | Self::Prevent
            | Self::CancelRefused
            | Self::Abort
            | Self::GiveUp
            | Self::SettleSucceeded
            | Self::SettleFailed
            | Self::SettleCancelled => None,
        }
    }
}

/// A signal that cannot happen in a state: a bug in Drydock, or a vendor that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job in {state:?} cannot take {signal:?}")]
pub struct IllegalTransition {
    /// Where the job stood.
    pub state: JobState,
    /// What was said to happen.
    pub signal: Signal,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 14] = [
        Self::Pending,
        Self::Scheduled,
        Self::Checking,
        Self::Submitting,
        Self::Running,
        Self::Suspended,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
        Self::Superseded,
        Self::Missed,
        Self::Indeterminate,
    ];

    /// The state as it stands in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Scheduled => "SCHEDULED",
            Self::Checking => "CHECKING",
            Self::Submitting => "SUBMITTING",
            Self::Running => "RUNNING",
            Self::Suspended => "SUSPENDED",
            Self::Cancelling => "CANCELLING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
            Self::Superseded => "SUPERSEDED",
            Self::Missed => "MISSED",
            Self::Indeterminate => "INDETERMINATE",
        }
    }

    /// Reads what [`JobState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether the job is over for good: nothing moves it any more and its target is free.
    ///
    /// [`JobState::Indeterminate`] is not over: it holds its target until somebody settles it.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Succeeded
            | Self::Failed
            | Self::Cancelled
            | Self::Rejected
            | Self::Superseded
            | Self::Missed => true,
            Self::Pending
            | Self::Scheduled
            | Self::Checking
            | Self::Submitting
            | Self::Running
            | Self::Suspended
            | Self::Cancelling
            | Self::Indeterminate => false,
        }
    }

    /// Where `signal` leads from here.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the pair makes no sense; the job must stay as it is.
    pub fn next(self, signal: Signal) -> Result<Self, IllegalTransition> {
        let illegal = Err(IllegalTransition { state: self, signal });
        match self {
            // Nothing was sent: the caller and Drydock decide alone.
            Self::Pending => match signal {
                Signal::Hold => Ok(Self::Scheduled),
                Signal::Check => Ok(Self::Checking),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Submit => Ok(Self::Submitting),
                Signal::Prevent => Ok(Self::Cancelled),
                Signal::Abort => Ok(Self::Failed),
                Signal::Postpone
                | Signal::Lapse
                | Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed
                | Signal::AskCancel
                | Signal::CancelRefused
                | Signal::GiveUp
                | Signal::SettleSucceeded
                | Signal::SettleFailed
                | Signal::SettleCancelled => illegal,
            },
            // Held here (then as PENDING), or by the vendor (then its word counts).
            Self::Scheduled => match signal {
                Signal::Hold => Ok(Self::Scheduled),
                Signal::Check => Ok(Self::Checking),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Submit => Ok(Self::Submitting),
                Signal::Prevent => Ok(Self::Cancelled),
                Signal::Abort => Ok(Self::Failed),
                Signal::AskCancel => Ok(Self::Cancelling),
                Signal::CancelRefused => Ok(Self::Scheduled),
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                // As while it runs: at the vendor its start can be past without a sign of it.
                Signal::SettleSucceeded => Ok(Self::Succeeded),
                Signal::SettleFailed => Ok(Self::Failed),
                Signal::SettleCancelled => Ok(Self::Cancelled),
                // Only from here: whatever was seen at work is never started again.
                Signal::Lapse => Ok(Self::Submitting),
                Signal::Postpone => illegal,
            },
            Self::Checking => match signal {
                Signal::Check => Ok(Self::Checking),
                Signal::Hold => Ok(Self::Scheduled),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Submit => Ok(Self::Submitting),
                Signal::Postpone => Ok(Self::Pending),
                Signal::Prevent => Ok(Self::Cancelled),
                Signal::Abort => Ok(Self::Failed),
                // An earlier start may have arrived after all, and the time to repeat it has passed.
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::Lapse
                | Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed
                | Signal::AskCancel
                | Signal::CancelRefused
                | Signal::SettleSucceeded
                | Signal::SettleFailed
                | Signal::SettleCancelled => illegal,
            },
            // The call is out: only evidence, a refusal, or proof that it never arrived moves the job.
            Self::Submitting => match signal {
                Signal::Submit | Signal::Lapse | Signal::AskCancel | Signal::CancelRefused => {
                    Ok(Self::Submitting)
                }
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Postpone => Ok(Self::Pending),
                Signal::Prevent => Ok(Self::Cancelled),
                Signal::Abort => Ok(Self::Failed),
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                Signal::Hold
                | Signal::Check
                | Signal::SettleSucceeded
                | Signal::SettleFailed
                | Signal::SettleCancelled => illegal,
            },
            // What runs for longer than it can may have ended unseen, and then a person says how.
            Self::Running => match signal {
                Signal::AskCancel => Ok(Self::Cancelling),
                Signal::CancelRefused => Ok(self),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Abort => Ok(Self::Failed),
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                Signal::Hold
                | Signal::Check
                | Signal::Submit
                | Signal::Postpone
                | Signal::Lapse
                | Signal::Prevent => illegal,
                Signal::SettleSucceeded => Ok(Self::Succeeded),
                Signal::SettleFailed => Ok(Self::Failed),
                Signal::SettleCancelled => Ok(Self::Cancelled),
            },
            Self::Suspended => match signal {
                Signal::AskCancel => Ok(Self::Cancelling),
                Signal::CancelRefused => Ok(self),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Abort => Ok(Self::Failed),
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                Signal::Hold
                | Signal::Check
                | Signal::Submit
                | Signal::Postpone
                | Signal::Lapse
                | Signal::Prevent => illegal,
                Signal::SettleSucceeded => Ok(Self::Succeeded),
                Signal::SettleFailed => Ok(Self::Failed),
                Signal::SettleCancelled => Ok(Self::Cancelled),
            },
            // A cancel is a wish: until the vendor confirms it, "running" from the vendor changes nothing.
            Self::Cancelling => match signal {
                Signal::AskCancel
                | Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling => Ok(Self::Cancelling),
                Signal::CancelRefused => Ok(Self::Running),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::Abort => Ok(Self::Failed),
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                Signal::Hold
                | Signal::Check
                | Signal::Submit
                | Signal::Postpone
                | Signal::Lapse
                | Signal::Prevent => illegal,
                Signal::SettleSucceeded => Ok(Self::Succeeded),
                Signal::SettleFailed => Ok(Self::Failed),
                Signal::SettleCancelled => Ok(Self::Cancelled),
            },
            // Nobody knows; the vendor's later word or a person's settles it.
            Self::Indeterminate => match signal {
                Signal::GiveUp => Ok(Self::Indeterminate),
                Signal::SettleSucceeded => Ok(Self::Succeeded),
                Signal::SettleFailed => Ok(Self::Failed),
                Signal::SettleCancelled => Ok(Self::Cancelled),
                Signal::Refuse => Ok(Self::Rejected),
                Signal::VendorScheduled
                | Signal::VendorRunning
                | Signal::VendorSuspended
                | Signal::VendorCancelling
                | Signal::VendorSucceeded
                | Signal::VendorFailed
                | Signal::VendorCancelled
                | Signal::VendorSuperseded
                | Signal::VendorMissed => {
                    signal.vendor_word().ok_or(IllegalTransition { state: self, signal })
                }
                Signal::Hold
                | Signal::Check
                | Signal::Submit
                | Signal::Postpone
                | Signal::Lapse
                | Signal::AskCancel
                | Signal::Prevent
                | Signal::CancelRefused
                | Signal::Abort => illegal,
            },
            // The end is the end.
            Self::Succeeded
            | Self::Failed
            | Self::Cancelled
            | Self::Rejected
            | Self::Superseded
            | Self::Missed => illegal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn nothing_leaves_an_end() {
        for state in JobState::ALL.into_iter().filter(|s| s.is_ended()) {
            for signal in Signal::ALL {
                assert!(state.next(signal).is_err(), "{state:?} took {signal:?}");
            }
        }
    }

    #[test]
    fn every_live_state_can_end() {
        for state in JobState::ALL.into_iter().filter(|s| !s.is_ended()) {
            let ends = Signal::ALL.into_iter().filter_map(|s| state.next(s).ok()).any(JobState::is_ended);
            assert!(ends, "{state:?} is a trap");
        }
    }

    #[test]
    fn a_start_is_never_repeated_once_the_vendor_was_heard() {
        for state in [JobState::Running, JobState::Suspended, JobState::Cancelling, JobState::Indeterminate] {
            assert!(state.next(Signal::Submit).is_err());
            assert!(state.next(Signal::Postpone).is_err());
            assert!(state.next(Signal::Lapse).is_err());
        }
    }

    #[test]
    fn a_person_settles_only_what_may_have_ended_unseen() {
        for state in JobState::ALL {
            let settles = state.next(Signal::SettleFailed).is_ok();
            let unseen = matches!(
                state,
                JobState::Indeterminate
                    | JobState::Running
                    | JobState::Scheduled
                    | JobState::Suspended
                    | JobState::Cancelling
            );
            assert_eq!(settles, unseen, "{state:?}");
        }
    }
}
