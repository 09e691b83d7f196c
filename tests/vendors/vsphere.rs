//! vSphere: clusters and Supervisors to every end, through lost answers and bad days.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::VendorFault;
use drydock::domain::failure::FailureReason;
use drydock::domain::finding::{Finding, Severity};
use drydock::domain::id::{JobId, ProviderId};
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::target::{Target, TargetKind};
use drydock::kit::clock::Clock;
use drydock::simulators::vsphere::{
    FIRST_VERSION, NEXT_VERSION, Outcome, PASSWORD, SimVsphere, cluster_id, start, supervisor_id, task_id,
};
use drydock::simulators::{EffectKind, Fault, Pace, Route, Settings, Simulator};
use drydock::vendors::contract::{
    CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, Retry, VendorError};
use drydock::vendors::http::HttpClient;
use drydock::vendors::settings::{COMMON_KEYS, CommonSettings};
use drydock::vendors::vsphere::ENTRY;
use futures_util::future::join_all;
use uuid::Uuid;

/// Fast: an upgrade of 40 minutes takes a quarter of a second.
const FAST: f64 = 10_000.0;
/// Slow: whatever starts is still on its way when the test ends.
const SLOW: f64 = 20.0;

async fn sim(targets: usize, speed: f64) -> SimVsphere {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    start(Settings { address, targets, pace: Pace::new(speed) }).await.unwrap()
}

fn connect(sim: &SimVsphere) -> Arc<dyn Vendor> {
    connect_table(sim.provider())
}

fn connect_table(mut table: toml::Table) -> Arc<dyn Vendor> {
    table.remove("vendor");
    let mut common = toml::Table::new();
    for key in COMMON_KEYS {
        if let Some(value) = table.remove(*key) {
            common.insert((*key).to_owned(), value);
        }
    }
    let limits = "requests_per_second = 10000.0\nburst = 10000\nrequest_timeout_ms = 5000";
    common.insert("limits".to_owned(), toml::Value::Table(limits.parse().unwrap()));
    let common: CommonSettings = toml::Value::Table(common).try_into().unwrap();
    let provider = ProviderId::parse("vc").unwrap();
    let http = HttpClient::build(ENTRY.name, provider.clone(), &common.limits, &common.tls).unwrap();
    (ENTRY.configure)(&common, table).unwrap_or_else(|faults| panic!("{faults:?}"))(
        provider,
        http,
        Clock::system(),
    )
}

fn upgrade() -> Upgrade {
    Upgrade { version: Some(NEXT_VERSION.to_owned()), ..Upgrade::default() }
}

fn planned(target: &str, upgrade: Upgrade) -> Planned {
    Planned {
        job: JobId::new(Uuid::from_u128(1)),
        target: Target::parse_name(&format!("providers/vc/{target}")).unwrap(),
        operation: Operation::Upgrade(upgrade),
        key: Uuid::from_u128(7),
        attempts: 0,
        submit_time: None,
        handle: None,
    }
}

fn cluster(n: usize) -> Planned {
    planned(&format!("clusters/{}", cluster_id(n)), upgrade())
}

fn supervisor(n: usize) -> Planned {
    planned(&format!("supervisors/{}", supervisor_id(n)), upgrade())
}

async fn check(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> CheckReport {
    let report = vendor.check(std::slice::from_ref(job)).await.remove(0).unwrap();
    job.handle.clone_from(&report.handle);
    report
}

/// Sends starts in one batch, as the engine does.
async fn submit(vendor: &Arc<dyn Vendor>, jobs: &mut [Planned]) -> Vec<Submitted> {
    for job in jobs.iter_mut() {
        job.attempts += 1;
        job.submit_time = Some(Clock::system().now());
    }
    let batch: Vec<_> = jobs.iter().map(|job| Submission { planned: job.clone(), password: None }).collect();
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

fn error_of(outcome: Submitted) -> VendorError {
    match outcome {
        Submitted::Failed(error) => error,
        other => panic!("not failed: {other:?}"),
    }
}

/// Checks and starts a job that nothing goes wrong with.
async fn begin(vendor: &Arc<dyn Vendor>, mut job: Planned) -> Planned {
    assert_eq!(check(vendor, &mut job).await.foreign, None);
    match submit_one(vendor, &mut job).await {
        Submitted::Started(_) => job,
        other => panic!("not started: {other:?}"),
    }
}

async fn look(vendor: &Arc<dyn Vendor>, job: &mut Planned) -> Observation {
    let seen = vendor.observe(std::slice::from_ref(job)).await.remove(0).unwrap();
    keep(job, &seen);
    seen
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
        Phase::Superseded => "Superseded",
        Phase::Missed => "Missed",
        Phase::Unclear => "Unclear",
    }
}

/// Looks until a phase of this name comes; every end but that one is a failure.
async fn until(vendor: &Arc<dyn Vendor>, job: &mut Planned, want: &str) -> Observation {
    for _ in 0..2000 {
        let seen = look(vendor, job).await;
        match name(&seen.phase) {
            found if found == want => return seen,
            "Scheduled" | "Running" | "Suspended" | "Cancelling" | "Unclear" => {}
            other => panic!("{other} instead of {want}: {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {want}");
}

fn finding<'a>(all: &'a [Finding], id: &str) -> &'a Finding {
    all.iter().find(|f| f.id == id).unwrap_or_else(|| panic!("no {id} in {all:?}"))
}

// ---- to every end ------------------------------------------------------------------------------------------

#[tokio::test]
async fn clusters_go_to_every_end() {
    let sim = sim(4, FAST).await;
    let vendor = connect(&sim);
    for (n, outcome, end) in [
        (0, Outcome::Succeed, "Succeeded"),
        (1, Outcome::Fail, "Failed"),
        (2, Outcome::Revert, "Failed"),
        (3, Outcome::Divert, "Superseded"),
    ] {
        sim.script(&cluster_id(n), outcome);
        let mut job = begin(&vendor, cluster(n)).await;
        let last = until(&vendor, &mut job, end).await;
        assert_eq!(sim.effects().starts(&cluster_id(n)), 1);
        assert_eq!(sim.effects().count(EffectKind::End, &cluster_id(n)), 1);
        assert!(!last.cancelable.unwrap().possible);
        if let Phase::Failed(failure) = &last.phase {
            assert_eq!(failure.reason, FailureReason::VendorFailed);
            let words =
                if n == 1 { "Node 2 did not become ready" } else { "READY without reaching the version" };
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn supervisors_go_to_every_end() {
    let sim = sim(6, FAST).await;
    let vendor = connect(&sim);
    for (n, outcome, end) in [
        (0, Outcome::Succeed, "Succeeded"),
        (1, Outcome::Fail, "Failed"),
        (2, Outcome::Revert, "Failed"),
        (3, Outcome::Divert, "Superseded"),
        (4, Outcome::Block, "Rejected"),
        (5, Outcome::Hang, "Suspended"),
    ] {
        sim.script(&supervisor_id(n), outcome);
        let mut job = begin(&vendor, supervisor(n)).await;
        let last = until(&vendor, &mut job, end).await;
        assert_eq!(last.ids["task"], task_id(n));
        assert_eq!(sim.effects().starts(&supervisor_id(n)), 1);
        match &last.phase {
            Phase::Rejected(failure) => {
                assert_eq!(failure.reason, FailureReason::PrecheckFailed);
                assert_eq!(
                    finding(&last.findings, "vsphere.precheck.StorageReady").severity,
                    Severity::Error
                );
            }
            Phase::Failed(failure) if n == 1 => {
                assert!(failure.message.contains("Node 2"), "{}", failure.message);
                assert_eq!(failure.vendor_code.as_deref(), Some("ERROR"));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_supervisors_upgrade_is_cancelled_by_its_task() {
    let sim = sim(2, SLOW).await;
    let vendor = connect(&sim);
    let mut job = begin(&vendor, supervisor(0)).await;
    assert!(look(&vendor, &mut job).await.cancelable.unwrap().possible);
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Accepted);
    let last = until(&vendor, &mut job, "Cancelled").await;
    assert_eq!(last.vendor_state.as_deref(), Some("FAILED"));
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::AlreadyOver);
    sim.forget_tasks();
    assert_eq!(vendor.cancel(&job).await.unwrap(), CancelAnswer::AlreadyOver);

    let job = begin(&vendor, cluster(1)).await;
    assert!(matches!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Refused(_)));
    assert_eq!(sim.effects().count(EffectKind::Cancel, &cluster_id(1)), 0);
}

#[tokio::test]
async fn a_task_that_has_gone_leaves_the_list_to_tell() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    let mut job = begin(&vendor, supervisor(0)).await;
    sim.forget_tasks();
    let last = until(&vendor, &mut job, "Succeeded").await;
    assert_eq!(last.vendor_state.as_deref(), Some("READY"));
}

#[tokio::test]
async fn an_answer_from_before_the_start_is_not_the_end() {
    let sim = sim(1, FAST).await;
    // A minute and a half of life, within the two minutes that the adapter allows (at least 50 ms).
    sim.lag_reads(Duration::from_secs(90));
    let vendor = connect(&sim);
    let mut job = begin(&vendor, cluster(0)).await;
    until(&vendor, &mut job, "Succeeded").await;
}

// ---- starting ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn one_request_starts_many_clusters_and_each_has_its_own_outcome() {
    let sim = sim(250, SLOW).await;
    let vendor = connect(&sim);
    sim.script(&cluster_id(7), Outcome::Reject);
    let mut jobs: Vec<_> = (0..250).map(cluster).collect();
    vendor.ping().await.unwrap();
    let before = sim.requests();
    let outcomes = submit(&vendor, &mut jobs).await;
    assert_eq!(sim.requests() - before, 3, "100 + 100 + 50");
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Submitted::Started(_) => assert_ne!(n, 7),
            Submitted::Refused(failure, findings) => {
                assert_eq!((n, failure.reason), (7, FailureReason::PrecheckFailed));
                assert!(failure.message.contains("Pre-check failed on domain-c16"), "{}", failure.message);
                assert_eq!(failure.vendor_code.as_deref(), Some("UNSUPPORTED"));
                assert_eq!(findings[0].id, "vsphere.message.sim.precheck.failed");
            }
            Submitted::Failed(error) => panic!("{n}: {error}"),
        }
    }
    let before = sim.requests();
    let seen = vendor.observe(&jobs).await;
    assert!(sim.requests() - before <= 21, "one list and twenty details, not {}", sim.requests() - before);
    assert!(seen.iter().enumerate().all(|(n, s)| n == 7 || s.as_ref().unwrap().phase == Phase::Running));
}

#[tokio::test]
async fn one_forbidden_cluster_does_not_keep_the_others_from_starting() {
    let sim = sim(3, SLOW).await;
    sim.script(&cluster_id(1), Outcome::Forbid);
    let vendor = connect(&sim);
    let mut jobs: Vec<_> = (0..3).map(cluster).collect();
    let outcomes = submit(&vendor, &mut jobs).await;
    assert!(matches!(outcomes[0], Submitted::Started(_)), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Submitted::Refused(f, _) if f.reason == FailureReason::PermissionDenied),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[2], Submitted::Started(_)), "{outcomes:?}");
    for (n, starts) in [(0, 1), (1, 0), (2, 1)] {
        assert_eq!(sim.effects().starts(&cluster_id(n)), starts);
    }
}

#[tokio::test]
async fn a_cluster_named_twice_in_a_batch_is_started_once() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut jobs = vec![cluster(0), cluster(0)];
    let outcomes = submit(&vendor, &mut jobs).await;
    assert!(matches!(outcomes[0], Submitted::Started(_)));
    assert!(matches!(&outcomes[1], Submitted::Failed(e) if e.reached == Reached::No));
    assert_eq!(sim.effects().starts(&cluster_id(0)), 1);
}

#[tokio::test]
async fn both_kinds_start_in_one_batch_and_are_followed_by_few_requests() {
    let sim = sim(150, SLOW).await;
    let vendor = connect(&sim);
    let mut jobs: Vec<_> = (0..150).flat_map(|n| [cluster(n), supervisor(n)]).collect();
    let outcomes = submit(&vendor, &mut jobs).await;
    assert!(outcomes.iter().all(|o| matches!(o, Submitted::Started(_))));
    let before = sim.requests();
    let seen = vendor.observe(&jobs).await;
    // Two lists, one list of tasks, twenty details.
    assert!(sim.requests() - before <= 23, "{}", sim.requests() - before);
    assert!(seen.iter().all(|s| matches!(s.as_ref().unwrap().phase, Phase::Running | Phase::Scheduled)));
}

#[tokio::test]
async fn a_refused_supervisor_says_why() {
    let sim = sim(2, SLOW).await;
    sim.script(&supervisor_id(0), Outcome::Reject);
    sim.script(&supervisor_id(1), Outcome::Forbid);
    let vendor = connect(&sim);
    let mut jobs = vec![supervisor(0), supervisor(1), supervisor(9)];
    let outcomes = submit(&vendor, &mut jobs).await;
    let reason = |o: &Submitted| match o {
        Submitted::Refused(failure, _) => failure.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&outcomes[0]), FailureReason::VendorRejected);
    assert_eq!(reason(&outcomes[1]), FailureReason::PermissionDenied);
    assert_eq!(reason(&outcomes[2]), FailureReason::TargetNotFound);
}

// ---- checks ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn accepted_warnings_are_ignored_by_the_vendor_too_and_others_are_not() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&sim);
    sim.script(&supervisor_id(0), Outcome::Warn);
    let mut job = supervisor(0);
    let report = check(&vendor, &mut job).await;
    let warning = finding(&report.findings, "vsphere.precheck.GuestClustersCompatible").clone();
    assert_eq!(warning.severity, Severity::Warning);
    let accepted = Upgrade { accepted_risks: vec![warning.id], ..upgrade() };
    job.operation = Operation::Upgrade(accepted.clone());
    submit_one(&vendor, &mut job).await;
    assert_eq!(sim.ignored_warnings(&supervisor_id(0)), Some(true));

    // Accepted risks alone, without a warning, ignore nothing.
    let mut job = planned(&format!("supervisors/{}", supervisor_id(1)), accepted);
    let report = check(&vendor, &mut job).await;
    assert!(report.findings.iter().all(|f| f.severity == Severity::Info), "{:?}", report.findings);
    submit_one(&vendor, &mut job).await;
    assert_eq!(sim.ignored_warnings(&supervisor_id(1)), Some(false));

    // The caller's own word is passed on.
    let ignoring = Upgrade { ignore_precheck_warnings: Some(true), ..upgrade() };
    let mut job = planned(&format!("clusters/{}", cluster_id(2)), ignoring);
    submit_one(&vendor, &mut job).await;
    assert_eq!(sim.ignored_warnings(&cluster_id(2)), Some(true));
}

#[tokio::test]
async fn checks_find_what_stands_against_a_start() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&sim);
    sim.script(&supervisor_id(0), Outcome::Block);
    let report = check(&vendor, &mut supervisor(0)).await;
    assert_eq!(finding(&report.findings, "vsphere.precheck.StorageReady").severity, Severity::Error);

    let elsewhere = Upgrade { version: Some("v9".into()), ..upgrade() };
    let mut job = planned(&format!("clusters/{}", cluster_id(0)), elsewhere);
    let report = check(&vendor, &mut job).await;
    assert_eq!(finding(&report.findings, "vsphere.version_unavailable").severity, Severity::Error);
    let present = Upgrade { version: Some(FIRST_VERSION.into()), ..upgrade() };
    let mut job = planned(&format!("clusters/{}", cluster_id(0)), present);
    let report = check(&vendor, &mut job).await;
    assert_eq!(finding(&report.findings, "vsphere.already_at_version").severity, Severity::Error);

    sim.start_behind(&cluster_id(1));
    let report = check(&vendor, &mut cluster(1)).await;
    assert!(report.foreign.unwrap().contains(NEXT_VERSION));

    // One that does not exist spoils nothing for the others.
    let batch = [cluster(2), cluster(99), supervisor(1)];
    let reports = vendor.check(&batch).await;
    assert!(reports[0].is_ok() && reports[2].is_ok());
    assert_eq!(reports[1].as_ref().unwrap_err().kind, VendorFault::NotFound);
    assert_eq!(sim.effects().starts(&cluster_id(2)) + sim.effects().starts(&supervisor_id(1)), 0);
}

#[tokio::test]
async fn an_older_vcenter_says_to_name_the_cluster() {
    let sim = sim(1, SLOW).await;
    sim.set_supervisors(false);
    let vendor = connect(&sim);
    let error = vendor.check(&[supervisor(0)]).await.remove(0).unwrap_err();
    assert!(error.message.contains("older than 9.1"), "{error}");
    assert_eq!((error.kind, error.reached), (VendorFault::Rejected, Reached::No));
    begin(&vendor, cluster(0)).await;
    // The inventory is older than the upgrade service.
    let page = vendor.targets(TargetKind::Supervisor, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items[0].current_version, None);
}

// ---- lost answers ------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_lost_answer_is_traced_and_nothing_starts_twice() {
    let sim = sim(3, SLOW).await;
    let vendor = connect(&sim);
    for (n, fault, arrives) in
        [(0, Fault::ResetAfter, true), (1, Fault::ResetBefore, false), (2, Fault::HtmlAfter(502), true)]
    {
        for mut job in [cluster(n), supervisor(n)] {
            let id = job.target.id.to_string();
            check(&vendor, &mut job).await;
            sim.faults().arm(Some(Route::Submit), fault, 1);
            let error = error_of(submit_one(&vendor, &mut job).await);
            assert_eq!(error.reached, Reached::Maybe, "{error}");
            match vendor.find(&job).await.unwrap() {
                Found::Arrived(seen) => {
                    assert!(arrives, "{id}");
                    assert_eq!(seen.phase, Phase::Running);
                    keep(&mut job, &seen);
                    assert_eq!(look(&vendor, &mut job).await.phase, Phase::Running);
                }
                Found::NotArrived { .. } => {
                    assert!(!arrives, "{id}");
                    assert!(matches!(submit_one(&vendor, &mut job).await, Submitted::Started(_)));
                }
                Found::CannotTell(why) => panic!("{why}"),
            }
            assert_eq!(sim.effects().starts(&id), 1);
        }
    }
}

#[tokio::test]
async fn a_supervisor_whose_task_is_unknown_is_followed_but_not_cancelled() {
    let sim = sim(1, FAST).await;
    let vendor = connect(&sim);
    let mut job = supervisor(0);
    check(&vendor, &mut job).await;
    sim.faults().arm(Some(Route::Submit), Fault::Truncated, 1);
    assert_eq!(error_of(submit_one(&vendor, &mut job).await).reached, Reached::Maybe);
    let Found::Arrived(seen) = vendor.find(&job).await.unwrap() else { panic!("not found") };
    keep(&mut job, &seen);
    assert!(matches!(vendor.cancel(&job).await.unwrap(), CancelAnswer::Refused(_)));
    until(&vendor, &mut job, "Succeeded").await;
}

// ---- bad days ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_expired_session_is_renewed_once_for_everybody() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let logins = || sim.effects().count(EffectKind::Login, "");
    let all = join_all((0..20).map(|_| vendor.ping())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(logins(), 1);
    sim.faults().arm(None, Fault::ExpiredSession, 1);
    let all = join_all((0..20).map(|_| vendor.ping())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(logins(), 2);
    // A start in an expired session starts once.
    sim.faults().arm(Some(Route::Submit), Fault::ExpiredSession, 1);
    begin(&vendor, cluster(0)).await;
    assert_eq!((logins(), sim.effects().starts(&cluster_id(0))), (3, 1));
    assert_eq!(sim.sessions(), 1);
    vendor.close().await;
    assert_eq!(sim.sessions(), 0);
}

#[tokio::test]
async fn a_refused_login_is_told_once_and_leaks_nothing() {
    let sim = sim(1, SLOW).await;
    let mut table = sim.provider();
    table.insert("password".to_owned(), "canary-pass-17".into());
    let vendor = connect_table(table);
    let before = sim.requests();
    for _ in 0..5 {
        let error = vendor.ping().await.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary-pass-17"), "{shown}");
        assert!(error.message.contains("check `username`"), "{error}");
    }
    assert_eq!(sim.requests() - before, 1, "a wrong password tried again and again locks the account");
    let error = error_of(submit_one(&vendor, &mut cluster(0)).await);
    assert_eq!(error.reached, Reached::No);
}

#[tokio::test]
async fn no_secret_is_shown() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = begin(&vendor, cluster(0)).await;
    let seen = look(&vendor, &mut job).await;
    sim.faults().arm(None, Fault::HtmlBefore(500), 1);
    let error = vendor.ping().await.unwrap_err();
    let shown = format!("{seen:?} {job:?} {error} {error:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("sim-session"), "{shown}");
}

#[tokio::test]
async fn taken_sessions_are_explained() {
    let sim = sim(1, SLOW).await;
    sim.exhaust_sessions(true);
    let vendor = connect(&sim);
    let error = vendor.ping().await.unwrap_err();
    assert!(error.message.contains("sessions are taken"), "{error}");
    assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
    sim.exhaust_sessions(false);
    vendor.ping().await.unwrap();
}

#[tokio::test]
async fn bad_answers_to_a_look_change_nothing() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = begin(&vendor, cluster(0)).await;
    let one = async |fault| {
        sim.faults().arm(Some(Route::Observe), fault, 1);
        vendor.observe(std::slice::from_ref(&job)).await.remove(0)
    };
    let error = one(Fault::TooManyRequests(3)).await.unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::RateLimited, Reached::No));
    assert_eq!(error.retry, Retry::After(Duration::from_secs(3)));
    assert_eq!(one(Fault::HtmlBefore(503)).await.unwrap_err().kind, VendorFault::Unreachable);
    assert_eq!(one(Fault::Truncated).await.unwrap_err().kind, VendorFault::Garbled);
    let seen = one(Fault::UnknownEnum).await.unwrap();
    assert_eq!((seen.phase, seen.vendor_state.as_deref()), (Phase::Unclear, Some("BRAND_NEW_STATE")));
    assert_eq!(one(Fault::WrongTypes).await.unwrap().phase, Phase::Unclear);
    assert_eq!(one(Fault::MissingOptional).await.unwrap().phase, Phase::Running);
    assert_eq!(look(&vendor, &mut job).await.phase, Phase::Running);
}

#[tokio::test]
async fn a_start_answered_with_an_unknown_word_is_looked_for() {
    let sim = sim(1, SLOW).await;
    let vendor = connect(&sim);
    let mut job = cluster(0);
    check(&vendor, &mut job).await;
    sim.faults().arm(Some(Route::Submit), Fault::UnknownEnum, 1);
    let error = error_of(submit_one(&vendor, &mut job).await);
    assert_eq!(error.reached, Reached::Maybe);
    assert!(matches!(vendor.find(&job).await.unwrap(), Found::Arrived(_)));
}

// ---- what there is -----------------------------------------------------------------------------------------

#[tokio::test]
async fn targets_come_in_pages_and_versions_with_notes() {
    let sim = sim(25, SLOW).await;
    let vendor = connect(&sim);
    for kind in [TargetKind::Cluster, TargetKind::Supervisor] {
        let mut all = Vec::new();
        let mut page = PageRequest { size: 10, token: None };
        loop {
            let answer = vendor.targets(kind, &page).await.unwrap();
            all.extend(answer.items);
            match answer.next {
                Some(next) => page.token = Some(next),
                None => break,
            }
        }
        assert_eq!(all.len(), 25);
        assert!(all.windows(2).all(|w| w[0].target.id < w[1].target.id));
        assert_eq!(all[0].current_version.as_deref(), Some(FIRST_VERSION));
        assert_eq!(all[0].available_versions, [NEXT_VERSION]);
        assert!(all[0].display_name.is_some());
        let versions = vendor.versions(&all[0].target).await.unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0].release_date.as_deref(), Some("2026-01-15"));
    }
}

#[tokio::test]
async fn progress_tells_nodes_of_clusters_and_the_tasks_share() {
    let sim = sim(1, 2_000.0).await;
    let vendor = connect(&sim);
    let mut jobs = vec![begin(&vendor, cluster(0)).await, begin(&vendor, supervisor(0)).await];
    let mut shares = [Vec::new(), Vec::new()];
    for _ in 0..2000 {
        let seen = vendor.observe(&jobs).await;
        let mut over = true;
        for ((job, seen), shares) in jobs.iter_mut().zip(seen).zip(&mut shares) {
            let seen = seen.unwrap();
            keep(job, &seen);
            over &= seen.phase == Phase::Succeeded;
            shares.extend(seen.progress.map(|p| (p.percent, p.total)));
        }
        if over {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (shares, total) in shares.iter().zip([3, 100]) {
        assert!(shares.iter().all(|(percent, of)| (0.0..=100.0).contains(percent) && *of == Some(total)));
        assert!(shares.windows(2).all(|w| w[0].0 <= w[1].0), "{shares:?}");
        assert!(shares.last().unwrap().0 > 60.0, "{shares:?}");
    }
}
