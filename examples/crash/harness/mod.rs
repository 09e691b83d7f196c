//! The crash harness: real gateways on simulated vendors, tormented, and judged by the vendors' own records.
//!
//! `examples/crash` runs it for as long as one likes, `tests/crash` for some seconds.

pub mod backend;
mod blows;
mod callers;
mod canaries;
pub mod cases;
mod clients;
mod database;
mod dice;
mod ear;
mod ends;
mod fleet;
mod harm;
mod honest;
mod house;
pub mod judge;
pub mod lies;
pub mod options;
mod past;
pub mod points;
#[path = "../../../tests/support/process.rs"]
mod process;
mod proxy;
mod record;
pub mod report;
mod round;
mod sendings;
pub mod server;
mod settle;
mod sleepers;
mod stalls;
mod stories;
mod storm;
pub mod takeover;
mod telling;
mod truth;
mod upkeep;
mod watchers;

use std::path::Path;
use std::time::Duration;

use drydock::kit::crash_point::ARMABLE;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use harm::{Harm, never_struck};
use judge::Breach;
use options::Options;
use report::{Report, Tally};
use server::Servers;

/// Plays rounds from `seed` on; tells of each by `done`.
pub async fn rounds(
    options: &Options,
    seed: u64,
    program: &Path,
    mut done: impl FnMut(u64, &Report),
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let in_time = |_: &u64| options.seconds.is_none_or(|most| begun.elapsed().as_secs() < most);
    let mut report = Report { seed, tally: Tally::default(), breaches: Vec::new(), took: Duration::ZERO };
    let seeds = (0..options.rounds).map(|n| seed.wrapping_add(n)).take_while(in_time);
    let servers = Servers::default();
    let lender = &servers;
    let mut played = stream::iter(seeds)
        .map(|seed| async move {
            let outcome = round::play(options, seed, program, lender).await;
            let (tally, found) =
                outcome.unwrap_or_else(|error| (Tally::default(), vec![Breach::unplayed(&error)]));
            (seed, tally, found)
        })
        .buffer_unordered(usize::try_from(options.at_once)?);
    while let Some((seed, tally, breaches)) = played.next().await {
        report.tally.add(tally);
        report.breaches.extend(breaches.into_iter().map(|breach| (seed, breach)));
        report.took = begun.elapsed();
        done(seed, &report);
    }
    drop(played);
    servers.remove().await?;
    let expected = Harm::all(options.store.is_shared(), ARMABLE);
    let untried = never_struck(report.tally.rounds, &expected, &report.tally.harms);
    report.breaches.extend(untried.into_iter().map(|harm| (seed, Breach::untried(harm))));
    Ok(report)
}
