//! vSphere: clusters in batches and Supervisors by task, to every end, through lost answers and bad days.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::capability::CancelSupport;
use drydock::domain::error::VendorFault;
use drydock::domain::failure::{Failure, FailureReason};
use drydock::domain::finding::{Finding, Severity};
use drydock::domain::id::JobId;
use drydock::domain::job::Provenance;
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::target::{Target, TargetKind};
use drydock::kit::clock::Clock;
use drydock::simulators::vsphere::{
    CancelEnd, FIRST_VERSION, Fit, LATER_VERSION, NEXT_VERSION, Outcome, PASSWORD, SimVsphere, cluster_id,
    start, supervisor_id, task_id,
};
use drydock::simulators::{EffectKind, Fault, Pace, Route, Settings, Simulator};
use drydock::vendors::contract::{
    CancelAnswer, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, Retry, VendorError};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::adapter::adapter;

/// Fast: an upgrade of 40 minutes takes a quarter of a second.
const FAST: f64 = 10_000.0;
/// Slow: whatever starts is still on its way when the test ends.
const SLOW: f64 = 10.0;

async fn sim(targets: usize, speed: f64) -> SimVsphere {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    start(Settings { address, targets, pace: Pace::new(speed) }).await.unwrap()
}

fn connect(to: &impl Provided) -> Arc<dyn Vendor> {
    connect_by(to.table())
}

fn connect_by(table: toml::Table) -> Arc<dyn Vendor> {
    adapter("vc", table).1
}

fn planned(collection: &str, id: &str, operation: Operation) -> Planned {
    Planned {
        job: JobId::new(Uuid::new_v4()),
        target: Target::parse_name(&format!("providers/vc/{collection}/{id}")).unwrap(),
        operation,
        key: Uuid::from_u128(7),
        attempts: 0,
        submit_time: None,
        handle: None,
        permit: drydock::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

fn next() -> Upgrade {
    Upgrade { version: Some(NEXT_VERSION.to_owned()), ..Upgrade::default() }
}

fn cluster(n: usize) -> Planned {
    planned("clusters", &cluster_id(n), Operation::Upgrade(next()))
}

fn supervisor(n: usize) -> Planned {
    planned("supervisors", &supervisor_id(n), Operation::Upgrade(next()))
}

/// Checks jobs as the engine does, keeping the baselines. Their findings.
async fn check(vendor: &Arc<dyn Vendor>, jobs: &mut [Planned]) -> Vec<Vec<Finding>> {
    let reports = vendor.check(jobs).await;
    assert_eq!(reports.len(), jobs.len());
    jobs.iter_mut()
        .zip(reports)
        .map(|(job, report)| {
            let report = report.unwrap();
            assert_eq!(report.foreign, None);
            job.handle = report.handle;
            report.findings
        })
        .collect()
}

async fn submit(vendor: &Arc<dyn Vendor>, jobs: &mut [Planned]) -> Vec<Submitted> {
    for job in jobs.iter_mut() {
        job.attempts += 1;
        job.submit_time = Some(Clock::system().now());
    }
    let batch: Vec<Submission> =
        jobs.iter().map(|job| Submission { planned: job.clone(), password: None }).collect();
    let outcomes = vendor.submit(&batch).await;
    assert_eq!(outcomes.len(), jobs.len());
    for (job, outcome) in jobs.iter_mut().zip(&outcomes) {
        if let Submitted::Started(seen) = outcome {
            keep(job, seen);
        }
    }
    outcomes
}

fn keep(job: &mut Planned, seen: &Observation) {
    if seen.handle.is_some() {
        job.handle.clone_from(&seen.handle);
    }
}

async fn submit_one(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Submitted {
    submit(vendor, std::slice::from_mut(job)).await.remove(0)
}

fn started(outcome: Submitted) -> Observation {
    match outcome {
        Submitted::Started(seen) => *seen,
        other => panic!("not started: {other:?}"),
    }
}

fn refused(outcome: Submitted) -> (Failure, Vec<Finding>) {
    match outcome {
        Submitted::Refused(failure, findings) => (failure, findings),
        other => panic!("not refused: {other:?}"),
    }
}

fn lost(outcome: Submitted) -> VendorError {
    match outcome {
        Submitted::Failed(error) => error,
        other => panic!("not lost: {other:?}"),
    }
}

/// Checks and starts a job that nothing stands against.
async fn begin(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Observation {
    let findings = check(vendor, std::slice::from_mut(job)).await.remove(0);
    assert!(findings.iter().all(|f| f.severity == Severity::Info), "{findings:?}");
    started(submit_one(vendor, job).await)
}

async fn look(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Observation {
    let seen = vendor.observe(std::slice::from_ref(job)).await.remove(0).unwrap();
    keep(job, &seen);
    seen
}

fn is_over(phase: &Phase) -> bool {
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

/// Looks until a phase is reached, as a driver would, at most some seconds long.
async fn until(
    vendor: &Arc<dyn Vendor>,
    job: &mut Planned,
    done: impl Fn(&Observation) -> bool,
) -> Observation {
    for _ in 0..1000 {
        let seen = look(vendor, job).await;
        if done(&seen) {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come so far");
}

async fn to_the_end(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Observation {
    until(vendor, job, |seen| is_over(&seen.phase)).await
}

fn failure(seen: &Observation) -> &Failure {
    match &seen.phase {
        Phase::Failed(failure) | Phase::Rejected(failure) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn final_word(sim: &SimVsphere, target: &str) -> String {
    let ends: Vec<_> =
        sim.effects().all().into_iter().filter(|e| e.kind == EffectKind::End && e.target == target).collect();
    assert_eq!(ends.len(), 1, "one end: {ends:?}");
    ends[0].detail.clone()
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.id.as_str()).collect()
}

// Clusters

#[tokio::test]
async fn a_batch_of_clusters_starts_by_one_call_and_reaches_its_version() {
    let sim = sim(20, FAST).await;
    let vendor = connect(&sim);
    let mut jobs: Vec<Planned> = (0..10).map(cluster).collect();
    check(&vendor, &mut jobs).await;
    let before = sim.requests();
    for outcome in submit(&vendor, &mut jobs).await {
        let seen = started(outcome);
        assert_eq!((seen.phase, seen.provenance), (Phase::Running, Provenance::Reported));
        assert_eq!(seen.vendor_state.as_deref(), Some("STARTED"));
        assert_eq!(seen.answer.as_deref(), Some(r#"{"res":"STARTED"}"#));
    }
    assert_eq!(sim.requests() - before, 2, "a last look, and one call");
    for (n, job) in jobs.iter_mut().enumerate() {
        let seen = to_the_end(&vendor, job).await;
        assert_eq!((&seen.phase, seen.provenance), (&Phase::Succeeded, Provenance::Reported));
        assert_eq!(seen.vendor_state.as_deref(), Some("READY"));
        assert_eq!(seen.ids["cluster"], cluster_id(n));
        let answer: Value = serde_json::from_str(seen.answer.as_deref().unwrap()).unwrap();
        assert_eq!(answer["current_version"], NEXT_VERSION);
        assert!(answer["last_upgraded_date"].is_string());
        assert_eq!(sim.version(&cluster_id(n)).as_deref(), Some(NEXT_VERSION));
        assert_eq!(sim.effects().starts(&cluster_id(n)), 1);
        assert_eq!(final_word(&sim, &cluster_id(n)), "SUCCEEDED");
    }
}

#[tokio::test]
async fn a_clusters_progress_counts_nodes() {
    let sim = sim(1, 2_000.0).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    let seen = until(&vendor, &mut job, |s| {
        s.progress.as_ref().is_some_and(|p| p.completed.unwrap_or(0) > 0) || is_over(&s.phase)
    })
    .await;
    let progress = seen.progress.unwrap();
    assert_eq!(progress.total, Some(3));
    assert!((progress.percent - 33.33).abs() < 1.0 || (progress.percent - 66.67).abs() < 1.0, "{progress:?}");
    assert_eq!(progress.message.as_deref(), Some(format!("Upgrading to {NEXT_VERSION}").as_str()));
    assert_eq!((seen.phase, seen.vendor_state.as_deref()), (Phase::Running, Some("PENDING")));
    let answer: Value = serde_json::from_str(seen.answer.as_deref().unwrap()).unwrap();
    assert_eq!(answer["upgrade_status"]["desired_version"], NEXT_VERSION);
    assert_eq!(answer["cluster_name"], "edge-0");
    assert_eq!(ids(&seen.findings), ["vsphere.vcenter.wcp.upgrade.running"]);
}

#[tokio::test]
async fn a_failed_cluster_tells_why() {
    let sim = sim(1, FAST).await;
    sim.script(&cluster_id(0), Outcome::Fail);
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!(failure(&seen).reason, FailureReason::VendorFailed);
    assert_eq!(failure(&seen).message, "Control plane node cp-2 could not be replaced.");
    assert_eq!((seen.provenance, seen.vendor_state.as_deref()), (Provenance::Reported, Some("ERROR")));
    assert_eq!(final_word(&sim, &cluster_id(0)), "FAILED");
    // A second upgrade of a cluster in ERROR: the old error is not taken for the new one's.
    sim.script(&cluster_id(0), Outcome::Succeed);
    let mut again = cluster(0);
    let findings = check(&vendor, std::slice::from_mut(&mut again)).await.remove(0);
    assert_eq!(ids(&findings), ["vsphere.target_in_error"]);
    assert_eq!(findings[0].severity, Severity::Warning);
    started(submit_one(&vendor, &mut again).await);
    assert_eq!(to_the_end(&vendor, &mut again).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn a_rejected_cluster_keeps_all_messages_and_spoils_no_other() {
    let sim = sim(3, FAST).await;
    sim.script(&cluster_id(1), Outcome::Refuse);
    let vendor = connect(&sim);
    let mut jobs = [cluster(0), cluster(1), cluster(2)];
    check(&vendor, &mut jobs).await;
    let mut outcomes = submit(&vendor, &mut jobs).await;
    let (failure, findings) = refused(outcomes.remove(1));
    outcomes.into_iter().for_each(|o| drop(started(o)));
    assert_eq!(failure.reason, FailureReason::PrecheckFailed);
    assert_eq!(failure.vendor_code.as_deref(), Some("UNSUPPORTED"));
    assert_eq!(failure.message, "The pre-check of the cluster failed.: A certificate of cp-1 has expired.");
    assert_eq!(
        ids(&findings),
        ["vsphere.vcenter.wcp.upgrade.precheck.failed", "vsphere.vcenter.wcp.precheck.certificates"]
    );
    assert_eq!(sim.effects().starts(&cluster_id(1)), 0);
}

#[tokio::test]
async fn a_clusters_warnings_are_ignored_only_when_told() {
    let sim = sim(2, FAST).await;
    let vendor = connect(&sim);
    let mut jobs = [cluster(0), cluster(1)];
    for n in 0..2 {
        sim.script(&cluster_id(n), Outcome::PrecheckWarning);
    }
    jobs[1].operation = Operation::Upgrade(Upgrade { ignore_precheck_warnings: Some(true), ..next() });
    check(&vendor, &mut jobs).await;
    let mut outcomes = submit(&vendor, &mut jobs).await;
    started(outcomes.remove(1));
    refused(outcomes.remove(0));
    assert_eq!(to_the_end(&vendor, &mut jobs[1]).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn prechecks_that_stop_an_accepted_upgrade_reject_it() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    for (id, mut job) in [(cluster_id(0), cluster(0)), (supervisor_id(0), supervisor(0))] {
        sim.script(&id, Outcome::LatePrecheckError);
        begin(&vendor, &mut job).await;
        let seen = to_the_end(&vendor, &mut job).await;
        assert!(matches!(seen.phase, Phase::Rejected(_)), "{seen:?}");
        assert_eq!(failure(&seen).reason, FailureReason::PrecheckFailed);
        assert!(failure(&seen).message.contains("A certificate of cp-1 has expired."), "{seen:?}");
        assert!(ids(&seen.findings).contains(&"vsphere.Certificates.Expired"));
        assert_eq!(final_word(&sim, &id), "PRECHECK_FAILED");
    }
}

#[tokio::test]
async fn an_upgrade_that_silently_ends_or_is_overtaken_is_no_success() {
    let sim = sim(2, FAST).await;
    let vendor = connect(&sim);
    sim.script(&cluster_id(0), Outcome::GiveUp);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!((failure(&seen).reason, seen.provenance), (FailureReason::VendorFailed, Provenance::Inferred));
    assert!(failure(&seen).message.contains(FIRST_VERSION));

    sim.script(&cluster_id(1), Outcome::Overtake);
    let mut job = cluster(1);
    begin(&vendor, &mut job).await;
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!((&seen.phase, seen.provenance), (&Phase::Superseded, Provenance::Inferred));
    assert!(ids(&seen.findings).contains(&"vsphere.overtaken"));
}

#[tokio::test]
async fn a_stale_ready_after_the_start_ends_nothing() {
    let sim = sim(1, 2_000.0).await;
    // Half a second of READY, which is believed only after ten.
    sim.lag(Duration::from_secs(1000));
    let mut table = sim.provider();
    table.insert("settle_ms".to_owned(), 10_000.into());
    let vendor = connect_by(table);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    let first = look(&vendor, &mut job).await;
    assert_eq!((first.phase, first.vendor_state.as_deref()), (Phase::Unclear, Some("READY")));
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn a_cluster_that_is_gone_fails_only_after_a_while() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    sim.remove(&cluster_id(0));
    assert_eq!(look(&vendor, &mut job).await.phase, Phase::Unclear);
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!(
        (failure(&seen).reason, seen.provenance),
        (FailureReason::TargetNotFound, Provenance::Inferred)
    );
}

#[tokio::test]
async fn a_cluster_cannot_be_cancelled() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    assert!(matches!(vendor.cancel(&job).await, Ok(CancelAnswer::Refused(_))));
    assert!(!look(&vendor, &mut job).await.cancelable.unwrap().possible);
    let cancel = |vendor: &Arc<dyn Vendor>| vendor.capabilities().of(TargetKind::Cluster).unwrap().cancel;
    // Where a cluster may be upgraded by its Supervisor, each job says whether it can be cancelled.
    assert!(matches!(cancel(&vendor), CancelSupport::Asked));
    assert!(matches!(cancel(&connect_by(speaking(&sim, "clusters"))), CancelSupport::Never(_)));
}

#[tokio::test]
async fn one_forbidden_cluster_does_not_keep_the_others() {
    let sim = sim(150, FAST).await;
    let vendor = connect(&sim);
    sim.forbid(&cluster_id(42), true);
    let mut jobs: Vec<Planned> = (0..150).map(cluster).collect();
    check(&vendor, &mut jobs).await;
    let before = sim.requests();
    let outcomes = submit(&vendor, &mut jobs).await;
    // One call for the first hundred, one each for those, one for the other fifty; and a last look before each of the
    // two, and before each eight of the single ones.
    assert_eq!(sim.requests() - before, 102 + 2 + 13);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        if n == 42 {
            let (failure, _) = refused(outcome);
            assert_eq!(failure.reason, FailureReason::PermissionDenied);
            assert_eq!(failure.metadata["http_status"], "403");
            assert_eq!(sim.effects().starts(&cluster_id(n)), 0);
        } else {
            started(outcome);
            assert_eq!(sim.effects().starts(&cluster_id(n)), 1, "{n}");
        }
    }
}

#[tokio::test]
async fn a_batch_refused_half_way_is_looked_up_and_then_sent_one_by_one() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&sim);
    sim.break_batches(true);
    let mut jobs = [cluster(0), cluster(1), cluster(2)];
    check(&vendor, &mut jobs).await;
    for outcome in submit(&vendor, &mut jobs).await {
        assert_eq!(lost(outcome).reached, Reached::Maybe);
    }
    // The stand-in takes the clusters in the order of their ids as text.
    let mut left = Vec::new();
    for job in jobs {
        match vendor.find(&job).await.unwrap() {
            Found::Arrived(seen) => assert_eq!(seen.phase, Phase::Running),
            Found::NotArrived { .. } => left.push(job),
            Found::CannotTell(why) => panic!("{why}"),
        }
    }
    assert_eq!(left.len(), 2);
    check(&vendor, &mut left).await;
    submit(&vendor, &mut left).await.into_iter().for_each(|o| drop(started(o)));
    for n in 0..3 {
        assert_eq!(sim.effects().starts(&cluster_id(n)), 1);
    }
}

// Supervisors

#[tokio::test]
async fn a_supervisor_is_followed_by_its_task() {
    let sim = sim(1, 2_000.0).await;
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    let seen = begin(&vendor, &mut job).await;
    assert_eq!(seen.ids["task"], task_id(0));
    assert!(seen.cancelable.unwrap().possible);
    let seen =
        until(&vendor, &mut job, |s| s.progress.is_some() && s.vendor_state.as_deref() == Some("RUNNING"))
            .await;
    let progress = seen.progress.unwrap();
    assert!(progress.percent > 0.0 && progress.percent < 100.0, "{progress:?}");
    assert_eq!((seen.phase, seen.vendor_state.as_deref()), (Phase::Running, Some("RUNNING")));
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!((&seen.phase, seen.provenance), (&Phase::Succeeded, Provenance::Reported));
    assert_eq!(seen.vendor_state.as_deref(), Some("SUCCEEDED"));
    let answer: Value = serde_json::from_str(seen.answer.as_deref().unwrap()).unwrap();
    assert_eq!(answer["current_version"], NEXT_VERSION);
    assert_eq!(answer["task"]["status"], "SUCCEEDED");
    assert_eq!(answer["task"]["service"], task_id(0).split_once(':').unwrap().1);
    assert!(answer["task"].get("notifications").is_none(), "only documented members are kept");
    assert_eq!(sim.effects().starts(&supervisor_id(0)), 1);
}

#[tokio::test]
async fn a_failed_task_tells_why_wherever_it_says_it() {
    let sim = sim(2, FAST).await;
    let vendor = connect(&sim);
    for (n, outcome) in [(0, Outcome::Fail), (1, Outcome::FailInResult)] {
        sim.script(&supervisor_id(n), outcome);
        let mut job = supervisor(n);
        begin(&vendor, &mut job).await;
        let seen = to_the_end(&vendor, &mut job).await;
        let failure = failure(&seen);
        assert!(matches!(seen.phase, Phase::Failed(_)));
        assert_eq!(failure.reason, FailureReason::VendorFailed);
        assert!(failure.message.starts_with("The upgrade failed.: Control plane node cp-2"), "{failure:?}");
        assert_eq!(failure.vendor_code.as_deref(), Some("ERROR"));
        assert_eq!(final_word(&sim, &supervisor_id(n)), "FAILED");
    }
}

#[tokio::test]
async fn a_refused_supervisor_keeps_all_messages() {
    let sim = sim(1, FAST).await;
    sim.script(&supervisor_id(0), Outcome::Refuse);
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    let (failure, findings) = refused(submit_one(&vendor, &mut job).await);
    assert_eq!(failure.vendor_code.as_deref(), Some("UNSUPPORTED"));
    assert!(failure.message.ends_with("Its capabilities do not permit upgrades."));
    assert_eq!(findings.len(), 2);
    assert_eq!(sim.effects().starts(&supervisor_id(0)), 0);
}

#[tokio::test]
async fn a_blocked_task_is_suspended_and_can_be_cancelled() {
    let sim = sim(1, FAST).await;
    sim.script(&supervisor_id(0), Outcome::Block);
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    begin(&vendor, &mut job).await;
    let seen = until(&vendor, &mut job, |s| s.phase == Phase::Suspended).await;
    assert_eq!(seen.vendor_state.as_deref(), Some("BLOCKED"));
    assert!(seen.waiting.is_some(), "a held job says for what it waits");
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!((&seen.phase, seen.vendor_state.as_deref()), (&Phase::Cancelled, Some("FAILED")));
    assert_eq!(final_word(&sim, &supervisor_id(0)), "CANCELED");
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::AlreadyOver);
}

#[tokio::test]
async fn a_cancel_that_vcenter_does_not_take_is_refused() {
    let sim = sim(2, SLOW).await;
    sim.script(&supervisor_id(0), Outcome::Uncancelable);
    let mut vendor_table = sim.provider();
    vendor_table.insert("precheck_wait_ms".to_owned(), 0.into());
    let vendor = connect_by(vendor_table);
    let mut job = supervisor(0);
    begin(&vendor, &mut job).await;
    assert!(!look(&vendor, &mut job).await.cancelable.unwrap().possible);
    assert!(matches!(vendor.cancel(&job).await, Ok(CancelAnswer::Refused(_))));
    // A second cancel while the first is at work.
    let mut job = supervisor(1);
    begin(&vendor, &mut job).await;
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    assert!(matches!(vendor.cancel(&job).await, Ok(CancelAnswer::Refused(_))));
}

#[tokio::test]
async fn a_task_that_is_gone_is_replaced_by_the_supervisors_own_word() {
    let sim = sim(2, FAST).await;
    let vendor = connect(&sim);
    sim.script(&supervisor_id(0), Outcome::LoseTask);
    let mut job = supervisor(0);
    begin(&vendor, &mut job).await;
    let seen = to_the_end(&vendor, &mut job).await;
    assert_eq!((&seen.phase, seen.provenance), (&Phase::Succeeded, Provenance::Inferred));
    assert!(!seen.cancelable.unwrap().possible);
    sim.script(&supervisor_id(1), Outcome::Overtake);
    let mut job = supervisor(1);
    begin(&vendor, &mut job).await;
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Superseded);
}

#[tokio::test]
async fn prechecks_are_run_and_their_warnings_accepted_by_name() {
    let sim = sim(3, FAST).await;
    let vendor = connect(&sim);
    sim.script(&supervisor_id(0), Outcome::PrecheckError);
    sim.script(&supervisor_id(1), Outcome::PrecheckWarning);
    let mut jobs = [supervisor(0), supervisor(1), supervisor(2)];
    let findings = check(&vendor, &mut jobs).await;
    let seen: Vec<Vec<_>> =
        findings.iter().map(|f| f.iter().map(|f| (f.id.as_str(), f.severity)).collect()).collect();
    assert_eq!(seen[0], [("vsphere.Certificates.Expired", Severity::Error)]);
    assert_eq!(seen[1], [("vsphere.TkcCompatibility.Incompatible", Severity::Warning)]);
    assert_eq!(seen[2], []);
    assert_eq!(findings[1][0].message, "TkcCompatibility: Workload cluster tkc-1 is too old.");
    // The warning is accepted by its id, so vCenter is told to ignore it.
    let risk = "vsphere.TkcCompatibility.Incompatible".to_owned();
    jobs[1].operation = Operation::Upgrade(Upgrade { accepted_risks: vec![risk], ..next() });
    started(submit_one(&vendor, &mut jobs[1]).await);
    assert_eq!(to_the_end(&vendor, &mut jobs[1]).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn an_accepted_risk_that_was_not_found_ignores_nothing() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    job.operation =
        Operation::Upgrade(Upgrade { accepted_risks: vec!["vsphere.Other".to_owned()], ..next() });
    check(&vendor, std::slice::from_mut(&mut job)).await;
    // The warning comes up only after the check.
    sim.script(&supervisor_id(0), Outcome::PrecheckWarning);
    started(submit_one(&vendor, &mut job).await);
    let seen = to_the_end(&vendor, &mut job).await;
    assert!(matches!(seen.phase, Phase::Rejected(_)), "{seen:?}");
    assert!(failure(&seen).message.contains("tkc-1"));
}

#[tokio::test]
async fn a_second_check_reads_its_own_result() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    let mut job = [supervisor(0)];
    assert_eq!(check(&vendor, &mut job).await[0], []);
    sim.script(&supervisor_id(0), Outcome::PrecheckError);
    assert_eq!(ids(&check(&vendor, &mut job).await[0]), ["vsphere.Certificates.Expired"]);
}

#[tokio::test]
async fn an_older_vcenter_is_told_apart() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    sim.without_prechecks(true);
    let mut jobs = [supervisor(0)];
    assert_eq!(ids(&check(&vendor, &mut jobs).await[0]), ["vsphere.prechecks_unavailable"]);
    sim.without_supervisor_upgrades(true);
    // Without a topology to translate by, the text says which name to use.
    let error = vendor.check(&jobs).await.remove(0).unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No));
    assert!(error.message.contains("providers/vc/clusters/"), "{}", error.message);
    // Nothing is sent; the new check says the same.
    let error = lost(submit_one(&vendor, &mut jobs[0]).await);
    assert!(error.reached == Reached::No && error.message.contains("later version"), "{error:?}");
    let targets = vendor.targets(TargetKind::Supervisor, &PageRequest::default()).await.unwrap();
    assert_eq!(targets.items[0].display_name.as_deref(), Some("supervisor-0"), "they are still listed");
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Succeeded);
}

// Which service, and by which name

fn speaking(sim: &SimVsphere, service: &str) -> toml::Table {
    let mut table = sim.provider();
    table.insert("service".to_owned(), service.into());
    table
}

#[tokio::test]
async fn a_vcenter_with_both_services_upgrades_a_cluster_by_its_supervisor() {
    let sim = sim(2, FAST).await;
    sim.relate(1);
    sim.script(&cluster_id(0), Outcome::Block);
    let vendor = connect(&sim);
    let mut job = cluster(0);
    let findings = check(&vendor, std::slice::from_mut(&mut job)).await.remove(0);
    assert_eq!(ids(&findings), ["vsphere.upgraded_by_supervisor"]);
    let seen = started(submit_one(&vendor, &mut job).await);
    assert_eq!(seen.ids["task"], task_id(0));
    assert_eq!(
        (seen.ids["cluster"].as_str(), seen.ids["supervisor"].as_str()),
        (&*cluster_id(0), &*supervisor_id(0))
    );
    // What a cluster never could: it says that it is blocked, and is cancelled.
    let seen = until(&vendor, &mut job, |s| s.phase == Phase::Suspended).await;
    assert_eq!(seen.ids["cluster"], cluster_id(0));
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Cancelled);
    // The same upgrade under its other name is seen as what it is.
    let mut other = cluster(1);
    begin(&vendor, &mut other).await;
    let report = vendor.check(&[supervisor(1)]).await.remove(0).unwrap();
    assert!(report.foreign.unwrap().contains(NEXT_VERSION));
    assert_eq!(to_the_end(&vendor, &mut other).await.phase, Phase::Succeeded);
    assert_eq!(sim.effects().starts(&supervisor_id(1)), 1);
    // A lost answer is looked up where the start went.
    let mut lost_job = cluster(1);
    lost_job.operation =
        Operation::Upgrade(Upgrade { version: Some(LATER_VERSION.to_owned()), ..Upgrade::default() });
    check(&vendor, std::slice::from_mut(&mut lost_job)).await;
    sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
    lost(submit_one(&vendor, &mut lost_job).await);
    let Found::Arrived(seen) = vendor.find(&lost_job).await.unwrap() else { panic!("not found") };
    assert_eq!(seen.ids["cluster"], cluster_id(1));
}

#[tokio::test]
async fn one_supervisor_under_two_names_is_started_once() {
    let sim = sim(1, FAST).await;
    sim.relate(1);
    let vendor = connect(&sim);
    let mut jobs = [cluster(0), supervisor(0)];
    // Both are checked before either is started.
    check(&vendor, &mut jobs).await;
    let mut outcomes = submit(&vendor, &mut jobs).await;
    let (failure, _) = refused(outcomes.remove(1));
    assert!(failure.message.contains(&jobs[0].target.to_string()), "{failure:?}");
    started(outcomes.remove(0));
    assert_eq!(sim.effects().starts(&supervisor_id(0)), 1);
    assert_eq!(to_the_end(&vendor, &mut jobs[0]).await.phase, Phase::Succeeded);
    // Once it is over, the other name is as good.
    let mut later = planned(
        "supervisors",
        &supervisor_id(0),
        Operation::Upgrade(Upgrade { version: Some(LATER_VERSION.to_owned()), ..Upgrade::default() }),
    );
    begin(&vendor, &mut later).await;
}

#[tokio::test]
async fn who_takes_a_provider_over_knows_what_was_started_under_another_name() {
    for service in ["clusters", "supervisors"] {
        let sim = sim(2, FAST).await;
        sim.relate(2);
        let first = connect_by(speaking(&sim, service));
        let mut jobs = [cluster(0), cluster(1)];
        check(&first, &mut jobs).await;
        started(submit_one(&first, &mut jobs[0]).await);
        // The process ended here; another one reads both jobs, of which the second was checked and not sent.
        let second = connect_by(speaking(&sim, service));
        second.taken_over(&jobs[..1]);
        let (failure, _) = refused(submit_one(&second, &mut jobs[1]).await);
        assert!(failure.message.contains(&jobs[0].target.to_string()), "{service}: {failure:?}");
        assert_eq!(sim.effects().starts(&cluster_id(1)), 0, "{service}");
        assert_eq!(to_the_end(&second, &mut jobs[0]).await.phase, Phase::Succeeded);
    }
}

#[tokio::test]
async fn two_clusters_of_one_supervisor_are_one_upgrade_in_both_services() {
    for service in ["clusters", "supervisors"] {
        let sim = sim(4, FAST).await;
        sim.relate(2);
        let mut table = speaking(&sim, service);
        table.insert("precheck_wait_ms".to_owned(), 0.into());
        let vendor = connect_by(table);
        let mut jobs = [cluster(0), cluster(1), cluster(2)];
        for findings in check(&vendor, &mut jobs).await {
            assert!(ids(&findings).contains(&"vsphere.spans_more_clusters"), "{service}: {findings:?}");
        }
        let mut outcomes = submit(&vendor, &mut jobs).await;
        started(outcomes.remove(2));
        let (failure, _) = refused(outcomes.remove(1));
        assert!(failure.message.contains(&jobs[0].target.to_string()), "{failure:?}");
        started(outcomes.remove(0));
        assert_eq!(sim.effects().starts(&cluster_id(1)), 0);
        assert_eq!(to_the_end(&vendor, &mut jobs[0]).await.phase, Phase::Succeeded);
    }
}

#[tokio::test]
async fn the_service_can_be_set() {
    let sim = sim(2, FAST).await;
    sim.relate(1);
    let vendor = connect_by(speaking(&sim, "clusters"));
    let mut jobs = [cluster(0), cluster(1)];
    check(&vendor, &mut jobs).await;
    let before = sim.requests();
    submit(&vendor, &mut jobs).await.into_iter().for_each(|o| assert_eq!(started(o).ids.get("task"), None));
    assert_eq!(sim.requests() - before, 2, "a last look, and one upgradeMultiple");
    for job in &mut jobs {
        assert_eq!(to_the_end(&vendor, job).await.phase, Phase::Succeeded);
    }
    // Set the other way, a cluster that no Supervisor is known to span cannot be named.
    sim.relate(0);
    let vendor = connect_by(speaking(&sim, "supervisors"));
    let error = vendor.check(&[cluster(0)]).await.remove(0).unwrap_err();
    assert_eq!(error.kind, VendorFault::Rejected);
    assert!(error.message.contains("providers/vc/supervisors/"), "{}", error.message);
}

#[tokio::test]
async fn an_older_vcenter_upgrades_a_supervisor_by_its_cluster_and_checks_it_first() {
    let sim = sim(2, FAST).await;
    sim.relate(1);
    sim.without_supervisor_upgrades(true);
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    let findings = check(&vendor, std::slice::from_mut(&mut job)).await.remove(0);
    assert_eq!(ids(&findings), ["vsphere.upgraded_by_cluster"]);
    let seen = started(submit_one(&vendor, &mut job).await);
    assert_eq!((seen.ids["supervisor"].as_str(), seen.ids.get("task")), (&*supervisor_id(0), None));
    assert!(!seen.cancelable.unwrap().possible);
    assert!(matches!(vendor.cancel(&job).await, Ok(CancelAnswer::Refused(_))));
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Succeeded);
    // Prechecks came with 8.0.3, before upgrades by Supervisor: a cluster has them by its Supervisor.
    sim.script(&cluster_id(1), Outcome::PrecheckWarning);
    let mut job = cluster(1);
    let findings = check(&vendor, std::slice::from_mut(&mut job)).await.remove(0);
    assert_eq!(ids(&findings), ["vsphere.TkcCompatibility.Incompatible"]);
    let risk = vec!["vsphere.TkcCompatibility.Incompatible".to_owned()];
    job.operation = Operation::Upgrade(Upgrade { accepted_risks: risk, ..next() });
    started(submit_one(&vendor, &mut job).await);
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn a_supervisor_over_several_clusters_is_never_upgraded_by_surprise() {
    let sim = sim(6, FAST).await;
    sim.relate(3);
    let vendor = connect(&sim);
    let findings = check(&vendor, &mut [cluster(1)]).await.remove(0);
    assert_eq!(ids(&findings), ["vsphere.spans_more_clusters"]);
    assert_eq!(findings[0].severity, Severity::Warning);
    assert!(findings[0].message.contains(&format!("providers/vc/clusters/{}", cluster_id(2))));
    assert!(!findings[0].message.contains(&cluster_id(3)));
    sim.without_supervisor_upgrades(true);
    let error = connect(&sim).check(&[supervisor(1)]).await.remove(0).unwrap_err();
    assert_eq!(error.kind, VendorFault::Rejected);
    assert!(error.message.contains(&cluster_id(5)), "{}", error.message);
}

#[tokio::test]
async fn a_fault_at_asking_is_an_outage_and_no_guess() {
    let sim = sim(1, FAST).await;
    for fault in [
        Fault::HtmlBefore(404),
        Fault::HtmlBefore(403),
        Fault::HtmlBefore(502),
        Fault::ResetBefore,
        Fault::Truncated,
    ] {
        let vendor = connect(&no_prechecks(&sim));
        sim.faults().arm(Some(Route::Observe), fault, 2);
        let error = vendor.check(&[cluster(0)]).await.remove(0).unwrap_err();
        assert!(
            matches!(error.kind, VendorFault::Unreachable | VendorFault::Garbled),
            "{fault:?}: {error:?}"
        );
        assert_ne!(error.retry, Retry::Never, "{fault:?}");
        sim.faults().clear();
        let report = vendor.check(&[cluster(0)]).await.remove(0).unwrap();
        assert_eq!(ids(&report.findings), ["vsphere.prechecks_off"][..0], "{fault:?}");
    }
    // Neither service: it may be starting.
    sim.without_supervisor_upgrades(true);
    sim.without_clusters(true);
    let error = connect(&sim).check(&[cluster(0)]).await.remove(0).unwrap_err();
    assert_eq!((error.kind, error.retry), (VendorFault::Unreachable, Retry::Backoff));
}

#[tokio::test]
async fn a_vcenter_that_was_upgraded_is_asked_again() {
    let sim = sim(3, FAST).await;
    sim.relate(1);
    sim.without_supervisor_upgrades(true);
    let vendor = connect(&no_prechecks(&sim));
    let mut job = cluster(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    assert_eq!(started(submit_one(&vendor, &mut job).await).ids.get("task"), None);
    // The new release has the newer service only. The running job is followed as it was started.
    sim.without_supervisor_upgrades(false);
    let mut next_job = cluster(1);
    sim.without_clusters(true);
    check(&vendor, std::slice::from_mut(&mut next_job)).await;
    assert!(started(submit_one(&vendor, &mut next_job).await).ids.contains_key("task"));
    let page = vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 3, "clusters are still listed, by their Supervisors");
    assert_eq!(page.items[2].current_version.as_deref(), Some(FIRST_VERSION));
    sim.without_clusters(false);
    assert_eq!(to_the_end(&vendor, &mut job).await.phase, Phase::Succeeded);
}

#[tokio::test]
async fn what_is_found_out_is_asked_once() {
    let sim = sim(20, SLOW).await;
    sim.relate(1);
    let vendor = connect(&no_prechecks(&sim));
    check(&vendor, &mut (0..20).map(cluster).collect::<Vec<_>>()).await;
    let before = sim.requests();
    check(&vendor, &mut [cluster(3)]).await;
    // The list, its tasks, the details and the compatibility.
    assert_eq!(sim.requests() - before, 4);
}

#[tokio::test]
async fn both_names_are_listed() {
    let sim = sim(4, SLOW).await;
    sim.relate(2);
    let vendor = connect(&sim);
    let list = async |kind| vendor.targets(kind, &PageRequest::default()).await.unwrap().items;
    let clusters = list(TargetKind::Cluster).await;
    assert_eq!(clusters.len(), 4);
    let named = clusters.iter().find(|t| *t.target.id == *cluster_id(3)).unwrap();
    assert_eq!(named.attributes["supervisor"], format!("providers/vc/supervisors/{}", supervisor_id(1)));
    let supervisors = list(TargetKind::Supervisor).await;
    assert_eq!(supervisors.len(), 2);
    let both = [cluster_id(2), cluster_id(3)].map(|id| format!("providers/vc/clusters/{id}"));
    assert_eq!(supervisors[1].attributes["clusters"], both.join(", "));
    let versions = vendor.versions(&named.target).await.unwrap();
    assert_eq!(versions[0].name.as_deref(), Some(format!("Supervisor {NEXT_VERSION}").as_str()));
}

// Compatibility

#[tokio::test]
async fn the_compatibility_check_stops_warns_or_passes_and_starts_nothing() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&no_prechecks(&sim));
    let own = |findings: Vec<Finding>| -> Vec<(String, Severity)> {
        let off = |f: &Finding| f.id != "vsphere.prechecks_off";
        findings.into_iter().filter(off).map(|f| (f.id, f.severity)).collect()
    };
    for (fit, found) in [
        (Fit::Compatible, None),
        (Fit::Degraded, Some(("vsphere.compatible_and_degraded", Severity::Warning))),
        (Fit::Incompatible, Some(("vsphere.incompatible.vcenter.wcp.nsx.old", Severity::Error))),
        (Fit::Unchecked, Some(("vsphere.compatibility_unavailable", Severity::Info))),
    ] {
        sim.fit(fit);
        let expected: Vec<_> = found.map(|(id, severity)| (id.to_owned(), severity)).into_iter().collect();
        for findings in check(&vendor, &mut [cluster(0), supervisor(0)]).await {
            assert_eq!(own(findings), expected, "{fit:?}");
        }
    }
    assert_eq!(sim.effects().all().iter().filter(|e| e.kind == EffectKind::Start).count(), 0);
    sim.faults().arm(Some(Route::Inventory), Fault::HtmlBefore(502), 2);
    assert!(vendor.check(&[supervisor(0)]).await.remove(0).is_err(), "an outage is no finding");
}

#[tokio::test]
async fn accepting_a_degraded_version_ignores_no_precheck() {
    let sim = sim(1, FAST).await;
    sim.fit(Fit::Degraded);
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    let risk = vec!["vsphere.compatible_and_degraded".to_owned()];
    job.operation = Operation::Upgrade(Upgrade { accepted_risks: risk, ..next() });
    check(&vendor, std::slice::from_mut(&mut job)).await;
    // A warning of the prechecks comes up only after the check.
    sim.script(&supervisor_id(0), Outcome::PrecheckWarning);
    started(submit_one(&vendor, &mut job).await);
    assert!(matches!(to_the_end(&vendor, &mut job).await.phase, Phase::Rejected(_)));
}

// After a cancel

#[tokio::test]
async fn whatever_a_task_says_after_our_cancel_a_cancel_is_one_and_a_failure_is_one() {
    for (end, provenance) in [
        (CancelEnd::Told, Provenance::Reported),
        (CancelEnd::Silent, Provenance::Inferred),
        (CancelEnd::Worded, Provenance::Reported),
    ] {
        let sim = sim(1, FAST).await;
        sim.script(&supervisor_id(0), Outcome::Block);
        sim.end_cancels(end);
        let vendor = connect(&sim);
        let mut job = supervisor(0);
        begin(&vendor, &mut job).await;
        assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
        job.cancel_requested = true;
        let seen = to_the_end(&vendor, &mut job).await;
        assert_eq!((&seen.phase, seen.provenance), (&Phase::Cancelled, provenance), "{end:?}");
        assert_eq!(ids(&seen.findings).contains(&"vsphere.cancel_inferred"), end == CancelEnd::Silent);
        assert_eq!(final_word(&sim, &supervisor_id(0)), "CANCELED");
    }
    let sim = sim(2, FAST).await;
    sim.end_cancels(CancelEnd::Fails);
    let vendor = connect(&sim);
    for (n, outcome) in [(0, Outcome::Block), (1, Outcome::FailInResult)] {
        sim.script(&supervisor_id(n), outcome);
        let mut job = supervisor(n);
        begin(&vendor, &mut job).await;
        assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
        job.cancel_requested = true;
        let seen = to_the_end(&vendor, &mut job).await;
        assert!(failure(&seen).message.contains("cp-2 could not be replaced"), "{seen:?}");
        assert!(matches!(seen.phase, Phase::Failed(_)));
        assert!(ids(&seen.findings).contains(&"vsphere.failed_despite_cancel"));
    }
    // A failure that nobody asked for a cancel of stays one, with or without a reason.
    let sim = self::sim(1, FAST).await;
    sim.script(&supervisor_id(0), Outcome::Block);
    sim.end_cancels(CancelEnd::Silent);
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    begin(&vendor, &mut job).await;
    vendor.cancel(&job).await.unwrap();
    assert!(
        matches!(to_the_end(&vendor, &mut job).await.phase, Phase::Failed(_)),
        "somebody else cancelled it silently"
    );
}

#[tokio::test]
async fn what_vcenter_no_longer_says_is_told_as_such() {
    let sim = sim(1, 2_000.0).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    let seen = until(&vendor, &mut job, |s| !s.findings.is_empty()).await;
    assert!(seen.findings_complete);
    assert_eq!(ids(&seen.findings), ["vsphere.vcenter.wcp.upgrade.running"]);
    let seen = to_the_end(&vendor, &mut job).await;
    assert!(seen.findings_complete && seen.findings.is_empty(), "it is not under way any more: {seen:?}");
}

// What stands against a start

#[tokio::test]
async fn versions_and_foreign_upgrades_stand_against_a_start() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&sim);
    for (collection, id) in [("clusters", cluster_id(0)), ("supervisors", supervisor_id(0))] {
        let to = |version: &str| {
            let upgrade = Upgrade { version: Some(version.to_owned()), ..Upgrade::default() };
            planned(collection, &id, Operation::Upgrade(upgrade))
        };
        let found = check(&vendor, &mut [to(FIRST_VERSION), to("v9.9.9")]).await;
        assert_eq!(ids(&found[0]), ["vsphere.already_at_version"]);
        assert_eq!(ids(&found[1]), ["vsphere.version_unavailable"]);
        assert!(found[1][0].message.contains(LATER_VERSION));
        sim.start_elsewhere(&id, LATER_VERSION);
        let report = vendor.check(&[to(NEXT_VERSION)]).await.remove(0).unwrap();
        let foreign = report.foreign.unwrap();
        assert!(foreign.contains(LATER_VERSION));
        let all = vendor.targets(to(NEXT_VERSION).target.kind, &PageRequest::default()).await.unwrap().items;
        let busy: Vec<_> = all.into_iter().filter(|t| t.under_way.is_some()).collect();
        assert_eq!((busy.len(), &*busy[0].target.id), (1, id.as_str()));
        assert_eq!(busy[0].under_way.as_ref().unwrap().what, foreign, "list and check tell the same");
        assert_eq!(sim.effects().starts(&id), 0);
    }
    for mut missing in [cluster(99), supervisor(99)] {
        let error = vendor.check(std::slice::from_mut(&mut missing)).await.remove(0).unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::NotFound, Reached::No));
    }
}

#[tokio::test]
async fn an_upgrade_begun_at_vcenter_since_the_check_is_not_started_again() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for of in [cluster, supervisor] {
        let mut jobs = [of(0), of(1), of(2)];
        check(&vendor, &mut jobs).await;
        let taken = jobs[1].target.id.to_string();
        sim.start_elsewhere(&taken, LATER_VERSION);
        let mut outcomes = submit(&vendor, &mut jobs).await;
        let error = lost(outcomes.remove(1));
        assert_eq!((error.reached, error.kind), (Reached::No, VendorFault::Garbled), "it is checked anew");
        assert!(error.message.contains(LATER_VERSION), "{error}");
        assert_eq!(sim.effects().starts(&taken), 0);
        outcomes.into_iter().for_each(|outcome| drop(started(outcome)));
        let report = vendor.check(&jobs[1..2]).await.remove(0).unwrap();
        assert!(report.foreign.is_some(), "the new check tells");
    }
}

#[tokio::test]
async fn warnings_accepted_by_name_pass_only_when_the_prechecks_were_read_to_their_end() {
    for read in [true, false] {
        let sim = sim(1, FAST).await;
        let vendor = if read { connect(&sim) } else { connect(&no_prechecks(&sim)) };
        let mut job = supervisor(0);
        sim.script(&supervisor_id(0), Outcome::PrecheckWarning);
        let risk = "vsphere.TkcCompatibility.Incompatible".to_owned();
        job.operation = Operation::Upgrade(Upgrade { accepted_risks: vec![risk], ..next() });
        check(&vendor, std::slice::from_mut(&mut job)).await;
        started(submit_one(&vendor, &mut job).await);
        let end = to_the_end(&vendor, &mut job).await.phase;
        assert_eq!(end == Phase::Succeeded, read, "{end:?}");
        assert_eq!(matches!(end, Phase::Rejected(_)), !read, "{end:?}");
    }
}

// Lost answers

#[tokio::test]
async fn a_start_that_arrived_without_an_answer_is_found() {
    let sim = sim(2, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for fault in [Fault::ResetAfter, Fault::HtmlAfter(502)] {
        let n = usize::from(fault == Fault::ResetAfter);
        for (id, mut job) in [(cluster_id(n), cluster(n)), (supervisor_id(n), supervisor(n))] {
            check(&vendor, std::slice::from_mut(&mut job)).await;
            sim.faults().arm(Some(Route::Submit), fault, 1);
            assert_eq!(lost(submit_one(&vendor, &mut job).await).reached, Reached::Maybe);
            let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("not found") };
            assert_eq!((&seen.phase, seen.provenance), (&Phase::Running, Provenance::Inferred));
            keep(&mut job, &seen);
            assert_eq!(look(&vendor, &mut job).await.phase, Phase::Running);
            assert_eq!(sim.effects().starts(&id), 1);
        }
    }
    let job = supervisor(0);
    assert!(
        matches!(vendor.find(&job).await.unwrap(), Found::CannotTell(_)),
        "without a baseline nobody can tell"
    );
}

#[tokio::test]
async fn the_task_of_a_lost_start_can_be_cancelled() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    let mut job = supervisor(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
    lost(submit_one(&vendor, &mut job).await);
    let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("not found") };
    assert_eq!(seen.ids["task"], task_id(0));
    keep(&mut job, &seen);
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
}

#[tokio::test]
async fn a_start_that_did_not_arrive_is_proven_and_sent_again() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for (id, mut job) in [(cluster_id(0), cluster(0)), (supervisor_id(0), supervisor(0))] {
        check(&vendor, std::slice::from_mut(&mut job)).await;
        for fault in [Fault::ResetBefore, Fault::HtmlBefore(503)] {
            sim.faults().arm(Some(Route::Submit), fault, 1);
            assert_eq!(lost(submit_one(&vendor, &mut job).await).reached, Reached::Maybe);
            assert!(matches!(vendor.find(&job).await.unwrap(), Found::NotArrived { .. }));
        }
        check(&vendor, std::slice::from_mut(&mut job)).await;
        started(submit_one(&vendor, &mut job).await);
        assert_eq!(sim.effects().starts(&id), 1);
    }
}

#[tokio::test]
async fn a_lost_start_that_has_ended_meanwhile_is_found_at_its_end() {
    let sim = sim(2, FAST).await;
    let vendor = connect(&sim);
    sim.script(&cluster_id(1), Outcome::Fail);
    for (n, good) in [(0, true), (1, false)] {
        let mut job = cluster(n);
        check(&vendor, std::slice::from_mut(&mut job)).await;
        sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
        lost(submit_one(&vendor, &mut job).await);
        while !sim.effects().all().iter().any(|e| e.kind == EffectKind::End && e.target == cluster_id(n)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("not found") };
        assert_eq!(seen.phase == Phase::Succeeded, good, "{seen:?}");
        assert_eq!(matches!(seen.phase, Phase::Failed(_)), !good);
    }
}

#[tokio::test]
async fn another_administrators_upgrade_is_not_taken_for_ours() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for (id, mut job) in [(cluster_id(0), cluster(0)), (supervisor_id(0), supervisor(0))] {
        check(&vendor, std::slice::from_mut(&mut job)).await;
        sim.faults().arm(Some(Route::Submit), Fault::ResetBefore, 1);
        lost(submit_one(&vendor, &mut job).await);
        sim.start_elsewhere(&id, LATER_VERSION);
        let Found::CannotTell(why) = vendor.find(&job).await.unwrap() else { panic!("concluded too much") };
        assert!(why.contains(LATER_VERSION), "{why}");
    }
}

#[tokio::test]
async fn a_truncated_answer_to_a_start_is_looked_up() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for mut job in [cluster(0), supervisor(0)] {
        check(&vendor, std::slice::from_mut(&mut job)).await;
        sim.faults().arm(Some(Route::Submit), Fault::Truncated, 1);
        let error = lost(submit_one(&vendor, &mut job).await);
        assert_eq!((error.kind, error.reached), (VendorFault::Garbled, Reached::Maybe));
        assert!(matches!(vendor.find(&job).await.unwrap(), Found::Arrived(_)));
    }
}

#[tokio::test]
async fn an_unknown_result_word_is_looked_up() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    sim.faults().arm(Some(Route::Submit), Fault::UnknownEnum, 1);
    let error = lost(submit_one(&vendor, &mut job).await);
    assert_eq!(error.reached, Reached::Maybe);
    assert!(error.message.contains("BRAND_NEW_STATE"));
}

#[tokio::test]
async fn many_lost_starts_are_looked_up_by_few_lists() {
    let sim = sim(200, SLOW).await;
    let vendor = connect(&sim);
    let mut jobs: Vec<Planned> = (0..100).map(cluster).collect();
    check(&vendor, &mut jobs).await;
    sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
    for outcome in submit(&vendor, &mut jobs).await {
        assert_eq!(lost(outcome).reached, Reached::Maybe);
    }
    let before = sim.requests();
    let found = join_all(jobs.iter().map(|job| vendor.find(job))).await;
    assert!(found.into_iter().all(|f| matches!(f, Ok(Found::Arrived(_)))));
    assert!(sim.requests() - before <= 2, "{} requests", sim.requests() - before);
}

/// A table that does not run prechecks, which would take their time in slow motion.
struct NoPrechecks(toml::Table);

fn no_prechecks(sim: &SimVsphere) -> NoPrechecks {
    let mut table = sim.provider();
    table.insert("precheck_wait_ms".to_owned(), 0.into());
    NoPrechecks(table)
}

trait Provided {
    fn table(&self) -> toml::Table;
}

impl Provided for NoPrechecks {
    fn table(&self) -> toml::Table {
        self.0.clone()
    }
}

impl Provided for SimVsphere {
    fn table(&self) -> toml::Table {
        self.provider()
    }
}

// Sessions and bad days

#[tokio::test]
async fn an_ended_session_is_renewed_once_for_many() {
    let sim = sim(50, SLOW).await;
    let vendor = connect(&sim);
    let logins = || sim.effects().count(EffectKind::Login, "");
    join_all((0..50).map(|_| vendor.ping())).await.into_iter().for_each(|p| assert_eq!(p.unwrap(), None));
    assert_eq!(logins(), 1);
    sim.expire_sessions();
    join_all((0..50).map(|_| vendor.ping())).await.into_iter().for_each(|p| assert_eq!(p.unwrap(), None));
    assert_eq!(logins(), 2);
    // Also in the middle of a start, which then happens once.
    let mut job = cluster(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    sim.faults().arm(Some(Route::Submit), Fault::ExpiredSession, 1);
    started(submit_one(&vendor, &mut job).await);
    assert_eq!((logins(), sim.effects().starts(&cluster_id(0))), (3, 1));
    vendor.close().await;
    assert_eq!(sim.effects().count(EffectKind::Logout, ""), 1);
    assert!(sim.tokens().is_empty());
}

#[tokio::test]
async fn a_failed_login_is_not_repeated_by_those_who_waited() {
    let sim = sim(1, SLOW).await;
    let mut table = sim.provider();
    table.insert("password".to_owned(), "wrong".into());
    let vendor = connect_by(table);
    let before = sim.requests();
    for answer in join_all((0..20).map(|_| vendor.ping())).await {
        let error = answer.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
        assert!(error.message.contains("`password`"), "{}", error.message);
    }
    assert_eq!(sim.requests() - before, 1, "accounts are locked after some failed logins");
    assert_eq!(vendor.credential_keys(), ["username", "password"]);
}

#[tokio::test]
async fn a_wrong_password_is_one_failed_login_however_many_jobs_there_are() {
    let sim = sim(50, SLOW).await;
    for service in [None, Some("clusters"), Some("supervisors")] {
        let mut table = sim.provider();
        table.insert("password".to_owned(), "wrong".into());
        if let Some(service) = service {
            table.insert("service".to_owned(), service.into());
        }
        let vendor = connect_by(table);
        let before = sim.requests();
        let jobs: Vec<Planned> = (0..50).map(cluster).collect();
        for answer in vendor.check(&jobs).await {
            let error = answer.unwrap_err();
            assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
        }
        for job in &jobs {
            assert_eq!(vendor.find(job).await.unwrap_err().kind, VendorFault::Unauthenticated);
        }
        assert!(vendor.observe(&jobs).await.iter().all(Result::is_err));
        vendor.ping().await.unwrap_err();
        assert_eq!(sim.requests() - before, 1, "{service:?}");
        // It is tried again, so that a mended account is noticed; seldom enough not to lock it.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        vendor.check(&jobs).await;
        assert_eq!(sim.requests() - before, 2, "{service:?}");
    }
}

#[tokio::test]
async fn a_login_page_that_quotes_what_was_sent_gives_nothing_away() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut table = sim(1, SLOW).await.provider();
    table.insert("endpoint".to_owned(), format!("http://127.0.0.1:{port}").into());
    let vendor = connect_by(table);
    let echo = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 8192];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let sent = request.lines().find(|l| l.to_ascii_lowercase().starts_with("authorization:")).unwrap();
        let basic = sent.rsplit(' ').next().unwrap().to_owned();
        let body =
            format!(r#"{{"error_type":"UNAUTHENTICATED","messages":[{{"default_message":"bad {basic}"}}]}}"#);
        let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        basic
    };
    let (basic, answer) = tokio::join!(echo, vendor.ping());
    let error = answer.unwrap_err();
    assert!(error.message.contains("bad [redacted]"), "{}", error.message);
    assert!(!format!("{error:?}").contains(&basic));
}

#[tokio::test]
async fn no_session_left_is_said_clearly_and_sends_nothing() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    check(&vendor, std::slice::from_mut(&mut job)).await;
    sim.expire_sessions();
    sim.limit_sessions(0);
    let error = lost(submit_one(&vendor, &mut job).await);
    assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
    assert!(error.message.contains("no session left"), "{}", error.message);
    assert_eq!(error.retry, Retry::Backoff);
    assert_eq!(sim.effects().starts(&cluster_id(0)), 0);
    // One login for all who wait, and as soon as there is room all is well.
    let before = sim.requests();
    for answer in join_all((0..20).map(|_| vendor.ping())).await {
        assert!(answer.unwrap_err().message.contains("no session left"));
    }
    assert!(sim.requests() - before <= 2, "{} logins", sim.requests() - before);
    sim.limit_sessions(1);
    assert_eq!(vendor.ping().await.unwrap(), None);
    vendor.close().await;
    assert!(sim.tokens().is_empty(), "the session is given back");
}

#[tokio::test]
async fn a_session_that_is_refused_again_ends_after_one_new_login() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    vendor.ping().await.unwrap();
    let logins = sim.effects().count(EffectKind::Login, "");
    sim.faults().arm(Some(Route::Observe), Fault::ExpiredSession, 5);
    let mut job = [cluster(0)];
    // Every request meets a session that has just died: no loop of logins.
    let error = vendor.check(&job).await.remove(0).unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
    assert_eq!(sim.effects().count(EffectKind::Login, "") - logins, 1);
    sim.faults().clear();
    check(&vendor, &mut job).await;
}

#[tokio::test]
async fn too_many_requests_started_nothing_and_says_when_to_come_back() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for (id, mut job) in [(cluster_id(0), cluster(0)), (supervisor_id(0), supervisor(0))] {
        check(&vendor, std::slice::from_mut(&mut job)).await;
        sim.faults().arm(Some(Route::Submit), Fault::TooManyRequests(7), 1);
        let error = lost(submit_one(&vendor, &mut job).await);
        assert_eq!((error.kind, error.reached), (VendorFault::RateLimited, Reached::No));
        assert_eq!(error.retry, Retry::After(Duration::from_secs(7)));
        assert_eq!(sim.effects().starts(&id), 0);
    }
}

#[tokio::test]
async fn bad_answers_to_a_look_end_no_job() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    for mut job in [cluster(0), supervisor(0)] {
        begin(&vendor, &mut job).await;
        for fault in
            [Fault::HtmlBefore(502), Fault::HtmlAfter(503), Fault::Truncated, Fault::TooManyRequests(0)]
        {
            // Whichever of a round's calls it strikes: an error or nothing new, and never an end.
            sim.faults().arm(Some(Route::Observe), fault, 4);
            match vendor.observe(std::slice::from_ref(&job)).await.remove(0) {
                Ok(seen) => assert!(!is_over(&seen.phase), "{fault:?}: {seen:?}"),
                Err(error) => assert!(!error.message.is_empty()),
            }
            sim.faults().clear();
        }
        for fault in [Fault::UnknownEnum, Fault::WrongTypes, Fault::MissingOptional] {
            sim.faults().arm(Some(Route::Observe), fault, 4);
            let seen = look(&vendor, &mut job).await;
            assert!(!is_over(&seen.phase), "{fault:?}: {seen:?}");
            match fault {
                Fault::UnknownEnum => assert_eq!(seen.vendor_state.as_deref(), Some("BRAND_NEW_STATE")),
                Fault::WrongTypes => assert_eq!(seen.vendor_state.as_deref(), Some("17")),
                _ => assert_eq!(seen.phase, Phase::Running),
            }
            sim.faults().clear();
        }
        assert_eq!(look(&vendor, &mut job).await.phase, Phase::Running, "and all is well again");
    }
}

#[tokio::test]
async fn what_vcenter_does_not_document_is_noticed_and_nothing_else() {
    let sim = sim(2, SLOW).await;
    for (mut job, expected) in [
        (cluster(0), vec!["Summary.brandNewField", "Summary.state"]),
        (supervisor(0), vec!["Task.brandNewField", "Task.status"]),
    ] {
        let vendor = connect(&sim);
        for kind in [TargetKind::Cluster, TargetKind::Supervisor] {
            vendor.targets(kind, &PageRequest::default()).await.unwrap();
        }
        begin(&vendor, &mut job).await;
        look(&vendor, &mut job).await;
        assert_eq!(vendor.drift(), []);
        for fault in [Fault::UnknownEnum, Fault::UnknownField] {
            sim.faults().arm(Some(Route::Observe), fault, 4);
            look(&vendor, &mut job).await;
            sim.faults().clear();
        }
        let seen: Vec<_> = vendor.drift().into_iter().map(|d| (d.field, d.sample)).collect();
        for field in expected {
            let sample = if field.ends_with("Field") { "a text" } else { "BRAND_NEW_STATE" };
            assert!(seen.contains(&(field.to_owned(), sample.to_owned())), "{field} is not in {seen:?}");
        }
    }
}

// Many at once

#[tokio::test]
async fn hundreds_of_jobs_are_observed_by_few_requests() {
    let sim = sim(400, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    let mut jobs: Vec<Planned> = (0..400).flat_map(|n| [cluster(n), supervisor(n)]).collect();
    check(&vendor, &mut jobs).await;
    submit(&vendor, &mut jobs).await.into_iter().for_each(|o| drop(started(o)));
    let before = sim.requests();
    let seen = vendor.observe(&jobs).await;
    // Two lists, two task queries of 200, and eight details for each kind.
    assert!(sim.requests() - before <= 20, "{} requests", sim.requests() - before);
    for (job, seen) in jobs.iter().zip(seen) {
        let seen = seen.unwrap();
        assert_eq!(seen.phase, Phase::Running);
        assert_eq!(
            seen.ids.values().next().map(String::as_str),
            Some(&*job.target.id),
            "answers keep the order"
        );
    }
}

#[tokio::test]
async fn details_come_to_everyone_in_turn() {
    let sim = sim(24, SLOW).await;
    let vendor = connect(&sim);
    let mut jobs: Vec<Planned> = (0..24).map(cluster).collect();
    check(&vendor, &mut jobs).await;
    submit(&vendor, &mut jobs).await;
    let mut detailed = BTreeMap::new();
    for _ in 0..6 {
        for (job, seen) in jobs.clone().iter().zip(vendor.observe(&jobs).await) {
            let seen = seen.unwrap();
            let at = jobs.iter().position(|j| j.job == job.job).unwrap();
            keep(&mut jobs[at], &seen);
            if !seen.findings.is_empty() {
                *detailed.entry(at).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(detailed.len(), 24, "{detailed:?}");
}

#[tokio::test]
async fn what_is_watched_gets_its_details_first_within_the_same_requests() {
    let sim = sim(24, SLOW).await;
    let vendor = connect(&sim);
    let mut jobs: Vec<Planned> = (0..24).map(cluster).collect();
    check(&vendor, &mut jobs).await;
    submit(&vendor, &mut jobs).await;
    for job in &mut jobs[18..20] {
        job.watched = true;
    }
    let mut detailed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for round in 0..6 {
        let before = sim.requests();
        let seen = vendor.observe(&jobs).await;
        // One list and eight details, as without anybody watching.
        assert!(sim.requests() - before <= 9, "{} requests", sim.requests() - before);
        for (at, seen) in seen.into_iter().enumerate() {
            let seen = seen.unwrap();
            keep(&mut jobs[at], &seen);
            if !seen.findings.is_empty() {
                detailed.entry(at).or_default().push(round);
            }
        }
    }
    for watched in [18, 19] {
        assert_eq!(detailed[&watched], [0, 1, 2, 3, 4, 5], "in every round");
    }
    assert_eq!(detailed.len(), 24, "and everybody else in turn: {detailed:?}");
}

// What there is

#[tokio::test]
async fn targets_and_versions_are_listed() {
    let sim = sim(5, SLOW).await;
    let vendor = connect(&sim);
    for (kind, name) in [(TargetKind::Cluster, "edge-"), (TargetKind::Supervisor, "supervisor-")] {
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let page = vendor.targets(kind, &PageRequest { size: 2, token }).await.unwrap();
            assert!(page.items.len() <= 2);
            seen.extend(page.items);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.iter().all(|t| t.display_name.as_deref().unwrap().starts_with(name)));
        assert_eq!(seen[0].current_version.as_deref(), Some(FIRST_VERSION));
        assert_eq!(seen[0].vendor_state.as_deref(), Some("READY"));
        assert_eq!(seen[0].available_versions, [NEXT_VERSION, LATER_VERSION]);
        let versions = vendor.versions(&seen[0].target).await.unwrap();
        assert_eq!(versions[0].version, NEXT_VERSION);
        assert!(versions[0].name.is_some() && versions[0].release_date.is_some());
    }
    let none = vendor.targets(TargetKind::Instance, &PageRequest::default()).await.unwrap();
    assert!(none.items.is_empty());
    assert!(vendor.images(&PageRequest::default()).await.is_err());
}

#[tokio::test]
async fn the_side_door_scripts_an_outcome() {
    let sim = sim(1, FAST).await;
    let body = format!(r#"{{"target":"{}","outcome":"fail"}}"#, cluster_id(0));
    let mut door = TcpStream::connect(sim.base().trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "POST /_sim/vsphere/outcomes HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    door.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let vendor = connect(&sim);
    let mut job = cluster(0);
    begin(&vendor, &mut job).await;
    assert!(matches!(to_the_end(&vendor, &mut job).await.phase, Phase::Failed(_)));
}

#[tokio::test]
async fn no_secret_shows_anywhere() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    let mut job = supervisor(0);
    let mut texts = vec![format!("{:?}", begin(&vendor, &mut job).await)];
    let secrets: Vec<String> = [PASSWORD.to_owned()].into_iter().chain(sim.tokens()).collect();
    assert_eq!(secrets.len(), 2, "there is a session to look for");
    for fault in [Fault::HtmlBefore(500), Fault::ResetBefore, Fault::Truncated, Fault::WrongTypes] {
        sim.faults().arm(None, fault, 8);
        texts.push(format!("{:?}", vendor.observe(std::slice::from_ref(&job)).await));
        texts.push(format!("{:?}", vendor.ping().await));
        texts.push(format!(
            "{:?}",
            vendor.submit(&[Submission { planned: job.clone(), password: None }]).await
        ));
        sim.faults().clear();
    }
    sim.expire_sessions();
    sim.limit_sessions(0);
    texts.push(format!("{:?}", vendor.ping().await));
    texts.push(format!("{job:?}"));
    for text in texts {
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
}

#[tokio::test]
async fn after_the_lease_no_start_and_no_cancel_is_sent() {
    let sim = sim(2, SLOW).await;
    let vendor = connect(&no_prechecks(&sim));
    let mut jobs = [cluster(0), cluster(1), supervisor(0)];
    jobs.iter_mut().for_each(|job| job.permit = crate::permits::ended());
    for outcome in submit(&vendor, &mut jobs).await {
        let Submitted::Failed(error) = outcome else { panic!("{outcome:?}") };
        crate::permits::assert_unsent(&error);
    }
    for id in [cluster_id(0), cluster_id(1), supervisor_id(0)] {
        assert_eq!(sim.effects().starts(&id), 0);
    }
    let mut job = supervisor(1);
    begin(&vendor, &mut job).await;
    job.permit = crate::permits::ended();
    crate::permits::assert_unsent(&vendor.cancel(&job).await.unwrap_err());
}
