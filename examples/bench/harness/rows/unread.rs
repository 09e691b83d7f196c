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

/// What one that never reads may hold, in bytes: its place, a portion of what is on its way (32 KiB, as tonic packs it
/// for the wire), and that once more in HTTP/2's hands.
const ROOM: f64 = 80.0 * 1024.0;
/// So many events fill what is on the way to one that does not read; from then on it must hold no more.
const FILL: usize = 320;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(1);
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
    let mut readers = Readers { crowd, callers: callers.clone(), names, each: 0, time: 1 };
    jobs::move_all(&callers, &readers.names, readers.time).await?;
    readers.crowd.quiet().await;
    readers.each = usize::try_from(readers.crowd.count())? / size;
    ensure!(readers.each >= readers.names.len(), "{} events of a burst", readers.each);

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
        readers.told(fill).await?;
        tokio::time::sleep(SETTLE).await;
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

    let ratios: Vec<_> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let rate = Row::new(
        "unread",
        format!("{size} readers beside {size} subscribers that never read"),
        Figure::new("with them", median(&with), "deliveries/s"),
        Figure::new("without them", median(&without), "deliveries/s"),
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
        rate.with_ratios(&ratios),
        memory.beside(vec![
            Figure::new("events that came for it", events as f64, ""),
            Figure::new("of it, by the later half of them", median(&grown), "bytes"),
            Figure::new("that read on in the end, and missed nothing", judged as f64, "subscribers"),
        ]),
    ])
}

/// Those who read, and what they are told.
struct Readers {
    crowd: Crowd,
    callers: Vec<Channel>,
    names: Vec<String>,
    /// How many events a burst has.
    each: usize,
    time: i64,
}

impl Readers {
    /// Fires so many bursts, each when all have the one before. Deliveries a second.
    async fn told(&mut self, bursts: usize) -> anyhow::Result<f64> {
        let (begun, before) = (Instant::now(), self.crowd.deliveries());
        for _ in 0..bursts {
            self.time += 1;
            let (moved, told) = tokio::join!(
                jobs::move_all(&self.callers, &self.names, self.time),
                self.crowd.all_told(self.crowd.count(), self.each)
            );
            moved?;
            told?;
        }
        Ok((self.crowd.deliveries() - before) as f64 / begun.elapsed().as_secs_f64())
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
