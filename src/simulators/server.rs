//! Serves a simulator on a port, and can cut a connection without an answer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceExt, service_fn};

use crate::kit::tasks::{Ended, Tasks};

/// A running simulator's server. Stops when told to; tests can also just drop it with their runtime.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    tasks: Tasks,
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base address, `http://ip:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and cuts open connections.
    pub async fn stop(&self) -> Ended {
        self.tasks.shutdown(Duration::from_secs(2)).await
    }
}

/// Marks an answer that must not be sent: the connection is cut instead.
#[derive(Clone, Copy, Debug)]
struct Cut;

/// An answer that the server never sends: it cuts the connection instead.
pub fn cut_connection() -> Response {
    let mut answer = Response::new(Body::empty());
    answer.extensions_mut().insert(Cut);
    answer
}

/// Serves `router` on `address` (port 0 picks a free one).
pub async fn serve(address: SocketAddr, router: Router) -> io::Result<Running> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("simulator accept", async move {
        loop {
            let accepted = tokio::select! {
                () = connections.token().cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let router = router.clone();
            let token = connections.token().clone();
            connections.spawn("simulator connection", async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let router = router.clone();
                    async move {
                        let answer: Result<Response, Infallible> =
                            router.oneshot(request.map(Body::new)).await;
                        match answer {
                            Ok(answer) if answer.extensions().get::<Cut>().is_some() => {
                                Err(io::Error::from(io::ErrorKind::ConnectionReset))
                            }
                            Ok(answer) => Ok(answer),
                            Err(never) => match never {},
                        }
                    }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                tokio::select! {
                    () = token.cancelled() => {}
                    // A cut connection ends with the error that cut it: that is its purpose.
                    _ = connection => {}
                }
            });
        }
    });
    Ok(Running { address, tasks })
}
