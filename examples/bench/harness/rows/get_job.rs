//! `GetJob` against a unary call that answers with the same bytes.

use std::sync::Arc;

use anyhow::ensure;
use bytes::Bytes;
use drydock::api::pb;
use prost::Message as _;

use crate::harness::Bench;
use crate::harness::jobs::GET_JOB;
use crate::harness::load::{self, Round};
use crate::harness::row::{Figure, Goal, Row};
use crate::harness::server::{Plan, Server};
use crate::harness::{seed, wire, yardstick};

/// How many connections the callers share.
const CONNECTIONS: usize = 8;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut server = Server::prepare(&bench.home, &Plan::QUIET).await?;
    // They are asked for in turn.
    let names = seed::running(&server.database(), &server.fleet.names(), bench.options.stored).await?;
    server.up().await?;
    let channels = server.connect(CONNECTIONS).await?;
    let first = channels.first().cloned().ok_or_else(|| anyhow::anyhow!("no connection"))?;
    let ask = |name: &String| Bytes::from(pb::GetJobRequest { name: name.clone() }.encode_to_vec());
    let asked: Arc<[Bytes]> = names.iter().map(ask).collect();
    let answer = wire::unary(&first, GET_JOB, asked.first().cloned().unwrap_or_default()).await?;
    ensure!(pb::GetJobResponse::decode(answer.clone())?.job.is_some(), "no job");

    let plain = bench.home.yardstick().await?;
    let plain_channels = wire::connect(plain.address, CONNECTIONS).await?;
    for channel in &plain_channels {
        wire::unary(channel, yardstick::KEEP, answer.clone()).await?;
    }

    let requests = || {
        let asked = Arc::clone(&asked);
        move |n: usize| asked.get(n % asked.len().max(1)).cloned().unwrap_or_default()
    };
    let (callers, time) = (bench.options.callers, bench.options.round());
    let (mut ours, mut theirs): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds {
        let our = load::calls(server.id()?, &channels, GET_JOB, requests(), callers, time).await?;
        let path = yardstick::ANSWER;
        let their = load::calls(plain.id, &plain_channels, path, requests(), callers, time).await?;
        // The first round warms both up.
        if round > 0 {
            ours.push(our);
            theirs.push(their);
        }
    }
    plain.stop().await;
    server.stop().await?;
    let (cost, plain_cost) = (load::cpu_each(&ours), load::cpu_each(&theirs));
    let row = Row::new(
        "get_job",
        format!("`GetJob`, {callers} callers, {} jobs", asked.len()),
        Figure::new("GetJob", load::middle(&ours, |r| r.rate), "calls/s"),
        Figure::new("bare unary call", load::middle(&theirs, |r| r.rate), "calls/s"),
        Goal::AtLeast(0.6),
    );
    Ok(vec![row.with_ratios(&load::ratios(&ours, &theirs)).beside(vec![
        Figure::new("answer", answer.len() as f64, "bytes"),
        Figure::new("server's processor time each", cost, "µs"),
        Figure::new("yardstick's", plain_cost, "µs"),
        Figure::new("p50", load::middle(&ours, |r| r.middle) * 1e3, "ms"),
        Figure::new("yardstick's p50", load::middle(&theirs, |r| r.middle) * 1e3, "ms"),
    ])])
}
