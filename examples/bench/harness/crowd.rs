//! Many open streams on a few connections, and a count of what they are told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use drydock::kit::tasks::Tasks;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::wire;

/// How many streams are opened at once.
const AT_ONCE: usize = 64;
/// After so long without a message, nothing more is expected.
const QUIET: Duration = Duration::from_millis(500);
/// How long deliveries may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a stream is opened.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A call with one request.
    Once(&'static str, Bytes),
    /// A call whose requests may go on, with its first one, as etcd has it. It is open when it has said something.
    Open(&'static str, Bytes),
}

/// Open streams.
pub struct Crowd {
    told: Arc<Told>,
    tasks: Tasks,
    size: usize,
}

#[derive(Default)]
struct Told {
    /// Messages so far, over all streams.
    count: AtomicU64,
    /// The count that somebody waits for.
    wanted: AtomicU64,
    reached: Notify,
    /// What the first stream was told.
    first: Mutex<Vec<Bytes>>,
    failed: Mutex<Option<Status>>,
}

impl Crowd {
    /// Opens so many streams.
    pub async fn open(channels: &[Channel], ask: &Ask, size: usize) -> anyhow::Result<Self> {
        let (told, tasks) = (Arc::<Told>::default(), Tasks::new());
        let opened = channels.iter().cycle().take(size).enumerate().map(|(n, channel)| {
            let (told, tasks) = (Arc::clone(&told), tasks.clone());
            async move {
                let messages = ask.stream(channel).await.context("opening a watch")?;
                let token = tasks.token().clone();
                tasks.spawn("watch", async move {
                    let _ = token.run_until_cancelled(told.listen(messages, n == 0)).await;
                });
                anyhow::Ok(())
            }
        });
        stream::iter(opened).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(Self { told, tasks, size })
    }

    /// How many streams there are.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Waits until every stream was told so many messages more than `before`.
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
        std::mem::take(&mut self.told.first.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Messages so far, over all streams.
    pub fn count(&self) -> u64 {
        self.told.count.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<Status> {
        self.told.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every stream.
    pub async fn leave(self) {
        self.tasks.shutdown(Duration::from_secs(10)).await;
    }
}

impl Told {
    async fn listen(&self, mut messages: Streaming<Bytes>, keeps: bool) {
        loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    if keeps {
                        self.first.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                    }
                    let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
                    if count == self.wanted.load(Ordering::SeqCst) {
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
    async fn stream(&self, channel: &Channel) -> Result<Streaming<Bytes>, Status> {
        match self {
            Self::Once(path, request) => wire::watch(channel, path, request.clone()).await,
            Self::Open(path, request) => {
                let mut messages = wire::converse(channel, path, request.clone()).await?;
                messages.message().await?;
                Ok(messages)
            }
        }
    }
}
