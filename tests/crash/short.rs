//! Some rounds, and every crash point in its story. One test for each story, so that they run beside each other.

use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use drydock::kit::crash_point::CrashPoint;

use crate::harness::backend::Backend;
use crate::harness::cases::Story;
use crate::harness::options::Options;
use crate::harness::points::{Depth, Stage, count, tell_all};
use crate::harness::rounds;
use crate::harness::server::Servers;

#[derive(clap::Parser)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
}

fn stage(servers: &Servers) -> Stage<'_> {
    Stage {
        program: program(),
        backend: Backend::Sqlite,
        replicas: 1,
        lease: Duration::from_secs(3),
        servers,
    }
}

pub fn program() -> &'static Path {
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
    let servers = Servers::default();
    let (tally, breaches) = tell_all(&[story], Depth::Short, &stage(&servers), |_, _| ()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_database_is_made_or_emptied_of_what_is_old() {
    holds(Story::Opening).await;
    holds(Story::Purging).await;
}

#[test]
fn no_story_is_told_for_nothing_and_every_point_is_told_somewhere() {
    let servers = Servers::default();
    let stages = [Backend::Sqlite, Backend::Postgres].map(|backend| Stage { backend, ..stage(&servers) });
    for told in Story::ALL {
        let tellings: usize = stages.iter().map(|stage| count(told, Depth::Short, stage)).sum();
        assert!(tellings > 0, "{told:?} comes by no point");
    }
    for point in CrashPoint::ALL {
        assert!(stages.iter().any(|stage| stage.has(*point)), "{point:?} is left out everywhere");
    }
}
