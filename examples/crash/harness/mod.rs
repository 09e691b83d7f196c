//! The crash harness: real gateways on simulated vendors, tormented, and judged by the vendors' own records.
//!
//! `examples/crash` runs it for as long as one likes, `tests/crash` for some seconds.

pub mod backend;
mod callers;
mod canaries;
mod clients;
mod dice;
mod fleet;
mod house;
pub mod judge;
pub mod lies;
pub mod options;
pub mod points;
mod process;
mod proxy;
mod record;
pub mod report;
mod round;
mod settle;
mod storm;
mod truth;
mod watchers;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use options::Options;
use report::{Report, Tally};

/// Plays rounds from `seed` on; tells of each by `done`.
pub async fn rounds(
    options: &Options,
    seed: u64,
    program: &Path,
    mut done: impl FnMut(u64, &Report),
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut report = Report { seed, tally: Tally::default(), breaches: Vec::new(), took: Duration::ZERO };
    for n in 0..options.rounds {
        let seed = seed.wrapping_add(n);
        let (tally, breaches) =
            round::play(options, seed, program).await.with_context(|| format!("the round of seed {seed}"))?;
        report.tally.add(tally);
        report.breaches.extend(breaches.into_iter().map(|breach| (seed, breach)));
        report.took = begun.elapsed();
        done(seed, &report);
        if options.seconds.is_some_and(|most| report.took.as_secs() >= most) {
            break;
        }
    }
    Ok(report)
}
