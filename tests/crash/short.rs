//! Some rounds, and every crash point in its story. One test for each story, so that they run beside each other.

use std::path::Path;

use clap::Parser as _;

use crate::harness::options::Options;
use crate::harness::points::{Depth, Story, count, tell_all};
use crate::harness::rounds;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_drydock"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_break_nothing() {
    let arguments = ["crash", "--rounds", "2", "--seed", "1", "--targets", "2", "--storm-ms", "1200"];
    let Cli { options } = Cli::parse_from(arguments);
    let report = rounds(&options, 1, program(), |_, _| {}).await.unwrap();
    assert!(report.breaches.is_empty(), "{report}");
    assert!(report.tally.jobs >= 12 && report.tally.kills >= 1, "{report}");
}

async fn holds(story: Story) {
    let (tally, breaches) = tell_all(story, Depth::Short, program()).await.unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
    assert!(tally.crashes > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_an_upgrade() {
    holds(Story::Upgrade).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_jobs_queue() {
    holds(Story::Queue).await;
    holds(Story::Hold).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_lost_answer_is_looked_up() {
    holds(Story::LostAnswer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_vendor_is_away() {
    holds(Story::Trouble).await;
    holds(Story::Outage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_a_cancel() {
    holds(Story::Cancel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_an_upgrade_is_moved() {
    holds(Story::Move).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_job_is_tried_again() {
    holds(Story::Retry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_around_a_password() {
    holds(Story::Sealed).await;
    holds(Story::Forgotten).await;
}

#[test]
fn no_story_is_told_for_nothing() {
    for told in Story::ALL {
        assert!(count(told, Depth::Short) > 0, "{told:?} comes by no point");
    }
}
