//! Avisi: the customer's and the operator's way, to every end, through lost answers and bad days.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::capability::CancelSupport;
use drydock::domain::error::VendorFault;
use drydock::domain::failure::FailureReason;
use drydock::domain::id::JobId;
use drydock::domain::job::{Provenance, WaitReason};
use drydock::domain::operation::{Operation, ScheduledUpgrade, Upgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::target::{Target, TargetKind};
use drydock::kit::clock::Clock;
use drydock::simulators::avisi::{
    CHANNEL_VERSION, CUSTOMER_TOKEN, FIRST_VERSION, NEXT_VERSION, OPERATOR_TOKEN, Outcome, SimAvisi, start,
    target_id, upgrade_id,
};
use drydock::simulators::{EffectKind, Fault, Pace, Route, Settings, Simulator};
use drydock::vendors::contract::{
    CancelAnswer, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, Retry, VendorError};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::adapter::adapter;

/// Fast: an upgrade of 40 minutes takes a quarter of a second, windows open every one and a half.
const FAST: f64 = 10_000.0;
/// Fast, but an upgrade takes the better part of a second: no look can miss it on a busy machine.
const SEEN: f64 = 3_000.0;
/// Slow: whatever starts is still on its way when the test ends.
const SLOW: f64 = 60.0;

async fn sim(targets: usize, speed: f64) -> SimAvisi {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    start(Settings { address, targets, pace: Pace::new(speed) }).await.unwrap()
}

fn connect(table: toml::Table) -> Arc<dyn Vendor> {
    adapter("avisi", table).1
}

fn customer(sim: &SimAvisi) -> Arc<dyn Vendor> {
    connect(sim.provider())
}

fn operator(sim: &SimAvisi) -> Arc<dyn Vendor> {
    connect(sim.operator_provider())
}

fn now() -> Timestamp {
    Clock::system().now()
}

fn in_seconds(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn to(version: &str) -> Upgrade {
    Upgrade { version: Some(version.to_owned()), ..Upgrade::default() }
}

fn direct() -> Operation {
    Operation::Upgrade(to(NEXT_VERSION))
}

fn scheduled(start_time: Option<Timestamp>, ignore_maintenance_windows: Option<bool>) -> Operation {
    Operation::ScheduledUpgrade(ScheduledUpgrade {
        upgrade: to(NEXT_VERSION),
        start_time,
        ignore_maintenance_windows,
    })
}

/// As soon as the vendor can.
fn at_once() -> Operation {
    scheduled(None, Some(true))
}

fn planned(n: usize, operation: Operation) -> Planned {
    Planned {
        job: JobId::new(Uuid::from_u128(n as u128)),
        target: Target::parse_name(&format!("providers/avisi/clusters/{}", target_id(n))).unwrap(),
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

/// Checks a job as the engine does, keeping the baseline.
async fn checked(vendor: &Arc<dyn Vendor>, n: usize, operation: Operation) -> Planned {
    let mut job = planned(n, operation);
    let report = vendor.check(std::slice::from_ref(&job)).await.remove(0).unwrap();
    assert_eq!(report.foreign, None);
    job.handle = report.handle;
    job
}

async fn submit(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Submitted {
    job.attempts += 1;
    job.submit_time = Some(now());
    let submission = Submission { planned: job.clone(), password: None };
    let outcome = vendor.submit(&[submission]).await.remove(0);
    if let Submitted::Started(seen) = &outcome {
        keep(job, seen);
    }
    outcome
}

fn keep(job: &mut Planned, seen: &Observation) {
    if seen.handle.is_some() {
        job.handle.clone_from(&seen.handle);
    }
}

fn started(outcome: Submitted) -> Observation {
    match outcome {
        Submitted::Started(seen) => *seen,
        other => panic!("not started: {other:?}"),
    }
}

/// Checks and starts a job that nothing goes wrong with.
async fn begin(vendor: &Arc<dyn Vendor>, n: usize, operation: Operation) -> (Planned, Observation) {
    let mut job = checked(vendor, n, operation).await;
    let seen = started(submit(vendor, &mut job).await);
    (job, seen)
}

async fn look(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Observation {
    let seen = vendor.observe(std::slice::from_ref(job)).await.remove(0).unwrap();
    keep(job, &seen);
    seen
}

const fn is_end(phase: &Phase) -> bool {
    match phase {
        Phase::Scheduled | Phase::Running | Phase::Suspended | Phase::Cancelling | Phase::Unclear => false,
        Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed => true,
    }
}

/// Looks until the job is over: every phase on the way, each once, and the last observation.
async fn follow(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> (Vec<&'static str>, Observation) {
    let mut way = Vec::new();
    for _ in 0..2000 {
        let seen = look(vendor, job).await;
        let name = name(&seen.phase);
        if way.last() != Some(&name) && name != "Unclear" {
            way.push(name);
        }
        if is_end(&seen.phase) {
            return (way, seen);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not over after {way:?}");
}

const fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Scheduled => "Scheduled",
        Phase::Running => "Running",
        Phase::Suspended => "Suspended",
        Phase::Cancelling => "Cancelling",
        Phase::Succeeded => "Succeeded",
        Phase::Failed(_) => "Failed",
        Phase::Cancelled => "Cancelled",
        Phase::Rejected(_) => "Rejected",
        Phase::Lapsed(_) => "Lapsed",
        Phase::Superseded => "Superseded",
        Phase::Missed => "Missed",
        Phase::Unclear => "Unclear",
    }
}

fn answer(seen: &Observation) -> Value {
    serde_json::from_str(seen.answer.as_deref().unwrap()).unwrap()
}

// ---- the operator reads what the vendor says -----------------------------------------------------------

#[tokio::test]
async fn an_operator_sees_every_end_as_reported() {
    let sim = sim(4, FAST).await;
    let vendor = operator(&sim);
    for (n, outcome, end, word) in [
        (0, Outcome::Succeed, "Succeeded", "SUCCEEDED"),
        (1, Outcome::Fail, "Failed", "FAILED"),
        (2, Outcome::Miss, "Missed", "MISSED"),
        (3, Outcome::Supersede, "Superseded", "SUPERSEDED"),
    ] {
        sim.script(&target_id(n), outcome);
        let (mut job, first) = begin(&vendor, n, at_once()).await;
        assert_eq!((&first.phase, first.provenance), (&Phase::Scheduled, Provenance::Reported));
        let (way, last) = follow(&vendor, &mut job).await;
        assert_eq!(way.last(), Some(&end), "{way:?}");
        assert_eq!((last.provenance, last.vendor_state.as_deref()), (Provenance::Reported, Some(word)));
        assert_eq!(answer(&last)["status"], word);
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
        assert!(sim.effects().all().iter().any(|e| e.kind == EffectKind::End && e.detail == word));
        if let Phase::Failed(failure) = last.phase {
            assert_eq!(failure.reason, FailureReason::VendorFailed);
            assert!(failure.message.contains("2 of 3 nodes"), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn an_operator_sees_the_way_and_what_it_waits_for() {
    let sim = sim(1, FAST).await;
    let vendor = operator(&sim);
    let (mut job, first) = begin(&vendor, 0, scheduled(None, Some(false))).await;
    assert_eq!(first.vendor_state.as_deref(), Some("REQUESTED"));
    assert_eq!(first.waiting.unwrap().0, WaitReason::MaintenanceWindow);
    assert_eq!(first.ids["identity"], upgrade_id(0));
    assert_eq!(first.ids["clusterIdentity"], target_id(0));
    assert!(first.cancelable.unwrap().possible);
    let mut words = vec!["REQUESTED".to_owned()];
    loop {
        let seen = look(&vendor, &mut job).await;
        let word = seen.vendor_state.clone().unwrap();
        if word.starts_with("SCHEDULED") {
            let told = answer(&seen);
            let (reason, _, until) = seen.waiting.clone().unwrap();
            assert_eq!(reason, WaitReason::MaintenanceWindow);
            assert_eq!(until, Some(told["windowStart"].as_str().unwrap().parse().unwrap()));
        }
        if words.last() != Some(&word) {
            words.push(word);
        }
        if is_end(&seen.phase) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(words.first().unwrap(), "REQUESTED");
    assert_eq!(words[words.len() - 2..], ["IN_PROGRESS", "SUCCEEDED"]);
}

#[tokio::test]
async fn what_avisi_does_not_document_is_noticed_and_nothing_else() {
    let sim = sim(2, SLOW).await;
    for (vendor, expected) in [
        (operator(&sim), ["ScheduledClusterUpgrade.brandNewField", "ScheduledClusterUpgrade.status"]),
        (customer(&sim), ["Cluster.status", "Cluster.status"]),
    ] {
        let (mut job, _) = begin(&vendor, 0, scheduled(Some(in_seconds(3600)), None)).await;
        vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap();
        look(&vendor, &mut job).await;
        assert_eq!(vendor.drift(), []);
        for fault in [Fault::UnknownEnum, Fault::UnknownField] {
            sim.faults().arm(None, fault, 4);
            look(&vendor, &mut job).await;
            sim.faults().clear();
        }
        let seen: Vec<_> = vendor.drift().into_iter().map(|d| d.field).collect();
        for field in expected {
            assert!(seen.iter().any(|f| f == field), "{field} is not in {seen:?}");
        }
    }
}

#[tokio::test]
async fn somebody_elses_upgrade_is_shown_on_its_cluster() {
    let sim = sim(2, SLOW).await;
    let under_way = async |vendor: &Arc<dyn Vendor>| {
        let items = vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items;
        items.into_iter().find(|t| *t.target.id == *target_id(0)).unwrap().under_way
    };
    assert_eq!(under_way(&customer(&sim)).await, None);
    begin(&customer(&sim), 0, at_once()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let shown = loop {
        match under_way(&operator(&sim)).await {
            Some(shown) => break shown,
            None => assert!(tokio::time::Instant::now() < deadline, "it never ran"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(shown.vendor_id.as_deref(), Some(upgrade_id(0).as_str()));
    assert_eq!(shown.vendor_state.as_deref(), Some("IN_PROGRESS"));
    let shown = under_way(&customer(&sim)).await.unwrap();
    assert_eq!((shown.vendor_id, shown.vendor_state.as_deref()), (None, Some("upgrading")));
}

#[tokio::test]
async fn an_unknown_word_changes_nothing_and_is_kept() {
    let sim = sim(1, SLOW).await;
    let vendor = operator(&sim);
    let (mut job, _) = begin(&vendor, 0, scheduled(Some(in_seconds(3600)), None)).await;
    sim.faults().arm(Some(Route::Observe), Fault::UnknownEnum, 1);
    let seen = look(&vendor, &mut job).await;
    assert_eq!((&seen.phase, seen.vendor_state.as_deref()), (&Phase::Unclear, Some("BRAND_NEW_STATE")));
    sim.faults().arm(Some(Route::Observe), Fault::WrongTypes, 1);
    assert_eq!(look(&vendor, &mut job).await.vendor_state.as_deref(), Some("17"));
    sim.faults().arm(Some(Route::Observe), Fault::MissingOptional, 1);
    assert_eq!(look(&vendor, &mut job).await.phase, Phase::Scheduled);
}

#[tokio::test]
async fn an_operator_can_cancel_what_has_not_begun() {
    let sim = sim(3, SLOW).await;
    let vendor = operator(&sim);
    let (mut job, _) = begin(&vendor, 0, scheduled(Some(in_seconds(3600)), None)).await;
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(sim.effects().count(EffectKind::Cancel, &target_id(0)), 1);
    let (_, last) = follow(&vendor, &mut job).await;
    assert_eq!((last.phase, last.provenance), (Phase::Cancelled, Provenance::Inferred));
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::AlreadyOver);

    // Or a word is left behind: then that word counts.
    sim.keep_cancelled_as(Some("SUPERSEDED"));
    let (mut job, _) = begin(&vendor, 1, scheduled(Some(in_seconds(3600)), None)).await;
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(look(&vendor, &mut job).await.phase, Phase::Superseded);

    // A direct upgrade has nothing to delete.
    let (job, _) = begin(&vendor, 2, direct()).await;
    assert!(matches!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Refused(_)));
}

#[tokio::test]
async fn an_operator_cannot_cancel_what_runs() {
    // Fast until it runs for a good while: planning takes 2 of 42 minutes.
    let sim = sim(1, 1000.0).await;
    let vendor = operator(&sim);
    let (mut job, _) = begin(&vendor, 0, at_once()).await;
    for _ in 0..500 {
        if look(&vendor, &mut job).await.phase == Phase::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(matches!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Refused(_)));
    let error = vendor.reschedule(&job).await.unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No));
    assert_eq!(sim.effects().count(EffectKind::Cancel, &target_id(0)), 0);
    assert_eq!(sim.effects().starts(&target_id(0)), 1);
}

// ---- the customer concludes ------------------------------------------------------------------------------

#[tokio::test]
async fn a_customer_sees_success_and_failure_concluded_from_the_cluster() {
    let sim = sim(4, SEEN).await;
    let vendor = customer(&sim);
    let (sim, vendor) = (&sim, &vendor);
    let ways = [
        (at_once(), Outcome::Succeed, "Succeeded"),
        (at_once(), Outcome::Fail, "Failed"),
        (direct(), Outcome::Succeed, "Succeeded"),
        (direct(), Outcome::Fail, "Failed"),
    ];
    join_all(ways.into_iter().enumerate().map(async |(n, (operation, outcome, end))| {
        sim.script(&target_id(n), outcome);
        let (mut job, first) = begin(vendor, n, operation).await;
        assert!(!first.cancelable.unwrap().possible);
        let (way, last) = follow(vendor, &mut job).await;
        assert_eq!(way[way.len() - 2..], ["Running", end], "{n}");
        assert_eq!(last.provenance, Provenance::Inferred);
        let version = if end == "Succeeded" { NEXT_VERSION } else { FIRST_VERSION };
        assert_eq!(answer(&last)["cluster"]["version"], version);
        assert_eq!(sim.version(&target_id(n)).unwrap(), version);
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }))
    .await;
}

#[tokio::test]
async fn a_customer_sees_a_missed_window_once_it_is_told() {
    let sim = sim(1, FAST).await;
    sim.tell_windows(true);
    sim.script(&target_id(0), Outcome::Miss);
    let vendor = customer(&sim);
    let (mut job, first) = begin(&vendor, 0, at_once()).await;
    assert_eq!(first.provenance, Provenance::Reported);
    let (way, last) = follow(&vendor, &mut job).await;
    assert_eq!(way, ["Scheduled", "Missed"]);
    assert_eq!(last.provenance, Provenance::Inferred);
    // The window that the vendor told once is still readable.
    assert!(answer(&last)["windowEnd"].is_string());
}

#[tokio::test]
async fn a_customer_sees_another_version_as_superseded() {
    let sim = sim(2, FAST).await;
    let vendor = customer(&sim);
    for (n, operation) in [(0, at_once()), (1, direct())] {
        sim.script(&target_id(n), Outcome::Supersede);
        let (mut job, _) = begin(&vendor, n, operation).await;
        let (_, last) = follow(&vendor, &mut job).await;
        assert_eq!((&last.phase, last.provenance), (&Phase::Superseded, Provenance::Inferred));
        assert_eq!(answer(&last)["cluster"]["version"], CHANNEL_VERSION);
    }
}

#[tokio::test]
async fn a_schedule_ahead_stays_scheduled_and_every_field_is_sent_and_readable() {
    let sim = sim(1, SLOW).await;
    let vendor = customer(&sim);
    let start = in_seconds(3600);
    let (mut job, first) = begin(&vendor, 0, scheduled(Some(start), Some(true))).await;
    for seen in [first, look(&vendor, &mut job).await] {
        assert_eq!(seen.phase, Phase::Scheduled);
        let told = answer(&seen);
        for field in ["identity", "createdAt", "modifiedAt", "status", "clusterSlug", "environmentSlug"] {
            assert!(told[field].is_string(), "{field} in {told}");
        }
        assert_eq!(told["clusterIdentity"], target_id(0));
        assert_eq!(told["organisationSlug"], "acme");
        assert_eq!(told["fromClusterVersion"], FIRST_VERSION);
        assert_eq!(told["toClusterVersion"], NEXT_VERSION);
        assert_eq!(told["scheduleRequestDate"], start.to_string());
        assert_eq!(told["ignoreMaintenanceSchedule"], true);
        let (reason, _, until) = seen.waiting.unwrap();
        assert_eq!((reason, until), (WaitReason::StartTime, Some(start)));
    }
    assert!(matches!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Refused(_)));
}

#[tokio::test]
async fn a_reschedule_moves_the_same_upgrade() {
    let sim = sim(2, SLOW).await;
    for (n, vendor) in [customer(&sim), operator(&sim)].into_iter().enumerate() {
        let (mut job, first) = begin(&vendor, n, scheduled(Some(in_seconds(3600)), None)).await;
        let later = in_seconds(7200);
        job.operation = scheduled(Some(later), Some(true));
        // Twice: repeating it does no harm. An operator sees that it stands there already.
        for _ in 0..2 {
            let seen = vendor.reschedule(&job).await.unwrap();
            keep(&mut job, &seen);
            assert_eq!((&seen.phase, &seen.ids), (&Phase::Scheduled, &first.ids));
            assert_eq!(answer(&seen)["scheduleRequestDate"], later.to_string());
        }
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
        assert_eq!(sim.effects().count(EffectKind::Reschedule, &target_id(n)), 2 - n);
    }
}

#[tokio::test]
async fn what_may_have_begun_is_not_moved_whatever_the_cluster_shows() {
    // The channel takes the cluster elsewhere when the upgrade should begin: it rests, on neither version, and the
    // same call would schedule a second upgrade.
    let sim = sim(2, SEEN).await;
    for (n, vendor) in [customer(&sim), operator(&sim)].into_iter().enumerate() {
        sim.script(&target_id(n), Outcome::Supersede);
        let (mut job, _) = begin(&vendor, n, at_once()).await;
        follow(&vendor, &mut job).await;
        job.operation = scheduled(Some(in_seconds(7200)), Some(true));
        let error = vendor.reschedule(&job).await.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No));
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn a_start_that_is_near_is_not_moved_and_a_customer_moves_none_to_near() {
    let sim = sim(3, SLOW).await;
    let (customer, operator) = (customer(&sim), operator(&sim));
    let far = || scheduled(Some(in_seconds(3600)), Some(true));
    let near = || scheduled(Some(in_seconds(30)), Some(true));
    for (n, vendor, from, to) in
        [(0, &customer, near(), far()), (1, &operator, near(), far()), (2, &customer, far(), near())]
    {
        let (mut job, _) = begin(vendor, n, from).await;
        job.operation = to;
        let error = vendor.reschedule(&job).await.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No), "{n}");
        assert_eq!(sim.effects().count(EffectKind::Reschedule, &target_id(n)), 0, "{n}");
    }
}

#[tokio::test]
async fn a_customers_upgrade_that_shows_itself_begun_is_not_moved() {
    let sim = sim(1, SLOW).await;
    let vendor = customer(&sim);
    let (job, _) = begin(&vendor, 0, scheduled(Some(in_seconds(3600)), None)).await;
    for (status, version) in [("upgrading", FIRST_VERSION), ("running", NEXT_VERSION)] {
        sim.show_status(&target_id(0), Some(status));
        sim.set_version(&target_id(0), version);
        let error = vendor.reschedule(&job).await.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No));
    }
    assert_eq!(sim.effects().count(EffectKind::Reschedule, &target_id(0)), 0);
}

// ---- refusals ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refusal_ends_before_it_began_with_the_vendors_words() {
    let sim = sim(3, SLOW).await;
    let vendor = customer(&sim);
    for (n, operation) in [(0, at_once()), (1, direct())] {
        sim.script(&target_id(n), Outcome::Refuse);
        let mut job = checked(&vendor, n, operation).await;
        let Submitted::Refused(failure, _) = submit(&vendor, &mut job).await else { panic!("not refused") };
        assert_eq!(failure.reason, FailureReason::VendorRejected);
        assert!(failure.message.contains("the cluster cannot be upgraded"), "{}", failure.message);
        assert_eq!(failure.metadata["http_status"], "400");
        assert_eq!(sim.effects().starts(&target_id(n)), 0);
    }
    // A cluster that does not exist, unseen by any check.
    for operation in [at_once(), direct()] {
        let mut job = planned(77, operation);
        let Submitted::Refused(failure, _) = submit(&vendor, &mut job).await else { panic!("not refused") };
        assert_eq!(failure.reason, FailureReason::TargetNotFound);
    }
    // Another organisation's token.
    let mut table = sim.provider();
    table.insert("organisation".to_owned(), "other".into());
    let mut job = planned(2, at_once());
    let Submitted::Refused(failure, _) = submit(&connect(table), &mut job).await else {
        panic!("not refused")
    };
    assert_eq!(failure.reason, FailureReason::PermissionDenied);
}

#[tokio::test]
async fn checks_find_what_stands_in_the_way() {
    let sim = sim(5, SLOW).await;
    let (customer, operator) = (customer(&sim), operator(&sim));
    sim.show_status(&target_id(1), Some("stopped"));
    sim.show_status(&target_id(2), Some("upgrading"));
    let (held, _) = begin(&operator, 3, scheduled(Some(in_seconds(3600)), None)).await;
    let mut skips = planned(4, direct());
    skips.operation = Operation::Upgrade(to("v1.36.1-u-ame.1"));
    let batch = [
        planned(0, direct()),
        planned(1, direct()),
        planned(2, direct()),
        planned(3, at_once()),
        skips,
        planned(9, direct()),
    ];
    let ids = |report: &drydock::vendors::contract::CheckReport| {
        report.findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>().join(" ")
    };
    let found: Vec<_> = operator.check(&batch).await.into_iter().map(Result::unwrap).collect();
    let told: Vec<_> = found.iter().map(ids).collect();
    assert_eq!(
        told,
        ["", "avisi.cluster_not_running", "", "", "avisi.skips_minor", "avisi.cluster_not_found"]
    );
    assert_eq!(found[0].foreign, None);
    assert!(found[2].foreign.as_ref().unwrap().contains("upgrading"));
    assert!(found[3].foreign.as_ref().unwrap().contains(&upgrade_id(0)));
    // A customer cannot see the schedule, and is told so.
    let report = customer.check(&batch[3..4]).await.remove(0).unwrap();
    assert_eq!((ids(&report).as_str(), report.foreign), ("avisi.schedule_hidden", None));
    // A job's own schedule is not somebody else's.
    let report = operator.check(std::slice::from_ref(&held)).await.remove(0).unwrap();
    assert_eq!(report.foreign, None);
}

#[tokio::test]
async fn a_finished_upgrade_is_in_nobodys_way() {
    let sim = sim(1, FAST).await;
    let vendor = operator(&sim);
    sim.script(&target_id(0), Outcome::Fail);
    let (mut first, _) = begin(&vendor, 0, at_once()).await;
    follow(&vendor, &mut first).await;
    // The same again by another job: a new upgrade, and each job keeps to its own.
    sim.script(&target_id(0), Outcome::Succeed);
    let (mut second, seen) = begin(&vendor, 0, at_once()).await;
    assert_eq!(seen.ids["identity"], upgrade_id(1));
    assert_eq!(follow(&vendor, &mut second).await.1.phase, Phase::Succeeded);
    assert!(matches!(look(&vendor, &mut first).await.phase, Phase::Failed(_)));
    assert_eq!(sim.effects().starts(&target_id(0)), 2);
}

// ---- lost answers ------------------------------------------------------------------------------------------

async fn lost(vendor: &Arc<dyn Vendor>, sim: &SimAvisi, job: &mut Planned, fault: Fault) -> VendorError {
    sim.faults().arm(Some(Route::Submit), fault, 1);
    match submit(vendor, job).await {
        Submitted::Failed(error) => error,
        other => panic!("not lost: {other:?}"),
    }
}

#[tokio::test]
async fn an_operator_finds_a_schedule_whose_answer_was_lost() {
    let sim = sim(5, SLOW).await;
    let vendor = operator(&sim);
    let faults = [Fault::ResetAfter, Fault::HtmlAfter(502), Fault::Truncated];
    for (n, fault) in faults.into_iter().enumerate() {
        let mut job = checked(&vendor, n, at_once()).await;
        let error = lost(&vendor, &sim, &mut job, fault).await;
        assert_eq!(error.reached, Reached::Maybe, "{fault:?}");
        let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("{fault:?}") };
        assert_eq!((&seen.phase, seen.provenance), (&Phase::Scheduled, Provenance::Reported));
        keep(&mut job, &seen);
        assert_eq!(look(&vendor, &mut job).await.phase, Phase::Scheduled);
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }
    for (n, fault) in [(3, Fault::ResetBefore), (4, Fault::HtmlBefore(503))] {
        let mut job = checked(&vendor, n, at_once()).await;
        lost(&vendor, &sim, &mut job, fault).await;
        assert!(matches!(vendor.find(&job).await.unwrap(), Found::NotArrived { .. }));
        started(submit(&vendor, &mut job).await);
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn a_customer_repeats_a_schedule_ahead_and_nothing_doubles() {
    let sim = sim(2, SLOW).await;
    let vendor = customer(&sim);
    for (n, fault) in [(0, Fault::ResetAfter), (1, Fault::ResetBefore)] {
        let mut job = checked(&vendor, n, scheduled(Some(in_seconds(3600)), None)).await;
        lost(&vendor, &sim, &mut job, fault).await;
        assert!(matches!(vendor.find(&job).await.unwrap(), Found::NotArrived { .. }));
        started(submit(&vendor, &mut job).await);
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }
    assert_eq!(sim.effects().count(EffectKind::Reschedule, &target_id(0)), 1);
}

#[tokio::test]
async fn a_customer_never_repeats_what_may_be_running() {
    let sim = sim(1, FAST).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, at_once()).await;
    lost(&vendor, &sim, &mut job, Fault::ResetAfter).await;
    let mut doubts = 0;
    // Nothing to see while it is planned, then the cluster shows it.
    let seen = loop {
        match vendor.find(&job).await.unwrap() {
            Found::Arrived(seen) => break seen,
            Found::NotArrived { .. } => panic!("it arrived"),
            Found::CannotTell(_) => doubts += 1,
        }
        assert!(doubts < 1000);
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    keep(&mut job, &seen);
    let (_, last) = follow(&vendor, &mut job).await;
    assert_eq!(last.phase, Phase::Succeeded);
    assert_eq!(sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn a_lost_direct_upgrade_is_read_from_the_cluster() {
    let sim = sim(2, FAST).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, direct()).await;
    lost(&vendor, &sim, &mut job, Fault::ResetAfter).await;
    let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("it arrived") };
    keep(&mut job, &seen);
    assert_eq!(follow(&vendor, &mut job).await.1.phase, Phase::Succeeded);
    let mut job = checked(&vendor, 1, direct()).await;
    lost(&vendor, &sim, &mut job, Fault::ResetBefore).await;
    assert!(matches!(vendor.find(&job).await.unwrap(), Found::NotArrived { .. }));
    started(submit(&vendor, &mut job).await);
    assert_eq!(follow(&vendor, &mut job).await.1.phase, Phase::Succeeded);
    for n in 0..2 {
        assert_eq!(sim.effects().starts(&target_id(n)), 1);
    }
}

#[tokio::test]
async fn a_fault_before_the_start_leaves_it_unsent() {
    let sim = sim(1, SLOW).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, direct()).await;
    // The look before the PATCH fails, also when repeated: nothing was sent that starts anything.
    sim.faults().arm(Some(Route::Observe), Fault::HtmlBefore(502), 1);
    let Submitted::Failed(error) = submit(&vendor, &mut job).await else { panic!("it failed") };
    assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
    assert_eq!(sim.effects().starts(&target_id(0)), 0);
}

// ---- bad days ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn too_many_requests_is_known_not_to_have_started() {
    let sim = sim(1, SLOW).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, at_once()).await;
    let error = lost(&vendor, &sim, &mut job, Fault::TooManyRequests(7)).await;
    assert_eq!((error.kind, error.reached), (VendorFault::RateLimited, Reached::No));
    assert_eq!(error.retry, Retry::After(Duration::from_secs(7)));
    assert_eq!(sim.effects().starts(&target_id(0)), 0);
}

#[tokio::test]
async fn a_refused_token_is_the_providers_trouble() {
    let sim = sim(1, SLOW).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, at_once()).await;
    sim.revoke_tokens(true);
    let Submitted::Failed(error) = submit(&vendor, &mut job).await else { panic!("it failed") };
    assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
    assert!(error.message.contains("expired, revoked"), "{}", error.message);
    assert!(error.is_outage());
    let observed = vendor.observe(std::slice::from_ref(&job)).await.remove(0).unwrap_err();
    assert_eq!(observed.kind, VendorFault::Unauthenticated);
    sim.revoke_tokens(false);
    started(submit(&vendor, &mut job).await);
    // One refusal only, as the fault layer's "session died": there is nothing to renew.
    sim.faults().arm(None, Fault::ExpiredSession, 1);
    assert_eq!(vendor.ping().await.unwrap_err().kind, VendorFault::Unauthenticated);
    vendor.ping().await.unwrap();
}

#[tokio::test]
async fn a_list_that_breaks_off_proves_nothing() {
    let sim = sim(3, SLOW).await;
    let vendor = customer(&sim);
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(begin(&vendor, n, direct()).await.0);
    }
    for fault in [Fault::Truncated, Fault::HtmlBefore(500), Fault::TooManyRequests(0)] {
        sim.faults().arm(Some(Route::Observe), fault, 1);
        let seen = vendor.observe(&jobs).await;
        assert!(seen.iter().all(Result::is_err), "{fault:?}: {seen:?}");
    }
    assert!(vendor.observe(&jobs).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_slug_that_changed_hands_is_never_upgraded() {
    let sim = sim(2, SLOW).await;
    let vendor = customer(&sim);
    let mut job = checked(&vendor, 0, direct()).await;
    // The notes point at another cluster's slugs, as after a delete and a re-creation.
    let handle = job.handle.as_mut().unwrap();
    handle.0 = handle.0.replace("cluster-0", "cluster-1").replace("production", "staging");
    started(submit(&vendor, &mut job).await);
    assert_eq!((sim.effects().starts(&target_id(0)), sim.effects().starts(&target_id(1))), (1, 0));
}

// ---- many ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn hundreds_of_jobs_are_observed_with_few_requests() {
    let sim = sim(1000, SLOW).await;
    for (vendor, most) in [(customer(&sim), 10), (operator(&sim), 5)] {
        let batch: Vec<_> =
            (0..1000).step_by(2).map(|n| planned(n, scheduled(Some(in_seconds(3600)), None))).collect();
        let reports = vendor.check(&batch).await;
        let batch: Vec<_> = batch
            .into_iter()
            .zip(reports)
            .map(|(job, report)| Planned { handle: report.unwrap().handle, ..job })
            .collect();
        let submissions: Vec<_> =
            batch.iter().map(|job| Submission { planned: job.clone(), password: None }).collect();
        let jobs: Vec<_> = batch
            .iter()
            .zip(vendor.submit(&submissions).await)
            .map(|(job, outcome)| {
                let mut job = job.clone();
                keep(&mut job, &started(outcome));
                job
            })
            .collect();
        let before = sim.requests();
        let seen = vendor.observe(&jobs).await;
        assert!(seen.iter().all(|s| s.as_ref().unwrap().phase == Phase::Scheduled));
        for (job, seen) in jobs.iter().zip(&seen) {
            assert_eq!(seen.as_ref().unwrap().ids["clusterIdentity"], &*job.target.id);
        }
        assert!(sim.requests() - before <= most, "{} requests", sim.requests() - before);
        // The next account finds nothing open.
        for seen in seen {
            sim.delete_upgrade(&seen.unwrap().ids["identity"]);
        }
    }
}

#[tokio::test]
async fn targets_come_in_pages_of_any_size() {
    let sim = sim(250, SLOW).await;
    let vendor = customer(&sim);
    for size in [1000, 100, 70] {
        let mut request = PageRequest { size, token: None };
        let mut all = Vec::new();
        loop {
            let page = vendor.targets(TargetKind::Cluster, &request).await.unwrap();
            assert!(page.items.len() <= size as usize);
            all.extend(page.items.into_iter().map(|t| t.target.id.to_string()));
            match page.next {
                Some(next) => request.token = Some(next),
                None => break,
            }
        }
        assert_eq!(all, (0..250).map(target_id).collect::<Vec<_>>());
    }
    let first = vendor.targets(TargetKind::Cluster, &PageRequest { size: 1, token: None }).await.unwrap();
    let first = &first.items[0];
    assert_eq!(first.current_version.as_deref(), Some(FIRST_VERSION));
    assert_eq!(first.available_versions, [NEXT_VERSION]);
    assert_eq!(first.attributes["environmentSlug"], "production");
    assert_eq!(first.attributes["updateChannel.kubernetesClusterVersion"], NEXT_VERSION);
    assert_eq!(first.attributes["maintenanceSchedule"], "every few hours");
    // The simulator's clusters name their schedule only; its windows come from the other path style.
    assert_eq!(first.attributes["maintenanceSchedule.windows"], "SUNDAY 02:00 for 120 min");
    let bad = PageRequest { size: 1, token: Some("x".to_owned()) };
    assert_eq!(vendor.targets(TargetKind::Cluster, &bad).await.unwrap_err().kind, VendorFault::Rejected);
    assert!(vendor.targets(TargetKind::Instance, &PageRequest::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn says_what_it_can_do_and_lists_versions() {
    let sim = sim(1, SLOW).await;
    let (customer, operator) = (customer(&sim), operator(&sim));
    assert_eq!((customer.ping().await.unwrap(), operator.ping().await.unwrap()), (None, None));
    let versions = customer.versions(&planned(0, direct()).target).await.unwrap();
    let channels = |version: &str| {
        versions.iter().find(|v| v.version == version).map(|v| v.channels.clone()).unwrap_or_default()
    };
    assert_eq!((channels(NEXT_VERSION), channels(FIRST_VERSION)), (vec!["v1.35".to_owned()], vec![]));
    assert!(matches!(customer.capabilities().targets[0].cancel, CancelSupport::Never(_)));
    assert_eq!(operator.capabilities().targets[0].cancel, CancelSupport::Asked);
    assert!(customer.images(&PageRequest::default()).await.is_err());
    // A customer's token in the operator's place is found out before any job depends on it.
    let mut table = sim.provider();
    table.insert("admin_token".to_owned(), CUSTOMER_TOKEN.into());
    assert_eq!(connect(table).ping().await.unwrap_err().kind, VendorFault::PermissionDenied);
    operator.close().await;
}

#[tokio::test]
async fn no_token_in_any_error_or_debug_text() {
    let sim = sim(1, SLOW).await;
    let vendor = operator(&sim);
    let job = checked(&vendor, 0, at_once()).await;
    let mut texts = Vec::new();
    for fault in [
        Fault::ResetBefore,
        Fault::HtmlBefore(502),
        Fault::HtmlBefore(404),
        Fault::Truncated,
        Fault::TooManyRequests(1),
        Fault::ExpiredSession,
    ] {
        // Twice, since a safe call is repeated once after a broken connection.
        sim.faults().arm(None, fault, 2);
        texts.push(format!("{:?}", vendor.find(&job).await));
        texts.push(format!(
            "{:?}",
            vendor.submit(&[Submission { planned: job.clone(), password: None }]).await
        ));
        sim.faults().clear();
    }
    sim.revoke_tokens(true);
    texts.push(format!("{:?}", vendor.observe(std::slice::from_ref(&job)).await));
    texts.push(format!("{:?}", vendor.ping().await));
    assert!(texts.iter().all(|t| t.contains("VendorError") || t.contains("Started")), "{texts:#?}");
    for text in texts {
        assert!(!text.contains(CUSTOMER_TOKEN) && !text.contains(OPERATOR_TOKEN), "{text}");
        assert!(!text.contains("acpat_"), "{text}");
    }
}

// ---- the simulator itself -------------------------------------------------------------------------------------

/// What a plain request is answered with: status and body.
async fn ask(sim: &SimAvisi, request: &str, authorization: &str, body: &str) -> (u16, String) {
    let address = sim.base().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The status that a plain GET is answered with.
async fn get(sim: &SimAvisi, path: &str, authorization: &str) -> u16 {
    ask(sim, &format!("GET {path}"), authorization, "").await.0
}

#[tokio::test]
async fn the_simulator_refuses_what_the_vendors_page_refuses() {
    let sim = sim(1, SLOW).await;
    let token = format!("Token {CUSTOMER_TOKEN}");
    let post = "POST /api/v1/orgs/acme/scheduled-cluster-upgrades";
    let fit = |members: &str| format!(r#"{{"clusterIdentity":"{}",{members}}}"#, target_id(0));
    for (status, body) in [
        (400, "not json".to_owned()),
        (400, "{}".to_owned()),
        (400, fit(r#""version":"""#)),
        (400, fit(r#""version":"v9.9.9""#)),
        (400, fit(r#""version":"v1.36.1-u-ame.1""#)),
        (400, fit(&format!(r#""version":"{NEXT_VERSION}","scheduleRequestDate":"tomorrow""#))),
        (400, fit(&format!(r#""version":"{NEXT_VERSION}","ignoreMaintenanceSchedule":"no""#))),
        (404, fit(&format!(r#""version":"{NEXT_VERSION}""#)).replace("a0150000-c1a5", "b0150000-c1a5")),
    ] {
        let (got, text) = ask(&sim, post, &token, &body).await;
        assert_eq!(got, status, "{body}: {text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["message"].is_string() && error["details"].is_array());
    }
    assert_eq!(sim.effects().starts(&target_id(0)), 0);
    let (status, text) = ask(&sim, post, &token, &fit(&format!(r#""version":"{NEXT_VERSION}""#))).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    // The window is not told while the upgrade is only requested.
    assert_eq!((status, &told["status"], told.get("windowStart")), (200, &Value::from("REQUESTED"), None));
    assert_eq!(sim.effects().starts(&target_id(0)), 1);
}

#[tokio::test]
async fn the_side_door_scripts_outcomes_and_lists_effects_up_to_now() {
    let sim = sim(1, FAST).await;
    let door = "POST /_sim/avisi/outcomes";
    let script = |target: &str, outcome: &str| format!(r#"{{"target":"{target}","outcome":"{outcome}"}}"#);
    assert_eq!(ask(&sim, door, "", &script(&target_id(0), "fail")).await.0, 204);
    assert_eq!(ask(&sim, door, "", &script(&target_id(9), "fail")).await.0, 404);
    assert_eq!(ask(&sim, door, "", &script(&target_id(0), "explode")).await.0, 422);
    begin(&customer(&sim), 0, direct()).await;
    // Nobody looks at the cluster, and the end is listed all the same.
    for _ in 0..500 {
        let (status, effects) = ask(&sim, "GET /_sim/effects", "", "").await;
        assert_eq!(status, 200);
        if effects.contains("FAILED") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the upgrade never ended");
}

#[tokio::test]
async fn the_simulator_checks_tokens_and_has_both_path_styles() {
    let sim = sim(2, SLOW).await;
    let token = format!("Token {CUSTOMER_TOKEN}");
    for path in [
        "/api/v1/memberships",
        "/api/v1/organisations/acme",
        "/api/v1/organisations/acme/maintenance-schedule",
        "/api/v1/orgs/acme/environments",
        "/api/v1/orgs/acme/update-channels",
        "/api/v1/orgs/acme/clusters/staging",
        "/api/v1/orgs/acme/clusters/staging/cluster-1",
    ] {
        assert_eq!(get(&sim, path, &token).await, 200, "{path}");
        assert_eq!(get(&sim, path, &format!("Bearer {CUSTOMER_TOKEN}")).await, 401, "{path}");
    }
    assert_eq!(get(&sim, "/admin/v1/scheduled-cluster-upgrades", &token).await, 403);
    assert_eq!(
        get(&sim, "/admin/v1/scheduled-cluster-upgrades", &format!("Token {OPERATOR_TOKEN}")).await,
        200
    );
    assert_eq!(get(&sim, "/api/v1/orgs/acme/clusters/staging/cluster-0", &token).await, 404);
    assert_eq!(get(&sim, "/api/v1/orgs/other/clusters", &token).await, 403);
    sim.stop().await;
}

#[tokio::test]
async fn after_the_lease_nothing_is_started_moved_or_deleted() {
    let sim = sim(2, SLOW).await;
    let vendor = operator(&sim);
    for operation in [direct(), at_once()] {
        let mut job = checked(&vendor, 0, operation).await;
        job.permit = crate::permits::ended();
        let outcome = submit(&vendor, &mut job).await;
        let Submitted::Failed(error) = outcome else { panic!("{outcome:?}") };
        crate::permits::assert_unsent(&error);
    }
    assert!(sim.effects().all().is_empty(), "{:?}", sim.effects().all());
    let mut job = checked(&vendor, 1, scheduled(Some(in_seconds(86_400)), None)).await;
    started(submit(&vendor, &mut job).await);
    job.permit = crate::permits::ended();
    job.operation = scheduled(Some(in_seconds(90_000)), None);
    crate::permits::assert_unsent(&vendor.reschedule(&job).await.unwrap_err());
    crate::permits::assert_unsent(&vendor.cancel(&job).await.unwrap_err());
}
