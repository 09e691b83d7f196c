//! Jobs from acceptance to their end.

use std::time::Duration;

use drydock::domain::capability::CancelSupport;
use drydock::domain::error::Error;
use drydock::domain::failure::FailureReason;
use drydock::domain::finding::{Finding, Severity, Verdict};
use drydock::domain::job::{WaitReason, Waiting};
use drydock::domain::operation::{Operation, ScheduledUpgrade, Upgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::engine::JobFilter;
use drydock::engine::calls::{CancelOutcome, OnBusy, Settlement, StartEntry, StartRequest};

use crate::house::{House, request, target, upgrade, with_key};
use crate::scripted::{OnSubmit, Scripted};

#[tokio::test]
async fn an_upgrade_runs_to_its_end_and_starts_once() {
    let house = House::new(Scripted::new()).await;
    let job = house.upgrade("c1").await;
    assert_eq!(job.status.state, JobState::Pending);
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("c1"), 1);
    let events = house.engine.job_events(job.id, &PageRequest::default()).await.unwrap().items;
    let sequences: Vec<_> = events.iter().map(|e| e.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "numbered without gaps");
    let mut states: Vec<_> = events.iter().map(|e| e.status.state).collect();
    states.dedup();
    assert_eq!(
        states,
        [JobState::Pending, JobState::Checking, JobState::Submitting, JobState::Running, JobState::Succeeded]
    );
}

#[tokio::test]
async fn a_failure_keeps_the_vendors_words() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().fails.push("c1".into());
    let job = house.upgrade("c1").await;
    let failure = house.in_state(job.id, JobState::Failed).await.status.failure.unwrap();
    assert_eq!((failure.reason, failure.vendor_code.as_deref()), (FailureReason::VendorFailed, Some("X.1")));
}

#[tokio::test]
async fn a_batch_of_one_request_goes_out_as_one_batch() {
    let house = House::new(Scripted::new()).await;
    let entries = (0..20).map(|n| upgrade(&format!("c{n}"))).collect();
    let jobs = house.start(entries).await.unwrap();
    for job in jobs {
        house.ended(job.unwrap().job.id).await;
    }
    assert_eq!(house.vendor.state.lock().unwrap().batches, [20]);
}

#[tokio::test]
async fn a_busy_target_is_refused_by_name_and_free_after_the_end() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let holder = house.upgrade("c1").await;
    let refused = house.start(vec![upgrade("c1")]).await.unwrap().remove(0).unwrap_err();
    assert_eq!(refused, Error::TargetBusy { target: target("c1"), holder: holder.id });
    house.vendor.state.lock().unwrap().endless = false;
    house.ended(holder.id).await;
    let second = house.upgrade("c1").await;
    house.ended(second.id).await;
    assert_eq!(house.vendor.starts("c1"), 2);
}

#[tokio::test]
async fn queued_jobs_take_their_turn_in_order_and_the_queue_is_bounded() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let holder = house.upgrade("c1").await;
    let queue = || StartRequest { on_busy: OnBusy::Queue, ..request(vec![upgrade("c1")]) };
    let second = house.engine.start(queue()).await.unwrap().remove(0).unwrap().job;
    let third = house.engine.start(queue()).await.unwrap().remove(0).unwrap().job;
    let full = house.engine.start(queue()).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(full, Error::QueueFull { waiting: 2, .. }), "{full:?}");
    let waiting = house.until(second.id, "a reason to wait", |j| !j.status.waiting_for.is_empty()).await;
    assert_eq!(waiting.status.waiting_for[0].reason, WaitReason::TargetBusy);
    assert!(waiting.status.waiting_for[0].message.contains(&holder.id.to_string()));
    let (outcome, _) = house.engine.cancel(third.id).await.unwrap();
    assert_eq!(outcome, CancelOutcome::Prevented);
    house.vendor.state.lock().unwrap().endless = false;
    assert_eq!(house.ended(holder.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.ended(second.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("c1"), 2, "the cancelled one never started");
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_never_sent_twice() {
    let house = House::new(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::StartAndLoseAnswer);
    let job = house.upgrade("c1").await;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("c1"), 1);
}

#[tokio::test]
async fn a_start_that_never_arrived_is_sent_again() {
    let house = House::new(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::LoseBefore);
    house.vendor.on_submit("c1", OnSubmit::RateLimit);
    let job = house.upgrade("c1").await;
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Succeeded);
    assert_eq!((house.vendor.starts("c1"), job.control.attempts), (1, 3));
}

#[tokio::test]
async fn what_nobody_can_tell_is_loud_and_settled_by_a_person() {
    let house = House::new(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::LoseBefore);
    house.vendor.state.lock().unwrap().blind = true;
    let job = house.upgrade("c1").await;
    let unknown = house.in_state(job.id, JobState::Indeterminate).await;
    assert_eq!(unknown.status.failure.unwrap().reason, FailureReason::SubmissionUnknown);
    let busy = house.start(vec![upgrade("c1")]).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(busy, Error::TargetBusy { .. }), "it holds its target until it is settled");
    let early =
        house.engine.settle(job.id, Settlement::Cancelled, "looked: nothing ran".into()).await.unwrap();
    assert_eq!(early.status.state, JobState::Cancelled);
    let again = house.engine.settle(job.id, Settlement::Failed, "again".into()).await.unwrap_err();
    assert!(matches!(again, Error::WrongState { .. }), "{again:?}");
    house.vendor.state.lock().unwrap().blind = false;
    let next = house.upgrade("c1").await;
    house.ended(next.id).await;
}

#[tokio::test]
async fn a_refused_start_is_rejected_with_the_vendors_reason() {
    let house = House::new(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::Refuse);
    let job = house.upgrade("c1").await;
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Rejected);
    assert_eq!(job.status.failure.unwrap().message, "no such version");
}

#[tokio::test]
async fn a_cancel_reaches_the_vendor_where_it_can() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Running).await;
    let (outcome, _) = house.engine.cancel(job.id).await.unwrap();
    assert_eq!(outcome, CancelOutcome::Requested);
    assert_eq!(house.ended(job.id).await.status.state, JobState::Cancelled);
    let late = house.engine.cancel(job.id).await.unwrap_err();
    assert!(matches!(late, Error::WrongState { state: "CANCELLED", .. }), "{late:?}");
}

#[tokio::test]
async fn a_vendor_that_cannot_cancel_says_so_and_the_job_goes_on() {
    let house = House::new(Scripted::with(CancelSupport::Never("this vendor has no cancel"))).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("c1").await;
    let running = house.in_state(job.id, JobState::Running).await;
    assert!(!running.status.cancelable.possible);
    let error = house.engine.cancel(job.id).await.unwrap_err();
    assert!(matches!(error, Error::CancelUnsupported { .. }), "{error:?}");
    house.vendor.state.lock().unwrap().endless = false;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
}

fn scheduled(id: &str, ahead: Duration) -> StartEntry {
    let operation = Operation::ScheduledUpgrade(ScheduledUpgrade {
        upgrade: Upgrade { version: Some("v2".into()), ..Upgrade::default() },
        start_time: Some(drydock::kit::clock::after(drydock::kit::clock::Clock::system().now(), ahead)),
        ignore_maintenance_windows: None,
    });
    StartEntry { operation, ..upgrade(id) }
}

#[tokio::test]
async fn a_scheduled_start_is_held_moved_and_made() {
    let house = House::new(Scripted::new()).await;
    let job =
        house.start(vec![scheduled("c1", Duration::from_secs(3600))]).await.unwrap().remove(0).unwrap().job;
    let held = house.in_state(job.id, JobState::Scheduled).await;
    assert_eq!(held.status.waiting_for[0].reason, WaitReason::StartTime);
    assert_eq!(house.vendor.starts("c1"), 0);
    let soon =
        drydock::kit::clock::after(drydock::kit::clock::Clock::system().now(), Duration::from_millis(50));
    house.engine.reschedule(job.id, Some(soon), None).await.unwrap();
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert!(house.engine.reschedule(job.id, Some(soon), None).await.is_err(), "too late");
}

#[tokio::test]
async fn faults_are_told_all_at_once_and_nothing_is_kept() {
    let house = House::new(Scripted::new()).await;
    let mut bad = upgrade("c1");
    bad.operation = Operation::Upgrade(Upgrade { version: Some("bad".into()), ..Upgrade::default() });
    bad.field_prefix = "requests[0]".into();
    let mut past = scheduled("c2", Duration::ZERO);
    if let Operation::ScheduledUpgrade(scheduled) = &mut past.operation {
        scheduled.start_time = Some(jiff::Timestamp::UNIX_EPOCH);
    }
    past.field_prefix = "requests[1]".into();
    let Err(Error::InvalidRequest(faults)) = house.start(vec![bad, past, upgrade("c3")]).await else {
        panic!("the request must be refused as a whole");
    };
    let fields: Vec<_> = faults.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["requests[0].version", "requests[1].start_time"]);
    let jobs = house.engine.jobs(&JobFilter::default(), &PageRequest::default()).await.unwrap();
    assert!(jobs.items.is_empty());
}

#[tokio::test]
async fn a_repeated_request_answers_the_same_job_also_after_its_end() {
    let house = House::new(Scripted::new()).await;
    let first = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(!first.reused);
    house.ended(first.job.id).await;
    let again = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(again.reused);
    assert_eq!(again.job.id, first.job.id);
    let other = house.engine.start(with_key(5, 2, vec![upgrade("c9")])).await.unwrap_err();
    assert!(matches!(other, Error::RequestIdReused { .. }), "{other:?}");
    assert_eq!(house.vendor.starts("c1"), 1);
}

#[tokio::test]
async fn warnings_stop_unless_listed_and_a_check_starts_nothing() {
    let house = House::new(Scripted::new()).await;
    let warning = Finding::new("scripted.disk", Severity::Warning, "disk is low");
    house.vendor.state.lock().unwrap().findings.insert("c1".into(), vec![warning]);
    let checked = house.engine.check(vec![upgrade("c1")]).await.unwrap().remove(0).unwrap();
    assert_eq!(checked.verdict, Verdict::UnacceptedWarning);
    let job = house.upgrade("c1").await;
    let job = house.in_state(job.id, JobState::Rejected).await;
    assert_eq!(job.status.failure.unwrap().reason, FailureReason::PrecheckFailed);
    assert_eq!(house.vendor.starts("c1"), 0);
    let mut accepting = upgrade("c1");
    accepting.operation = Operation::Upgrade(Upgrade {
        accepted_risks: vec!["scripted.disk".into()],
        version: Some("v2".into()),
        ..Upgrade::default()
    });
    let job = house.start(vec![accepting]).await.unwrap().remove(0).unwrap().job;
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Succeeded);
    assert!(job.status.findings[0].accepted);
}

#[tokio::test]
async fn a_provider_that_is_down_delays_its_jobs_and_fails_none() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().down = true;
    let job = house.upgrade("c1").await;
    let waiting = house
        .until(job.id, "the outage as a reason", |j| {
            j.status
                .waiting_for
                .iter()
                .any(|w| w.reason == WaitReason::VendorUnreachable && w.until.is_some())
        })
        .await;
    assert_eq!(waiting.status.state, JobState::Checking);
    let view = house.engine.providers().remove(0);
    assert_eq!(view.health.reachable, Some(false));
    let page = house.engine.targets(None, None, &PageRequest::default()).await.unwrap();
    assert_eq!(page.unreachable.len(), 1, "a list names who could not be asked");
    house.vendor.state.lock().unwrap().down = false;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
}

#[tokio::test]
async fn refused_credentials_are_shown_as_such_with_the_keys_to_mend_and_fail_no_job() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().locked_out = true;
    let job = house.upgrade("c1").await;
    let refused = |w: &Waiting| w.reason == WaitReason::VendorCredentialsRefused && w.until.is_some();
    let waiting =
        house.until(job.id, "the refusal as a reason", |j| j.status.waiting_for.iter().any(refused)).await;
    assert!(!waiting.status.state.is_ended());
    let said = &waiting.status.waiting_for[0].message;
    assert!(said.starts_with("wrong password"), "{said}");
    assert!(said.contains("`providers.a.user`, `providers.a.password`"), "{said}");
    let health = house.engine.providers().remove(0).health;
    assert_eq!((health.reachable, health.credentials_refused), (Some(false), true));
    assert!(health.last_error.unwrap().contains("`providers.a.password`"));
    let error = house.engine.versions(&target("c1")).await.unwrap_err();
    assert_eq!(error.reason(), "VENDOR_UNAUTHENTICATED");
    assert!(error.to_string().contains("`providers.a.password`"), "{error}");
    house.vendor.state.lock().unwrap().locked_out = false;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert!(!house.engine.providers().remove(0).health.credentials_refused);
}

#[tokio::test]
async fn the_pages_of_a_jobs_events_have_no_gaps_and_their_tokens_are_of_that_job_only() {
    let house = House::new(Scripted::new()).await;
    let (one, other) = (house.upgrade("c1").await, house.upgrade("c2").await);
    house.ended(one.id).await;
    house.ended(other.id).await;
    let page = |token| PageRequest { size: 1, token };
    let (mut sequences, mut token) = (Vec::new(), None);
    loop {
        let events = house.engine.job_events(one.id, &page(token)).await.unwrap();
        sequences.extend(events.items.iter().map(|event| event.sequence));
        token = events.next;
        let Some(token) = &token else { break };
        let elsewhere = house.engine.job_events(other.id, &page(Some(token.clone()))).await;
        assert_eq!(elsewhere.err(), Some(Error::PageTokenInvalid));
    }
    let all = house.store.job_events(one.id, 0, 100).await.unwrap();
    assert!(all.len() > 2);
    assert_eq!(sequences, all.iter().map(|event| event.sequence).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_job_goes_on_after_a_restart() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let running = house.upgrade("c1").await;
    house.in_state(running.id, JobState::Running).await;
    let held =
        house.start(vec![scheduled("c2", Duration::from_millis(800))]).await.unwrap().remove(0).unwrap().job;
    house.in_state(held.id, JobState::Scheduled).await;
    house.vendor.state.lock().unwrap().down = true;
    let waiting = house.upgrade("c3").await;
    let house = house.restart().await;
    {
        let mut state = house.vendor.state.lock().unwrap();
        state.down = false;
        state.endless = false;
    }
    for (job, target) in [(running, "c1"), (held, "c2"), (waiting, "c3")] {
        assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded, "{target}");
        assert_eq!(house.vendor.starts(target), 1, "{target}");
    }
}

#[tokio::test]
async fn many_observations_share_few_calls() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let entries = (0..100).map(|n| upgrade(&format!("c{n}"))).collect();
    let jobs: Vec<_> = house.start(entries).await.unwrap().into_iter().map(|j| j.unwrap().job.id).collect();
    for id in &jobs {
        house.in_state(*id, JobState::Running).await;
    }
    let looks = |house: &House| house.vendor.state.lock().unwrap().looks.values().sum::<u32>();
    let (before, calls) = (looks(&house), house.vendor.state.lock().unwrap().observe_calls);
    house.until(jobs[0], "a few rounds", |_| looks(&house) > before + 500).await;
    let calls = house.vendor.state.lock().unwrap().observe_calls - calls;
    let seen = looks(&house) - before;
    assert!(calls * 4 < seen, "{calls} calls for {seen} observations");
}

#[tokio::test]
async fn the_latest_of_two_new_start_times_reaches_the_vendor() {
    let house = House::new(Scripted::scheduling()).await;
    let job =
        house.start(vec![scheduled("c1", Duration::from_secs(3600))]).await.unwrap().remove(0).unwrap().job;
    house.until(job.id, "the vendor's word", |j| j.status.vendor.state.is_some()).await;
    house.vendor.state.lock().unwrap().slow_reschedule = Duration::from_millis(200);
    let at = |hours: u64| {
        let now = drydock::kit::clock::Clock::system().now();
        Some(drydock::kit::clock::after(now, Duration::from_secs(hours * 3600)))
    };
    let (first, second) = (at(2), at(3));
    house.engine.reschedule(job.id, first, None).await.unwrap();
    house
        .until(job.id, "the first call", |_| house.vendor.state.lock().unwrap().reschedules_begun == 1)
        .await;
    house.engine.reschedule(job.id, second, None).await.unwrap();
    house
        .until(job.id, "the second time at the vendor", |_| {
            house.vendor.state.lock().unwrap().rescheduled.last() == Some(&second)
        })
        .await;
}

#[tokio::test]
async fn a_cancel_that_keeps_failing_does_not_hide_the_end() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Running).await;
    house.vendor.state.lock().unwrap().cancel_breaks = true;
    house.engine.cancel(job.id).await.unwrap();
    house.vendor.state.lock().unwrap().endless = false;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_driver_whose_rounds_are_all_out_waits_without_spinning() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().hang_checks = true;
    for n in 0..10 {
        let job = house.upgrade(&format!("c{n}")).await;
        if n < 8 {
            house.in_state(job.id, JobState::Checking).await;
        }
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.worker_total_busy_duration(0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let busy = metrics.worker_total_busy_duration(0) - before;
    assert!(busy < Duration::from_millis(200), "busy for {busy:?} of 500 ms");
}

#[tokio::test]
async fn a_call_that_never_comes_back_is_given_up() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().hang_checks = true;
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Checking).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.vendor.state.lock().unwrap().hang_checks = false;
    let waiting = house.until(job.id, "a reason", |j| !j.status.waiting_for.is_empty()).await;
    assert_eq!(waiting.status.waiting_for[0].reason, WaitReason::VendorUnreachable);
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
}
