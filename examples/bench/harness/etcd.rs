//! etcd, when it is there: its watches with as many subscribers and as many bytes, for comparison.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::try_join_all;
use prost::Message;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::crowd::Ask;
use super::process::free_port;
use super::wire;

const PUT: &str = "/etcdserverpb.KV/Put";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEY: &[u8] = b"job";

/// `etcdserverpb.PutRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.WatchRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreateRequest>,
}

/// `etcdserverpb.WatchCreateRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// `etcdserverpb.WatchResponse`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bytes = "bytes", repeated, tag = "11")]
    events: Vec<Bytes>,
}

/// A running etcd on a folder of its own.
pub struct Etcd {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts it; `None` when there is none on the PATH.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let random = |least, most| rand::random_range(least..=most);
        let (address, peer) = (free_port(random)?, free_port(random)?);
        let spawned = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &format!("http://{address}")])
            .args(["--advertise-client-urls", &format!("http://{address}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(["--initial-cluster", &format!("default=http://{peer}")])
            .args(["--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let etcd = Self { address, child, _folder: folder };
        let begun = Instant::now();
        while let Err(error) = etcd.first_put().await {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(error.context("etcd never served"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Some(etcd))
    }

    async fn first_put(&self) -> anyhow::Result<()> {
        let channels = wire::connect(self.address, 1).await?;
        put(channels.first().context("no connection")?, Bytes::from_static(b"up")).await
    }

    /// Its process.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("etcd ended by itself")
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub async fn stop(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }
}

/// Writes values, all at once, which every watch is told of.
pub async fn put_all(channels: &[Channel], values: &[Bytes]) -> anyhow::Result<()> {
    let pairs = values.iter().zip(channels.iter().cycle());
    try_join_all(pairs.map(|(value, channel)| put(channel, value.clone()))).await?;
    Ok(())
}

async fn put(channel: &Channel, value: Bytes) -> anyhow::Result<()> {
    let request = PutRequest { key: Bytes::from_static(KEY), value };
    wire::unary(channel, PUT, request.encode_to_vec().into()).await?;
    Ok(())
}

/// A watch of what [`put_all`] writes.
pub fn watch() -> Ask {
    let create = Some(WatchCreateRequest { key: Bytes::from_static(KEY) });
    Ask::Etcd(WATCH, WatchRequest { create }.encode_to_vec().into())
}

/// How many events a message of a watch has.
pub fn events(message: &Bytes) -> u64 {
    // One that cannot be read counts for nothing, so that whoever waits for it says so.
    WatchResponse::decode(message.clone()).map_or(0, |answer| answer.events.len() as u64)
}
