//! Watch fan-out against a bare broadcast of the same messages, and what an idle subscriber costs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::harness::crowd::{Ask, Crowd};
use crate::harness::etcd::{self, Etcd};
use crate::harness::judged::Before;
use crate::harness::options::Options;
use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, admin, jobs, usage, wire, yardstick};

/// What an idle subscriber may cost, in bytes.
const ROOM: f64 = 16.0 * 1024.0;
/// What is said beside: memory without what events leave behind.
pub const FRESH: &str = "once synced, before its first event";
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(1);
/// Connections of those who cause the messages, on every side.
const CALLERS: usize = 4;

/// One server, its crowd, and what was measured of both.
struct Side {
    process: u32,
    crowd: Crowd,
    callers: Vec<Channel>,
    /// Memory before anybody came, in bytes.
    before: f64,
    /// What the crowd's connections took, before it watched, in bytes.
    connections: f64,
    rates: Vec<f64>,
    delivered: f64,
    cpu: f64,
}

impl Side {
    async fn open(process: u32, at: SocketAddr, ask: &Ask, options: &Options) -> anyhow::Result<Self> {
        let callers = wire::connect(at, CALLERS).await?;
        tokio::time::sleep(SETTLE).await;
        let before = usage::memory(process)?;
        let channels = wire::connect(at, options.connections(options.subscribers)).await?;
        tokio::time::sleep(SETTLE).await;
        let connections = (usage::memory(process)? - before).max(0.0);
        let crowd = Crowd::open(&channels, ask, options.subscribers).await?;
        Ok(Self { process, crowd, callers, before, connections, rates: Vec::new(), delivered: 0.0, cpu: 0.0 })
    }

    /// Fires so many bursts of `each` events, the next when everybody has the one before.
    async fn round<F: Future<Output = anyhow::Result<()>>>(
        &mut self,
        each: usize,
        bursts: usize,
        mut fire: impl FnMut(Vec<Channel>) -> F,
    ) -> anyhow::Result<()> {
        let (cpu, before) = (usage::cpu_seconds(self.process)?, self.crowd.deliveries());
        let begun = Instant::now();
        for _ in 0..bursts {
            let (fired, told) =
                tokio::join!(fire(self.callers.clone()), self.crowd.all_told(self.crowd.count(), each));
            fired?;
            told?;
        }
        let delivered = (self.crowd.deliveries() - before) as f64;
        self.rates.push(delivered / begun.elapsed().as_secs_f64());
        self.delivered += delivered;
        self.cpu += usage::cpu_seconds(self.process)? - cpu;
        Ok(())
    }

    fn forget(&mut self) {
        (self.delivered, self.cpu) = (0.0, 0.0);
        self.rates.clear();
    }

    fn cost(&self) -> f64 {
        self.cpu / self.delivered * 1e6
    }

    /// What each subscriber holds, its share of the connections included, in bytes.
    async fn each_holds(&self) -> anyhow::Result<f64> {
        tokio::time::sleep(SETTLE).await;
        Ok((usage::memory(self.process)? - self.before).max(0.0) / self.crowd.size() as f64)
    }
}

/// How often the gateway has told its subscribers of something.
struct Steps(f64);

impl Steps {
    async fn of(server: &Server) -> anyhow::Result<Self> {
        let (_, metrics) = server.page("/metrics").await?;
        Ok(Self(admin::sum(&metrics, "drydock_watch_lag_seconds_count")))
    }

    async fn until_now(self, server: &Server) -> anyhow::Result<f64> {
        Ok(Self::of(server).await?.0 - self.0)
    }
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let options = &bench.options;
    let server = Server::start(&bench.home, &Plan::SMALL).await?;
    let callers = server.connect(CALLERS).await?;
    let bursts = options.bursts(options.subscribers);
    let names = jobs::scheduled(&callers, options.burst * (1 + bursts * (1 + options.rounds))).await?;
    let before = Before::of(&callers[0], &names).await?;
    let mut ours = Side::open(server.id()?, server.address(), &Ask::jobs(), options).await?;
    let fresh = ours.each_holds().await?;

    // Each burst ends some of the jobs; the first shows what a burst is.
    let mut left = names.chunks(options.burst);
    let mut end_some = |callers: Vec<Channel>| {
        let names = left.next().unwrap_or_default();
        async move { jobs::cancel_all(&callers, names).await }
    };
    end_some(callers.clone()).await?;
    let messages = ours.crowd.quiet().await;
    let size = ours.crowd.size();
    let each = options.burst;
    ensure!(ours.crowd.count() == (each * size) as u64, "{} events came of a burst", ours.crowd.count());
    let length = messages.iter().map(Bytes::len).sum::<usize>() as f64 / messages.len() as f64;

    let plain = bench.home.yardstick().await?;
    let ask = Ask::Once(yardstick::WATCH, Bytes::new());
    let mut theirs = Side::open(plain.id, plain.address, &ask, options).await?;
    let mut others = others(options).await?;

    let steps = Steps::of(&server).await?;
    let mut gave_up = false;
    for round in 0..=options.rounds {
        ours.round(each, bursts, &mut end_some).await?;
        let push = |callers: Vec<Channel>| {
            let messages = messages.clone();
            async move { push_all(&callers, &messages).await }
        };
        theirs.round(each, bursts, push).await?;
        if let Some((_, side)) = &mut others {
            let put = |callers: Vec<Channel>| {
                let messages = messages.clone();
                async move { etcd::put_all(&callers, &messages).await }
            };
            // Its puts wait 7 s at most, and a busy machine may take longer. The gateway is measured all the same.
            gave_up = side.round(messages.len(), bursts, put).await.is_err();
        }
        if let Some((etcd, side)) = others.take_if(|_| gave_up) {
            side.crowd.leave().await;
            etcd.stop().await;
        }
        if round == 0 {
            // The first round warms everybody up.
            let all = [Some(&mut ours), Some(&mut theirs), others.as_mut().map(|(_, side)| side)];
            all.into_iter().flatten().for_each(Side::forget);
        }
    }
    let steps = steps.until_now(&server).await?;
    let ratios: Vec<_> = ours.rates.iter().zip(&theirs.rates).map(|(a, b)| a / b).collect();
    let rate = Row::new(
        "fan_out",
        format!("watch fan-out, {size} subscribers"),
        Figure::new("WatchJobs", median(&ours.rates), "deliveries/s"),
        Figure::new("bare broadcast", median(&theirs.rates), "deliveries/s"),
        Goal::AtLeast(0.8),
    );
    let mut beside = vec![
        Figure::new("message", length, "bytes"),
        Figure::new("at once", messages.len() as f64, "messages"),
        Figure::new("that became known in steps", steps / (bursts * (1 + options.rounds)) as f64, ""),
        Figure::new("server's processor time each", ours.cost(), "µs"),
        Figure::new("yardstick's", theirs.cost(), "µs"),
    ];
    if gave_up {
        beside.push(Figure::new(
            "rounds that etcd gave up in, by a timeout of its own, and so was left out",
            1.0,
            "",
        ));
    }
    if let Some((_, side)) = &others {
        beside.push(Figure::new("etcd", median(&side.rates), "deliveries/s"));
        beside.push(Figure::new("etcd's processor time each", side.cost(), "µs"));
    }
    let rate = rate.with_ratios(&ratios).beside(beside);
    let used = ours.each_holds().await?;
    let memory = Row::new(
        "subscriber",
        format!(
            "memory of an idle subscriber, {size} of them on {} connections, after {} events",
            options.connections(size),
            each * (1 + bursts * (1 + options.rounds))
        ),
        Figure::new("WatchJobs", used, "bytes"),
        Figure::new("the room it may take", ROOM, "bytes"),
        Goal::AtMost(1.0),
    );
    let mut beside = vec![
        Figure::new("its share of a connection", ours.connections / size as f64, "bytes"),
        Figure::new(FRESH, fresh, "bytes"),
        Figure::new("bare broadcast", theirs.each_holds().await?, "bytes"),
    ];
    if let Some((_, side)) = &others {
        beside.push(Figure::new("etcd", side.each_holds().await?, "bytes"));
    }
    let memory = memory.beside(beside);
    // A number counts only when every promise was kept.
    ours.crowd.quiet().await;
    let judge = before.until_now(&callers[0]).await?;
    ours.crowd.recordings().iter().try_for_each(|told| judge.judge(false, told))?;
    ours.crowd.leave().await;
    theirs.crowd.leave().await;
    plain.stop().await;
    server.stop().await?;
    if let Some((etcd, side)) = others {
        side.crowd.leave().await;
        etcd.stop().await;
    }
    Ok(vec![rate, memory])
}

/// etcd with the same crowd, when it is there.
async fn others(options: &Options) -> anyhow::Result<Option<(Etcd, Side)>> {
    if options.without_etcd {
        return Ok(None);
    }
    let Some(etcd) = Etcd::start().await? else { return Ok(None) };
    let side = Side::open(etcd.id()?, etcd.address(), &etcd::watch(), options).await?;
    Ok(Some((etcd, side)))
}

/// Pushes messages to a yardstick's watches, all at once.
pub async fn push_all(channels: &[Channel], messages: &[Bytes]) -> anyhow::Result<()> {
    let pairs = messages.iter().zip(channels.iter().cycle());
    try_join_all(pairs.map(|(message, channel)| wire::unary(channel, yardstick::PUSH, message.clone())))
        .await?;
    Ok(())
}
