//! gRPC with ready bytes on both sides, for yardsticks and for the load: nobody encodes or decodes, so what is
//! measured is the way of the bytes.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// Messages as they stand on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What HTTP/2 lets a sender have on its way, in bytes, to a client that asks for no more.
const PLAIN_WINDOW: u32 = 65_535;

/// So many connections to a server.
pub async fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Channel>> {
    connect_as(Endpoint::from_shared(format!("http://{address}"))?, count).await
}

/// The same, of clients with HTTP/2's own windows, so that a server soon notices who does not read.
pub async fn connect_narrow(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(PLAIN_WINDOW)
        .initial_connection_window_size(PLAIN_WINDOW);
    connect_as(endpoint, count).await
}

async fn connect_as(endpoint: Endpoint, count: usize) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// One call with one answer.
pub async fn unary(channel: &Channel, path: &'static str, request: Bytes) -> Result<Bytes, Status> {
    let mut grpc = ready(channel).await?;
    let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(path), Raw).await;
    answer.map(Response::into_inner)
}

/// One call with a stream of answers.
pub async fn watch(
    channel: &Channel,
    path: &'static str,
    request: Bytes,
) -> Result<Streaming<Bytes>, Status> {
    talk(channel, path, stream::iter([request])).await
}

/// One call with a stream on both sides, of which ours says one thing and stays open.
pub async fn converse(
    channel: &Channel,
    path: &'static str,
    request: Bytes,
) -> Result<Streaming<Bytes>, Status> {
    talk(channel, path, stream::iter([request]).chain(stream::pending())).await
}

async fn talk(
    channel: &Channel,
    path: &'static str,
    ours: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Streaming<Bytes>, Status> {
    let mut grpc = ready(channel).await?;
    let answer = grpc.streaming(Request::new(ours), PathAndQuery::from_static(path), Raw).await;
    answer.map(Response::into_inner)
}

async fn ready(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc)
}
