//! Restart with many live jobs, against reading their rows from the database, and what each holds in memory.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};
use tokio::time::Instant;

use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, admin, seed, usage};

/// What a live job may hold, in bytes.
const ROOM: f64 = 3.0 * 1024.0;
/// How many times the gateway starts.
const ROUNDS: usize = 3;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let providers = bench.options.providers;
    let plan = Plan { providers, ..Plan::QUIET };
    let mut server = Server::start(&bench.home, &plan).await?;
    ready(&server, 0).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let empty = usage::memory(server.id()?)?;
    server.down().await?;

    let jobs = bench.options.jobs;
    let names = server.fleet.names();
    seed::running(&server.database(), &names, jobs).await?;
    let (mut starts, mut reads, mut held) = (Vec::new(), Vec::new(), 0.0);
    let (mut cpu, mut size) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        size = read(&server.database(), &names, jobs).await?;
        let took = begun.elapsed();
        let begun = Instant::now();
        server.spawn()?;
        ready(&server, jobs).await?;
        let start = begun.elapsed();
        // The first round warms the file's pages up for both.
        if round > 0 {
            reads.push(took.as_secs_f64());
            starts.push(start.as_secs_f64());
            cpu.push(usage::cpu_seconds(server.id()?)?);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        held = usage::memory(server.id()?)? - empty;
        server.down().await?;
    }
    server.stop().await?;
    let ratios: Vec<_> = starts.iter().zip(&reads).map(|(a, b)| a / b).collect();
    let time = Row::new(
        "restart",
        format!("restart with {jobs} live jobs, until all are loaded and it is ready"),
        Figure::new("restart", median(&starts), "s"),
        Figure::new("reading their rows", median(&reads), "s"),
        Goal::AtMost(3.0),
    );
    let time = time.with_ratios(&ratios).beside(vec![
        Figure::new("processor time", median(&cpu), "s"),
        Figure::new("a row", size as f64 / jobs as f64, "bytes"),
    ]);
    let memory = Row::new(
        "live_job",
        format!("memory of a live job, {jobs} of them"),
        Figure::new("after the restart", held.max(0.0) / jobs as f64, "bytes"),
        Figure::new("the room it may take", ROOM, "bytes"),
        Goal::AtMost(1.0),
    );
    Ok(vec![time, memory])
}

/// Waits until the gateway calls itself ready and every job is loaded.
async fn ready(server: &Server, jobs: usize) -> anyhow::Result<()> {
    loop {
        let asked = tokio::try_join!(server.page("/readyz"), server.page("/metrics"));
        // Before its admin door opens, nothing answers.
        if let Ok(((200, _), (200, metrics))) = &asked
            && admin::sum(metrics, "drydock_jobs_live") >= jobs as f64
        {
            return Ok(());
        }
        server.id()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads every column of the live jobs' rows, as the gateway does. How many bytes they have.
async fn read(file: &Path, providers: &[String], jobs: usize) -> anyhow::Result<usize> {
    let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
    let (mut rows, mut bytes) = (0, 0);
    for provider in providers {
        let sql = "SELECT id, version, sequence, request_id, request_index, spec, status, control FROM jobs \
                   WHERE provider = ? AND ended = 0 ORDER BY id";
        let mut found = sqlx::query(sql).bind(provider).fetch(&mut database);
        while let Some(row) = found.try_next().await? {
            rows += 1;
            bytes += row.try_get::<&[u8], _>("id")?.len();
            for column in ["spec", "status", "control"] {
                bytes += row.try_get::<&str, _>(column)?.len();
            }
        }
    }
    ensure!(rows == jobs, "{rows} rows");
    Ok(bytes)
}
