//! Durable `UpgradeCluster`: many callers against one, each beginning with an idle gateway.
//!
//! The vendor does not know the clusters, so the jobs end soon after. Their checks are the same work for each job,
//! however many callers there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use drydock::api::pb;
use prost::Message as _;
use tokio::time::Instant;

use crate::harness::commit::Yard;
use crate::harness::load::{self, Round};
use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, admin, jobs, seed};

pub const UPGRADE: &str = "/drydock.v1.UpgradeService/UpgradeCluster";
const CONNECTIONS: usize = 8;
/// How long the jobs of a round may take to end, and what comes after their ends.
const PATIENCE: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_millis(300);
/// How many commits show what one costs.
const COMMITS: usize = 100;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stored = bench.options.stored;
    // A budget that is never waited for, so that what a round leaves to be done is done before the next.
    let plan = Plan { budget: Some(10_000.0), ..Plan::QUIET };
    let mut server = Server::prepare(&bench.home, &plan).await?;
    seed::running(&server.database(), &server.fleet.names(), stored).await?;
    server.up().await?;
    let mut yard = Yard::open(server.folder()).await?;
    let channels = server.connect(CONNECTIONS).await?;
    let targets = Arc::new(AtomicUsize::new(0));
    let requests = || {
        let targets = Arc::clone(&targets);
        move |_| {
            let target = jobs::target(targets.fetch_add(1, Ordering::Relaxed));
            Bytes::from(pb::UpgradeClusterRequest { target, ..Default::default() }.encode_to_vec())
        }
    };
    let (many, time, id) = (bench.options.callers, bench.options.round(), server.id()?);
    let (mut ours, mut alone): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    let (mut groups, mut commits) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds {
        settled(&server, stored).await?;
        let one = load::calls(id, &channels, UPGRADE, requests(), 1, time).await?;
        let before = settled(&server, stored).await?;
        let all = load::calls(id, &channels, UPGRADE, requests(), many, time).await?;
        let after = server.page("/metrics").await?.1;
        if round > 0 {
            let grown = |metric: &str| admin::sum(&after, metric) - admin::sum(&before, metric);
            let group = grown("drydock_store_commit_writes_sum") / grown("drydock_store_commit_writes_count");
            groups.push(group);
            commits.push(yard.commits(COMMITS).await?);
            ours.push(all);
            alone.push(one);
        }
    }
    yard.close().await?;
    server.stop().await?;
    let row = Row::new(
        "durable",
        format!("durable `UpgradeCluster`, {many} callers"),
        Figure::new("UpgradeCluster", load::middle(&ours, |r| r.rate), "calls/s"),
        Figure::new("1 caller", load::middle(&alone, |r| r.rate), "calls/s"),
        Goal::AtLeast(6.0),
    );
    Ok(vec![row.with_ratios(&load::ratios(&ours, &alone)).beside(vec![
        Figure::new("writes that share one fsync", median(&groups), ""),
        Figure::new("p50", load::middle(&ours, |r| r.middle) * 1e3, "ms"),
        Figure::new("p50 of 1 caller", load::middle(&alone, |r| r.middle) * 1e3, "ms"),
        Figure::new("one bare durable commit", median(&commits) * 1e3, "ms"),
        Figure::new("server's processor time each", load::cpu_each(&ours), "µs"),
    ])])
}

/// Waits until no job lives but those that were there before, so that the drivers are idle; the metrics then.
async fn settled(server: &Server, stored: usize) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let (_, metrics) = server.page("/metrics").await?;
        let live = admin::sum(&metrics, "drydock_jobs_live");
        if live <= stored as f64 {
            tokio::time::sleep(SETTLE).await;
            return Ok(metrics);
        }
        ensure!(begun.elapsed() < PATIENCE, "{live} jobs still live:\n{}", jobs::by_state(&metrics));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
