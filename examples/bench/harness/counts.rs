//! Instructions of the hot paths, in real servers under callgrind. The same on a busy machine as on a quiet one.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use drydock::api::pb;
use prost::Message as _;
use tonic::transport::Channel;

use super::callgrind::{self, Counted};
use super::crowd::{Ask, Crowd, WATCH_JOBS};
use super::home::Home;
use super::jobs::GET_JOB;
use super::row::number;
use super::rows::durable::UPGRADE;
use super::rows::fan_out::push_all;
use super::server::{Plan, Server};
use super::{admin, jobs, seed, wire, yardstick};

/// Two crowds; the difference is what their subscribers cost, without what an event costs anyway.
const CROWDS: [usize; 2] = [20, 220];
/// Events at once.
const BURST: usize = 16;
/// Calls counted.
const CALLS: usize = 300;
/// Jobs that are polled, how often, and for how long.
const POLLED: usize = 200;
const POLL: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);

/// Counts everything; the table as Markdown.
pub async fn measure(home: &Home) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let home = Home { under: callgrind::under(folder.path()), ..home.clone() };
    let counted = |process| Counted::new(process, folder.path().to_owned());
    let mut lines = Vec::new();

    let mut server = Server::prepare(&home, &Plan::QUIET).await?;
    let names = seed::running(&server.database(), &server.fleet.names(), 1000).await?;
    server.up().await?;
    let channels = server.connect(2).await?;
    let channel = channels.first().context("no connection")?;
    let ours = counted(server.id()?);
    let plain = home.yardstick().await?;
    let plain_channels = wire::connect(plain.address, 2).await?;
    let plain_channel = plain_channels.first().context("no connection")?;
    let theirs = counted(plain.id);

    let ask = |n: usize| {
        let name = names.get(n % names.len()).cloned().unwrap_or_default();
        Bytes::from(pb::GetJobRequest { name }.encode_to_vec())
    };
    let answer = wire::unary(channel, GET_JOB, ask(0)).await?;
    wire::unary(plain_channel, yardstick::KEEP, answer).await?;
    let our = per_call(&ours, channel, GET_JOB, ask).await?;
    let their = per_call(&theirs, plain_channel, yardstick::ANSWER, ask).await?;
    lines.push(("one `GetJob`".to_owned(), our, Some(("one bare unary call", their))));

    let target = |n| {
        Bytes::from(
            pb::UpgradeClusterRequest { target: jobs::target(n), ..Default::default() }.encode_to_vec(),
        )
    };
    let our = per_call(&ours, channel, UPGRADE, target).await?;
    lines.push(("one durable `UpgradeCluster`, 1 caller".to_owned(), our, None));
    server.stop().await?;

    let server = Server::start(&home, &Plan::QUIET).await?;
    let channels = server.connect(2).await?;
    let moved = jobs::scheduled(&channels, BURST).await?;
    let ours = counted(server.id()?);
    let watch = pb::WatchJobsRequest { skip_snapshot: true, ..Default::default() };
    let ask = Ask::Once(WATCH_JOBS, watch.encode_to_vec().into());
    let (our, messages) = per_delivery(&ours, &channels, &ask, |seconds| {
        let (channels, moved) = (channels.clone(), moved.clone());
        async move { jobs::move_all(&channels, &moved, seconds).await }
    })
    .await?;
    let ask = Ask::Once(yardstick::WATCH, Bytes::new());
    let (their, _) = per_delivery(&theirs, &plain_channels, &ask, |_| {
        let (channels, messages) = (plain_channels.clone(), messages.clone());
        async move { push_all(&channels, &messages).await }
    })
    .await?;
    lines.push((
        "one event to one more subscriber".to_owned(),
        our,
        Some(("one message of a bare broadcast", their)),
    ));
    plain.stop().await;
    server.stop().await?;
    lines.push(("one look at one running job".to_owned(), per_look(&home, &counted).await?, None));

    let mut text =
        "| what | instructions | yardstick | instructions | times |\n|---|---|---|---|---|\n".to_owned();
    for (what, our, yardstick) in lines {
        let (of, their, times) = yardstick
            .map_or((String::new(), String::new(), String::new()), |(of, n)| {
                (of.to_owned(), number(n), number(our / n))
            });
        text.push_str(&format!("| {what} | {} | {of} | {their} | {times} |\n", number(our)));
    }
    Ok(text)
}

async fn per_call(
    counted: &Counted,
    channel: &Channel,
    path: &'static str,
    request: impl Fn(usize) -> Bytes,
) -> anyhow::Result<f64> {
    // The first calls warm it up.
    for n in 0..CALLS / 4 {
        wire::unary(channel, path, request(n)).await?;
    }
    let calls = async {
        for n in CALLS..CALLS * 2 {
            wire::unary(channel, path, request(n)).await?;
        }
        anyhow::Ok(())
    };
    let (count, ()) = counted.during(calls).await?;
    Ok(count / CALLS as f64)
}

/// What one more subscriber costs with each message, and the messages of a burst.
async fn per_delivery<F: Future<Output = anyhow::Result<()>>>(
    counted: &Counted,
    channels: &[Channel],
    ask: &Ask,
    burst: impl Fn(i64) -> F,
) -> anyhow::Result<(f64, Vec<Bytes>)> {
    let (mut counts, mut messages) = (Vec::new(), Vec::new());
    let mut crowds = Vec::new();
    let mut size = 0;
    for (n, wanted) in (1..).zip(CROWDS) {
        let crowd = Crowd::open(channels, ask, wanted - size).await?;
        size = wanted;
        crowds.push(crowd);
        burst(n * 10).await?;
        for crowd in &crowds {
            messages = crowd.quiet().await;
        }
        let (count, ()) = counted
            .during(async {
                burst(n * 10 + 1).await?;
                for crowd in &crowds {
                    crowd.quiet().await;
                }
                anyhow::Ok(())
            })
            .await?;
        counts.push(count);
    }
    for crowd in crowds {
        crowd.leave().await;
    }
    let (few, many) = (counts.first().context("no count")?, counts.last().context("no count")?);
    let more = (size - CROWDS[0]) * messages.len();
    Ok(((many - few) / more as f64, messages))
}

/// What one look at one job costs, with its share of everything that goes on.
async fn per_look(home: &Home, counted: &impl Fn(u32) -> Counted) -> anyhow::Result<f64> {
    let plan = Plan { targets: POLLED, held: true, budget: Some(10_000.0), poll: Some(POLL), ..Plan::SMALL };
    let server = Server::start(home, &plan).await?;
    let channels = server.connect(1).await?;
    let targets: Vec<_> = (0..POLLED).flat_map(|n| server.fleet.targets(n)).collect();
    jobs::start(channels.first().context("no connection")?, &targets).await?;
    loop {
        let (_, metrics) = server.page("/metrics").await?;
        if admin::sum_where(&metrics, "drydock_jobs_live", "\"RUNNING\"") >= POLLED as f64 {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let looks = async || {
        let (_, metrics) = server.page("/metrics").await?;
        anyhow::Ok(admin::sum_where(&metrics, "drydock_round_jobs_sum", "\"observe\""))
    };
    let before = looks().await?;
    let (count, ()) = counted(server.id()?)
        .during(async {
            tokio::time::sleep(WINDOW).await;
            Ok(())
        })
        .await?;
    let count = count / (looks().await? - before).max(1.0);
    server.stop().await?;
    Ok(count)
}
