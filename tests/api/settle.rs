//! A person's word on a job that has no end of its own.

use drydock::api::pb;
use drydock::domain::job::{Provenance, WaitReason};
use drydock::kit::clock::Clock;
use drydock::vendors::contract::{Observation, Phase};
use jiff::{SignedDuration, Timestamp};
use pb::job_service_client::JobServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::House;

type Waits = Option<(WaitReason, String, Option<Timestamp>)>;

/// A house whose vendor shows every operation as running and waiting like this, and the name of one running job.
async fn running(waiting: Waits) -> (House, JobServiceClient<Channel>, String) {
    let mut shown = Observation::new(Phase::Running, Provenance::Inferred);
    shown.waiting = waiting;
    let house = House::showing(shown).await;
    let asked = pb::UpgradeClusterRequest {
        target: "providers/silent/clusters/c1".to_owned(),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    let started = UpgradeServiceClient::new(house.channel().await).upgrade_cluster(asked).await.unwrap();
    let name = started.into_inner().job.unwrap().name;
    let mut jobs = JobServiceClient::new(house.channel().await);
    let follow = pb::WatchJobRequest { name: name.clone(), ..Default::default() };
    let mut watch = jobs.watch_job(follow).await.unwrap().into_inner();
    loop {
        let message = watch.message().await.unwrap().unwrap();
        let runs = |status: Option<pb::JobStatus>| status.unwrap().state() == pb::JobState::Running;
        let seen = match message.message {
            Some(pb::watch_job_response::Message::Snapshot(job)) => runs(job.status),
            Some(pb::watch_job_response::Message::Events(batch)) => {
                batch.events.into_iter().any(|event| runs(event.status))
            }
            _ => false,
        };
        if seen {
            return (house, jobs, name);
        }
    }
}

async fn settle(
    jobs: &mut JobServiceClient<Channel>,
    name: &str,
    outcome: pb::SettleOutcome,
) -> Result<pb::Job, Status> {
    let request = pb::SettleJobRequest {
        name: name.to_owned(),
        outcome: outcome.into(),
        reason: "ada looked: the nodes are on the old version".to_owned(),
    };
    Ok(jobs.settle_job(request).await?.into_inner().job.unwrap())
}

fn assert_wrong_state(refused: &Status, word: &str) {
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    assert!(refused.message().contains(word), "{refused:?}");
}

#[tokio::test]
async fn what_is_overdue_for_good_is_settled_and_frees_its_target() {
    let overdue = (WaitReason::Overdue, "the cluster shows no sign of it".to_owned(), None);
    let (house, mut jobs, name) = running(Some(overdue)).await;
    let job = settle(&mut jobs, &name, pb::SettleOutcome::Failed).await.unwrap();
    let status = job.status.unwrap();
    assert_eq!(status.state(), pb::JobState::Failed);
    assert!(status.waiting_for.is_empty());
    let failure = status.failure.unwrap();
    assert_eq!(failure.reason(), pb::FailureReason::Settled);
    assert!(failure.message.contains("ada looked"), "{failure:?}");
    let request = pb::ListJobEventsRequest { parent: name.clone(), ..Default::default() };
    let events = jobs.list_job_events(request).await.unwrap().into_inner().events;
    let last = events.last().unwrap();
    assert_eq!(last.kind(), pb::EventKind::Settled);
    assert!(last.message.contains("ada looked"), "{last:?}");
    assert_wrong_state(
        &settle(&mut jobs, &name, pb::SettleOutcome::Succeeded).await.unwrap_err(),
        "only an INDETERMINATE job",
    );
    let again = pb::UpgradeClusterRequest {
        target: "providers/silent/clusters/c1".to_owned(),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    assert!(UpgradeServiceClient::new(house.channel().await).upgrade_cluster(again).await.is_ok());
}

#[tokio::test]
async fn what_runs_as_usual_is_not_settled() {
    let (_house, mut jobs, name) = running(None).await;
    let refused = settle(&mut jobs, &name, pb::SettleOutcome::Failed).await.unwrap_err();
    assert_wrong_state(&refused, "not OVERDUE");
}

#[tokio::test]
async fn what_the_vendor_will_decide_is_not_settled_before() {
    let until = Clock::system().now() + SignedDuration::from_hours(1);
    let overdue = (WaitReason::Overdue, "believed once it has lasted".to_owned(), Some(until));
    let (_house, mut jobs, name) = running(Some(overdue)).await;
    let refused = settle(&mut jobs, &name, pb::SettleOutcome::Failed).await.unwrap_err();
    assert_wrong_state(&refused, "decides at");
}
