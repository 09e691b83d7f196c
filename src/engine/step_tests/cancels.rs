//! Cancels: prevented, passed on, or refused plainly.

use jiff::Timestamp;

use super::{apply, capabilities, running, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::error::Error;
use crate::domain::job::Cancelable;
use crate::domain::state::JobState;
use crate::engine::calls::CancelOutcome;
use crate::engine::plan::{Plan, plan};
use crate::engine::step::Heard;
use crate::engine::wish;
use crate::vendors::contract::Submitted;

#[test]
fn a_cancel_before_anything_was_sent_prevents() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let job = upgrade();
    let (outcome, step) = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(outcome, CancelOutcome::Prevented);
    assert_eq!(step.unwrap().status.state, JobState::Cancelled);
}

#[test]
fn a_vendor_that_cannot_cancel_says_so_and_the_job_is_followed() {
    let capabilities = capabilities(CancelSupport::Never("no way"));
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let started = Heard::Submitted(Submitted::Started(Box::new(running())));
    let step = apply(&job, &started, &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert!(!job.status.cancelable.possible);
    let error = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(matches!(error, Error::CancelUnsupported { .. }), "{error}");
}

#[test]
fn a_cancel_while_the_start_is_in_flight_is_asked_once_it_runs() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Submitting;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    job.status.cancelable = Cancelable::yes("in flight");
    let (outcome, step) = wish::cancel(&job, &capabilities, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(outcome, CancelOutcome::Requested);
    write(&mut job, step.unwrap());
    assert_eq!(job.status.state, JobState::Submitting);
    let mut seen = running();
    seen.cancelable = Some(Cancelable::yes("the task is cancelable"));
    let started = Heard::Submitted(Submitted::Started(Box::new(seen)));
    let step = apply(&job, &started, &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert_eq!(job.status.state, JobState::Cancelling);
    assert_eq!(plan(&job, true, Timestamp::UNIX_EPOCH), Plan::Cancel);
}
