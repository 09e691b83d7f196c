//! Many open streams on a few connections, and a count of what they are told.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use drydock::api::pb;
use drydock::kit::tasks::Tasks;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pb::watch_jobs_response::Message as Said;
use prost::Message as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{etcd, wire};

/// `WatchJobs`
pub const WATCH_JOBS: &str = "/drydock.v1.JobService/WatchJobs";
/// How many streams are opened at once.
const AT_ONCE: usize = 64;
/// After so long without a message, nothing more is expected.
const QUIET: Duration = Duration::from_millis(500);
/// How long deliveries may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a stream is opened.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A call with one request, for messages such as a watch of jobs has. It is open when it is answered.
    Once(&'static str, Bytes),
    /// A watch of jobs that begins with them as they stand. It is open when it has said `synced`, and what it said until
    /// then is not counted.
    Jobs(pb::WatchJobsRequest),
    /// A watch of etcd's, with its first request. It is open when it has said something.
    Etcd(&'static str, Bytes),
}

/// Open streams.
pub struct Crowd {
    told: Arc<Told>,
    tasks: Tasks,
    size: usize,
}

#[derive(Default)]
struct Told {
    /// Events so far, over all streams.
    count: AtomicU64,
    /// Deliveries so far.
    deliveries: AtomicU64,
    /// The count that somebody waits for.
    wanted: AtomicU64,
    reached: Notify,
    /// All that the first stream of each connection was told.
    recorded: Vec<Mutex<Vec<Bytes>>>,
    /// How much of the first stream's was asked for.
    asked: AtomicUsize,
    failed: Mutex<Option<Status>>,
}

impl Crowd {
    /// Opens so many streams, on each connection as many.
    pub async fn open(channels: &[Channel], ask: &Ask, size: usize) -> anyhow::Result<Self> {
        let recorded = channels.iter().take(size).map(|_| Mutex::default()).collect();
        let (told, tasks) = (Arc::new(Told { recorded, ..Told::default() }), Tasks::new());
        let opened = channels.iter().cycle().take(size).enumerate().map(|(n, channel)| {
            let (told, tasks, weigh) = (Arc::clone(&told), tasks.clone(), ask.weigh());
            async move {
                let (first, messages) = ask.stream(channel).await.context("opening a watch")?;
                if let Some(record) = told.recorded.get(n) {
                    record.lock().unwrap_or_else(PoisonError::into_inner).extend(first);
                }
                let token = tasks.token().clone();
                tasks.spawn("watch", async move {
                    let _ = token.run_until_cancelled(told.listen(messages, n, weigh)).await;
                });
                anyhow::Ok(())
            }
        });
        stream::iter(opened).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        told.asked.store(told.record(0).len(), Ordering::SeqCst);
        Ok(Self { told, tasks, size })
    }

    /// How many streams there are.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Waits until every stream was told so many events more than at the count `before`.
    pub async fn all_told(&self, before: u64, each: usize) -> anyhow::Result<()> {
        let wanted = before + (self.size * each) as u64;
        self.told.wanted.store(wanted, Ordering::SeqCst);
        let waiting = async {
            while self.count() < wanted && self.failure().is_none() {
                // The count may have been reached before anybody listened.
                let _ = tokio::time::timeout(Duration::from_millis(50), self.told.reached.notified()).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .with_context(|| format!("only {} of {wanted} messages were delivered", self.count()))?;
        self.failure().map_or(Ok(()), |status| Err(status.into()))
    }

    /// Waits until nothing more comes; what the first stream was told since this was asked last.
    pub async fn quiet(&self) -> Vec<Bytes> {
        let (mut seen, mut since) = (self.count(), Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.count() != seen {
                (seen, since) = (self.count(), Instant::now());
            }
        }
        let all = self.told.record(0);
        let asked = self.told.asked.swap(all.len(), Ordering::SeqCst);
        all.get(asked..).unwrap_or_default().to_vec()
    }

    /// All that the first stream of each connection was told, from its beginning.
    pub fn recordings(&self) -> Vec<Vec<Bytes>> {
        (0..self.told.recorded.len()).map(|n| self.told.record(n)).collect()
    }

    /// Events so far, over all streams.
    pub fn count(&self) -> u64 {
        self.told.count.load(Ordering::SeqCst)
    }

    /// Deliveries so far: messages with events, or at etcd, which puts into a message whatever came together, events.
    pub fn deliveries(&self) -> u64 {
        self.told.deliveries.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<Status> {
        self.told.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every stream.
    pub async fn leave(self) {
        self.tasks.shutdown(Duration::from_secs(10)).await;
    }
}

/// How many events a message has, and for how many deliveries it counts.
type Weigh = fn(&Bytes) -> (u64, u64);

/// A `WatchJobsResponse`, as far as its events must be counted.
#[derive(Clone, PartialEq, prost::Message)]
struct Counted {
    #[prost(message, optional, tag = "3")]
    batch: Option<CountedBatch>,
}

/// An `EventBatch`, as far as its events must be counted.
#[derive(Clone, PartialEq, prost::Message)]
struct CountedBatch {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    events: Vec<Bytes>,
}

fn events(message: &Bytes) -> u64 {
    // One that cannot be read counts for nothing, so that whoever waits for it says so.
    let batch = Counted::decode(message.clone()).ok().and_then(|counted| counted.batch);
    batch.map_or(0, |batch| batch.events.len() as u64)
}

impl Told {
    fn record(&self, n: usize) -> Vec<Bytes> {
        let record = self.recorded.get(n).map(|record| record.lock().unwrap_or_else(PoisonError::into_inner));
        record.map(|record| record.clone()).unwrap_or_default()
    }

    async fn listen(&self, mut messages: Streaming<Bytes>, n: usize, weigh: Weigh) {
        loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    let (weight, deliveries) = weigh(&message);
                    self.deliveries.fetch_add(deliveries, Ordering::SeqCst);
                    if let Some(record) = self.recorded.get(n) {
                        record.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                    }
                    let before = self.count.fetch_add(weight, Ordering::SeqCst);
                    let wanted = self.wanted.load(Ordering::SeqCst);
                    if before < wanted && before + weight >= wanted {
                        self.reached.notify_one();
                    }
                }
                Ok(None) => return self.fail(Status::aborted("a watch ended")),
                Err(status) => return self.fail(status),
            }
        }
    }

    fn fail(&self, status: Status) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.reached.notify_one();
    }
}

impl Ask {
    /// Jobs, as a client commonly asks for them: as they stand, then every event.
    pub fn jobs() -> Self {
        Self::Jobs(pb::WatchJobsRequest::default())
    }

    fn weigh(&self) -> Weigh {
        match self {
            Self::Once(..) | Self::Jobs(_) => |message| {
                let events = events(message);
                (events, events.min(1))
            },
            Self::Etcd(..) => |message| {
                let events = etcd::events(message);
                (events, events)
            },
        }
    }

    /// The stream, and what it said until it was open.
    async fn stream(&self, channel: &Channel) -> anyhow::Result<(Vec<Bytes>, Streaming<Bytes>)> {
        match self {
            Self::Once(path, request) => Ok((Vec::new(), wire::watch(channel, path, request.clone()).await?)),
            Self::Jobs(request) => {
                let mut messages = wire::watch(channel, WATCH_JOBS, request.encode_to_vec().into()).await?;
                let mut first = Vec::new();
                loop {
                    let message = messages.message().await?.context("ended before it was synced")?;
                    let said = pb::WatchJobsResponse::decode(message.clone())?.message;
                    first.push(message);
                    if matches!(said, Some(Said::Synced(_))) {
                        return Ok((first, messages));
                    }
                }
            }
            Self::Etcd(path, request) => {
                let mut messages = wire::converse(channel, path, request.clone()).await?;
                messages.message().await?;
                Ok((Vec::new(), messages))
            }
        }
    }
}
