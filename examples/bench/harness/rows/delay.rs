//! What the gateway adds between a caller's RPC and the vendor's start, in durable commits.
//!
//! ```text
//! RPC sent ──────[request]───[request]──────► the start comes in at the vendor
//!           added       added        added      [ ] the vendor works on a request of this job
//! ```
//!
//! One job at a time in an idle gateway that looks at none of the earlier ones, so every request until the start is this
//! job's. The yardstick's commits come between the starts, each after the same pause.

use std::time::Duration;

use anyhow::{Context as _, bail};
use drydock::api::pb;
use prost::Message as _;
use tokio::time::Instant;

use super::durable::UPGRADE;
use crate::harness::commit::Yard;
use crate::harness::row::{Figure, Goal, Row, median, percentile};
use crate::harness::server::{Plan, Server};
use crate::harness::tap::Passed;
use crate::harness::{Bench, admin, wire};

/// How a ZStack is told to start.
const START: &str = "PUT /zstack/v1/clusters/";
/// How many starts are measured for each round asked for.
const STARTS: usize = 60;
/// How long everything stands still before each start and each commit.
const PAUSE: Duration = Duration::from_millis(15);
/// Long enough for what a start leaves to be done.
const AFTER: Duration = Duration::from_millis(30);

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let starts = STARTS * bench.options.rounds.max(1);
    let plan = Plan { targets: starts + 1, held: true, budget: Some(10_000.0), ..Plan::QUIET };
    let server = Server::start(&bench.home, &plan).await?;
    let channels = server.connect(1).await?;
    let channel = channels.first().context("no connection")?;
    let mut yard = Yard::open(server.folder()).await?;
    let (mut all, mut commits) = (Vec::with_capacity(starts), Vec::with_capacity(starts));
    let mut before = String::new();
    for n in 0..=starts {
        if n == 1 {
            before = server.page("/metrics").await?.1;
        }
        tokio::time::sleep(PAUSE).await;
        let commit = yard.commit().await?;
        let target = server.fleet.targets(n).into_iter().next().context("no target")?;
        let request = pb::UpgradeClusterRequest { target, ..Default::default() };
        server.fleet.passed();
        tokio::time::sleep(PAUSE).await;
        let called = Instant::now();
        wire::unary(channel, UPGRADE, request.encode_to_vec().into()).await?;
        let start = Start::of(called, &until_started(&server).await?)?;
        tokio::time::sleep(AFTER).await;
        // The first start logs in and learns the vendor's clock.
        if n > 0 {
            all.push(start);
            commits.push(commit);
        }
    }
    let after = server.page("/metrics").await?.1;
    yard.close().await?;
    server.stop().await?;
    let grown = |metric: &str| admin::sum(&after, metric) - admin::sum(&before, metric);
    let (own, own_time) = (
        grown("drydock_store_commit_duration_seconds_count"),
        grown("drydock_store_commit_duration_seconds_sum"),
    );
    let of = |part: fn(&Start) -> Duration| -> Vec<f64> {
        all.iter().map(|start| part(start).as_secs_f64() * 1e3).collect()
    };
    let (added, commits) = (of(Start::added), commits.iter().map(|s| s * 1e3).collect::<Vec<_>>());
    let row = Row::new(
        "delay",
        format!("added delay from RPC to the vendor's start, p50 of {starts}"),
        Figure::new("without the vendor's own time", median(&added), "ms"),
        Figure::new("one durable commit, p50", median(&commits), "ms"),
        Goal::AtMost(5.0),
    );
    Ok(vec![row.beside(vec![
        Figure::new("p99", percentile(&added, 99), "ms"),
        Figure::new("one durable commit, p99", percentile(&commits, 99), "ms"),
        Figure::new("the vendor's own time, p50", median(&of(|start| start.vendor)), "ms"),
        Figure::new("to the first request of the check, p50", median(&of(|start| start.first)), "ms"),
        Figure::new("between its requests, p50", median(&of(Start::between)), "ms"),
        Figure::new("from its last answer to the start, p50", median(&of(|start| start.last)), "ms"),
        Figure::new("the gateway's own commits for a start", own / starts as f64, ""),
        Figure::new("one of them, on average", own_time / own * 1e3, "ms"),
    ])])
}

/// One start, in times since its RPC was sent.
struct Start {
    /// To the first request of its check.
    first: Duration,
    /// From the last answer of its check to the vendor's start.
    last: Duration,
    /// To the vendor's start.
    whole: Duration,
    /// In which the vendor worked on a request of this job, before the start.
    vendor: Duration,
}

impl Start {
    fn of(called: Instant, passed: &[Passed]) -> anyhow::Result<Self> {
        let start = passed.iter().find(|p| p.line.starts_with(START)).context("no start")?;
        let mut requests: Vec<_> = passed
            .iter()
            .filter(|p| p.asked >= called && p.asked < start.asked)
            .map(|p| (p.asked, p.answered.unwrap_or(start.asked).min(start.asked)))
            .collect();
        requests.sort();
        let first = requests.first().map_or(start.asked, |(asked, _)| *asked);
        // Requests may be under way together, and time counts once.
        let (mut vendor, mut until) = (Duration::ZERO, called);
        for (asked, answered) in requests {
            vendor += answered.saturating_duration_since(asked.max(until));
            until = until.max(answered);
        }
        let since = |at: Instant| at.saturating_duration_since(called);
        let last = start.asked.saturating_duration_since(until.max(first));
        Ok(Self { first: since(first), last, whole: since(start.asked), vendor })
    }

    /// What the gateway added between the first request of the check and its last answer.
    fn between(&self) -> Duration {
        self.added().saturating_sub(self.first + self.last)
    }

    /// What the gateway added.
    fn added(&self) -> Duration {
        self.whole.saturating_sub(self.vendor)
    }
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
