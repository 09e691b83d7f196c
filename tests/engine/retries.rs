//! Ended jobs that are tried again.

use std::time::Duration;

use drydock::domain::error::Error;
use drydock::domain::event::EventKind;
use drydock::domain::finding::{Finding, Severity, Verdict};
use drydock::domain::id::{JobId, RequestId};
use drydock::domain::job::{Job, PasswordState};
use drydock::domain::operation::{Operation, ScheduledUpgrade, Upgrade, VendorOptions, ZstackUpgradeOptions};
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::engine::calls::{
    OnBusy, Retrial, RetryRequest, Settlement, StartEntry, WatchFilter, WatchRequest,
};
use drydock::kit::clock::{Clock, after};
use drydock::kit::secret::Secret;

use crate::house::{House, reinstall, request, upgrade};
use crate::scripted::{OnSubmit, Scripted};

fn retry(job: JobId) -> RetryRequest {
    RetryRequest {
        job,
        request: None,
        asked: Retrial::default(),
        on_busy: OnBusy::Reject,
        trace_parent: None,
    }
}

fn keyed(key: u128, digest: u8, request: RetryRequest) -> RetryRequest {
    let id = RequestId::parse(&uuid::Uuid::from_u128(key).to_string()).unwrap();
    RetryRequest { request: Some((id, [digest; 32])), ..request }
}

fn fields(error: Error) -> Vec<String> {
    match error {
        Error::InvalidRequest(faults) => faults.into_iter().map(|f| f.field).collect(),
        other => panic!("{other:?}"),
    }
}

/// An upgrade of `target` that was refused; the next start goes through.
async fn rejected(house: &House, target: &str) -> Job {
    house.vendor.on_submit(target, OnSubmit::Refuse);
    let job = house.upgrade(target).await;
    house.in_state(job.id, JobState::Rejected).await
}

#[tokio::test]
async fn a_retry_is_a_new_job_and_both_name_each_other() {
    let house = House::new(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::Refuse);
    let labels = [("team".to_owned(), "db".to_owned())].into();
    let mut asked = request(vec![upgrade("c1")]);
    asked.labels = labels;
    let old = house.engine.start(asked).await.unwrap().remove(0).unwrap().job;
    let old = house.in_state(old.id, JobState::Rejected).await;

    let new = house.engine.retry(retry(old.id)).await.unwrap();
    assert!(!new.reused);
    assert_eq!((new.job.spec.retry_of, &new.job.spec.labels), (Some(old.id), &old.spec.labels));
    assert_eq!(new.job.spec.operation, old.spec.operation);
    assert_ne!(new.job.control.key, old.control.key, "an attempt of another job has another key");
    let linked = house.engine.job(old.id).await.unwrap();
    assert_eq!(linked.status.retried_by, Some(new.job.id));
    assert_eq!((linked.status.state, linked.status.end_time), (JobState::Rejected, old.status.end_time));
    assert_eq!(house.ended(new.job.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("c1"), 1);

    let told = house.engine.job_events(old.id, &PageRequest::default()).await.unwrap().items;
    let last = told.last().unwrap();
    assert_eq!((last.kind, last.status.retried_by), (EventKind::Retried, Some(new.job.id)));
    assert!(last.message.contains(&new.job.id.to_string()));
    let first = house.engine.job_events(new.job.id, &PageRequest::default()).await.unwrap().items.remove(0);
    assert_eq!((first.commit, first.about.retry_of), (last.commit, Some(old.id)), "one commit, both links");
}

#[tokio::test]
async fn a_job_is_retried_once_and_a_chain_goes_on_at_its_end() {
    let house = House::new(Scripted::new()).await;
    let first = rejected(&house, "c1").await;
    house.vendor.on_submit("c1", OnSubmit::Refuse);
    let second = house.engine.retry(retry(first.id)).await.unwrap().job;
    house.in_state(second.id, JobState::Rejected).await;
    let again = house.engine.retry(retry(first.id)).await.unwrap_err();
    assert_eq!(again, Error::AlreadyRetried { job: first.id, by: second.id });
    let third = house.engine.retry(retry(second.id)).await.unwrap().job;
    assert_eq!(third.spec.retry_of, Some(second.id));
    house.ended(third.id).await;
    assert_eq!(house.vendor.starts("c1"), 1);
}

#[tokio::test]
async fn many_callers_at_once_make_one_retry() {
    let house = House::new(Scripted::new()).await;
    let old = rejected(&house, "c1").await;
    let calls = (0..8).map(|_| {
        // Queued, so that the target being busy is not what refuses them.
        house.engine.retry(RetryRequest { on_busy: OnBusy::Queue, ..retry(old.id) })
    });
    let answers = futures_util::future::join_all(calls).await;
    let made: Vec<_> = answers.iter().filter_map(|a| a.as_ref().ok()).map(|s| s.job.id).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    for answer in answers.into_iter().filter_map(Result::err) {
        assert_eq!(answer, Error::AlreadyRetried { job: old.id, by: made[0] });
    }
    house.ended(made[0]).await;
    assert_eq!(house.vendor.starts("c1"), 1);
}

#[tokio::test]
async fn a_repeated_retry_answers_the_same_job_also_after_its_end_and_a_restart() {
    let house = House::new(Scripted::new()).await;
    let old = rejected(&house, "c1").await;
    let first = house.engine.retry(keyed(5, 1, retry(old.id))).await.unwrap();
    house.ended(first.job.id).await;
    let house = house.restart().await;
    let again = house.engine.retry(keyed(5, 1, retry(old.id))).await.unwrap();
    assert_eq!((again.reused, again.job.id), (true, first.job.id));
    let other = house.engine.retry(keyed(5, 2, retry(old.id))).await.unwrap_err();
    assert!(matches!(other, Error::RequestIdReused { .. }), "{other:?}");
    let third = house.engine.retry(keyed(6, 1, retry(old.id))).await.unwrap_err();
    assert!(matches!(third, Error::AlreadyRetried { .. }), "{third:?}");
    assert_eq!(house.vendor.starts("c1"), 1);
}

#[tokio::test]
async fn only_what_ended_other_than_well_is_retried() {
    let house = House::new(Scripted::new()).await;
    let refused = async |id: JobId| match house.engine.retry(retry(id)).await.unwrap_err() {
        Error::WrongState { state, message, .. } => (state, message),
        other => panic!("{other:?}"),
    };
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Running).await;
    assert_eq!(refused(job.id).await.0, "RUNNING");
    house.vendor.state.lock().unwrap().endless = false;
    house.in_state(job.id, JobState::Succeeded).await;
    assert_eq!(refused(job.id).await.0, "SUCCEEDED");

    house.vendor.on_submit("c2", OnSubmit::LoseBefore);
    house.vendor.state.lock().unwrap().blind = true;
    let unknown = house.upgrade("c2").await;
    house.in_state(unknown.id, JobState::Indeterminate).await;
    let (state, message) = refused(unknown.id).await;
    assert_eq!(state, "INDETERMINATE");
    assert!(message.contains("SettleJob"), "{message}");
    house.vendor.state.lock().unwrap().blind = false;
    house.engine.settle(unknown.id, Settlement::Failed, "looked".into()).await.unwrap();
    let new = house.engine.retry(retry(unknown.id)).await.unwrap().job;
    house.ended(new.id).await;

    house.vendor.state.lock().unwrap().fails.push("c3".into());
    let failed = house.upgrade("c3").await;
    house.in_state(failed.id, JobState::Failed).await;
    house.vendor.state.lock().unwrap().fails.clear();
    assert!(house.engine.retry(retry(failed.id)).await.is_ok());
    let missing = house.engine.retry(retry(JobId::new(uuid::Uuid::from_u128(1)))).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { kind: "job", .. }), "{missing:?}");
}

#[tokio::test]
async fn a_busy_target_refuses_or_queues_a_retry_and_leaves_no_link() {
    let house = House::new(Scripted::new()).await;
    let old = rejected(&house, "c1").await;
    house.vendor.state.lock().unwrap().endless = true;
    let holder = house.upgrade("c1").await;
    let busy = house.engine.retry(keyed(7, 1, retry(old.id))).await.unwrap_err();
    assert!(matches!(busy, Error::TargetBusy { holder: by, .. } if by == holder.id), "{busy:?}");
    assert_eq!(house.engine.job(old.id).await.unwrap().status.retried_by, None);
    let queued = RetryRequest { on_busy: OnBusy::Queue, ..retry(old.id) };
    let queued = house.engine.retry(keyed(7, 1, queued)).await.unwrap();
    assert!(!queued.reused, "the same key tries anew what made no job");
    house.vendor.state.lock().unwrap().endless = false;
    house.ended(queued.job.id).await;
    assert_eq!(house.vendor.starts("c1"), 2);
}

#[tokio::test]
async fn a_reinstall_needs_its_password_again() {
    const CANARY: &str = "Canary-77aa-Passw0rd!";
    let house = House::sealing(Scripted::new()).await;
    house.vendor.on_submit("i1", OnSubmit::Refuse);
    let old = house.start(vec![reinstall("i1", "First-Passw0rd!")]).await.unwrap().remove(0).unwrap().job;
    house.in_state(old.id, JobState::Rejected).await;
    assert_eq!(fields(house.engine.retry(retry(old.id)).await.unwrap_err()), ["password"]);
    let asked = || Retrial { password: Some(Secret::from(CANARY.to_owned())), ..Retrial::default() };
    let new = house.engine.retry(RetryRequest { asked: asked(), ..retry(old.id) }).await.unwrap().job;
    let new = house.ended(new.id).await;
    assert_eq!((new.status.state, new.control.password), (JobState::Succeeded, PasswordState::Erased));
    assert_eq!(house.vendor.state.lock().unwrap().passwords.last().unwrap(), CANARY);

    let upgrade = rejected(&house, "c1").await;
    let faults = house.engine.retry(RetryRequest { asked: asked(), ..retry(upgrade.id) }).await.unwrap_err();
    assert_eq!(fields(faults), ["password"]);
}

#[tokio::test]
async fn a_start_time_that_has_passed_is_asked_for_again() {
    let house = House::new(Scripted::new()).await;
    let ahead = |millis| Some(after(Clock::system().now(), Duration::from_millis(millis)));
    let scheduled = |id: &str, start_time| StartEntry {
        operation: Operation::ScheduledUpgrade(ScheduledUpgrade {
            upgrade: Upgrade { version: Some("v2".into()), ..Upgrade::default() },
            start_time,
            ignore_maintenance_windows: None,
        }),
        ..upgrade(id)
    };
    house.vendor.on_submit("c1", OnSubmit::Refuse);
    let old = house.start(vec![scheduled("c1", ahead(20))]).await.unwrap().remove(0).unwrap().job;
    house.in_state(old.id, JobState::Rejected).await;
    assert_eq!(fields(house.engine.retry(retry(old.id)).await.unwrap_err()), ["start_time"]);
    let start_time = ahead(50);
    let asked = Retrial { start_time, ..Retrial::default() };
    let new = house.engine.retry(RetryRequest { asked, ..retry(old.id) }).await.unwrap().job;
    assert_eq!(new.status.scheduled_start, start_time);
    assert_eq!(house.ended(new.id).await.status.state, JobState::Succeeded);

    // What still lies ahead is kept, as it was last moved.
    let old = house.start(vec![scheduled("c2", ahead(3_600_000))]).await.unwrap().remove(0).unwrap().job;
    let moved = ahead(7_200_000);
    house.engine.reschedule(old.id, moved, None).await.unwrap();
    house.engine.cancel(old.id).await.unwrap();
    let new = house.engine.retry(retry(old.id)).await.unwrap().job;
    assert_eq!(new.status.scheduled_start, moved);

    let plain = rejected(&house, "c3").await;
    let asked = Retrial { start_time: ahead(50), ..Retrial::default() };
    let faults = house.engine.retry(RetryRequest { asked, ..retry(plain.id) }).await.unwrap_err();
    assert_eq!(fields(faults), ["start_time"]);
}

#[tokio::test]
async fn what_stopped_a_job_can_be_accepted_by_its_retry() {
    let house = House::new(Scripted::new()).await;
    let warning = Finding::new("scripted.disk", Severity::Warning, "disk is low");
    house.vendor.state.lock().unwrap().findings.insert("c1".into(), vec![warning]);
    let old = house.upgrade("c1").await;
    house.in_state(old.id, JobState::Rejected).await;
    let plan = house.engine.check_retry(&retry(old.id)).await.unwrap().1;
    assert_eq!(plan.verdict, Verdict::UnacceptedWarning);
    let asked = Retrial { accepted_risks: vec!["scripted.disk".into()], ..Retrial::default() };
    let asked = || RetryRequest { asked: asked.clone(), ..retry(old.id) };
    let (operation, plan) = house.engine.check_retry(&asked()).await.unwrap();
    assert_eq!((plan.verdict, operation.accepted_risks().len()), (Verdict::Clear, 1));
    assert_eq!(house.engine.job(old.id).await.unwrap().status.retried_by, None, "a plan keeps nothing");
    let new = house.engine.retry(asked()).await.unwrap().job;
    assert_eq!(house.ended(new.id).await.status.state, JobState::Succeeded);
    let many = Retrial { accepted_risks: (0..101).map(|n| format!("r{n}")).collect(), ..Retrial::default() };
    let other = rejected(&house, "c2").await;
    let faults = house.engine.retry(RetryRequest { asked: many, ..retry(other.id) }).await.unwrap_err();
    assert_eq!(fields(faults), ["accepted_risks"]);
}

#[test]
fn what_a_vendor_takes_once_is_not_taken_over() {
    let options = ZstackUpgradeOptions {
        resource_uuid: Some("6f1e8bb23c2e4d5b9a706f0a6f0f2c11".into()),
        host_uuid: Some("h".into()),
        ..ZstackUpgradeOptions::default()
    };
    let upgrade = Upgrade { options: VendorOptions::Zstack(Box::new(options)), ..Upgrade::default() };
    let scheduled = ScheduledUpgrade { upgrade: upgrade.clone(), ..ScheduledUpgrade::default() };
    for operation in [Operation::Upgrade(upgrade), Operation::ScheduledUpgrade(scheduled)] {
        let again = operation.again();
        let VendorOptions::Zstack(options) = &again.upgrade().unwrap().options else { panic!("{again:?}") };
        assert_eq!((options.resource_uuid.as_deref(), options.host_uuid.as_deref()), (None, Some("h")));
    }
}

#[tokio::test]
async fn a_watch_of_the_old_job_ends_also_when_it_was_retried() {
    let house = House::new(Scripted::new()).await;
    let old = rejected(&house, "c1").await;
    let new = house.engine.retry(retry(old.id)).await.unwrap().job;
    let watch = house
        .watch(WatchRequest {
            filter: WatchFilter { jobs: vec![old.id], ..WatchFilter::default() },
            snapshot: true,
            until_end: true,
            ..WatchRequest::default()
        })
        .await;
    let all: Vec<_> =
        tokio::time::timeout(crate::house::PATIENCE, futures_util::StreamExt::collect::<Vec<_>>(watch))
            .await
            .expect("the watch ends");
    let shown = all.into_iter().find_map(|item| match item.unwrap().body {
        drydock::engine::calls::WatchBody::Snapshot(job) => Some(job),
        _ => None,
    });
    assert_eq!(shown.unwrap().status.retried_by, Some(new.id));
}
