//! Vendor requests per poll round, against one request per job.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::Instant;

use crate::harness::row::{Figure, Goal, Row};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, admin, jobs};

/// How many rounds are counted.
const ROUNDS: u32 = 3;
/// How long all jobs may take to run.
const PATIENCE: Duration = Duration::from_secs(240);

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let providers = bench.options.providers.max(1);
    let each = (bench.options.polled / providers).max(1);
    let poll = bench.options.poll();
    let plan = Plan { providers, targets: each, held: true, budget: Some(10_000.0), poll: Some(poll) };
    let server = Server::start(&bench.home, &plan).await?;
    let channels = server.connect(providers).await?;
    let channel = channels.first().context("no connection")?;
    let targets: Vec<String> = (0..each).flat_map(|n| server.fleet.targets(n)).collect();
    let begun = Instant::now();
    jobs::start(channel, &targets).await?;
    let all = targets.len() as f64;
    loop {
        let (_, metrics) = server.page("/metrics").await?;
        let running = admin::sum_where(&metrics, "drydock_jobs_live", "\"RUNNING\"");
        if running >= all {
            break;
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "only {running} of {all} jobs run:\n{}",
            jobs::by_state(&metrics)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Until those that were started apart have found together.
    tokio::time::sleep(poll * 2).await;
    let before = server.page("/metrics").await?.1;
    server.fleet.passed();
    tokio::time::sleep(poll * ROUNDS).await;
    let passed = server.fleet.passed();
    let after = server.page("/metrics").await?.1;
    server.stop().await?;
    let looked = |page: &str| admin::sum_where(page, "drydock_round_jobs_sum", "\"observe\"");
    let observed = looked(&after) - looked(&before);
    let asked = passed.iter().map(|(_, requests)| requests.len()).sum::<usize>() as f64;
    ensure!(observed >= all, "only {observed} observations of {all} jobs");
    let rounds = observed / all;
    let mut beside = vec![Figure::new("observations", observed, "")];
    for (provider, requests) in &passed {
        let share = requests.len() as f64 / rounds / (each as f64) * 100.0;
        beside.push(Figure::new(provider.clone(), share, "% of its jobs"));
    }
    let row = Row::new(
        "polls",
        format!("vendor requests per poll round, {all} live jobs on {providers} providers"),
        Figure::new("requests", asked / rounds, "requests"),
        Figure::new("one request per job", all, "requests"),
        Goal::AtMost(0.02),
    );
    Ok(vec![row.beside(beside)])
}
