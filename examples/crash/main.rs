//! `cargo run --release --example crash -- --rounds 200`: see `docs/reliability.md`.
//!
//! Started as `crash serve …` or `crash migrate-store …`, the program is Drydock itself, so that the processes that are
//! killed are real ones without a second build.

mod harness;
#[expect(clippy::expect_used, reason = "shared with tests, where a panic is the report")]
#[path = "../../tests/support/watch_checks/mod.rs"]
mod watch_checks;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Parser as _;
use drydock::kit::clock::Clock;
use drydock::kit::crash_point::ARMABLE;
use tokio::signal::unix::{SignalKind, signal};

use harness::cases::Story;
use harness::lies;
use harness::options::Options;
use harness::points::{self, Stage};
use harness::server::Servers;

#[derive(clap::Parser)]
#[command(name = "crash", max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|word| word == "serve" || word == "migrate-store") {
        return Ok(drydock::cli::run(std::env::args_os()));
    }
    let Cli { options } = Cli::parse();
    let program = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // A harness that is stopped takes its gateways and servers with it.
    let good = runtime.block_on(async {
        tokio::select! {
            good = run(&options, &program) => good,
            signal = told_to_stop() => signal.and_then(|()| bail!("told to stop")),
        }
    })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn told_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        done = tokio::signal::ctrl_c() => Ok(done?),
    }
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
async fn run(options: &Options, program: &Path) -> anyhow::Result<bool> {
    if options.self_test {
        let missed = lies::missed();
        missed.iter().for_each(|what| println!("{what}"));
        println!("{} lies told, {} not found", lies::count(), missed.len());
        return Ok(missed.is_empty());
    }
    if let Some(depth) = options.points {
        ensure!(ARMABLE, "this build has no crash points; add `--features crash-points`");
        let servers = Servers::default();
        let stage = Stage {
            program,
            backend: options.store,
            replicas: options.replicas(),
            lease: options.lease(),
            servers: &servers,
        };
        let mut told = 0_u64;
        let (tally, breaches) = points::tell_all(&Story::ALL, depth, &stage, |name, took| {
            told += 1;
            println!("{name} ({:.0} s)", took.as_secs_f64());
        })
        .await;
        println!("\n{told} stories told, {} crashes, {} breaches", tally.crashes, breaches.len());
        breaches.iter().for_each(|(name, breach)| println!("  {name}: {breach}"));
        servers.remove().await?;
        return Ok(breaches.is_empty());
    }
    let seed = options.seed.unwrap_or_else(|| Clock::system().now().as_second().unsigned_abs());
    println!("seed {seed}, {:?}, {} replicas, crash points: {ARMABLE}", options.store, options.replicas());
    if let Some(count) = options.takeover {
        let measured = harness::takeover::measure(options, count, seed, program).await?;
        println!("{measured}");
        return Ok(measured.good());
    }
    let report = harness::rounds(options, seed, program, |seed, report| {
        let (tally, breaches) = (&report.tally, report.breaches.len());
        println!(
            "round {} (seed {seed}): {} jobs, {} starts, {} kills, {breaches} breaches, {:.0} s",
            tally.rounds,
            tally.jobs,
            tally.starts,
            tally.kills,
            report.took.as_secs_f64()
        );
        let new = report.breaches.iter().filter(|(of, _)| *of == seed);
        new.for_each(|(_, breach)| println!("  {breach}"));
    })
    .await?;
    println!("\n{report}");
    Ok(report.breaches.is_empty())
}
