//! Subscribers that never read: what the others notice of them, and what they hold in memory.
//!
//! The same readers are measured by turns without and with as many others who open a watch and take nothing from it,
//! half of them with every event, half with the latest state only. At the end some of those read on, and must be told
//! everything.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use drydock::api::pb;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tokio::time::Instant;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::harness::crowd::{Ask, Crowd, WATCH_JOBS};
use crate::harness::judged::{Before, Judge};
use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, jobs, usage, wire};

/// What one that never reads may hold, in bytes: its place, a piece of what is on its way (32 KiB, where it is not shared),
/// and that once more in HTTP/2's hands.
const ROOM: f64 = 80.0 * 1024.0;
/// So many events fill what is on the way to one that does not read; from then on it must hold no more.
const FILL: usize = 320;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(1);
/// A server that takes less than this part of a processor has nothing to do, and so long it is given to come to that.
const IDLE_SHARE: f64 = 0.05;
const RESTS_WITHIN: Duration = Duration::from_secs(60);
/// How many watches are opened at once.
const AT_ONCE: usize = 64;

/// A watch that nobody reads.
struct Unread {
    latest_only: bool,
    messages: Streaming<Bytes>,
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let options = &bench.options;
    let size = options.unread;
    let server = Server::start(&bench.home, &Plan::SMALL).await?;
    let callers = server.connect(4).await?;
    let first = callers.first().context("no connection")?;
    let names = jobs::scheduled(&callers, options.burst).await?;
    let before = Before::of(first, &names).await?;
    let channels = server.connect(options.connections(size)).await?;
    let crowd = Crowd::open(&channels, &Ask::jobs(), size).await?;
    let each = 2 * names.len();
    let process = server.id()?;
    let mut readers = Readers { process, crowd, callers: callers.clone(), names, each, time: 0 };
    let (bursts, fill) = (options.bursts(size), FILL.div_ceil(options.burst.max(1)));
    readers.told(bursts).await?;
    let (mut without, mut with, mut held, mut grown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut kept = Vec::new();
    for _ in 0..options.rounds.max(1) {
        // Those of the round before leave.
        drop(std::mem::take(&mut kept));
        tokio::time::sleep(SETTLE).await;
        without.push(readers.told(bursts).await?);
        tokio::time::sleep(SETTLE).await;
        let empty = usage::memory(server.id()?)?;
        let narrow = wire::connect_narrow(server.address(), options.connections(size)).await?;
        kept = open(&narrow, size).await?;
        // What it takes to open them is not what it costs that nobody reads them.
        readers.rested().await?;
        readers.told(fill).await?;
        readers.rested().await?;
        let full = usage::memory(server.id()?)?;
        with.push(readers.told(bursts).await?);
        tokio::time::sleep(SETTLE).await;
        let later = usage::memory(server.id()?)?;
        held.push((later - empty).max(0.0) / size as f64);
        grown.push((later - full) / size as f64);
    }
    let events = (fill + bursts) * readers.each;
    readers.crowd.quiet().await;
    let judge = before.until_now(first).await?;
    readers.crowd.recordings().iter().try_for_each(|told| judge.judge(false, told))?;
    let judged = read_on(kept, &judge, options.per_connection).await?;
    readers.crowd.leave().await;
    server.stop().await?;

    let ratios: Vec<_> = with.iter().zip(&without).map(|(with, without)| with.rate / without.rate).collect();
    let [rates, costs] = [|pace: &Pace| pace.rate, |pace: &Pace| pace.cost].map(|of: fn(&Pace) -> f64| {
        [&with, &without].map(|all| median(&all.iter().map(of).collect::<Vec<_>>()))
    });
    let rate = Row::new(
        "unread",
        format!("{size} readers beside {size} subscribers that never read"),
        Figure::new("with them", rates[0], "deliveries/s"),
        Figure::new("without them", rates[1], "deliveries/s"),
        Goal::AtLeast(0.9),
    );
    let memory = Row::new(
        "unread_memory",
        format!("memory of a subscriber that never reads, {size} of them"),
        // Memory that one round's leave behind serves the next, so the greatest counts.
        Figure::new("WatchJobs", held.iter().copied().fold(0.0, f64::max), "bytes"),
        Figure::new("the room it may take", ROOM, "bytes"),
        Goal::AtMost(1.0),
    );
    Ok(vec![
        rate.with_ratios(&ratios).beside(vec![
            Figure::new("server's processor time each", costs[0], "µs"),
            Figure::new("without them", costs[1], "µs"),
        ]),
        memory.beside(vec![
            Figure::new("events that came for it", events as f64, ""),
            Figure::new("of it, by the later half of them", median(&grown), "bytes"),
            Figure::new("that read on in the end, and missed nothing", judged as f64, "subscribers"),
        ]),
    ])
}

/// Those who read, and what they are told.
struct Readers {
    /// The server.
    process: u32,
    crowd: Crowd,
    callers: Vec<Channel>,
    names: Vec<String>,
    /// How many events a burst has.
    each: usize,
    time: i64,
}

/// How quickly they were told.
struct Pace {
    /// Deliveries a second.
    rate: f64,
    /// The server's processor time for each, in microseconds.
    cost: f64,
}

impl Readers {
    /// Waits until the server has nothing more to do.
    async fn rested(&self) -> anyhow::Result<()> {
        let resting = async {
            loop {
                let cpu = usage::cpu_seconds(self.process)?;
                tokio::time::sleep(SETTLE).await;
                if usage::cpu_seconds(self.process)? - cpu < IDLE_SHARE * SETTLE.as_secs_f64() {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(RESTS_WITHIN, resting).await.context("the server never rests")?
    }

    /// Fires so many bursts, each when all have the one before.
    async fn told(&mut self, bursts: usize) -> anyhow::Result<Pace> {
        let (cpu, before) = (usage::cpu_seconds(self.process)?, self.crowd.deliveries());
        let begun = Instant::now();
        for _ in 0..bursts {
            self.time += 1;
            let (moved, told) = tokio::join!(
                jobs::move_all(&self.callers, &self.names, self.time),
                self.crowd.all_told(self.crowd.count(), self.each)
            );
            moved?;
            told?;
        }
        let delivered = (self.crowd.deliveries() - before) as f64;
        let rate = delivered / begun.elapsed().as_secs_f64();
        Ok(Pace { rate, cost: (usage::cpu_seconds(self.process)? - cpu) / delivered * 1e6 })
    }
}

/// Opens so many watches, and takes nothing from them.
async fn open(channels: &[Channel], size: usize) -> anyhow::Result<Vec<Unread>> {
    let numbered = channels.iter().cycle().enumerate().take(size);
    let calls = numbered.map(|(n, channel)| async move {
        // By turns on each connection.
        let latest_only = (n / channels.len()).is_multiple_of(2);
        let mode = if latest_only { pb::WatchMode::LatestState } else { pb::WatchMode::EveryEvent };
        let request = pb::WatchJobsRequest { mode: mode.into(), ..Default::default() };
        let messages = wire::watch(channel, WATCH_JOBS, request.encode_to_vec().into()).await?;
        anyhow::Ok(Unread { latest_only, messages })
    });
    stream::iter(calls).buffered(AT_ONCE).try_collect().await
}

/// Lets some of each kind read from where they are to the end, when all others have gone, and judges what they were
/// told. How many.
async fn read_on(mut watches: Vec<Unread>, judge: &Judge, per_connection: usize) -> anyhow::Result<usize> {
    let few = watches.len().div_ceil(per_connection.max(1)) * 2;
    watches.truncate(few);
    ensure!(watches.iter().any(|watch| watch.latest_only), "nobody with the latest state only");
    let reading = watches.iter_mut().map(|watch| async move {
        let told = judge.read_on(&mut watch.messages).await?;
        judge.judge(watch.latest_only, &told)
    });
    stream::iter(reading).buffer_unordered(few).try_collect::<Vec<()>>().await?;
    Ok(few)
}
