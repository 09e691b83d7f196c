//! ZStack's adapter against the stand-in ZStack.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::VendorFault;
use drydock::domain::failure::FailureReason;
use drydock::domain::finding::Severity;
use drydock::domain::id::JobId;
use drydock::domain::job::PartOutcome;
use drydock::domain::operation::{Operation, Upgrade, VendorOptions, ZstackUpgradeOptions};
use drydock::domain::page::PageRequest;
use drydock::domain::target::{Target, TargetKind};
use drydock::kit::clock::Clock;
use drydock::simulators::zstack::{
    ACCESS_KEY_SECRET, Outcome, PASSWORD, SimZstack, TENANT, host_id, target_id,
};
use drydock::simulators::{EffectKind, Fault, Pace, Route, Settings, Simulator};
use drydock::vendors::contract::{
    CancelAnswer, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, Retry};
use toml::Table;
use uuid::Uuid;

use crate::adapter::adapter;

/// 40 minutes in 50 ms.
const QUICK: f64 = 48_000.0;
/// 40 minutes in 4 s: long enough to be seen under way.
const WATCHABLE: f64 = 600.0;

struct Rig {
    sim: SimZstack,
    vendor: Arc<dyn Vendor>,
}

impl Rig {
    async fn at(speed: f64) -> Self {
        let sim = sim(20, speed).await;
        let vendor = build(sim.provider());
        Self { sim, vendor }
    }

    async fn start(&self, planned: &Planned) -> Submitted {
        self.vendor.submit(&[Submission { planned: planned.clone(), password: None }]).await.remove(0)
    }

    async fn started(&self, planned: &mut Planned) -> Observation {
        match self.start(planned).await {
            Submitted::Started(seen) => {
                keep(planned, &seen);
                *seen
            }
            other => panic!("not started: {other:?}"),
        }
    }

    async fn look(&self, planned: &mut Planned) -> Observation {
        let seen = self.vendor.observe(std::slice::from_ref(planned)).await.remove(0).unwrap();
        keep(planned, &seen);
        seen
    }

    /// Checks, starts and follows to the end, as the engine would.
    async fn run(&self, planned: &mut Planned) -> (Vec<Phase>, Observation) {
        let report = self.vendor.check(std::slice::from_ref(planned)).await.remove(0).unwrap();
        assert!(report.findings.is_empty() && report.foreign.is_none(), "{report:?}");
        planned.handle = report.handle;
        let mut seen = self.started(planned).await;
        let mut phases = vec![seen.phase.clone()];
        for _ in 0..2000 {
            if is_end(&seen.phase) {
                return (phases, seen);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            seen = self.look(planned).await;
            if phases.last() != Some(&seen.phase) {
                phases.push(seen.phase.clone());
            }
        }
        panic!("no end: {phases:?}");
    }
}

async fn sim(targets: usize, speed: f64) -> SimZstack {
    let address = "127.0.0.1:0".parse().unwrap();
    SimZstack::start(Settings { address, targets, pace: Pace::new(speed) }).await.unwrap()
}

fn build(table: Table) -> Arc<dyn Vendor> {
    adapter("zs", table).1
}

fn planned(n: usize) -> Planned {
    with(n, ZstackUpgradeOptions::default())
}

fn with(n: usize, options: ZstackUpgradeOptions) -> Planned {
    Planned {
        job: JobId::new(Uuid::now_v7()),
        target: Target::parse_name(&format!("providers/zs/clusters/{}", target_id(n))).unwrap(),
        operation: Operation::Upgrade(Upgrade {
            version: Some("h84r".into()),
            options: VendorOptions::Zstack(Box::new(options)),
            ..Upgrade::default()
        }),
        key: Uuid::new_v4(),
        attempts: 1,
        submit_time: Some(Clock::system().now()),
        handle: None,
        permit: drydock::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

fn keep(planned: &mut Planned, seen: &Observation) {
    if seen.handle.is_some() {
        planned.handle.clone_from(&seen.handle);
    }
}

fn is_end(phase: &Phase) -> bool {
    match phase {
        Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed => true,
        Phase::Scheduled | Phase::Running | Phase::Suspended | Phase::Cancelling | Phase::Unclear => false,
    }
}

fn reason(phase: &Phase) -> Option<FailureReason> {
    match phase {
        Phase::Failed(failure) | Phase::Rejected(failure) => Some(failure.reason),
        _ => None,
    }
}

fn message(phase: &Phase) -> &str {
    match phase {
        Phase::Failed(failure) | Phase::Rejected(failure) => &failure.message,
        _ => "",
    }
}

// Ends.

#[tokio::test]
async fn a_good_update_is_seen_with_everything_zstack_says() {
    let rig = Rig::at(QUICK).await;
    let mut job = with(
        3,
        ZstackUpgradeOptions {
            exclude_packages: vec!["kernel".into(), "systemd*".into()],
            update_packages: vec!["qemu-kvm".into()],
            tag_uuids: vec!["932696598b64375ea4ae6226cc0c1407".into()],
            system_tags: vec!["a::b".into()],
            user_tags: vec!["night".into()],
            resource_uuid: Some("0af7651916cd43dd8448eb211c80319c".into()),
            host_uuid: None,
            force: Some(true),
        },
    );
    let (_, end) = rig.run(&mut job).await;
    assert_eq!(end.phase, Phase::Succeeded);
    assert_eq!(end.parts.len(), 3);
    assert!(end.parts.iter().all(|p| p.outcome == PartOutcome::Succeeded));
    assert_eq!(end.ids["longJobUuid"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(end.ids["apiId"], job.key.simple().to_string());
    let answer: serde_json::Value = serde_json::from_str(end.answer.as_deref().unwrap()).unwrap();
    let inventory = &answer["inventory"];
    for field in [
        "uuid",
        "name",
        "apiId",
        "jobName",
        "jobData",
        "jobResult",
        "createDate",
        "lastOpDate",
        "executeTime",
        "state",
        "managementNodeUuid",
    ] {
        assert!(!inventory[field].is_null(), "{field} is missing: {inventory}");
    }
    let data: BTreeMap<String, String> =
        serde_json::from_str(inventory["jobData"].as_str().unwrap()).unwrap();
    assert_eq!(data["excludePackages"], "kernel,systemd*");
    assert_eq!(data["updatePackages"], "qemu-kvm");
    assert_eq!(data["releaseVersion"], "h84r");
    assert_eq!(data["tagUuids"], "932696598b64375ea4ae6226cc0c1407");
    assert_eq!(data["force"], "true");
    let target = target_id(3);
    assert_eq!(rig.sim.effects().starts(&target), 1);
    assert_eq!(rig.sim.effects().count(EffectKind::End, &target), 1);
    let last = rig.sim.effects().all().pop().unwrap();
    assert_eq!((last.kind, last.detail.as_str()), (EffectKind::End, "Succeeded"));
}

#[tokio::test]
async fn the_hosts_are_looked_at_after_the_end() {
    let rig = Rig::at(QUICK).await;
    let (_, end) = rig.run(&mut planned(1)).await;
    let told = |end: &Observation, id: &str| {
        end.findings.iter().find(|f| f.id == id).map(|f| f.message.clone()).unwrap_or_default()
    };
    let text = told(&end, "zstack.os_versions");
    assert!(text.contains("run 3 × centos Core h84r; before it, 3 × centos Core 7.9.2009"), "{text}");
    assert!(told(&end, "zstack.os_versions_differ").is_empty());
    // One host of three, by the caller's wish: that it differs from the others is no news.
    let one = ZstackUpgradeOptions { host_uuid: Some(host_id(2, 0)), ..ZstackUpgradeOptions::default() };
    let (_, end) = rig.run(&mut with(2, one)).await;
    assert_eq!(end.phase, Phase::Succeeded);
    assert!(told(&end, "zstack.os_versions").contains("2 × centos Core 7.9.2009, 1 × centos Core h84r"));
    assert!(told(&end, "zstack.os_versions_differ").is_empty());
    // Of all, and one failed: the cluster is mixed, whatever the reason.
    rig.sim.script(&target_id(3), Outcome::OneHostFails);
    let (_, end) = rig.run(&mut planned(3)).await;
    assert!(matches!(end.phase, Phase::Failed(_)));
    assert!(!told(&end, "zstack.os_versions_differ").is_empty(), "{:?}", end.findings);
    // A host that does not come back is told beside the success.
    let mut job = planned(4);
    job.handle = rig.vendor.check(std::slice::from_ref(&job)).await.remove(0).unwrap().handle;
    let mut seen = rig.started(&mut job).await;
    rig.sim.set_host(&host_id(4, 1), "PreMaintenance", "Connected");
    rig.sim.set_host(&host_id(4, 2), "Enabled", "Disconnected");
    while !is_end(&seen.phase) {
        seen = rig.look(&mut job).await;
    }
    assert_eq!(seen.phase, Phase::Succeeded);
    let left: Vec<_> =
        seen.findings.iter().filter_map(|f| Some((f.id.as_str(), f.subject.clone()?))).collect();
    let want = [
        ("zstack.host_left_in_pre_maintenance", host_id(4, 1)),
        ("zstack.host_not_reconnected", host_id(4, 2)),
    ];
    assert_eq!(left, want);
}

#[tokio::test]
async fn a_management_node_that_takes_no_work_is_told_before_a_start() {
    let rig = Rig::at(QUICK).await;
    rig.sim.set_ready(false);
    let error = rig.vendor.check(&[planned(0)]).await.remove(0).unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
    assert!(error.message.contains("management node is not ready"), "{}", error.message);
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 0);
    rig.sim.set_ready(true);
    rig.vendor.check(&[planned(0)]).await.remove(0).unwrap();
}

#[tokio::test]
async fn every_end_is_told_as_it_is() {
    let rig = Rig::at(QUICK).await;
    let cases = [
        (Outcome::OneHostFails, Some(FailureReason::PartialFailure), "1 of 3 hosts"),
        (Outcome::AllHostsFail, Some(FailureReason::PartialFailure), "No space left"),
        (Outcome::EmptyResult, Some(FailureReason::PartialFailure), "3 without a result"),
        (Outcome::BareResult, None, ""),
        (Outcome::Fail, Some(FailureReason::VendorFailed), "VMs are not stopped"),
        (Outcome::FailSilently, Some(FailureReason::VendorFailed), "management node"),
        (Outcome::Suspend, None, ""),
        (Outcome::Cancel, None, ""),
        (Outcome::WaitFirst, None, ""),
    ];
    for (n, (outcome, why, text)) in cases.into_iter().enumerate() {
        assert!(rig.sim.script(&target_id(n), outcome));
        let (_, end) = rig.run(&mut planned(n)).await;
        assert_eq!(reason(&end.phase), why, "{outcome:?}: {end:?}");
        assert!(message(&end.phase).contains(text), "{outcome:?}: {}", message(&end.phase));
        assert_eq!(end.phase == Phase::Cancelled, outcome == Outcome::Cancel);
        let warned = end.findings.iter().any(|f| f.id == "zstack.no_host_results");
        assert_eq!(warned, outcome == Outcome::BareResult, "{:?}", end.findings);
        assert_eq!(rig.sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn the_way_there_is_told_too() {
    let rig = Rig::at(WATCHABLE * 2.0).await;
    let cases = [
        (Outcome::Suspend, vec![Phase::Running, Phase::Suspended, Phase::Running, Phase::Succeeded]),
        (Outcome::Cancel, vec![Phase::Running, Phase::Cancelling, Phase::Cancelled]),
        (Outcome::WaitFirst, vec![Phase::Scheduled, Phase::Running, Phase::Succeeded]),
    ];
    let runs = cases.into_iter().enumerate().map(|(n, (outcome, way))| {
        rig.sim.script(&target_id(n), outcome);
        let rig = &rig;
        async move {
            let (phases, _) = rig.run(&mut planned(n)).await;
            assert_eq!(phases, way, "{outcome:?}");
        }
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn progress_is_what_zstack_counts() {
    let rig = Rig::at(WATCHABLE * 2.0).await;
    let mut job = planned(0);
    let mut percents = Vec::new();
    let mut seen = rig.started(&mut job).await;
    while !is_end(&seen.phase) {
        seen = rig.look(&mut job).await;
        percents.extend(seen.progress.as_ref().map(|p| p.percent));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    percents.dedup();
    assert_eq!(percents, [33.0, 66.0]);
}

#[tokio::test]
async fn one_host_alone_can_be_updated() {
    let rig = Rig::at(QUICK).await;
    let mut job =
        with(0, ZstackUpgradeOptions { host_uuid: Some(host_id(0, 1)), ..ZstackUpgradeOptions::default() });
    let (_, end) = rig.run(&mut job).await;
    assert_eq!(end.phase, Phase::Succeeded);
    assert_eq!(end.parts.iter().map(|p| p.id.clone()).collect::<Vec<_>>(), [host_id(0, 1)]);
}

// Refusals.

#[tokio::test]
async fn a_refusal_behind_the_202_is_a_refusal() {
    let rig = Rig::at(QUICK).await;
    rig.sim.script(&target_id(0), Outcome::RefuseAtApi);
    let Submitted::Refused(failure, _) = rig.start(&planned(0)).await else { panic!("not refused") };
    assert_eq!(failure.reason, FailureReason::VendorRejected);
    assert_eq!(failure.vendor_code.as_deref(), Some("SYS.1006"));
    assert!(
        failure.message.contains("the host agent has not been upgraded (SYS.1007)"),
        "{}",
        failure.message
    );
    let unknown = planned(999);
    let Submitted::Refused(failure, _) = rig.start(&unknown).await else { panic!("not refused") };
    assert_eq!(failure.reason, FailureReason::TargetNotFound);
    assert!(rig.sim.effects().all().iter().all(|e| e.kind != EffectKind::Start));
}

#[tokio::test]
async fn a_slow_refusal_is_found_by_looking() {
    // The API job takes 2 s here: longer than a start waits for it.
    let rig = Rig::at(0.4).await;
    rig.sim.script(&target_id(0), Outcome::RefuseAtApi);
    let mut job = planned(0);
    assert_eq!(rig.started(&mut job).await.phase, Phase::Scheduled);
    let mut seen = rig.look(&mut job).await;
    for _ in 0..500 {
        if is_end(&seen.phase) {
            break;
        }
        assert_eq!(seen.phase, Phase::Scheduled);
        tokio::time::sleep(Duration::from_millis(20)).await;
        seen = rig.look(&mut job).await;
    }
    assert!(
        matches!(&seen.phase, Phase::Rejected(f) if f.vendor_code.as_deref() == Some("SYS.1006")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_body_key_can_be_chosen_and_a_wrong_one_is_refused_at_once() {
    let rig = Rig::at(QUICK).await;
    rig.sim.be_strict();
    let mut table = rig.sim.provider();
    table.insert("body_key".into(), "updateclusteros".into());
    let vendor = build(table);
    let job = planned(0);
    let wrong = vendor.submit(&[Submission { planned: job.clone(), password: None }]).await.remove(0);
    let Submitted::Refused(failure, _) = wrong else { panic!("{wrong:?}") };
    assert!(failure.message.contains("action mapping"), "{}", failure.message);
    assert!(matches!(rig.start(&job).await, Submitted::Started(_)));
}

#[tokio::test]
async fn an_account_without_the_right_is_told_so() {
    let rig = Rig::at(QUICK).await;
    let mut table = rig.sim.provider();
    table.insert("account".into(), TENANT.into());
    let vendor = build(table);
    let Submitted::Refused(failure, _) =
        vendor.submit(&[Submission { planned: planned(0), password: None }]).await.remove(0)
    else {
        panic!("not refused")
    };
    assert_eq!(failure.reason, FailureReason::PermissionDenied);
    assert_eq!(failure.vendor_code.as_deref(), Some("ID.1002"));
}

// Lost answers: nothing twice.

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_found() {
    let rig = Rig::at(WATCHABLE).await;
    for (n, fault) in [Fault::ResetAfter, Fault::HtmlAfter(502), Fault::HtmlAfter(503), Fault::Truncated]
        .into_iter()
        .enumerate()
    {
        let mut job = planned(n);
        rig.sim.faults().arm(Some(Route::Submit), fault, 1);
        let lost = rig.start(&job).await;
        assert!(matches!(&lost, Submitted::Failed(e) if e.reached == Reached::Maybe), "{fault:?}: {lost:?}");
        let found = rig.vendor.find(&job).await.unwrap();
        let Found::Arrived(seen) = found else { panic!("{fault:?}: {found:?}") };
        keep(&mut job, &seen);
        assert_eq!(rig.look(&mut job).await.phase, Phase::Running, "{fault:?}");
        assert_eq!(rig.sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn a_start_that_never_arrived_is_sent_again_and_runs_once() {
    let rig = Rig::at(QUICK).await;
    for (n, fault) in
        [Fault::ResetBefore, Fault::HtmlBefore(503), Fault::HtmlBefore(404)].into_iter().enumerate()
    {
        let mut job = planned(n);
        rig.sim.faults().arm(Some(Route::Submit), fault, 1);
        let lost = rig.start(&job).await;
        assert!(matches!(&lost, Submitted::Failed(e) if e.reached == Reached::Maybe), "{fault:?}: {lost:?}");
        assert!(matches!(rig.vendor.find(&job).await, Ok(Found::NotArrived { until: None })));
        job.attempts = 2;
        rig.started(&mut job).await;
        assert_eq!(rig.sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn even_a_start_sent_twice_runs_once() {
    let rig = Rig::at(WATCHABLE).await;
    let mut job = planned(0);
    let first = rig.started(&mut job).await;
    // As if the engine had been wrong about the first one: seen before sending, and refused by ZStack itself.
    for attempts in [2, 1] {
        let mut again = Planned { attempts, handle: None, ..job.clone() };
        let second = rig.started(&mut again).await;
        assert_eq!(first.ids["longJobUuid"], second.ids["longJobUuid"]);
    }
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn too_many_requests_never_arrived() {
    let rig = Rig::at(QUICK).await;
    let job = planned(0);
    rig.sim.faults().arm(Some(Route::Submit), Fault::TooManyRequests(7), 1);
    let Submitted::Failed(error) = rig.start(&job).await else { panic!("not failed") };
    assert_eq!((error.kind, error.reached), (VendorFault::RateLimited, Reached::No));
    assert_eq!(error.retry, Retry::After(Duration::from_secs(7)));
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 0);
}

#[tokio::test]
async fn what_zstack_may_have_forgotten_is_not_called_missing() {
    let rig = Rig::at(QUICK).await;
    let mut job = planned(0);
    job.submit_time = job.submit_time.map(|at| at - jiff::SignedDuration::from_hours(4));
    assert!(matches!(rig.vendor.find(&job).await, Ok(Found::CannotTell(_))));
    job.submit_time = None;
    assert!(matches!(rig.vendor.find(&job).await, Ok(Found::CannotTell(_))));
}

#[tokio::test]
async fn a_find_that_cannot_read_says_so_instead_of_not_arrived() {
    let rig = Rig::at(WATCHABLE).await;
    let job = planned(0);
    rig.start(&job).await;
    for fault in [Fault::HtmlBefore(404), Fault::HtmlBefore(503), Fault::Truncated, Fault::TooManyRequests(0)]
    {
        rig.sim.faults().arm(Some(Route::Observe), fault, 1);
        assert!(rig.vendor.find(&job).await.is_err(), "{fault:?}");
        assert!(rig.sim.faults().are_spent());
    }
    assert!(matches!(rig.vendor.find(&job).await, Ok(Found::Arrived(_))));
}

#[tokio::test]
async fn an_api_job_that_times_out_hides_no_long_job() {
    let rig = Rig::at(WATCHABLE).await;
    rig.sim.script(&target_id(0), Outcome::ApiTimesOut);
    let mut job = planned(0);
    let seen = rig.started(&mut job).await;
    assert_eq!(seen.phase, Phase::Running);
    assert!(seen.ids.contains_key("longJobUuid"));
}

#[tokio::test]
async fn an_api_job_without_end_times_out_by_zstacks_own_limit() {
    let rig = Rig::at(QUICK * 4.0).await;
    rig.sim.script(&target_id(0), Outcome::ApiNeverEnds);
    let mut job = planned(0);
    let seen = rig.started(&mut job).await;
    assert!(matches!(seen.phase, Phase::Scheduled | Phase::Failed(_)), "{seen:?}");
    job.submit_time = job.submit_time.map(|at| at - jiff::SignedDuration::from_secs(10));
    assert_eq!(reason(&rig.look(&mut job).await.phase), Some(FailureReason::TimedOut));
}

// Sessions.

#[tokio::test]
async fn a_dead_session_is_renewed_once_for_many() {
    let rig = Rig::at(WATCHABLE).await;
    let mut job = planned(0);
    rig.started(&mut job).await;
    let logins = || rig.sim.effects().all().iter().filter(|e| e.kind == EffectKind::Login).count();
    assert_eq!(logins(), 1);
    rig.sim.faults().arm(Some(Route::Observe), Fault::ExpiredSession, 1);
    let looks: Vec<_> = (0..32)
        .map(|_| {
            let (vendor, job) = (Arc::clone(&rig.vendor), job.clone());
            async move { vendor.observe(&[job]).await.remove(0).map(|o| o.phase) }
        })
        .collect();
    for seen in futures_util::future::join_all(looks).await {
        assert_eq!(seen.unwrap(), Phase::Running);
    }
    assert_eq!(logins(), 2);
    rig.vendor.close().await;
    assert_eq!(rig.sim.sessions(), 0);
    assert!(rig.vendor.ping().await.is_err(), "no login after the end");
}

#[tokio::test]
async fn a_start_that_met_a_dead_session_is_started_under_its_next_id() {
    let rig = Rig::at(WATCHABLE).await;
    rig.vendor.ping().await.unwrap();
    rig.sim.faults().arm(Some(Route::Submit), Fault::ExpiredSession, 1);
    let mut job = planned(0);
    let seen = rig.started(&mut job).await;
    assert_eq!(seen.phase, Phase::Running);
    assert_ne!(seen.ids["apiId"], job.key.simple().to_string());
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 1);
    // From scratch, as after a crash that lost the answer: the same start is found.
    job.handle = None;
    let Ok(Found::Arrived(found)) = rig.vendor.find(&job).await else { panic!("not found") };
    assert_eq!(found.ids, seen.ids);
    assert_eq!(rig.start(&job).await.into_ids()["longJobUuid"], seen.ids["longJobUuid"]);
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn a_start_that_died_of_its_session_and_was_lost_may_be_sent_again() {
    let rig = Rig::at(QUICK).await;
    rig.vendor.ping().await.unwrap();
    let mut job = planned(0);
    // Expired, and the 202 is lost on top of it.
    rig.sim.faults().arm(Some(Route::Submit), Fault::ExpiredSession, 1);
    rig.sim.faults().arm(Some(Route::Observe), Fault::ResetBefore, 6);
    let Submitted::Failed(error) = rig.start(&job).await else { panic!("taken, and not to be read") };
    assert_eq!(error.reached, Reached::Maybe);
    rig.sim.faults().clear();
    assert!(matches!(rig.vendor.find(&job).await, Ok(Found::NotArrived { until: None })));
    job.attempts = 2;
    rig.started(&mut job).await;
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn a_start_whose_session_is_seen_to_have_died_only_later_lapses_and_may_be_sent_again() {
    let rig = Rig::at(WATCHABLE).await;
    rig.sim.script(&target_id(0), Outcome::SessionExpiresLate);
    rig.sim.hold().set(true);
    let mut job = planned(0);
    assert_eq!(rig.started(&mut job).await.phase, Phase::Scheduled);
    assert_eq!(rig.look(&mut job).await.phase, Phase::Scheduled);
    rig.sim.hold().set(false);
    let mut seen = rig.look(&mut job).await;
    while seen.phase == Phase::Scheduled {
        tokio::time::sleep(Duration::from_millis(20)).await;
        seen = rig.look(&mut job).await;
    }
    assert!(
        matches!(&seen.phase, Phase::Lapsed(f) if f.vendor_code.as_deref() == Some("ID.1001")),
        "{seen:?}"
    );
    // What the engine asks before it believes that.
    assert!(matches!(rig.vendor.find(&job).await, Ok(Found::NotArrived { until: None })));
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 0);
    job.attempts = 2;
    let again = rig.started(&mut job).await;
    assert_eq!(again.phase, Phase::Running);
    assert_ne!(again.ids["apiId"], seen.ids["apiId"]);
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again_and_again() {
    let rig = Rig::at(QUICK).await;
    let mut table = rig.sim.provider();
    table.insert("password".into(), "wrong-canary".into());
    let vendor = build(table);
    let before = rig.sim.requests();
    for _ in 0..5 {
        let error = vendor.ping().await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (VendorFault::Unauthenticated, Some("ID.1000")));
        assert!(!format!("{error:?}").contains("wrong-canary"));
    }
    assert_eq!(rig.sim.requests() - before, 1);
}

#[tokio::test]
async fn users_log_in_within_their_account() {
    let rig = Rig::at(QUICK).await;
    let mut table = rig.sim.provider();
    table.insert("user".into(), "operator".into());
    assert_eq!(build(table).ping().await.unwrap().as_deref(), Some("5.2.0"));
}

#[tokio::test]
async fn an_access_key_signs_in_the_servers_own_time() {
    let rig = Rig::at(QUICK).await;
    let vendor = build(rig.sim.access_key_provider());
    assert_eq!(vendor.ping().await.unwrap().as_deref(), Some("5.2.0"));
    let Submitted::Started(_) =
        vendor.submit(&[Submission { planned: planned(0), password: None }]).await.remove(0)
    else {
        panic!("not started")
    };
    assert_eq!(rig.sim.sessions(), 0);
    let mut wrong = rig.sim.access_key_provider();
    wrong.insert("access_key_secret".into(), "other-canary".into());
    let error = build(wrong).ping().await.unwrap_err();
    assert_eq!(error.kind, VendorFault::Unauthenticated);
    assert!(!format!("{error:?}").contains("other-canary"));
    // A refused key is not tried again and again, nor through all time zones each time.
    let mut refused = rig.sim.access_key_provider();
    refused.insert("access_key_id".into(), "unknown".into());
    let refused = build(refused);
    let before = rig.sim.requests();
    for _ in 0..5 {
        assert_eq!(refused.ping().await.unwrap_err().kind, VendorFault::Unauthenticated);
    }
    assert!(rig.sim.requests() - before <= 3, "{}", rig.sim.requests() - before);
    let mut told = rig.sim.access_key_provider();
    told.insert("server_utc_offset".into(), "+08:00".into());
    build(told).ping().await.unwrap();
    let mut off = rig.sim.access_key_provider();
    off.insert("server_utc_offset".into(), "+03:00".into());
    let error = build(off).ping().await.unwrap_err();
    assert!(error.message.contains("server_utc_offset"), "{}", error.message);
}

/// The fields that drifted, with their newest samples.
fn drift(vendor: &Arc<dyn Vendor>) -> Vec<(String, String)> {
    vendor.drift().into_iter().map(|d| (d.field, d.sample)).collect()
}

#[tokio::test]
async fn what_zstack_does_not_document_is_noticed_and_nothing_else() {
    let rig = Rig::at(WATCHABLE).await;
    let mut job = planned(0);
    rig.vendor.check(std::slice::from_ref(&job)).await.remove(0).unwrap();
    rig.started(&mut job).await;
    rig.look(&mut job).await;
    rig.vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap();
    assert_eq!(rig.vendor.drift(), []);
    for fault in [Fault::UnknownEnum, Fault::UnknownField, Fault::UnknownField] {
        rig.sim.faults().arm(Some(Route::Observe), fault, 4);
        rig.look(&mut job).await;
        rig.sim.faults().clear();
    }
    let expected =
        [("LongJobInventory.brandNewField", "a text"), ("LongJobInventory.state", "BRAND_NEW_STATE")];
    assert_eq!(drift(&rig.vendor), expected.map(|(f, s)| (f.to_owned(), s.to_owned())));
    assert_eq!(rig.vendor.drift()[0].count, 2);
}

#[tokio::test]
async fn somebody_elses_update_is_shown_on_its_cluster() {
    let rig = Rig::at(WATCHABLE).await;
    assert!(rig.sim.foreign_update(&target_id(3)));
    let all = rig.vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items;
    let (busy, free): (Vec<_>, Vec<_>) = all.into_iter().partition(|t| t.under_way.is_some());
    assert_eq!((busy.len(), &*busy[0].target.id, free.len()), (1, target_id(3).as_str(), 19));
    let shown = busy[0].under_way.as_ref().unwrap();
    assert_eq!(shown.vendor_state.as_deref(), Some("Running"));
    assert!(shown.vendor_id.is_some() && shown.vendor_since.is_some());
    let report = rig.vendor.check(&[planned(3)]).await.remove(0).unwrap();
    assert_eq!(report.foreign.as_deref(), Some(shown.what.as_str()), "list and check tell the same");
    assert_eq!(rig.vendor.drift(), []);
}

#[tokio::test]
async fn an_update_in_a_state_that_no_document_has_is_still_under_way() {
    let rig = Rig::at(WATCHABLE).await;
    rig.sim.script(&target_id(3), Outcome::UnknownState);
    assert!(rig.sim.foreign_update(&target_id(3)));
    let report = rig.vendor.check(&[planned(3)]).await.remove(0).unwrap();
    assert!(report.foreign.is_some(), "{report:?}");
    let all = rig.vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items;
    let busy: Vec<_> = all.iter().filter_map(|t| t.under_way.as_ref()).collect();
    assert_eq!(busy.len(), 1);
    assert_eq!(busy[0].vendor_state.as_deref(), Some("Migrating"));
}

#[tokio::test]
async fn what_is_under_way_is_unknown_where_it_cannot_be_read() {
    let rig = Rig::at(WATCHABLE).await;
    assert!(rig.sim.foreign_update(&target_id(3)));
    rig.sim.faults().arm(Some(Route::Observe), Fault::HtmlBefore(503), 10);
    let all = rig.vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items;
    assert!(all.iter().all(|t| t.under_way.is_none() && t.under_way_unknown), "{all:?}");
    rig.sim.faults().clear();
    let all = rig.vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items;
    assert!(all.iter().all(|t| !t.under_way_unknown));
}

#[tokio::test]
async fn an_access_key_works_whatever_the_servers_clock_says() {
    let rig = Rig::at(QUICK).await;
    // Hours off, both ways: the server's time is learnt, so its digits are what is signed.
    for seconds in [86_400, -7200] {
        rig.sim.set_clock_ahead(seconds);
        build(rig.sim.access_key_provider()).ping().await.unwrap();
    }
    // It moves while calls are made: one refusal, learnt anew, and the same call again.
    let vendor = build(rig.sim.access_key_provider());
    vendor.ping().await.unwrap();
    rig.sim.set_clock_ahead(3600);
    vendor.ping().await.unwrap();
    // An offset that is wrong by configuration stays an error, and the error names the clock.
    let mut off = rig.sim.access_key_provider();
    off.insert("server_utc_offset".into(), "-05:00".into());
    let error = build(off).ping().await.unwrap_err();
    assert_eq!(error.kind, VendorFault::Unauthenticated);
    assert!(error.message.contains("requestTimeTooSkewed"), "{}", error.message);
}

// Bad answers.

#[tokio::test]
async fn bad_answers_harm_only_the_moment() {
    let rig = Rig::at(WATCHABLE).await;
    let mut job = planned(0);
    rig.started(&mut job).await;
    let observe = || async { rig.vendor.observe(std::slice::from_ref(&job)).await.remove(0) };
    rig.sim.faults().arm(Some(Route::Observe), Fault::Truncated, 1);
    assert_eq!(observe().await.unwrap_err().kind, VendorFault::Garbled);
    rig.sim.faults().arm(Some(Route::Observe), Fault::HtmlBefore(502), 1);
    assert_eq!(observe().await.unwrap_err().kind, VendorFault::Unreachable);
    rig.sim.faults().arm(Some(Route::Observe), Fault::UnknownEnum, 1);
    let odd = observe().await.unwrap();
    assert_eq!((odd.phase, odd.vendor_state.as_deref()), (Phase::Unclear, Some("BRAND_NEW_STATE")));
    rig.sim.faults().arm(Some(Route::Observe), Fault::WrongTypes, 1);
    assert_eq!(observe().await.unwrap().phase, Phase::Unclear);
    rig.sim.faults().arm(Some(Route::Observe), Fault::MissingOptional, 1);
    assert_eq!(observe().await.unwrap().phase, Phase::Running);
    // A safe read survives one broken connection by itself.
    rig.sim.faults().arm(Some(Route::Observe), Fault::ResetBefore, 1);
    assert_eq!(observe().await.unwrap().phase, Phase::Running);
}

#[tokio::test]
async fn a_deleted_record_is_not_taken_for_an_end() {
    let rig = Rig::at(QUICK).await;
    let mut job = planned(0);
    let (_, end) = rig.run(&mut job).await;
    job.handle = end.handle.clone();
    let mut other = planned(1);
    other.handle = Some(drydock::domain::job::Handle(
        r#"{"long_job":"0af7651916cd43dd8448eb211c80319c","api_job":"0af7651916cd43dd8448eb211c80319d"}"#
            .into(),
    ));
    let seen = rig.look(&mut other).await;
    assert_eq!(seen.phase, Phase::Unclear);
    assert!(seen.waiting.is_some_and(|(_, text, until)| text.contains("deleted") && until.is_some()));
}

// Batches.

#[tokio::test]
async fn hundreds_of_jobs_take_few_requests() {
    let sim = sim(400, WATCHABLE).await;
    let vendor = build(sim.provider());
    let mut jobs: Vec<Planned> = (0..400).map(planned).collect();
    let before = sim.requests();
    let reports = vendor.check(&jobs).await;
    assert!(reports.iter().all(|r| r.as_ref().is_ok_and(|r| r.findings.is_empty())));
    let for_checks = sim.requests() - before;
    assert!(for_checks <= 14, "{for_checks} requests for 400 checks");
    // The start of each would wait for its API job: they are made side by side here.
    let starts: Vec<_> = jobs
        .chunks(25)
        .map(|chunk| {
            let batch: Vec<_> =
                chunk.iter().map(|p| Submission { planned: p.clone(), password: None }).collect();
            let vendor = Arc::clone(&vendor);
            async move { vendor.submit(&batch).await }
        })
        .collect();
    let started: Vec<_> = futures_util::future::join_all(starts).await.into_iter().flatten().collect();
    for (job, submitted) in jobs.iter_mut().zip(started) {
        let Submitted::Started(seen) = submitted else { panic!("{submitted:?}") };
        keep(job, &seen);
    }
    let before = sim.requests();
    let seen = vendor.observe(&jobs).await;
    assert!(seen.iter().all(Result::is_ok));
    let for_looks = sim.requests() - before;
    assert!(for_looks <= 10, "{for_looks} requests for 400 looks");
    for (job, seen) in jobs.iter().zip(&seen) {
        assert_eq!(seen.as_ref().unwrap().ids["apiId"], job.key.simple().to_string());
    }
    // One bad job spoils no other.
    jobs.truncate(3);
    jobs.push(planned(399));
    let mixed = vendor.observe(&jobs).await;
    assert_eq!(mixed.len(), 4);
    assert!(mixed.iter().take(3).all(|r| r.as_ref().is_ok_and(|o| !o.ids.is_empty())));
    assert!(mixed[3].as_ref().is_ok_and(|o| o.phase == Phase::Unclear), "{:?}", mixed[3]);
}

#[tokio::test]
async fn targets_come_in_pages_by_uuid() {
    let rig = Rig::at(QUICK).await;
    let mut names = Vec::new();
    let mut page = PageRequest { size: 7, token: None };
    loop {
        let got = rig.vendor.targets(TargetKind::Cluster, &page).await.unwrap();
        assert!(got.items.len() <= 7);
        names.extend(got.items.iter().map(|t| t.target.id.to_string()));
        assert_eq!(got.items[0].attributes["hypervisorType"], "KVM");
        let Some(next) = got.next else { break };
        page.token = Some(next);
    }
    assert_eq!(names, (0..20).map(target_id).collect::<Vec<_>>());
    page.token = Some("junk".into());
    assert_eq!(rig.vendor.targets(TargetKind::Cluster, &page).await.unwrap_err().kind, VendorFault::Rejected);
}

// Prechecks.

#[tokio::test]
async fn prechecks_find_what_zstack_would_refuse() {
    let rig = Rig::at(WATCHABLE).await;
    rig.sim.set_hypervisor(&target_id(0), "ESX");
    rig.sim.set_host(&host_id(1, 0), "Enabled", "Disconnected");
    rig.sim.set_host(&host_id(2, 2), "PreMaintenance", "Connected");
    assert!(rig.sim.foreign_update(&target_id(3)));
    let batch: Vec<_> = (0..5).map(planned).chain([planned(999)]).collect();
    let reports = rig.vendor.check(&batch).await;
    let told = |n: usize| -> Vec<(String, Severity)> {
        reports[n].as_ref().unwrap().findings.iter().map(|f| (f.id.clone(), f.severity)).collect()
    };
    assert_eq!(told(0), [("zstack.hypervisor_not_kvm".into(), Severity::Error)]);
    assert_eq!(told(1), [("zstack.host_not_connected".into(), Severity::Error)]);
    assert_eq!(told(2), [("zstack.host_pre_maintenance".into(), Severity::Error)]);
    assert!(reports[3].as_ref().unwrap().foreign.as_deref().is_some_and(|f| f.contains("Running")));
    assert_eq!((told(3), told(4)), (vec![], vec![]));
    assert!(reports[4].as_ref().unwrap().foreign.is_none());
    assert_eq!(reports[5].as_ref().unwrap_err().kind, VendorFault::NotFound);
    rig.sim.set_ready(false);
    let error = rig.vendor.check(&batch[4..5]).await.remove(0).unwrap_err();
    assert_eq!((error.kind, error.retry), (VendorFault::Unreachable, Retry::Backoff));
}

#[tokio::test]
async fn a_uuid_that_was_used_is_not_used_again() {
    let rig = Rig::at(QUICK).await;
    let uuid = "0af7651916cd43dd8448eb211c80319c".to_owned();
    let options = ZstackUpgradeOptions { resource_uuid: Some(uuid), ..ZstackUpgradeOptions::default() };
    rig.run(&mut with(0, options.clone())).await;
    let report = rig.vendor.check(&[with(1, options)]).await.remove(0).unwrap();
    assert_eq!(report.findings[0].id, "zstack.resource_uuid_taken");
}

#[tokio::test]
async fn a_cancel_is_never_sent() {
    let rig = Rig::at(WATCHABLE).await;
    let mut job = planned(0);
    let seen = rig.started(&mut job).await;
    assert!(!seen.cancelable.unwrap().possible);
    let before = rig.sim.requests();
    assert!(matches!(rig.vendor.cancel(&job).await, Ok(CancelAnswer::Refused(_))));
    assert_eq!(rig.sim.requests(), before);
}

// Secrets.

#[tokio::test]
async fn no_secret_shows_anywhere() {
    let rig = Rig::at(QUICK).await;
    let mut texts = Vec::new();
    for (route, fault) in [
        (Route::Login, Fault::HtmlBefore(500)),
        (Route::Observe, Fault::Truncated),
        (Route::Submit, Fault::ResetAfter),
        (Route::Inventory, Fault::TooManyRequests(1)),
    ] {
        for table in [rig.sim.provider(), rig.sim.access_key_provider()] {
            let vendor = build(table);
            rig.sim.faults().clear();
            rig.sim.faults().arm(Some(route), fault, 2);
            texts.push(format!("{:?}", vendor.check(&[planned(0)]).await));
            texts.push(format!(
                "{:?}",
                vendor.submit(&[Submission { planned: planned(1), password: None }]).await
            ));
            texts.push(format!("{:?}", vendor.find(&planned(1)).await));
            texts.push(format!("{:?}", vendor.ping().await));
        }
    }
    for text in texts {
        for secret in [PASSWORD, ACCESS_KEY_SECRET, "OAuth ", "ZStack sim"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

trait IntoIds {
    fn into_ids(self) -> BTreeMap<String, String>;
}

impl IntoIds for Submitted {
    fn into_ids(self) -> BTreeMap<String, String> {
        match self {
            Submitted::Started(seen) => seen.ids,
            other => panic!("not started: {other:?}"),
        }
    }
}

#[tokio::test]
async fn after_the_lease_no_start_is_sent() {
    let rig = Rig::at(10_000.0).await;
    let outcome = rig.start(&Planned { permit: crate::permits::ended(), ..planned(0) }).await;
    let Submitted::Failed(error) = outcome else { panic!("{outcome:?}") };
    crate::permits::assert_unsent(&error);
    assert_eq!(rig.sim.effects().starts(&target_id(0)), 0);
}
