//! Passwords that wait: sealed or in memory, never plain on disk, gone once sent.

use drydock::domain::failure::FailureReason;
use drydock::domain::job::PasswordState;
use drydock::domain::state::JobState;

use crate::house::{House, reinstall};
use crate::scripted::Scripted;

const CANARY: &str = "Canary-9f3c-Passw0rd!";

fn files_hold(house: &House, text: &str) -> bool {
    std::fs::read_dir(house.dir.path()).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    })
}

#[tokio::test]
async fn a_sealed_password_survives_a_restart_and_is_erased_once_sent() {
    let house = House::sealing(Scripted::new()).await;
    house.vendor.state.lock().unwrap().down = true;
    let job = house.start(vec![reinstall("i1", CANARY)]).await.unwrap().remove(0).unwrap().job;
    assert!(!files_hold(&house, CANARY));
    let house = house.restart().await;
    house.vendor.state.lock().unwrap().down = false;
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Succeeded);
    assert_eq!(house.vendor.state.lock().unwrap().passwords, [CANARY]);
    assert_eq!(job.control.password, PasswordState::Erased);
    assert_eq!(house.store.sealed_password(job.id).await.unwrap(), None);
    assert!(!files_hold(&house, CANARY));
}

#[tokio::test]
async fn without_a_key_a_restart_loses_the_password_and_says_so() {
    let house = House::new(Scripted::new()).await;
    house.vendor.state.lock().unwrap().down = true;
    let job = house.start(vec![reinstall("i1", CANARY)]).await.unwrap().remove(0).unwrap().job;
    assert_eq!(job.control.password, PasswordState::InMemory);
    let house = house.restart().await;
    house.vendor.state.lock().unwrap().down = false;
    let job = house.ended(job.id).await;
    assert_eq!(job.status.state, JobState::Failed);
    assert_eq!(job.status.failure.unwrap().reason, FailureReason::SecretUnavailable);
    assert_eq!(house.vendor.starts("i1"), 0);
}
