//! The same with three gateways on PostgreSQL. Each test has servers of its own, because rounds restart them.

use std::time::Duration;

use clap::Parser as _;

use crate::harness::backend::Backend;
use crate::harness::cases::Story;
use crate::harness::options::Options;
use crate::harness::points::{Depth, Stage, tell_all};
use crate::harness::rounds;
use crate::harness::server::Servers;
use crate::harness::takeover::measure;
use crate::short::{Cli, program};

fn options(more: &[&str]) -> Options {
    let always = ["crash", "--store", "postgres", "--seed", "1"];
    Cli::parse_from(always.iter().chain(more)).options
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_break_nothing() {
    let options = options(&["--rounds", "2", "--at-once", "2", "--targets", "2", "--storm-ms", "4000"]);
    let report = rounds(&options, 3, program(), |_, _| {}).await.unwrap();
    assert!(report.breaches.is_empty(), "{report}");
    assert!(report.tally.jobs >= 12 && report.tally.kills >= 1, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over_in_time() {
    let measured = measure(&options(&[]), 1, 1, program()).await.unwrap();
    assert!(measured.good(), "{measured}");
}

async fn holds(stories: &[Story], replicas: usize) {
    let servers = Servers::default();
    let stage = Stage {
        program: program(),
        backend: Backend::Postgres,
        replicas,
        lease: Duration::from_secs(3),
        servers: &servers,
    };
    let (tally, breaches) = tell_all(stories, Depth::Short, &stage, |_, _| ()).await;
    servers.remove().await.unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
    assert!(tally.crashes > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_another_replica_looks_up_a_lost_answer() {
    holds(&[Story::LostAnswer], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_database_is_made_or_emptied_of_what_is_old() {
    holds(&[Story::Opening, Story::Purging], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_a_file_is_moved() {
    holds(&[Story::Moving], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_while_providers_are_handed_over() {
    holds(&[Story::Handover], 2).await;
}
