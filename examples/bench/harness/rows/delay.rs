//! What the gateway adds between a caller's RPC and the start that the vendor is sent, in durable commits.

use std::time::Duration;

use anyhow::{Context as _, bail};
use drydock::api::pb;
use prost::Message as _;
use tokio::time::Instant;

use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::tap::Passed;
use crate::harness::{Bench, admin, commit, wire};

const UPGRADE: &str = "/drydock.v1.UpgradeService/UpgradeCluster";
/// How a ZStack is told to start.
const START: &str = "PUT /zstack/v1/clusters/";
/// How many starts are measured, and commits between them.
const STARTS: usize = 60;
const COMMITS: usize = 20;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let starts = STARTS.min(bench.options.rounds * 12);
    let plan = Plan { targets: starts + 1, held: true, budget: Some(10_000.0), ..Plan::SMALL };
    let server = Server::start(&bench.home, &plan).await?;
    let channels = server.connect(1).await?;
    let channel = channels.first().context("no connection")?;
    let (mut first, mut added, mut whole, mut commits, mut ratios) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut before = String::new();
    for n in 0..=starts {
        if n == 1 {
            before = server.page("/metrics").await?.1;
        }
        let target = server.fleet.targets(n).into_iter().next().context("no target")?;
        let request = pb::UpgradeClusterRequest { target, ..Default::default() };
        server.fleet.passed();
        let called = Instant::now();
        wire::unary(channel, UPGRADE, request.encode_to_vec().into()).await?;
        let passed = until_started(&server).await?;
        let commit = commit::seconds(server.folder(), COMMITS).await?;
        // The first start logs in and learns the vendor's clock.
        if n == 0 {
            continue;
        }
        let start = passed.iter().find(|p| p.line.starts_with(START)).context("no start")?;
        let earlier = || passed.iter().filter(|p| p.asked < start.asked);
        let vendor = under_way(earlier().filter_map(|p| Some((p.asked, p.answered?))).collect());
        let total = start.asked.saturating_duration_since(called);
        let begun = passed.iter().map(|p| p.asked).min().unwrap_or(start.asked);
        let own = total.saturating_sub(vendor).as_secs_f64();
        first.push(begun.saturating_duration_since(called).as_secs_f64());
        whole.push(total.as_secs_f64());
        added.push(own);
        commits.push(commit);
        ratios.push(own / commit);
    }
    let after = server.page("/metrics").await?.1;
    server.stop().await?;
    let grown = |metric: &str| admin::sum(&after, metric) - admin::sum(&before, metric);
    let (own, own_time) = (
        grown("drydock_store_commit_duration_seconds_count"),
        grown("drydock_store_commit_duration_seconds_sum"),
    );
    let row = Row::new(
        "delay",
        "added delay from RPC to the vendor's start sent, p50",
        Figure::new("without the vendor's own answers", median(&added) * 1e3, "ms"),
        Figure::new("one durable commit", median(&commits) * 1e3, "ms"),
        Goal::AtMost(5.0),
    );
    Ok(vec![row.with_ratio(median(&ratios)).beside(vec![
        Figure::new("the gateway's own commits for a start", own / starts as f64, ""),
        Figure::new("one of them, on average", own_time / own * 1e3, "ms"),
        Figure::new("to the first request of the check", median(&first) * 1e3, "ms"),
        Figure::new("to the start, with the vendor's answers", median(&whole) * 1e3, "ms"),
    ])])
}

/// For how long at least one of these requests was with the vendor, which may have had several at once.
fn under_way(mut requests: Vec<(Instant, Instant)>) -> Duration {
    requests.sort_unstable();
    let (mut sum, mut until) = (Duration::ZERO, None);
    for (asked, answered) in requests {
        let from = until.map_or(asked, |until| asked.max(until));
        sum += answered.saturating_duration_since(from);
        until = until.max(Some(answered));
    }
    sum
}

/// What passed until the start was answered.
async fn until_started(server: &Server) -> anyhow::Result<Vec<Passed>> {
    let mut all: Vec<Passed> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        all.extend(server.fleet.passed().into_iter().flat_map(|(_, passed)| passed));
        if all.iter().any(|p| p.line.starts_with(START) && p.answered.is_some()) {
            return Ok(all);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let lines: Vec<_> = all.iter().map(|p| p.line.as_str()).collect();
    bail!("the vendor was never told to start; it was asked {lines:?}")
}
