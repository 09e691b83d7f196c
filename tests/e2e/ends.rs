//! Every kind of operation, through a real client, to every end that its vendor has: what the job says is compared
//! with what the simulator did.

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use drydock::simulators::{EffectKind, Simulator, avisi, huawei, vsphere};
use pb::{FailureReason, JobState};

use crate::gateway::{Gateway, quick};

fn status(job: &pb::Job) -> &pb::JobStatus {
    job.status.as_ref().expect("every job has a status")
}

fn failure(job: &pb::Job) -> Option<FailureReason> {
    status(job).failure.as_ref().map(pb::Failure::reason)
}

fn state(job: &pb::Job) -> JobState {
    job.status.as_ref().unwrap().state()
}

fn answer(job: &pb::Job) -> &prost_types::Struct {
    job.status.as_ref().unwrap().vendor.as_ref().unwrap().answer.as_ref().expect("the vendor's fields")
}

#[tokio::test(flavor = "multi_thread")]
async fn zstack_update_cluster_os() {
    use zstack::Outcome;
    let vendor = SimZstack::start(quick(8)).await.unwrap();
    let ends = [
        (Outcome::Succeed, JobState::Succeeded, None, 1),
        (Outcome::OneHostFails, JobState::Failed, Some(FailureReason::PartialFailure), 1),
        (Outcome::AllHostsFail, JobState::Failed, Some(FailureReason::PartialFailure), 1),
        (Outcome::Fail, JobState::Failed, Some(FailureReason::VendorFailed), 1),
        (Outcome::FailSilently, JobState::Failed, Some(FailureReason::VendorFailed), 1),
        (Outcome::Suspend, JobState::Succeeded, None, 1),
        (Outcome::Cancel, JobState::Cancelled, None, 1),
        (Outcome::RefuseAtApi, JobState::Rejected, Some(FailureReason::VendorRejected), 0),
    ];
    for (n, (outcome, ..)) in ends.iter().enumerate() {
        assert!(vendor.script(&zstack::target_id(n), *outcome));
    }
    let mut gateway = Gateway::configure(&[("zs", &vendor)]);
    gateway.up().await;
    let tag = "0123456789ab4cdef123456789abcdef";
    let requests = (0..ends.len())
        .map(|n| pb::UpgradeClusterRequest {
            target: format!("providers/zs/clusters/{}", zstack::target_id(n)),
            version: "h84r".into(),
            vendor_options: Some(pb::upgrade_cluster_request::VendorOptions::Zstack(
                pb::ZstackUpgradeOptions {
                    exclude_packages: vec!["kernel".into(), "systemd*".into()],
                    update_packages: vec!["qemu-kvm".into()],
                    resource_uuid: String::new(),
                    tag_uuids: Vec::new(),
                    system_tags: vec!["drydock::e2e".into()],
                    user_tags: vec![format!("tag-{tag}")],
                    ..Default::default()
                },
            )),
            ..Default::default()
        })
        .collect();
    let batch = pb::BatchUpgradeClustersRequest { requests, ..Default::default() };
    let results = gateway.upgrades().batch_upgrade_clusters(batch).await.unwrap().into_inner().results;
    assert_eq!(results.len(), ends.len());
    for (n, (result, (outcome, end, reason, starts))) in results.into_iter().zip(ends).enumerate() {
        let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("no job: {result:?}") };
        let job = gateway.ended(&job.name).await;
        assert_eq!((state(&job), failure(&job)), (end, reason), "{outcome:?}: {:#?}", job.status);
        let target = zstack::target_id(n);
        assert_eq!(vendor.effects().starts(&target), starts, "{outcome:?}");
        assert_eq!(vendor.effects().count(EffectKind::End, &target), starts, "{outcome:?}");
        if outcome == Outcome::OneHostFails {
            let parts = &job.status.as_ref().unwrap().parts;
            let failed = parts.iter().filter(|p| p.outcome() == pb::PartOutcome::Failed).count();
            assert!(failed == 1 && parts.len() > 1, "one result for each host: {parts:?}");
        }
        if starts == 1 {
            let Some(prost_types::value::Kind::StructValue(inventory)) =
                answer(&job).fields.get("inventory").and_then(|v| v.kind.clone())
            else {
                panic!("no inventory: {:?}", answer(&job));
            };
            let fields = &inventory.fields;
            for field in ["uuid", "name", "apiId", "jobName", "jobData", "state", "createDate"] {
                assert!(
                    fields.contains_key(field),
                    "{field} of the inventory is readable: {:?}",
                    fields.keys()
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn avisi_scheduled_upgrades() {
    use avisi::Outcome;
    // An operator's token reads every status; a customer's lets Drydock conclude, and say so.
    for operator in [true, false] {
        let vendor = avisi::start(quick(5)).await.unwrap();
        let ends = [
            (Outcome::Succeed, JobState::Succeeded),
            (Outcome::Fail, JobState::Failed),
            (Outcome::Miss, JobState::Missed),
            (Outcome::Supersede, JobState::Superseded),
            (Outcome::Refuse, JobState::Rejected),
        ];
        for (n, (outcome, _)) in ends.iter().enumerate() {
            vendor.script(&avisi::target_id(n), *outcome);
        }
        // A customer learns of the window only from the first answer.
        vendor.tell_windows(true);
        let as_operator = Operator(&vendor);
        let simulator: &dyn Simulator = if operator { &as_operator } else { &vendor };
        let mut gateway = Gateway::configure(&[("av", simulator)]);
        gateway.up().await;
        let mut jobs = Vec::new();
        for n in 0..ends.len() {
            let request = pb::ScheduleUpgradeRequest {
                target: format!("providers/av/clusters/{}", avisi::target_id(n)),
                version: avisi::NEXT_VERSION.into(),
                ignore_maintenance_windows: Some(true),
                ..Default::default()
            };
            let answer = gateway.schedules().schedule_upgrade(request).await.unwrap().into_inner();
            jobs.push(answer.job.unwrap().name);
        }
        for (n, (name, (outcome, end))) in jobs.iter().zip(ends).enumerate() {
            let job = gateway.ended(name).await;
            assert_eq!(state(&job), end, "operator: {operator}, {outcome:?}: {:#?}", job.status);
            let target = avisi::target_id(n);
            let asked = usize::from(outcome != Outcome::Refuse);
            assert_eq!(vendor.effects().starts(&target), asked, "{outcome:?}");
            let reached = vendor.version(&target).as_deref() == Some(avisi::NEXT_VERSION);
            assert_eq!(reached, end == JobState::Succeeded, "{outcome:?}");
            let provenance = job.status.as_ref().unwrap().provenance();
            match (end, operator) {
                (JobState::Rejected, _) => {}
                (_, true) => assert_eq!(provenance, pb::Provenance::Reported, "{outcome:?}"),
                (_, false) => assert_eq!(provenance, pb::Provenance::Inferred, "{outcome:?}"),
            }
            if asked == 1 {
                let fields = &answer(&job).fields;
                for field in
                    ["identity", "clusterIdentity", "status", "toClusterVersion", "ignoreMaintenanceSchedule"]
                {
                    assert!(fields.contains_key(field), "{field} is readable: {:?}", fields.keys());
                }
            }
        }
    }
}

/// The same stand-in, configured with an operator's token.
struct Operator<'a>(&'a avisi::SimAvisi);

#[async_trait::async_trait]
impl Simulator for Operator<'_> {
    fn vendor(&self) -> &'static str {
        self.0.vendor()
    }
    fn base(&self) -> String {
        self.0.base()
    }
    fn effects(&self) -> &drydock::simulators::Effects {
        self.0.effects()
    }
    fn faults(&self) -> &drydock::simulators::Faults {
        self.0.faults()
    }
    fn route(&self, method: &axum::http::Method, path: &str) -> drydock::simulators::Route {
        self.0.route(method, path)
    }
    fn hold(&self) -> &drydock::simulators::Hold {
        self.0.hold()
    }
    fn provider(&self) -> toml::Table {
        self.0.operator_provider()
    }
    async fn stop(&self) {
        self.0.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn avisi_reschedule_moves_the_same_upgrade() {
    let vendor = avisi::start(quick(1)).await.unwrap();
    let mut gateway = Gateway::configure(&[("av", &Operator(&vendor))]);
    gateway.up().await;
    let ahead = |seconds: i64| {
        let now = drydock::kit::clock::Clock::system().now().as_second();
        Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 })
    };
    let request = pb::ScheduleUpgradeRequest {
        target: format!("providers/av/clusters/{}", avisi::target_id(0)),
        version: avisi::NEXT_VERSION.into(),
        start_time: ahead(3600),
        ignore_maintenance_windows: Some(true),
        ..Default::default()
    };
    let job = gateway.schedules().schedule_upgrade(request).await.unwrap().into_inner().job.unwrap();
    gateway
        .until(&job.name, "SCHEDULED", |s| s.state() == JobState::Scheduled && s.submit_time.is_some())
        .await;
    let request = pb::RescheduleUpgradeRequest {
        name: job.name.clone(),
        start_time: ahead(2),
        ignore_maintenance_windows: Some(true),
    };
    gateway.schedules().reschedule_upgrade(request).await.unwrap();
    assert_eq!(state(&gateway.ended(&job.name).await), JobState::Succeeded);
    let target = avisi::target_id(0);
    assert_eq!(vendor.effects().starts(&target), 1);
    assert_eq!(vendor.effects().count(EffectKind::Reschedule, &target), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn huawei_reinstall() {
    use huawei::Outcome;
    let vendor = huawei::start(quick(70)).await.unwrap();
    vendor.script(1, Outcome::Fail);
    vendor.script(2, Outcome::Terminate);
    vendor.script(3, Outcome::Vanish);
    vendor.set_state(4, "stopped", None);
    let mut gateway = Gateway::configure(&[("hw", &vendor)]);
    gateway.up().await;
    let password = "Rack-7.unit=Q";
    let request = pb::ReinstallInstancesRequest {
        targets: (0..70).map(|n| format!("providers/hw/instances/{}", huawei::instance_id(n))).collect(),
        password: password.into(),
        ..Default::default()
    };
    let results = gateway.reinstalls().reinstall_instances(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 70);
    for (n, result) in results.into_iter().enumerate() {
        let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("no job: {result:?}") };
        let job = gateway.ended(&job.name).await;
        let wanted = match n {
            1 | 2 => (JobState::Failed, Some(FailureReason::VendorFailed)),
            3 => (JobState::Failed, Some(FailureReason::TargetNotFound)),
            4 => (JobState::Rejected, Some(FailureReason::PrecheckFailed)),
            _ => (JobState::Succeeded, None),
        };
        assert_eq!((state(&job), failure(&job)), wanted, "instance {n}: {:#?}", job.status);
        let id = huawei::instance_id(n);
        assert_eq!(vendor.effects().starts(&id), usize::from(n != 4), "instance {n}");
        if wanted.0 == JobState::Succeeded {
            assert!(vendor.password_was(n, password), "instance {n} has the password that was asked for");
            assert!(answer(&job).fields.contains_key("state"));
        }
    }
    let calls = vendor.requests();
    let puts: u64 =
        calls.iter().filter(|(route, _)| route.contains("reinstall")).map(|(_, count)| count).sum();
    assert_eq!(puts, 2, "69 instances in chunks of 50: {calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vsphere_upgrade_multiple() {
    use vsphere::Outcome;
    let vendor = vsphere::start(quick(8)).await.unwrap();
    let ends = [
        (Outcome::Succeed, JobState::Succeeded, None, 1),
        (Outcome::Fail, JobState::Failed, Some(FailureReason::VendorFailed), 1),
        (Outcome::Refuse, JobState::Rejected, Some(FailureReason::PrecheckFailed), 0),
        (Outcome::PrecheckWarning, JobState::Succeeded, None, 1),
        (Outcome::GiveUp, JobState::Failed, Some(FailureReason::VendorFailed), 1),
        (Outcome::Overtake, JobState::Superseded, None, 1),
        // One without the privilege does not keep the others from starting.
        (Outcome::Succeed, JobState::Rejected, Some(FailureReason::PermissionDenied), 0),
    ];
    vendor.forbid(&vsphere::cluster_id(ends.len() - 1), true);
    for (n, (outcome, ..)) in ends.iter().enumerate() {
        vendor.script(&vsphere::cluster_id(n), *outcome);
    }
    let mut gateway = Gateway::configure(&[("vc", &vendor)]);
    gateway.up().await;
    let requests = (0..ends.len())
        .map(|n| pb::UpgradeClusterRequest {
            target: format!("providers/vc/clusters/{}", vsphere::cluster_id(n)),
            version: vsphere::NEXT_VERSION.into(),
            ignore_precheck_warnings: Some(true),
            ..Default::default()
        })
        .collect();
    let batch = pb::BatchUpgradeClustersRequest { requests, ..Default::default() };
    let results = gateway.upgrades().batch_upgrade_clusters(batch).await.unwrap().into_inner().results;
    for (n, (result, (outcome, end, reason, starts))) in results.into_iter().zip(ends).enumerate() {
        let Some(pb::start_result::Outcome::Job(job)) = result.outcome else { panic!("no job: {result:?}") };
        let job = gateway.ended(&job.name).await;
        assert_eq!((state(&job), failure(&job)), (end, reason), "{outcome:?}: {:#?}", job.status);
        assert_eq!(vendor.effects().starts(&vsphere::cluster_id(n)), starts, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vsphere_supervisor_upgrade_jobs() {
    use vsphere::Outcome;
    let vendor = vsphere::start(quick(8)).await.unwrap();
    let ends = [
        (Outcome::Succeed, JobState::Succeeded, 1),
        (Outcome::Fail, JobState::Failed, 1),
        (Outcome::FailInResult, JobState::Failed, 1),
        (Outcome::Refuse, JobState::Rejected, 0),
        (Outcome::Block, JobState::Cancelled, 1),
    ];
    for (n, (outcome, ..)) in ends.iter().enumerate() {
        vendor.script(&vsphere::supervisor_id(n), *outcome);
    }
    let mut gateway = Gateway::configure(&[("vc", &vendor)]);
    gateway.up().await;
    for (n, (outcome, end, starts)) in ends.into_iter().enumerate() {
        let request = pb::UpgradeClusterRequest {
            target: format!("providers/vc/supervisors/{}", vsphere::supervisor_id(n)),
            version: vsphere::NEXT_VERSION.into(),
            ..Default::default()
        };
        let job = gateway.upgrades().upgrade_cluster(request).await.unwrap().into_inner().job.unwrap();
        if end == JobState::Cancelled {
            let can = |s: &pb::JobStatus| {
                s.state() == JobState::Suspended && s.cancelability.as_ref().is_some_and(|c| c.possible)
            };
            gateway.until(&job.name, "a task that can be cancelled", can).await;
            let request = pb::CancelJobRequest { name: job.name.clone() };
            let answer = gateway.jobs().cancel_job(request).await.unwrap().into_inner();
            assert_eq!(answer.outcome(), pb::CancelOutcome::Requested);
        }
        let job = gateway.ended(&job.name).await;
        assert_eq!(state(&job), end, "{outcome:?}: {:#?}", job.status);
        let target = vsphere::supervisor_id(n);
        assert_eq!(vendor.effects().starts(&target), starts, "{outcome:?}");
        if starts == 1 {
            assert!(status(&job).vendor.as_ref().unwrap().ids.contains_key("task"), "{:#?}", job.status);
        }
    }
}
