//! Operations that somebody started outside Drydock: shown, waited for or refused, never doubled.

use drydock::domain::error::Error;
use drydock::domain::failure::FailureReason;
use drydock::domain::finding::Verdict;
use drydock::domain::job::WaitReason;
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::domain::target::{TargetKind, UnderWay};
use drydock::engine::calls::{OnBusy, StartRequest};

use crate::house::{House, request, upgrade, with_key};
use crate::scripted::Scripted;

fn somebody_starts(house: &House, target: &str) {
    house.vendor.state.lock().unwrap().foreign.insert(target.into(), "task-7 by root".into());
}

fn it_ends(house: &House) {
    house.vendor.state.lock().unwrap().foreign.clear();
}

#[tokio::test]
async fn what_a_list_shows_is_refused_at_once_and_free_after_its_end() {
    let house = House::new(Scripted::new()).await;
    somebody_starts(&house, "t1");
    let list = async || {
        house.engine.targets(None, Some(TargetKind::Cluster), &PageRequest::default()).await.unwrap()
    };
    let shown = list().await.items;
    let UnderWay { what, vendor_id, .. } = shown[0].info.under_way.clone().unwrap();
    assert_eq!((what.as_str(), vendor_id.as_deref(), shown[0].job), ("task-7 by root", Some("id-7"), None));
    assert_eq!(shown[1].info.under_way, None);

    let refused = house.start(vec![upgrade("t1")]).await.unwrap().remove(0).unwrap_err();
    let Error::ForeignBusy { what, seen, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((what.as_str(), seen), ("task-7 by root", shown[0].observe_time));
    let plan = house.engine.check(vec![upgrade("t1")]).await.unwrap().remove(0).unwrap();
    assert_eq!(
        (plan.verdict, plan.foreign.as_deref(), plan.holder),
        (Verdict::Blocked, Some("task-7 by root"), None)
    );

    it_ends(&house);
    list().await;
    let job = house.upgrade("t1").await;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("t1"), 1);
}

#[tokio::test]
async fn what_the_check_finds_rejects_the_job_and_then_refuses_at_the_door() {
    let house = House::new(Scripted::new()).await;
    somebody_starts(&house, "c1");
    let first = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap().job;
    let failure = house.in_state(first.id, JobState::Rejected).await.status.failure.unwrap();
    assert_eq!((failure.reason, failure.metadata["foreign"].as_str()), (FailureReason::TargetBusy, "true"));
    let refused = house.start(vec![upgrade("c1")]).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(refused, Error::ForeignBusy { .. }), "{refused:?}");
    let again = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(again.reused, "a repeated request is answered with its job");
    let other = house.upgrade("c2").await;
    house.ended(other.id).await;
    assert_eq!(house.vendor.starts("c1"), 0);
}

#[tokio::test]
async fn a_queued_job_waits_for_it_by_name_and_starts_once_after_its_end() {
    let house = House::new(Scripted::new()).await;
    somebody_starts(&house, "t1");
    let queued = StartRequest { on_busy: OnBusy::Queue, ..request(vec![upgrade("t1")]) };
    let job = house.engine.start(queued).await.unwrap().remove(0).unwrap().job;
    let waiting = house.until(job.id, "a reason to wait", |j| !j.status.waiting_for.is_empty()).await;
    assert_eq!(waiting.status.waiting_for[0].reason, WaitReason::TargetBusy);
    assert!(waiting.status.waiting_for[0].message.contains("task-7 by root"));
    // It holds its target, and still does not stand for what runs there.
    let page = house.engine.targets(None, Some(TargetKind::Cluster), &PageRequest::default()).await.unwrap();
    assert_eq!(page.items[0].job, None);
    let plan = house.engine.check(vec![upgrade("t1")]).await.unwrap().remove(0).unwrap();
    assert_eq!((plan.foreign.as_deref(), plan.holder), (Some("task-7 by root"), Some(job.id)));
    assert_eq!(house.vendor.starts("t1"), 0);
    it_ends(&house);
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.starts("t1"), 1);
}

#[tokio::test]
async fn what_a_job_started_is_shown_as_the_jobs() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("t1").await;
    house.in_state(job.id, JobState::Running).await;
    somebody_starts(&house, "t1");
    let page = house.engine.targets(None, Some(TargetKind::Cluster), &PageRequest::default()).await.unwrap();
    assert_eq!(page.items[0].job, Some(job.id));
    let busy = house.start(vec![upgrade("t1")]).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(busy, Error::TargetBusy { holder, .. } if holder == job.id), "{busy:?}");
}

#[tokio::test]
async fn a_list_that_cannot_tell_erases_nothing_that_was_seen() {
    let house = House::new(Scripted::new()).await;
    somebody_starts(&house, "t1");
    let list = async || {
        house.engine.targets(None, Some(TargetKind::Cluster), &PageRequest::default()).await.unwrap()
    };
    list().await;
    it_ends(&house);
    house.vendor.state.lock().unwrap().foreign_unknown = true;
    let shown = list().await.items;
    assert!(shown[0].info.under_way.is_none() && shown[0].info.under_way_unknown);
    let refused = house.start(vec![upgrade("t1")]).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(refused, Error::ForeignBusy { .. }), "{refused:?}");
}
