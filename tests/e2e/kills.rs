//! SIGKILL in every phase of a start: each job ends right, and the vendor counts one start.

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use drydock::simulators::{EffectKind, Fault, Route, Simulator};

use crate::gateway::{Gateway, quick};

fn upgrade(n: usize) -> pb::UpgradeClusterRequest {
    pb::UpgradeClusterRequest {
        target: format!("providers/zs/clusters/{}", zstack::target_id(n)),
        ..Default::default()
    }
}

async fn start(gateway: &Gateway, n: usize) -> String {
    gateway.upgrades().upgrade_cluster(upgrade(n)).await.unwrap().into_inner().job.unwrap().name
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_anything_was_sent() {
    let vendor = SimZstack::start(quick(4)).await.unwrap();
    // The prechecks never get an answer: the job stays before its start.
    vendor.faults().arm(Some(Route::Inventory), Fault::ResetBefore, 1_000_000);
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let job = start(&gateway, 0).await;
    // One more waits behind it: that one is PENDING for as long as we like.
    let queued = pb::UpgradeClusterRequest { on_busy: pb::OnBusy::Queue.into(), ..upgrade(0) };
    let queued = gateway.upgrades().upgrade_cluster(queued).await.unwrap().into_inner().job.unwrap().name;
    let state = gateway.job(&queued).await.status.unwrap().state();
    assert_eq!(state, pb::JobState::Pending);
    gateway.kill().await;
    assert_eq!(vendor.effects().starts(&zstack::target_id(0)), 0);
    vendor.faults().clear();
    gateway.up().await;
    let job = gateway.ended(&job).await;
    assert_eq!(job.status.unwrap().state(), pb::JobState::Succeeded);
    let queued = gateway.ended(&queued).await;
    assert_eq!(queued.status.unwrap().state(), pb::JobState::Succeeded);
    assert_eq!(vendor.effects().starts(&zstack::target_id(0)), 2, "one start for each of the two jobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_start_was_in_flight() {
    let vendor = SimZstack::start(quick(4)).await.unwrap();
    // The start takes effect at once and is answered late: the gateway dies in between.
    vendor.faults().arm(Some(Route::Submit), Fault::DelayMs(2_000), 1);
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let job = start(&gateway, 1).await;
    let submitting = |s: &pb::JobStatus| s.state() == pb::JobState::Submitting;
    gateway.until(&job, "SUBMITTING", submitting).await;
    // The intent is durable before the call; wait until the call itself has arrived.
    let target = zstack::target_id(1);
    while vendor.effects().count(EffectKind::Start, &target) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    gateway.kill().await;
    gateway.up().await;
    let job = gateway.ended(&job).await;
    assert_eq!(job.status.unwrap().state(), pb::JobState::Succeeded);
    assert_eq!(vendor.effects().starts(&target), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_an_intent_that_never_arrived() {
    let vendor = SimZstack::start(quick(4)).await.unwrap();
    vendor.faults().arm(Some(Route::Submit), Fault::ResetBefore, 1);
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let job = start(&gateway, 2).await;
    let submitting = |s: &pb::JobStatus| s.state() == pb::JobState::Submitting;
    gateway.until(&job, "SUBMITTING", submitting).await;
    gateway.kill().await;
    gateway.up().await;
    let job = gateway.ended(&job).await;
    assert_eq!(job.status.unwrap().state(), pb::JobState::Succeeded);
    assert_eq!(vendor.effects().starts(&zstack::target_id(2)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_running_and_stopped_in_order_while_running() {
    let vendor = SimZstack::start(quick(4)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let job = start(&gateway, 3).await;
    let running = |s: &pb::JobStatus| s.state() == pb::JobState::Running;
    gateway.until(&job, "RUNNING", running).await;
    gateway.kill().await;
    let logins = || vendor.effects().count(EffectKind::Login, "");
    let before = logins();
    gateway.up().await;
    // A session that was never begun needs no end.
    while logins() == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(gateway.terminate().await, 0, "a stop in order is no failure:\n{}", gateway.log());
    gateway.up().await;
    let job = gateway.ended(&job).await;
    assert_eq!(job.status.unwrap().state(), pb::JobState::Succeeded);
    assert_eq!(vendor.effects().starts(&zstack::target_id(3)), 1);
    // The session was ended when the stop was in order.
    assert!(vendor.effects().all().iter().any(|e| e.kind == EffectKind::Logout));
}
