//! Watch fan-out against a bare broadcast of the same messages, and what an idle subscriber costs.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use drydock::api::pb;
use futures_util::future::try_join_all;
use prost::Message as _;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::harness::crowd::{Ask, Crowd};
use crate::harness::etcd::{self, Etcd};
use crate::harness::judged::Before;
use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, jobs, usage, wire, yardstick};

pub const WATCH_JOBS: &str = "/drydock.v1.JobService/WatchJobs";
const RESCHEDULE: &str = "/drydock.v1.ScheduleService/RescheduleUpgrade";
/// What an idle subscriber may cost, in bytes.
const ROOM: f64 = 16.0 * 1024.0;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(1);

/// One server, its crowd, and what was measured of both.
struct Side {
    process: u32,
    crowd: Crowd,
    /// Memory before the crowd came, in bytes.
    before: f64,
    rates: Vec<f64>,
    delivered: f64,
    cpu: f64,
}

impl Side {
    async fn open(process: u32, channels: &[Channel], ask: &Ask, size: usize) -> anyhow::Result<Self> {
        tokio::time::sleep(SETTLE).await;
        let before = usage::memory(process)?;
        let crowd = Crowd::open(channels, ask, size).await?;
        Ok(Self { process, crowd, before, rates: Vec::new(), delivered: 0.0, cpu: 0.0 })
    }

    /// Fires a burst of `each` messages and waits until everybody has them.
    async fn round(
        &mut self,
        each: usize,
        fire: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let (count, cpu, begun) = (self.crowd.count(), usage::cpu_seconds(self.process)?, Instant::now());
        let (fired, told) = tokio::join!(fire, self.crowd.all_told(count, each));
        fired?;
        told?;
        let delivered = (self.crowd.size() * each) as f64;
        self.rates.push(delivered / begun.elapsed().as_secs_f64());
        self.delivered += delivered;
        self.cpu += usage::cpu_seconds(self.process)? - cpu;
        Ok(())
    }

    fn cost(&self) -> f64 {
        self.cpu / self.delivered * 1e6
    }

    async fn each_holds(&self) -> anyhow::Result<f64> {
        tokio::time::sleep(SETTLE).await;
        Ok((usage::memory(self.process)? - self.before).max(0.0) / self.crowd.size() as f64)
    }
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let options = &bench.options;
    let server = Server::start(&bench.home, &Plan::SMALL).await?;
    let channels = server.connect(options.connections).await?;
    let callers = server.connect(4).await?;
    let names = jobs::scheduled(&callers, options.burst).await?;
    let request = pb::WatchJobsRequest { skip_snapshot: true, ..Default::default() };
    let ask = Ask::Once(WATCH_JOBS, request.encode_to_vec().into());
    let mut ours = Side::open(server.id()?, &channels, &ask, options.subscribers).await?;
    let fresh = ours.each_holds().await?;

    let before = Before::of(&callers[0], &names).await?;
    // The first burst shows what a burst is.
    move_all(&callers, &names, 1).await?;
    let messages = ours.crowd.quiet().await;
    let (each, told) = (messages.len(), ours.crowd.count());
    ensure!(each >= names.len() && told == (each * ours.crowd.size()) as u64, "{each} messages, {told} told");
    let length = messages.iter().map(Bytes::len).sum::<usize>() as f64 / each as f64;

    let plain = bench.home.yardstick().await?;
    let plain_channels = wire::connect(plain.address, options.connections).await?;
    let plain_callers = wire::connect(plain.address, 4).await?;
    let ask = Ask::Once(yardstick::WATCH, Bytes::new());
    let mut theirs = Side::open(plain.id, &plain_channels, &ask, options.subscribers).await?;
    let mut others = Others::open(bench).await?;

    for round in 0..=options.rounds {
        ours.round(each, move_all(&callers, &names, 2 + i64::try_from(round)?)).await?;
        theirs.round(each, push_all(&plain_callers, &messages)).await?;
        if let Some(others) = &mut others {
            others.round(&messages).await?;
        }
        if round == 0 {
            // The first round warms everybody up.
            let all = [Some(&mut ours), Some(&mut theirs), others.as_mut().map(|others| &mut others.side)];
            for side in all.into_iter().flatten() {
                (side.delivered, side.cpu) = (0.0, 0.0);
                side.rates.clear();
            }
        }
    }
    let ratios: Vec<_> = ours.rates.iter().zip(&theirs.rates).map(|(a, b)| a / b).collect();
    let size = options.subscribers;
    let rate = Row::new(
        "fan_out",
        format!("watch fan-out, {size} subscribers"),
        Figure::new("WatchJobs", median(&ours.rates), "deliveries/s"),
        Figure::new("bare broadcast", median(&theirs.rates), "deliveries/s"),
        Goal::AtLeast(0.8),
    );
    let mut beside = vec![
        Figure::new("message", length, "bytes"),
        Figure::new("server's processor time each", ours.cost(), "µs"),
        Figure::new("yardstick's", theirs.cost(), "µs"),
    ];
    if let Some(others) = &others {
        beside.push(Figure::new("etcd", median(&others.side.rates), "deliveries/s"));
        beside.push(Figure::new("etcd's processor time each", others.side.cost(), "µs"));
    }
    let rate = rate.with_ratio(median(&ratios)).beside(beside);
    let used = ours.each_holds().await?;
    let memory = Row::new(
        "subscriber",
        format!(
            "memory of an idle subscriber, {size} of them, after {} messages",
            each * (2 + options.rounds)
        ),
        Figure::new("WatchJobs", used, "bytes"),
        Figure::new("the room it may take", ROOM, "bytes"),
        Goal::AtMost(1.0),
    );
    let mut beside = vec![
        Figure::new("before its first message", fresh, "bytes"),
        Figure::new("bare broadcast", theirs.each_holds().await?, "bytes"),
    ];
    if let Some(others) = &others {
        beside.push(Figure::new("etcd", others.side.each_holds().await?, "bytes"));
    }
    let memory = memory.beside(beside);
    // A number counts only when every promise was kept.
    let mut told = messages;
    told.extend(ours.crowd.quiet().await);
    before.judge(&callers[0], &names, &told).await?;
    ours.crowd.leave().await;
    theirs.crowd.leave().await;
    plain.stop().await;
    server.stop().await?;
    if let Some(others) = others {
        others.side.crowd.leave().await;
        others.etcd.stop().await;
    }
    Ok(vec![rate, memory])
}

/// etcd with the same crowd.
struct Others {
    etcd: Etcd,
    callers: Vec<Channel>,
    side: Side,
}

impl Others {
    async fn open(bench: &Bench) -> anyhow::Result<Option<Self>> {
        if bench.options.without_etcd {
            return Ok(None);
        }
        let Some(etcd) = Etcd::start().await? else { return Ok(None) };
        let channels = wire::connect(etcd.address(), bench.options.connections).await?;
        let callers = wire::connect(etcd.address(), 4).await?;
        let side = Side::open(etcd.id()?, &channels, &etcd::watch(), bench.options.subscribers).await?;
        Ok(Some(Self { etcd, callers, side }))
    }

    /// One after the other, because etcd tells what comes together in one message.
    async fn round(&mut self, messages: &[Bytes]) -> anyhow::Result<()> {
        let first = self.callers.first().context("no connection")?;
        let before = self.side.crowd.count();
        let (begun, cpu) = (Instant::now(), usage::cpu_seconds(self.side.process)?);
        for (n, message) in messages.iter().enumerate() {
            etcd::put(first, message.clone()).await?;
            self.side.crowd.all_told(before, n + 1).await?;
        }
        let delivered = (self.side.crowd.size() * messages.len()) as f64;
        self.side.rates.push(delivered / begun.elapsed().as_secs_f64());
        self.side.delivered += delivered;
        self.side.cpu += usage::cpu_seconds(self.side.process)? - cpu;
        Ok(())
    }
}

/// Gives every job another start: one event each.
pub async fn move_all(channels: &[Channel], names: &[String], seconds: i64) -> anyhow::Result<()> {
    let start = jobs::later(seconds);
    let calls = names.iter().zip(channels.iter().cycle()).map(|(name, channel)| {
        let request = pb::RescheduleUpgradeRequest {
            name: name.clone(),
            start_time: Some(start),
            ..Default::default()
        };
        wire::unary(channel, RESCHEDULE, request.encode_to_vec().into())
    });
    try_join_all(calls).await?;
    Ok(())
}

pub async fn push_all(channels: &[Channel], messages: &[Bytes]) -> anyhow::Result<()> {
    let pairs = messages.iter().zip(channels.iter().cycle());
    try_join_all(pairs.map(|(message, channel)| wire::unary(channel, yardstick::PUSH, message.clone())))
        .await?;
    Ok(())
}
