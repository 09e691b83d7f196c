//! A model vendor that knows the truth, a job that only hears what the network lets through, and a crash possible at every
//! point. Whatever happens, the vendor sees at most one start.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{apply, capabilities, lost, running, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::{Cancelable, Provenance};
use crate::domain::state::JobState;
use crate::engine::plan::{Plan, plan};
use crate::engine::step::Heard;
use crate::engine::wish;
use crate::kit::clock;
use crate::vendors::contract::{CancelAnswer, CheckReport, Found, Observation, Phase, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// The vendor's truth.
#[derive(Default)]
struct Truth {
    starts: u32,
    over: Option<bool>,
    /// A request that is still on its way and arrives when the dice say so.
    on_its_way: bool,
    /// It took a start and keeps it; that one begins or is dropped when the dice say so.
    kept: bool,
    /// It has shown the operation at work.
    shown: bool,
    /// After that it said that the operation never began, and keeps to it.
    denies: bool,
    /// When the last start was sent: nothing is on its way for longer than the grace.
    sent: Option<Timestamp>,
}

impl Truth {
    fn start(&mut self) {
        self.starts += 1;
    }

    fn lapsed() -> Phase {
        Phase::Lapsed(Failure::new(FailureReason::VendorRejected, "the session expired"))
    }

    /// What a look shows of a start that it took.
    fn seen(&mut self, die: u8) -> Phase {
        if self.kept {
            return Phase::Scheduled;
        }
        if self.starts == 0 {
            return Self::lapsed();
        }
        self.denies |= self.shown && die.is_multiple_of(9);
        if self.denies {
            return Self::lapsed();
        }
        // Back in its queue, it says.
        if die % 9 == 1 {
            return Phase::Scheduled;
        }
        self.shown = true;
        self.phase()
    }

    fn phase(&self) -> Phase {
        match self.over {
            None => Phase::Running,
            Some(true) => Phase::Succeeded,
            Some(false) => Phase::Failed(Failure::new(FailureReason::VendorFailed, "no")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_vendor_never_sees_two_starts(dice in proptest::collection::vec(any::<u8>(), 1..120)) {
        let capabilities = capabilities(CancelSupport::Asked);
        let mut job = upgrade();
        let mut truth = Truth::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut submit = false;
        let mut lapses = 0;
        for die in dice {
            now = clock::after(now, Duration::from_secs(u64::from(die % 16)));
            if truth.on_its_way {
                let late = truth.sent.is_some_and(|s| clock::since(s, now) >= capabilities.lost_answer_grace);
                if die % 3 == 0 || late {
                    truth.on_its_way = false;
                    if !late { truth.start(); }
                }
            }
            if truth.kept {
                match die % 4 {
                    0 => { truth.kept = false; truth.start(); }
                    1 => truth.kept = false,
                    _ => {}
                }
            }
            // A crash forgets what was to be done and keeps what was written.
            if die % 11 == 0 { submit = false; }
            // A caller cancels at any time.
            if die % 13 == 0
                && let Ok((_, Some(step))) = wish::cancel(&job, &capabilities, now)
            {
                submit = false;
                write(&mut job, step);
            }
            let heard = if std::mem::take(&mut submit) {
                truth.sent = Some(now);
                match die % 8 {
                    0 => { truth.start(); Heard::Submitted(Submitted::Started(Box::new(running()))) }
                    1 => { truth.start(); Heard::Submitted(Submitted::Failed(lost())) }
                    2 => Heard::Submitted(Submitted::Failed(lost())),
                    3 => { truth.on_its_way = true; Heard::Submitted(Submitted::Failed(lost())) }
                    4 => Heard::Submitted(Submitted::Failed(VendorError::new(
                        VendorFault::RateLimited, Reached::No, "429"))),
                    5 => { truth.kept = true; Heard::Submitted(Submitted::Started(Box::new(
                        Observation::new(Phase::Scheduled, Provenance::Reported)))) }
                    6 => { truth.kept = true; Heard::Submitted(Submitted::Failed(lost())) }
                    _ => Heard::Submitted(Submitted::Refused(
                        Failure::new(FailureReason::VendorRejected, "no"), Vec::new())),
                }
            } else {
                match plan(&job, true, now) {
                    Plan::Nothing => break,
                    Plan::Acquire | Plan::WaitUntil(_) | Plan::Reschedule => {
                        prop_assert!(false, "not in this model");
                        break;
                    }
                    Plan::Check if die % 5 == 0 => Heard::Checked(Err(lost())),
                    Plan::Check if job.status.state != JobState::Checking => Heard::CheckBegan,
                    Plan::Check => Heard::Checked(Ok(CheckReport::default())),
                    Plan::Find if die % 5 == 0 => Heard::Looked(Err(lost())),
                    Plan::Find if die % 5 == 1 => Heard::Looked(Ok(Found::CannotTell("both fit".into()))),
                    Plan::Find if truth.kept => Heard::Looked(Ok(Found::Arrived(Box::new(
                        Observation::new(Phase::Scheduled, Provenance::Reported))))),
                    Plan::Find if truth.starts > 0 && !truth.denies => Heard::Looked(Ok(Found::Arrived(Box::new(
                        Observation::new(truth.phase(), Provenance::Reported))))),
                    Plan::Find => Heard::Looked(Ok(Found::NotArrived { until: None })),
                    Plan::Cancel if die % 2 == 0 => Heard::CancelAnswered(Ok(CancelAnswer::Refused("no".into()))),
                    Plan::Cancel => Heard::CancelAnswered(Ok(CancelAnswer::Accepted)),
                    Plan::Observe => {
                        if die % 7 == 0 { truth.over = Some(die % 2 == 0); }
                        let mut seen = Observation::new(truth.seen(die), Provenance::Reported);
                        seen.cancelable = Some(Cancelable::yes("the vendor says so"));
                        Heard::Observed(Ok(seen))
                    }
                }
            };
            let step = apply(&job, &heard, &capabilities, now);
            submit = step.submit;
            prop_assert_eq!(step.submit, step.status.state == JobState::Submitting && matches!(heard, Heard::Checked(Ok(_))));
            if matches!(&heard, Heard::Observed(Ok(seen)) if matches!(seen.phase, Phase::Lapsed(_))) {
                lapses += u32::from(!step.status.state.is_ended());
                prop_assert!(lapses <= 1, "a lapse led to another start twice");
                prop_assert!(!truth.shown || step.status.state.is_ended(), "what was at work lapsed");
            }
            write(&mut job, step);
            prop_assert!(truth.starts <= 1, "{} starts", truth.starts);
            // A job that the caller was told is prevented must not run.
            if job.status.state == JobState::Cancelled { prop_assert!(truth.starts == 0 || job.control.cancel_sent); }
            if job.status.state.is_ended() {
                prop_assert!(job.status.end_time.is_some());
                prop_assert!(job.status.waiting_for.is_empty());
                prop_assert!(!job.control.holds_target);
            }
        }
    }
}

#[test]
fn what_the_vendor_keeps_scheduled_is_never_started_again() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Scheduled;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::Observe);
    for heard in [Heard::CheckBegan, Heard::Held(Timestamp::MAX), Heard::Checked(Ok(CheckReport::default()))]
    {
        let step = apply(&job, &heard, &capabilities, Timestamp::UNIX_EPOCH);
        assert_eq!((step.status.state, step.submit), (JobState::Scheduled, false), "{heard:?}");
    }
}
