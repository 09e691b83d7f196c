//! The yardstick: the least that a tonic server can do for the same bytes on the wire.
//!
//! It runs as a process of its own, as the gateway does: `bench yardstick` prints where it listens and serves until
//! it is killed. `Keep` gives it the bytes to answer with, `Answer` is a unary call that answers with them, `Watch` a
//! stream of everything that `Push` is given.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::wire::Raw;

/// Gives the bytes that `ANSWER` answers with.
pub const KEEP: &str = "/bench.Yardstick/Keep";
/// Answers with the bytes kept.
pub const ANSWER: &str = "/bench.Yardstick/Answer";
/// Everything that is pushed from now on.
pub const WATCH: &str = "/bench.Yardstick/Watch";
/// Sends one message to every watch.
pub const PUSH: &str = "/bench.Yardstick/Push";

/// How many messages a watch may fall behind.
const BACKLOG: usize = 4096;

/// Serves on a free loopback port, which `listening` is told of, until the future is dropped.
pub async fn serve(listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    listening(listener.local_addr()?);
    let shared = Shared { kept: Arc::default(), pushed: broadcast::Sender::new(BACKLOG) };
    Server::builder()
        .add_service(Yardstick(shared))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

#[derive(Clone)]
struct Shared {
    kept: Arc<RwLock<Bytes>>,
    pushed: broadcast::Sender<Bytes>,
}

type Coming<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;
type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

struct Keep(Shared);

impl UnaryService<Bytes> for Keep {
    type Response = Bytes;
    type Future = Coming<Response<Bytes>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        *self.0.kept.write().unwrap_or_else(PoisonError::into_inner) = request.into_inner();
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

struct Answer(Shared);

impl UnaryService<Bytes> for Answer {
    type Response = Bytes;
    type Future = Coming<Response<Bytes>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let kept = self.0.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { Ok(Response::new(kept)) })
    }
}

struct Push(Shared);

impl UnaryService<Bytes> for Push {
    type Response = Bytes;
    type Future = Coming<Response<Bytes>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        // With nobody there, nobody is told.
        let _ = self.0.pushed.send(request.into_inner());
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

struct Watch(Shared);

impl ServerStreamingService<Bytes> for Watch {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Coming<Response<Messages>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let messages = stream::unfold(self.0.pushed.subscribe(), |mut pushed| async {
            let next = pushed.recv().await.map_err(|error| Status::internal(error.to_string()));
            Some((next, pushed))
        });
        Box::pin(async { Ok(Response::new(Box::pin(messages) as Messages)) })
    }
}

/// What tonic would generate for the four methods.
#[derive(Clone)]
struct Yardstick(Shared);

impl NamedService for Yardstick {
    const NAME: &'static str = "bench.Yardstick";
}

impl tower::Service<http::Request<Body>> for Yardstick {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        let mut grpc = Grpc::new(Raw);
        match request.uri().path() {
            KEEP => Box::pin(async move { Ok(grpc.unary(Keep(shared), request).await) }),
            ANSWER => Box::pin(async move { Ok(grpc.unary(Answer(shared), request).await) }),
            PUSH => Box::pin(async move { Ok(grpc.unary(Push(shared), request).await) }),
            WATCH => Box::pin(async move { Ok(grpc.server_streaming(Watch(shared), request).await) }),
            _ => Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}
