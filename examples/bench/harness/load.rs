//! The load: callers in a closed loop, the same for the gateway and its yardstick.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::row::median;
use super::usage;
use super::wire;

/// What a round of calls gave.
#[derive(Clone, Debug)]
pub struct Round {
    /// Calls answered a second.
    pub rate: f64,
    /// Calls answered.
    pub calls: f64,
    /// Processor time of the server, in seconds.
    pub cpu: f64,
    /// The middle of the calls' times, in seconds.
    pub middle: f64,
}

/// Calls `path` from `callers` at once, each its next call as soon as it is answered, for `time`. Each call takes the
/// next of what `request` makes of 0, 1, 2 and so on.
pub async fn calls(
    server: u32,
    channels: &[Channel],
    path: &'static str,
    request: impl Fn(usize) -> Bytes + Send + Sync + 'static,
    callers: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let (request, next) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let cpu = usage::cpu_seconds(server)?;
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for channel in channels.iter().cycle().take(callers) {
        let channel = channel.clone();
        let (request, next) = (Arc::clone(&request), Arc::clone(&next));
        all.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let message = request(next.fetch_add(1, Ordering::Relaxed));
                let called = Instant::now();
                wire::unary(&channel, path, message).await?;
                times.push(called.elapsed().as_secs_f64());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(caller) = all.join_next().await {
        times.extend(caller?.with_context(|| format!("a call of {path}"))?);
    }
    let took = begun.elapsed().as_secs_f64();
    let count = times.len() as f64;
    Ok(Round {
        rate: count / took,
        calls: count,
        cpu: usage::cpu_seconds(server)? - cpu,
        middle: median(&times),
    })
}

/// The middle of a figure over rounds.
pub fn middle(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(of).collect::<Vec<_>>())
}

/// Processor time of the server for each call, in microseconds, over all rounds.
pub fn cpu_each(rounds: &[Round]) -> f64 {
    let (cpu, calls) = rounds.iter().fold((0.0, 0.0), |(cpu, calls), r| (cpu + r.cpu, calls + r.calls));
    cpu / calls * 1e6
}

/// The rounds' ratios, first ÷ second.
pub fn ratios(first: &[Round], second: &[Round]) -> Vec<f64> {
    first.iter().zip(second).map(|(a, b)| a.rate / b.rate).collect()
}
