//! A small TCP proxy that cuts connections when told: before a request, after it, or in the middle of its answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection breaks before the request leaves.
    BeforeRequest,
    /// The request arrives, and the connection breaks when its answer comes.
    AfterRequest,
    /// Half of the answer's first piece arrives.
    MidAnswer,
    /// The request arrives, and its answer never comes: the caller's patience ends it.
    SwallowAnswer,
}

impl Cut {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::BeforeRequest, Self::AfterRequest, Self::MidAnswer, Self::SwallowAnswer];
}

/// Where a connection goes, and what happens to it. Clones share it.
#[derive(Clone)]
struct Way {
    to: SocketAddr,
    /// For each request to come; `None` lets it pass.
    cuts: Arc<Mutex<VecDeque<Option<Cut>>>>,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    way: Way,
    tasks: Tasks,
}

impl Proxy {
    /// Listens on a free loopback port, for `to`.
    pub async fn start(to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (way, tasks) = (Way { to, cuts: Arc::default() }, Tasks::new());
        let (inner, connections) = (way.clone(), tasks.clone());
        tasks.spawn("proxy", async move {
            let token = connections.token().clone();
            loop {
                let accepted = tokio::select! {
                    () = token.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (Ok((stream, _)), way, token) = (accepted, inner.clone(), token.clone()) else {
                    continue;
                };
                connections.spawn("proxied connection", async move {
                    tokio::select! {
                        () = token.cancelled() => {}
                        () = way.carry(stream) => {}
                    }
                });
            }
        });
        Ok(Self { address, way, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the request suffer that comes after `pass` others; several are taken one after the other.
    pub fn cut(&self, pass: usize, cut: Cut) {
        let mut cuts = self.way.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.extend(std::iter::repeat_n(None, pass).chain([Some(cut)]));
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.way.cuts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Cuts every connection and listens no more.
    pub async fn stop(&self) {
        self.tasks.shutdown(Duration::from_secs(2)).await;
    }
}

impl Way {
    /// Carries one connection until either side, or a cut, ends it. What goes wrong below is what a proxy's
    /// caller sees too: an end.
    async fn carry(self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.to).await else { return };
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut pending = None;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Some(piece) = read.ok().and_then(|n| up.get(..n)).filter(|p| !p.is_empty()) else { return };
                    if pending.is_none() {
                        pending = self.cuts.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten();
                    }
                    if pending == Some(Cut::BeforeRequest) || server.write_all(piece).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Some(piece) = read.ok().and_then(|n| down.get(..n)).filter(|p| !p.is_empty()) else { return };
                    match pending.take() {
                        None => {
                            if client.write_all(piece).await.is_err() {
                                return;
                            }
                        }
                        Some(Cut::BeforeRequest | Cut::AfterRequest) => return,
                        Some(Cut::MidAnswer) => {
                            let half = piece.get(..piece.len() / 2).unwrap_or_default();
                            // A client that is gone by now has its cut too.
                            let _ = client.write_all(half).await;
                            return;
                        }
                        Some(Cut::SwallowAnswer) => {
                            // Until the client gives up.
                            while client.read(&mut up).await.is_ok_and(|n| n > 0) {}
                            return;
                        }
                    }
                }
            }
        }
    }
}
