//! Huawei CloudDC: reinstalls of instances.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::VendorFault;
use drydock::domain::failure::FailureReason;
use drydock::domain::id::JobId;
use drydock::domain::job::{Handle, Provenance};
use drydock::domain::operation::{Operation, Reinstall};
use drydock::domain::page::PageRequest;
use drydock::domain::target::{Target, TargetKind};
use drydock::kit::clock::Clock;
use drydock::kit::secret::Secret;
use drydock::simulators::huawei::{Outcome, SimHuawei, Vocabulary, image_id, instance_id, start};
use drydock::simulators::{EffectKind, Fault, Pace, Route, Settings, Simulator};
use drydock::vendors::contract::{Found, Observation, Phase, Planned, Submission, Submitted, Vendor};
use drydock::vendors::error::{Reached, VendorError};
use uuid::Uuid;

const PASSWORD: &str = "Rack-7.unit=Q";

async fn simulator(targets: usize) -> SimHuawei {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    start(Settings { address, targets, pace: Pace::new(1.0) }).await.unwrap()
}

fn adapter(table: toml::Table) -> Arc<dyn Vendor> {
    crate::adapter::adapter("hw", table).1
}

fn target(id: &str) -> Target {
    Target::parse_name(&format!("providers/hw/instances/{id}")).unwrap()
}

fn planned(id: &str, image: Option<&str>) -> Planned {
    Planned {
        job: JobId::new(Uuid::now_v7()),
        target: target(id),
        operation: Operation::Reinstall(Reinstall {
            image_id: image.map(str::to_owned),
            ..Reinstall::default()
        }),
        key: Uuid::new_v4(),
        attempts: 1,
        submit_time: None,
        handle: None,
        permit: drydock::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

/// Checks jobs, expects them clear, and keeps their baselines.
async fn checked(vendor: &dyn Vendor, mut jobs: Vec<Planned>) -> Vec<Planned> {
    let reports = vendor.check(&jobs).await;
    for (job, report) in jobs.iter_mut().zip(reports) {
        let report = report.unwrap();
        assert!(report.findings.is_empty() && report.foreign.is_none(), "{report:?}");
        job.handle = report.handle;
        assert!(job.handle.is_some());
    }
    jobs
}

async fn submit(vendor: &dyn Vendor, jobs: &mut [Planned], password: &str) -> Vec<Submitted> {
    let batch: Vec<_> = jobs
        .iter()
        .map(|p| Submission { planned: p.clone(), password: Some(Secret::from(password)) })
        .collect();
    let submitted = vendor.submit(&batch).await;
    for (job, one) in jobs.iter_mut().zip(&submitted) {
        job.submit_time = Some(Clock::system().now());
        if let Submitted::Started(observation) = one {
            keep(job, observation.handle.as_ref());
        }
    }
    submitted
}

fn keep(job: &mut Planned, handle: Option<&Handle>) {
    if let Some(handle) = handle {
        job.handle = Some(handle.clone());
    }
}

async fn observe(vendor: &dyn Vendor, job: &mut Planned) -> Observation {
    let observation = vendor.observe(std::slice::from_ref(job)).await.remove(0).unwrap();
    keep(job, observation.handle.as_ref());
    observation
}

async fn one_started(sim: &SimHuawei, vendor: &dyn Vendor, n: usize) -> Planned {
    let mut jobs = checked(vendor, vec![planned(&instance_id(n), None)]).await;
    let submitted = submit(vendor, &mut jobs, PASSWORD).await;
    assert!(matches!(submitted[0], Submitted::Started(_)), "{submitted:?}");
    assert_eq!(sim.effects().starts(&instance_id(n)), 1);
    jobs.remove(0)
}

fn failed(submitted: &Submitted) -> &VendorError {
    match submitted {
        Submitted::Failed(error) => error,
        Submitted::Started(_) | Submitted::Refused(..) => panic!("not failed: {submitted:?}"),
    }
}

/// Makes what comes after the 202 quick to reach: stages of a reinstall are entered by changing its length.
fn stage(sim: &SimHuawei, stage: Stage) {
    sim.behave(|b| match stage {
        Stage::Stale => (b.stale, b.duration) = (Duration::from_secs(3600), Duration::from_secs(7200)),
        Stage::Processing => (b.stale, b.duration) = (Duration::ZERO, Duration::from_secs(3600)),
        Stage::Over => (b.stale, b.duration) = (Duration::ZERO, Duration::from_nanos(1)),
    });
}

const VOCABULARIES: [Vocabulary; 4] =
    [Vocabulary::Old, Vocabulary::Intermediate, Vocabulary::Switch, Vocabulary::Current];

#[derive(Clone, Copy)]
enum Stage {
    Stale,
    Processing,
    Over,
}

#[tokio::test]
async fn a_reinstall_succeeds_in_every_vocabulary_and_stale_words_end_nothing() {
    for vocabulary in VOCABULARIES {
        for operation_state in [true, false] {
            let sim = simulator(1).await;
            let vendor = adapter(sim.provider());
            sim.behave(|b| (b.vocabulary, b.operation_state) = (vocabulary, operation_state));
            // The word from an earlier reinstall.
            sim.set_state(0, "running", Some("reinstall-succeed"));
            stage(&sim, Stage::Stale);
            let mut job = one_started(&sim, &*vendor, 0).await;

            for _ in 0..3 {
                let stale = observe(&*vendor, &mut job).await;
                assert_eq!(stale.phase, Phase::Unclear, "{vocabulary:?} {operation_state} {stale:?}");
                assert_eq!(stale.vendor_state.as_deref(), Some("running"));
            }
            stage(&sim, Stage::Processing);
            assert_eq!(observe(&*vendor, &mut job).await.phase, Phase::Running, "{vocabulary:?}");
            stage(&sim, Stage::Over);
            let over = observe(&*vendor, &mut job).await;
            assert_eq!(
                (&over.phase, over.provenance),
                (&Phase::Succeeded, Provenance::Reported),
                "{vocabulary:?}"
            );
            assert_eq!(sim.effects().count(EffectKind::End, &instance_id(0)), 1);
        }
    }
}

#[tokio::test]
async fn what_huawei_does_not_document_is_noticed_and_nothing_else() {
    for vocabulary in [Vocabulary::Old, Vocabulary::Intermediate, Vocabulary::Current] {
        let sim = simulator(1).await;
        sim.behave(|b| b.vocabulary = vocabulary);
        let vendor = adapter(sim.provider());
        let mut job = one_started(&sim, &*vendor, 0).await;
        vendor.targets(TargetKind::Instance, &PageRequest::default()).await.unwrap();
        vendor.images(&PageRequest::default()).await.unwrap();
        for at in [Stage::Stale, Stage::Processing] {
            stage(&sim, at);
            observe(&*vendor, &mut job).await;
        }
        assert_eq!(vendor.drift(), []);
        for fault in [Fault::UnknownEnum, Fault::UnknownField] {
            sim.faults().arm(Some(Route::Observe), fault, 1);
            observe(&*vendor, &mut job).await;
        }
        let seen: Vec<_> = vendor.drift().into_iter().map(|d| (d.field, d.sample)).collect();
        for expected in [("Instance.brandNewField", "a text"), ("Instance.state", "BRAND_NEW_STATE")] {
            assert!(seen.iter().any(|(f, s)| (f.as_str(), s.as_str()) == expected), "{expected:?}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn somebody_elses_reinstall_is_shown_on_its_instance() {
    let sim = simulator(2).await;
    let vendor = adapter(sim.provider());
    sim.set_state(1, "pending", Some("reinstall-processing"));
    let items = vendor.targets(TargetKind::Instance, &PageRequest::default()).await.unwrap().items;
    assert_eq!(items[0].under_way, None);
    let shown = items[1].under_way.clone().unwrap();
    assert_eq!(shown.vendor_state.as_deref(), Some("reinstall-processing"));
    let report = vendor.check(&[planned(&instance_id(1), None)]).await.remove(0).unwrap();
    assert_eq!(report.foreign, Some(shown.what), "list and check tell the same");
}

#[tokio::test]
async fn at_the_simulators_own_pace_a_reinstall_comes_to_its_end() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let sim = start(Settings { address, targets: 2, pace: Pace::new(20_000.0) }).await.unwrap();
    sim.script(1, Outcome::Fail);
    let vendor = adapter(sim.provider());
    for n in 0..2 {
        let mut job = one_started(&sim, &*vendor, n).await;
        let mut phase = Phase::Unclear;
        for _ in 0..10_000 {
            phase = observe(&*vendor, &mut job).await.phase;
            if !matches!(phase, Phase::Unclear | Phase::Running) {
                break;
            }
        }
        assert_eq!(matches!(phase, Phase::Succeeded), n == 0, "{phase:?}");
        assert_eq!(matches!(phase, Phase::Failed(_)), n == 1, "{phase:?}");
    }
}

#[tokio::test]
async fn every_bad_end_is_told_with_the_vendors_words() {
    for vocabulary in VOCABULARIES {
        for operation_state in [true, false] {
            let sim = simulator(4).await;
            let vendor = adapter(sim.provider());
            sim.behave(|b| (b.vocabulary, b.operation_state) = (vocabulary, operation_state));
            stage(&sim, Stage::Processing);
            let ends = [Outcome::Fail, Outcome::Terminate, Outcome::Vanish, Outcome::Hang];
            let mut jobs = Vec::new();
            for (n, outcome) in ends.into_iter().enumerate() {
                sim.script(n, outcome);
                jobs.push(one_started(&sim, &*vendor, n).await);
            }
            for job in &mut jobs {
                assert_eq!(observe(&*vendor, job).await.phase, Phase::Running);
            }
            stage(&sim, Stage::Over);
            let mut phases = Vec::new();
            for job in &mut jobs {
                phases.push(observe(&*vendor, job).await.phase);
            }
            let [Phase::Failed(fail), Phase::Failed(terminate), Phase::Failed(vanish), Phase::Running] =
                &phases[..]
            else {
                panic!("{vocabulary:?} {operation_state}: {phases:?}");
            };
            assert!(fail.message.contains("provision timed out"), "{fail:?}");
            assert_eq!(fail.vendor_code.as_deref(), Some("iMetal.0099"));
            assert_eq!(fail.reason, FailureReason::VendorFailed);
            assert!(terminate.message.contains("deleted"), "{terminate:?}");
            assert_eq!(vanish.reason, FailureReason::TargetNotFound);
        }
    }
}

#[tokio::test]
async fn instances_go_out_in_chunks_by_image_and_password_and_each_starts_once() {
    let sim = simulator(200).await;
    let vendor = adapter(sim.provider());
    let image = image_id(2);
    let mut jobs = Vec::new();
    for n in 0..130 {
        jobs.push(planned(&instance_id(n), (n >= 120).then_some(image.as_str())));
    }
    let mut jobs = checked(&*vendor, jobs).await;
    assert_eq!(sim.requests()["GET instances"], 2);
    assert_eq!(sim.requests()["GET cloudimages"], 1);

    let (mine, other) = jobs.split_at_mut(125);
    let mut submitted = submit(&*vendor, mine, PASSWORD).await;
    submitted.extend(submit(&*vendor, other, "Other.pass-7").await);
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    // 120 in three chunks, 5 with another image, 5 more with another password.
    assert_eq!(sim.requests()["PUT instances/reinstall"], 5);
    for n in 0..130 {
        let starts: Vec<_> = sim
            .effects()
            .all()
            .into_iter()
            .filter(|e| e.kind == EffectKind::Start && e.target == instance_id(n))
            .map(|e| e.detail)
            .collect();
        let kept = image_id(if n >= 120 { 2 } else { 0 });
        assert_eq!(starts, [format!("image={kept}")], "{n}");
        assert!(sim.password_was(n, if n >= 125 { "Other.pass-7" } else { PASSWORD }), "{n}");
    }
}

#[tokio::test]
async fn one_batch_with_different_passwords_never_mixes_them() {
    let sim = simulator(4).await;
    let vendor = adapter(sim.provider());
    let jobs = checked(&*vendor, (0..4).map(|n| planned(&instance_id(n), None)).collect()).await;
    let passwords = [PASSWORD, "Other.pass-7", PASSWORD, "Third.pass-7"];
    let batch: Vec<_> = jobs
        .into_iter()
        .zip(passwords)
        .map(|(planned, password)| Submission { planned, password: Some(Secret::from(password)) })
        .collect();
    let submitted = vendor.submit(&batch).await;
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    assert_eq!(sim.requests()["PUT instances/reinstall"], 3);
    for (n, password) in passwords.into_iter().enumerate() {
        assert!(sim.password_was(n, password));
    }
}

#[tokio::test]
async fn a_vendor_that_takes_only_ten_gets_tens_from_then_on() {
    let sim = simulator(100).await;
    sim.behave(|b| b.chunk_limit = 10);
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, (0..60).map(|n| planned(&instance_id(n), None)).collect()).await;
    let (first, second) = jobs.split_at_mut(35);
    let submitted = submit(&*vendor, first, PASSWORD).await;
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    assert_eq!(sim.requests()["PUT instances/reinstall"], 1 + 4);
    let submitted = submit(&*vendor, second, PASSWORD).await;
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    assert_eq!(sim.requests()["PUT instances/reinstall"], 1 + 4 + 3);
    assert!((0..60).all(|n| sim.effects().starts(&instance_id(n)) == 1));
}

#[tokio::test]
async fn an_unknown_or_idle_instance_does_not_spoil_the_others() {
    for names_culprits in [true, false] {
        let sim = simulator(10).await;
        sim.behave(|b| b.names_culprits = names_culprits);
        let vendor = adapter(sim.provider());
        // Deleted, and powered off, after their checks.
        let mut jobs = checked(&*vendor, (0..5).map(|n| planned(&instance_id(n), None)).collect()).await;
        jobs.push(planned(&instance_id(5000), None));
        let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
        let Submitted::Refused(failure, _) = &submitted[5] else { panic!("{submitted:?}") };
        assert_eq!(failure.reason, FailureReason::TargetNotFound);
        assert_eq!(failure.vendor_code.as_deref(), Some("iMetal.0200"));
        assert!(failure.metadata.contains_key("vendor_request_id"), "{failure:?}");
        // Whether others started beside the refused one is not documented: they are looked up.
        assert!(submitted[..5].iter().all(|s| failed(s).reached == Reached::Maybe), "{submitted:?}");

        sim.set_state(7, "stopped", None);
        let mut jobs: Vec<_> = (6..9).map(|n| planned(&instance_id(n), None)).collect();
        let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
        let lost = if names_culprits {
            let Submitted::Refused(failure, _) = &submitted[1] else { panic!("{submitted:?}") };
            assert_eq!(failure.vendor_code.as_deref(), Some("iMetal.0201"));
            [0, 2].as_slice()
        } else {
            [0, 1, 2].as_slice()
        };
        assert!(lost.iter().all(|n| failed(&submitted[*n]).reached == Reached::Maybe), "{submitted:?}");
        assert!((0..5).all(|n| sim.effects().starts(&instance_id(n)) == 0));
        assert!([6, 8].iter().all(|n| sim.effects().starts(&instance_id(*n)) == 0));
        assert_eq!(sim.effects().starts(&instance_id(7)), 0);
    }
}

#[tokio::test]
async fn a_bystander_of_a_refused_call_is_sent_again_only_after_it_stood_still_for_minutes() {
    let sim = simulator(3).await;
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, (0..3).map(|n| planned(&instance_id(n), None)).collect()).await;
    jobs.push(planned(&instance_id(5000), None));
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert!(submitted[..3].iter().all(|s| failed(s).reached == Reached::Maybe), "{submitted:?}");
    for job in &jobs[..3] {
        // `running`, as it may still be shown by an instance that the vendor began to wipe.
        let Found::CannotTell(why) = vendor.find(job).await.unwrap() else { panic!("told too early") };
        assert!(why.contains("another instance"), "{why}");
    }
    // The second one did begin, and its stale `running` comes back for a while.
    sim.set_state(1, "running", Some("reinstall-succeed"));
    for job in &jobs[..3] {
        vendor.find(job).await.unwrap();
    }
    sim.set_state(1, "running", None);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    let told = |found| matches!(found, Found::NotArrived { until: None });
    assert!(told(vendor.find(&jobs[0]).await.unwrap()));
    assert!(!told(vendor.find(&jobs[1]).await.unwrap()), "it was seen to move");
    assert!(told(vendor.find(&jobs[2]).await.unwrap()));
    // Another process does not remember the refusal, so it proves nothing.
    let other = adapter(sim.provider());
    for _ in 0..5 {
        assert!(matches!(other.find(&jobs[0]).await.unwrap(), Found::CannotTell(_)));
    }
    let again = submit(&*vendor, &mut jobs[..1], PASSWORD).await;
    assert!(matches!(again[0], Submitted::Started(_)), "{again:?}");
    assert_eq!([0, 1, 2].map(|n| sim.effects().starts(&instance_id(n))), [1, 0, 0]);
}

#[tokio::test]
async fn a_bystander_whose_second_start_lost_its_answer_is_not_sent_a_third_time() {
    let sim = simulator(1).await;
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, vec![planned(&instance_id(0), None)]).await;
    jobs.push(planned(&instance_id(5000), None));
    assert_eq!(failed(&submit(&*vendor, &mut jobs, PASSWORD).await[0]).reached, Reached::Maybe);
    for _ in 0..3 {
        vendor.find(&jobs[0]).await.unwrap();
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    assert!(matches!(vendor.find(&jobs[0]).await.unwrap(), Found::NotArrived { until: None }));
    // The engine checks it anew and sends it. That arrives, its answer is lost, and `running` is still the old one.
    jobs.truncate(1);
    let mut jobs = checked(&*vendor, jobs).await;
    stage(&sim, Stage::Stale);
    sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
    assert_eq!(failed(&submit(&*vendor, &mut jobs, PASSWORD).await[0]).reached, Reached::Maybe);
    assert_eq!(sim.effects().starts(&instance_id(0)), 1);
    for _ in 0..5 {
        let found = vendor.find(&jobs[0]).await.unwrap();
        assert!(matches!(found, Found::CannotTell(_)), "{found:?}: it would be wiped twice");
    }
}

#[tokio::test]
async fn a_call_that_is_forbidden_does_not_keep_the_others_from_being_made() {
    let sim = simulator(2).await;
    let vendor = adapter(sim.provider());
    let jobs = vec![planned(&instance_id(0), None), planned(&instance_id(1), Some(&image_id(2)))];
    let mut jobs = checked(&*vendor, jobs).await;
    sim.faults().arm(Some(Route::Submit), Fault::HtmlBefore(403), 1);
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert_eq!(failed(&submitted[0]).kind, VendorFault::PermissionDenied);
    assert!(matches!(submitted[1], Submitted::Started(_)), "{submitted:?}");
    assert_eq!([0, 1].map(|n| sim.effects().starts(&instance_id(n))), [0, 1]);
}

/// Several looks, minutes apart, at jobs whose instances stand still.
async fn stand_still(vendor: &dyn Vendor, jobs: &[Planned]) -> Vec<Found> {
    for _ in 0..3 {
        for job in jobs {
            let found = vendor.find(job).await.unwrap();
            assert!(matches!(found, Found::CannotTell(_)), "{found:?}: told too early");
        }
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    let mut found = Vec::new();
    for job in jobs {
        found.push(vendor.find(job).await.unwrap());
    }
    found
}

#[tokio::test]
async fn an_instance_that_may_not_be_reinstalled_does_not_end_those_beside_it() {
    for names_culprits in [true, false] {
        let sim = simulator(3).await;
        sim.behave(|b| (b.forbidden, b.names_culprits) = (Some(1), names_culprits));
        let vendor = adapter(sim.provider());
        let mut jobs = checked(&*vendor, (0..3).map(|n| planned(&instance_id(n), None)).collect()).await;
        let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
        // That nothing of a call starts which is refused for want of a right is not documented.
        for one in [0, 2] {
            assert_eq!(failed(&submitted[one]).reached, Reached::Maybe, "{submitted:?}");
        }
        if names_culprits {
            let Submitted::Refused(failure, _) = &submitted[1] else { panic!("{submitted:?}") };
            assert_eq!(failure.reason, FailureReason::PermissionDenied);
            jobs.remove(1);
        }
        let told = |found: &Found| matches!(found, Found::NotArrived { until: None });
        assert!(stand_still(&*vendor, &jobs).await.iter().all(told));
        let mut jobs = checked(&*vendor, jobs).await;
        let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
        assert_eq!([0, 1, 2].map(|n| sim.effects().starts(&instance_id(n))), [1, 0, 1]);
        if !names_culprits {
            let Submitted::Refused(failure, _) = &submitted[1] else { panic!("{submitted:?}") };
            assert_eq!(failure.reason, FailureReason::PermissionDenied);
            // The engine asks whether the first start arrived before it believes that.
            assert!(stand_still(&*vendor, &jobs[1..2]).await.iter().all(told));
        }
    }
}

/// Somebody may have reinstalled a machine by hand since it was checked.
#[tokio::test]
async fn of_many_that_go_alone_those_whose_turn_comes_too_late_are_not_sent() {
    const MANY: usize = 50;
    let sim = simulator(MANY).await;
    let mut table = sim.provider();
    let limits = toml::toml! {
        requests_per_second = 10000.0
        burst = 10000
        request_timeout_ms = 120000
    };
    table.insert("limits".to_owned(), limits.into());
    let vendor = adapter(table);
    // They shared a call that was refused because of another one, so from then on each goes alone.
    let mut jobs = checked(&*vendor, (0..MANY - 1).map(|n| planned(&instance_id(n), None)).collect()).await;
    jobs.push(planned(&instance_id(5000), None));
    submit(&*vendor, &mut jobs, PASSWORD).await;
    jobs.pop();
    let told = |found: &Found| matches!(found, Found::NotArrived { until: None });
    assert!(stand_still(&*vendor, &jobs).await.iter().all(told));
    let mut jobs = checked(&*vendor, jobs).await;

    // The answer to the first takes longer than what was checked holds.
    sim.faults().arm(Some(Route::Submit), Fault::DelayMs(31_000), 1);
    let calls = || sim.requests()["PUT instances/reinstall"];
    let before = calls();
    let time = async {
        while calls() == before {
            tokio::task::yield_now().await;
        }
        loop {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
        }
    };
    let submitted = tokio::select! {
        submitted = submit(&*vendor, &mut jobs, PASSWORD) => submitted,
        () = time => unreachable!(),
    };
    assert!(matches!(submitted[0], Submitted::Started(_)), "{:?}", submitted[0]);
    for late in &submitted[1..] {
        let error = failed(late);
        assert_eq!((error.kind, error.reached), (VendorFault::TimedOut, Reached::No), "{error}");
    }
    assert_eq!(calls() - before, 1);
    // Checked anew, they go out.
    let mut rest = checked(&*vendor, jobs.split_off(1)).await;
    let submitted = submit(&*vendor, &mut rest, PASSWORD).await;
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    assert!((0..MANY - 1).all(|n| sim.effects().starts(&instance_id(n)) == 1));
}

/// Both of the vendor's own refusal and of a gateway's the engine asks whether the first start arrived before it believes it.
#[tokio::test]
async fn a_start_that_is_refused_when_sent_again_is_looked_after_again() {
    for gateway in [Some(403), Some(404), None] {
        let sim = simulator(1).await;
        let vendor = adapter(sim.provider());
        let mut jobs = checked(&*vendor, vec![planned(&instance_id(0), None)]).await;
        jobs.push(planned(&instance_id(5000), None));
        assert_eq!(failed(&submit(&*vendor, &mut jobs, PASSWORD).await[0]).reached, Reached::Maybe);
        jobs.pop();
        let told = |found: &Found| matches!(found, Found::NotArrived { until: None });
        assert!(stand_still(&*vendor, &jobs).await.iter().all(told));
        let mut jobs = checked(&*vendor, jobs).await;

        match gateway {
            Some(status) => sim.faults().arm(Some(Route::Submit), Fault::HtmlBefore(status), 1),
            None => sim.behave(|b| b.forbidden = Some(0)),
        }
        let refused = submit(&*vendor, &mut jobs, PASSWORD).await.remove(0);
        match gateway {
            Some(_) => assert_eq!(failed(&refused).reached, Reached::No, "{refused:?}"),
            None => assert!(matches!(refused, Submitted::Refused(..)), "{refused:?}"),
        }
        // Without that, nobody could ever tell.
        assert!(stand_still(&*vendor, &jobs).await.iter().all(told), "{gateway:?}: left in doubt");
        assert_eq!(sim.effects().starts(&instance_id(0)), 0);
    }
}

#[tokio::test]
async fn an_instance_found_busy_after_a_refusal_is_looked_up_and_never_sent_again() {
    let sim = simulator(3).await;
    sim.behave(|b| b.names_culprits = false);
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, (0..3).map(|n| planned(&instance_id(n), None)).collect()).await;
    sim.set_state(1, "pending", Some("reinstall-processing"));
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    for one in &submitted {
        let error = failed(one);
        assert_eq!((error.reached, error.code.as_deref()), (Reached::Maybe, Some("iMetal.0201")));
    }
    assert_eq!([0, 1, 2].map(|n| sim.effects().starts(&instance_id(n))), [0, 0, 0]);
    assert_eq!(sim.requests()["PUT instances/reinstall"], 1);
}

#[tokio::test]
async fn after_a_lost_answer_the_instance_tells_and_nothing_is_ever_called_not_arrived() {
    let sim = simulator(2).await;
    let vendor = adapter(sim.provider());
    sim.set_state(0, "running", Some("reinstall-succeed"));
    stage(&sim, Stage::Stale);
    // Arrived, answer lost.
    let mut jobs = checked(&*vendor, vec![planned(&instance_id(0), None)]).await;
    sim.faults().arm(Some(Route::Submit), Fault::ResetAfter, 1);
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert_eq!(failed(&submitted[0]).reached, Reached::Maybe);
    assert_eq!(sim.effects().starts(&instance_id(0)), 1);
    let mut job = jobs.remove(0);
    assert!(matches!(vendor.find(&job).await.unwrap(), Found::CannotTell(_)));
    stage(&sim, Stage::Processing);
    let Found::Arrived(observation) = vendor.find(&job).await.unwrap() else { panic!("not arrived") };
    assert_eq!(observation.phase, Phase::Running);
    keep(&mut job, observation.handle.as_ref());
    stage(&sim, Stage::Over);
    assert_eq!(observe(&*vendor, &mut job).await.phase, Phase::Succeeded);

    // Never arrived: no proof, so never a second PUT.
    stage(&sim, Stage::Processing);
    let mut jobs = checked(&*vendor, vec![planned(&instance_id(1), None)]).await;
    sim.faults().arm(Some(Route::Submit), Fault::ResetBefore, 1);
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert_eq!(failed(&submitted[0]).reached, Reached::Maybe);
    for _ in 0..3 {
        assert!(matches!(vendor.find(&jobs[0]).await.unwrap(), Found::CannotTell(_)));
    }
    // Somebody powers it off and on: still no proof, and no success either.
    for state in ["stopping", "stopped", "running"] {
        sim.set_state(1, state, None);
        assert!(matches!(vendor.find(&jobs[0]).await.unwrap(), Found::CannotTell(_)), "{state}");
        assert_eq!(observe(&*vendor, &mut jobs[0]).await.phase, Phase::Unclear, "{state}");
    }
    assert_eq!(sim.effects().starts(&instance_id(1)), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_name_the_instance_is_looked_up() {
    let sim = simulator(1).await;
    sim.behave(|b| b.echoes = false);
    stage(&sim, Stage::Processing);
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, vec![planned(&instance_id(0), None)]).await;
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert_eq!(failed(&submitted[0]).reached, Reached::Maybe);
    assert!(matches!(vendor.find(&jobs[0]).await.unwrap(), Found::Arrived(_)));
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_for_many_callers() {
    let sim = simulator(10).await;
    let vendor = adapter(sim.provider());
    vendor.ping().await.unwrap();
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 1);
    sim.faults().arm(Some(Route::Observe), Fault::ExpiredSession, 1);
    let answers = futures_util::future::join_all((0..50).map(|_| vendor.ping())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 2);
}

#[tokio::test]
async fn a_refused_login_is_tried_once_for_many_callers_so_that_no_crowd_locks_the_account() {
    let sim = simulator(1).await;
    let mut table = sim.provider();
    table.insert("password".to_owned(), "wrong".into());
    let vendor = adapter(table);
    let answers = futures_util::future::join_all((0..50).map(|_| vendor.ping())).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
        assert_eq!(error.http_status, Some(401));
    }
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 1);
    // Nor for those who come one after another: a round of checks, calls of people.
    let jobs: Vec<_> = (0..50).map(|_| planned(&instance_id(0), None)).collect();
    for job in &jobs {
        vendor.ping().await.unwrap_err();
        let error = vendor.check(std::slice::from_ref(job)).await.remove(0).unwrap_err();
        assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
    }
    assert!(vendor.check(&jobs).await.iter().all(Result::is_err));
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 1);
    // Not remembered for ever.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(241)).await;
    tokio::time::resume();
    vendor.ping().await.unwrap_err();
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 2);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_renewed_once_and_then_an_error() {
    let sim = simulator(1).await;
    let vendor = adapter(sim.provider());
    sim.faults().arm(Some(Route::Submit), Fault::HtmlBefore(401), 2);
    let submitted = submit(&*vendor, &mut [planned(&instance_id(0), None)], PASSWORD).await;
    let error = failed(&submitted[0]);
    assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No));
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 2);
    assert!(sim.faults().are_spent());
    assert_eq!(sim.effects().starts(&instance_id(0)), 0);
}

#[tokio::test]
async fn a_failed_login_before_a_start_proves_that_nothing_was_sent() {
    for fault in [Fault::ResetAfter, Fault::HtmlAfter(502), Fault::HtmlBefore(404)] {
        let sim = simulator(1).await;
        let vendor = adapter(sim.provider());
        // The login is safe to repeat below HTTP, so both tries are struck.
        sim.faults().arm(Some(Route::Login), fault, 2);
        let submitted = submit(&*vendor, &mut [planned(&instance_id(0), None)], PASSWORD).await;
        assert_eq!(failed(&submitted[0]).reached, Reached::No, "{fault:?}");
        assert_eq!(sim.effects().starts(&instance_id(0)), 0);
    }
}

#[tokio::test]
async fn a_token_whose_end_cannot_be_read_is_used_until_it_is_refused() {
    let sim = simulator(1).await;
    let vendor = adapter(sim.provider());
    sim.faults().arm(Some(Route::Login), Fault::Truncated, 1);
    vendor.ping().await.unwrap();
    vendor.ping().await.unwrap();
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 1);
    vendor.close().await;
    vendor.ping().await.unwrap_err();
    assert_eq!(sim.requests()["POST /v3/auth/tokens"], 1, "nobody logs in after the end");
}

fn by_name(mut table: toml::Table, name: Option<&str>) -> toml::Table {
    table.remove("project_id");
    table.extend(name.map(|name| ("project".to_owned(), name.into())));
    table
}

#[tokio::test]
async fn a_project_is_found_by_its_name_or_its_regions_once_with_the_login() {
    let sim = simulator(4).await;
    let lookups = || sim.requests().get("GET /v3/projects").copied().unwrap_or_default();
    for (n, (table, name)) in [
        (sim.provider(), Some("cn-east-3")),
        (sim.provider(), None),
        (sim.provider_with_keys(), Some("cn-east-3")),
        (sim.provider_with_keys(), None),
    ]
    .into_iter()
    .enumerate()
    {
        let before = lookups();
        let vendor = adapter(by_name(table, name));
        let pings: Vec<_> = (0..8).map(|_| vendor.ping()).collect();
        assert!(futures_util::future::join_all(pings).await.iter().all(Result::is_ok));
        one_started(&sim, &*vendor, n).await;
        assert_eq!(lookups() - before, 1, "{name:?}");
    }
}

#[tokio::test]
async fn a_project_that_is_not_to_be_found_is_told_and_nothing_is_sent() {
    let sim = simulator(1).await;
    for (table, name, told) in [
        (sim.provider(), "nowhere", "project does not exist"),
        (sim.provider(), "twin", "2 projects are named `twin`"),
        (sim.provider_with_keys(), "nowhere", "no project named `nowhere`"),
        (sim.provider_with_keys(), "twin", "2 projects are named `twin`"),
    ] {
        let vendor = adapter(by_name(table, Some(name)));
        let mut jobs = vec![planned(&instance_id(0), None)];
        let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
        let error = failed(&submitted[0]);
        assert_eq!((error.kind, error.reached), (VendorFault::Unauthenticated, Reached::No), "{error:?}");
        assert!(error.message.contains(told), "{}", error.message);
        assert!(vendor.credential_keys().contains(&"project"));
    }
    assert!(!sim.requests().contains_key("PUT instances/reinstall"));
}

#[tokio::test]
async fn an_access_key_pair_signs_every_request() {
    let sim = simulator(3).await;
    let vendor = adapter(sim.provider_with_keys());
    stage(&sim, Stage::Processing);
    vendor.ping().await.unwrap();
    let mut jobs =
        checked(&*vendor, vec![planned(&instance_id(0), Some(&image_id(1))), planned(&instance_id(1), None)])
            .await;
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    assert!(submitted.iter().all(|s| matches!(s, Submitted::Started(_))), "{submitted:?}");
    assert_eq!(observe(&*vendor, &mut jobs[0]).await.phase, Phase::Running);
    assert_eq!(vendor.images(&PageRequest::default()).await.unwrap().items.len(), 6);
    assert!(!sim.requests().contains_key("POST /v3/auth/tokens"));

    let mut table = sim.provider_with_keys();
    table.insert("secret_key".to_owned(), "canary-wrong-key".into());
    let error = adapter(table).ping().await.unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (VendorFault::Unauthenticated, Some("APIGW.0301")));
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn observing_hundreds_takes_few_requests() {
    let sim = simulator(1000).await;
    let vendor = adapter(sim.provider());
    stage(&sim, Stage::Processing);
    let mut jobs = checked(&*vendor, (0..950).map(|n| planned(&instance_id(n), None)).collect()).await;
    submit(&*vendor, &mut jobs, PASSWORD).await;
    let before = sim.requests()["GET instances"];
    let observed = vendor.observe(&jobs).await;
    assert_eq!(observed.len(), 950);
    assert!(observed.iter().all(|o| o.as_ref().unwrap().phase == Phase::Running));
    assert_eq!(sim.requests()["GET instances"] - before, 10);
    assert!(!sim.requests().contains_key("GET instances/{id}/status"));
}

#[tokio::test]
async fn a_deleted_instance_does_not_hide_the_others_even_where_lists_refuse_it() {
    let sim = simulator(5).await;
    sim.behave(|b| b.list_refuses_unknown = true);
    let vendor = adapter(sim.provider());
    stage(&sim, Stage::Processing);
    sim.script(2, Outcome::Vanish);
    let mut jobs = checked(&*vendor, (0..5).map(|n| planned(&instance_id(n), None)).collect()).await;
    submit(&*vendor, &mut jobs, PASSWORD).await;
    stage(&sim, Stage::Over);
    let observed = vendor.observe(&jobs).await;
    let over: Vec<_> = observed.iter().map(|o| o.as_ref().unwrap().phase.clone()).collect();
    assert!(matches!(&over[2], Phase::Failed(f) if f.reason == FailureReason::TargetNotFound), "{over:?}");
    assert_eq!(over.iter().filter(|p| **p == Phase::Succeeded).count(), 4, "{over:?}");
}

#[tokio::test]
async fn trouble_on_the_way_is_an_error_of_its_kind_and_never_an_end() {
    let sim = simulator(2).await;
    let vendor = adapter(sim.provider());
    stage(&sim, Stage::Processing);
    let job = one_started(&sim, &*vendor, 0).await;
    for (fault, kind) in [
        (Fault::TooManyRequests(7), VendorFault::RateLimited),
        (Fault::TooManyRequests(0), VendorFault::RateLimited),
        (Fault::HtmlBefore(502), VendorFault::Unreachable),
        (Fault::HtmlBefore(404), VendorFault::NotFound),
        (Fault::Truncated, VendorFault::Garbled),
    ] {
        sim.faults().arm(Some(Route::Observe), fault, 1);
        let error = vendor.observe(std::slice::from_ref(&job)).await.remove(0).unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?} {error:?}");
        assert!(sim.faults().are_spent());
    }
    for (fault, word) in [(Fault::UnknownEnum, "BRAND_NEW_STATE"), (Fault::WrongTypes, "17")] {
        sim.faults().arm(Some(Route::Observe), fault, 1);
        let observation = vendor.observe(std::slice::from_ref(&job)).await.remove(0).unwrap();
        assert_eq!(observation.phase, Phase::Unclear, "{fault:?}");
        assert_eq!(observation.vendor_state.as_deref(), Some(word));
        assert_eq!(observation.findings[0].id, "huawei.unknown_state");
    }
    sim.faults().arm(Some(Route::Observe), Fault::MissingOptional, 1);
    let observation = vendor.observe(std::slice::from_ref(&job)).await.remove(0).unwrap();
    assert_eq!(observation.phase, Phase::Running);

    // Submits: what proves that nothing started, and what does not.
    for (fault, kind, reached) in [
        (Fault::TooManyRequests(0), VendorFault::RateLimited, Reached::No),
        (Fault::HtmlBefore(502), VendorFault::Unreachable, Reached::Maybe),
        (Fault::HtmlBefore(504), VendorFault::TimedOut, Reached::Maybe),
    ] {
        sim.faults().arm(Some(Route::Submit), fault, 1);
        let submitted = submit(&*vendor, &mut [planned(&instance_id(1), None)], PASSWORD).await;
        let error = failed(&submitted[0]);
        assert_eq!((error.kind, error.reached), (kind, reached), "{fault:?}");
    }
    assert_eq!(sim.effects().starts(&instance_id(1)), 0);
    sim.faults().arm(Some(Route::Submit), Fault::Truncated, 1);
    let submitted = submit(&*vendor, &mut [planned(&instance_id(1), None)], PASSWORD).await;
    assert_eq!(
        (failed(&submitted[0]).kind, failed(&submitted[0]).reached),
        (VendorFault::Garbled, Reached::Maybe)
    );
    assert_eq!(sim.effects().starts(&instance_id(1)), 1);
}

#[tokio::test]
async fn what_was_not_sent_after_an_outage_is_known_not_to_have_arrived() {
    let sim = simulator(120).await;
    let vendor = adapter(sim.provider());
    let mut jobs = checked(&*vendor, (0..120).map(|n| planned(&instance_id(n), None)).collect()).await;
    sim.faults().arm(Some(Route::Submit), Fault::HtmlAfter(502), 1);
    let submitted = submit(&*vendor, &mut jobs, PASSWORD).await;
    let reached: Vec<_> = submitted.iter().map(|s| failed(s).reached).collect();
    assert!(reached[..50].iter().all(|r| *r == Reached::Maybe));
    assert!(reached[50..].iter().all(|r| *r == Reached::No));
    for n in 0..120 {
        assert_eq!(sim.effects().starts(&instance_id(n)), usize::from(n < 50), "{n}");
    }
}

#[tokio::test]
async fn prechecks_find_what_stands_in_the_way() {
    let sim = simulator(5).await;
    let vendor = adapter(sim.provider());
    sim.set_state(1, "stopped", None);
    sim.set_state(2, "running", Some("reinstall-processing"));
    sim.set_state(3, "pending", None);
    let mut jobs: Vec<_> = (0..4).map(|n| planned(&instance_id(n), None)).collect();
    jobs.push(planned(&instance_id(77), None));
    for image in [image_id(5), image_id(6), image_id(7), image_id(500)] {
        jobs.push(planned(&instance_id(0), Some(&image)));
    }
    let reports: Vec<_> = vendor.check(&jobs).await.into_iter().map(Result::unwrap).collect();
    let ids = |n: usize| reports[n].findings.iter().map(|f| f.id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids(0), Vec::<&str>::new());
    assert_eq!(ids(1), ["huawei.instance_not_running"]);
    assert!(reports[2].foreign.is_some() && reports[3].foreign.is_some());
    assert_eq!(ids(4), ["huawei.instance_not_found"]);
    assert_eq!(ids(5), ["huawei.image_not_active"]);
    assert_eq!(ids(6), ["huawei.image_not_private"]);
    assert_eq!(ids(7), ["huawei.image_not_bare_metal"]);
    assert_eq!(ids(8), ["huawei.image_not_found"]);
    assert_eq!(sim.effects().all().iter().filter(|e| e.kind == EffectKind::Start).count(), 0);

    sim.faults().arm(Some(Route::Inventory), Fault::HtmlBefore(503), 1);
    let report = vendor.check(&[planned(&instance_id(0), Some(&image_id(0)))]).await.remove(0).unwrap();
    assert_eq!(report.findings[0].id, "huawei.image_unchecked");
    sim.faults().arm(Some(Route::Inventory), Fault::TooManyRequests(3), 1);
    let error = vendor.check(&[planned(&instance_id(0), Some(&image_id(0)))]).await.remove(0).unwrap_err();
    assert_eq!(error.kind, VendorFault::RateLimited);
}

#[tokio::test]
async fn lists_page_to_their_end_without_gaps() {
    let sim = simulator(47).await;
    let vendor = adapter(sim.provider());
    for size in [1, 4, 10, 13, 1000] {
        let (mut seen, mut token) = (Vec::new(), None);
        for _ in 0..100 {
            let page = vendor.targets(TargetKind::Instance, &PageRequest { size, token }).await.unwrap();
            assert!(page.items.len() <= size as usize);
            seen.extend(page.items.into_iter().map(|t| t.target.id.to_string()));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..47).map(instance_id).collect::<Vec<_>>(), "{size}");
    }
    for size in [1, 4, 6, 50] {
        let (mut seen, mut token) = (Vec::new(), None);
        for _ in 0..20 {
            let page = vendor.images(&PageRequest { size, token }).await.unwrap();
            seen.extend(page.items.into_iter().map(|i| i.id));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..6).map(image_id).collect::<Vec<_>>(), "{size}");
    }
    assert!(vendor.targets(TargetKind::Cluster, &PageRequest::default()).await.unwrap().items.is_empty());
    let bad = PageRequest { size: 10, token: Some("nonsense".to_owned()) };
    assert_eq!(vendor.targets(TargetKind::Instance, &bad).await.unwrap_err().kind, VendorFault::Rejected);
}

#[tokio::test]
async fn the_answer_holds_the_vendors_fields_and_no_user_data() {
    let sim = simulator(1).await;
    let vendor = adapter(sim.provider());
    stage(&sim, Stage::Processing);
    let mut job = one_started(&sim, &*vendor, 0).await;
    let observation = observe(&*vendor, &mut job).await;
    let answer: serde_json::Value = serde_json::from_str(&observation.answer.unwrap()).unwrap();
    assert_eq!(answer["id"], instance_id(0).as_str());
    assert_eq!(answer["state"], "pending");
    assert_eq!(answer["operation_state"], "reinstall-processing");
    assert_eq!(answer["image"]["os_type"], "Linux");
    assert!(answer.get("metadata").is_none() && answer.get("user_data").is_none(), "{answer}");
    assert_eq!(observation.ids["instance_id"], instance_id(0));
    assert!(observation.ids.contains_key("server_id"));
    assert_eq!(observation.progress, None);
}

#[tokio::test]
async fn no_secret_is_in_any_text() {
    let canary = "Canary-7.pw=Zq";
    let sim = simulator(2).await;
    let mut table = sim.provider();
    table.insert("password".to_owned(), "canary-iam-password".into());
    let vendor = adapter(table);
    let error = vendor.ping().await.unwrap_err();
    assert_eq!(error.kind, VendorFault::Unauthenticated);
    let mut texts = vec![format!("{error} {error:?}")];

    let vendor = adapter(sim.provider());
    let mut jobs = vec![planned(&instance_id(0), None), planned(&instance_id(77), None)];
    let batch: Vec<_> = jobs
        .iter()
        .map(|p| Submission { planned: p.clone(), password: Some(Secret::from(canary)) })
        .collect();
    texts.push(format!("{batch:?}"));
    for fault in [Fault::ResetBefore, Fault::HtmlBefore(502), Fault::TooManyRequests(0)] {
        sim.faults().arm(Some(Route::Submit), fault, 1);
        texts.push(format!("{:?}", vendor.submit(&batch).await));
    }
    sim.behave(|b| b.quotes_passwords = true);
    let refused = format!("{:?}", vendor.submit(&batch).await);
    assert!(refused.contains("[redacted]"), "{refused}");
    texts.push(refused);
    sim.behave(|b| b.quotes_passwords = false);
    texts.push(format!("{:?}", submit(&*vendor, &mut jobs, canary).await));
    texts.push(format!("{:?} {:?}", jobs, vendor.observe(&jobs).await));
    texts.push(format!("{:?}", sim.effects().all()));
    for text in texts {
        assert!(
            !text.contains("Canary-7") && !text.contains("canary-") && !text.contains("sim-token"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn after_the_lease_no_reinstall_is_sent() {
    let sim = simulator(2).await;
    let vendor = adapter(sim.provider());
    let mut jobs =
        checked(&*vendor, vec![planned(&instance_id(0), None), planned(&instance_id(1), None)]).await;
    jobs.iter_mut().for_each(|job| job.permit = crate::permits::ended());
    for outcome in submit(&*vendor, &mut jobs, PASSWORD).await {
        let Submitted::Failed(error) = outcome else { panic!("{outcome:?}") };
        crate::permits::assert_unsent(&error);
    }
    assert_eq!(sim.effects().starts(&instance_id(0)) + sim.effects().starts(&instance_id(1)), 0);
}
