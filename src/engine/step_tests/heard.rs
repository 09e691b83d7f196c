//! What a job takes from an observation, and from an outage.

use std::time::Duration;

use jiff::Timestamp;

use super::{apply, capabilities, lost, running, upgrade, write};
use crate::domain::capability::CancelSupport;
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::domain::state::JobState;
use crate::engine::step::{Heard, Step};
use crate::kit::clock;
use crate::vendors::contract::Observation;
use crate::vendors::error::{Reached, VendorError};

#[test]
fn an_outage_is_a_condition_and_no_state() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Running;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let step = apply(&job, &Heard::Observed(Err(lost())), &capabilities, Timestamp::UNIX_EPOCH);
    write(&mut job, step);
    assert_eq!(job.status.state, JobState::Running);
    let since = job.status.waiting_for[0].since;
    let later = clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
    let step = apply(&job, &Heard::Observed(Err(lost())), &capabilities, later);
    assert!(step.event.is_none(), "the same outage is told once");
    assert_eq!(step.status.waiting_for[0].since, since);
    let step = apply(&job, &Heard::Observed(Ok(running())), &capabilities, later);
    assert!(step.status.waiting_for.is_empty());
}

#[test]
fn what_the_vendor_no_longer_says_is_taken_off_and_what_was_accepted_stays() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Running;
    job.status.submit_time = Some(Timestamp::UNIX_EPOCH);
    let mut risk = Finding::new("v.risk", Severity::Warning, "risky");
    risk.accepted = true;
    let old = Finding::new("v.old", Severity::Warning, "old");
    let own = Finding::new("drydock.cancel_refused", Severity::Info, "no");
    job.status.findings = vec![risk.clone(), old, own];
    let told = |findings: Vec<Finding>, findings_complete| {
        Heard::Observed(Ok(Observation { findings, findings_complete, ..running() }))
    };
    let ids = |step: &Step| step.status.findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>();
    let new = Finding::new("v.new", Severity::Info, "new");
    let step = apply(&job, &told(vec![new.clone()], false), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(ids(&step), ["v.risk", "v.old", "drydock.cancel_refused", "v.new"]);
    let step = apply(&job, &told(vec![new], true), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(ids(&step), ["v.risk", "drydock.cancel_refused", "v.new"]);
    // The vendor says the accepted warning again: it is still accepted.
    let again = Finding { accepted: false, ..risk };
    let step = apply(&job, &told(vec![again], true), &capabilities, Timestamp::UNIX_EPOCH);
    assert!(step.status.findings[0].accepted);
}

#[test]
fn a_vendor_that_says_when_to_come_again_is_quoted() {
    let capabilities = capabilities(CancelSupport::Asked);
    let mut job = upgrade();
    job.status.state = JobState::Checking;
    let wait = Duration::from_secs(3600);
    let error = VendorError::new(VendorFault::RateLimited, Reached::No, "too many requests")
        .with_retry(crate::vendors::error::Retry::After(wait));
    let step = apply(&job, &Heard::Checked(Err(error)), &capabilities, Timestamp::UNIX_EPOCH);
    assert_eq!(step.status.waiting_for[0].until, Some(clock::after(Timestamp::UNIX_EPOCH, wait)));
}
