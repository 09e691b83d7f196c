//! What a driver does when it begins, and when it has more to do than it may.

use std::time::Duration;

use drydock::domain::job::WaitReason;
use drydock::domain::operation::{Operation, ScheduledUpgrade, Upgrade};
use drydock::domain::state::JobState;
use drydock::engine::calls::StartEntry;
use drydock::kit::clock::{self, Clock};

use crate::house::{House, request, upgrade};
use crate::scripted::Scripted;
use crate::stage::{PACE, Stage};

/// How many rounds of one provider check at once.
const CHECK_ROUNDS: usize = 6;

#[tokio::test]
async fn an_adapter_hears_first_of_the_starts_that_others_sent() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let sent = house.upgrade("c1").await;
    let later = Operation::ScheduledUpgrade(ScheduledUpgrade {
        upgrade: Upgrade::default(),
        start_time: Some(clock::after(Clock::system().now(), Duration::from_secs(30 * 86_400))),
        ignore_maintenance_windows: None,
    });
    let unsent = house.start(vec![StartEntry { operation: later, ..upgrade("c2") }]).await.unwrap().remove(0);
    house.in_state(sent.id, JobState::Running).await;
    house.in_state(unsent.unwrap().job.id, JobState::Scheduled).await;
    house.vendor.state.lock().unwrap().taken_over.clear();

    let vendor = house.vendor.clone();
    // Its looks count from here on.
    let house = house.restart_after(|| vendor.state.lock().unwrap().observe_calls = 0).await;
    house.in_state(sent.id, JobState::Running).await;
    house.until(sent.id, "a look", |_| vendor.state.lock().unwrap().observe_calls > 0).await;
    assert_eq!(vendor.state.lock().unwrap().taken_over, [(vec!["c1".to_owned()], 0)]);
}

#[tokio::test]
async fn a_job_that_finds_no_place_among_the_checks_says_what_it_waits_for() {
    let stage = Stage::with(Scripted::checking(1)).await;
    stage.vendor.state.lock().unwrap().hang_checks = true;
    let engine = stage.replica("a").await;
    let entries = (0..CHECK_ROUNDS + 2).map(|n| upgrade(&format!("c{n}"))).collect();
    let jobs: Vec<_> =
        engine.start(request(entries)).await.unwrap().into_iter().map(|one| one.unwrap().job.id).collect();
    let waiting = || async {
        let mut out = Vec::new();
        for job in &jobs {
            let job = engine.job(*job).await.unwrap();
            if job.status.state != JobState::Checking {
                assert_eq!(job.status.state, JobState::Pending);
                out.push(job.status.waiting_for);
            }
        }
        out
    };
    let mut early = waiting().await;
    for _ in 0..40 {
        if early.len() <= 2 {
            break;
        }
        stage.pass(PACE / 4, PACE / 4).await;
        early = waiting().await;
    }
    assert!(early.iter().all(Vec::is_empty), "a moment is not worth an event: {early:?}");
    stage.pass(Duration::from_secs(5), PACE / 4).await;
    let late = waiting().await;
    assert_eq!(late.len(), 2);
    for waits in &late {
        assert_eq!(waits.iter().map(|w| w.reason).collect::<Vec<_>>(), [WaitReason::RateBudget]);
        assert!(waits[0].message.contains("are being checked"), "{waits:?}");
    }
    let sequences = || async {
        let mut out = Vec::new();
        for job in &jobs {
            out.push(engine.job(*job).await.unwrap().sequence);
        }
        out
    };
    let before = sequences().await;
    stage.pass(Duration::from_secs(10), PACE / 4).await;
    assert_eq!(sequences().await, before, "it is told once");
}
