//! A small TCP proxy that cuts connections when told: before a request, after it, or in the middle of its answer.
//! It stands before vendors and before databases.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long an answer is kept back that is not to come; most callers give up before.
const SWALLOWED: Duration = Duration::from_secs(3);

/// What happens to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection breaks before the request leaves.
    BeforeRequest,
    /// The request arrives, and the connection breaks when its answer comes.
    AfterRequest,
    /// Half of the answer's first piece arrives.
    MidAnswer,
    /// The request arrives, and its answer never comes: the caller's patience ends it, or after three seconds the
    /// proxy's.
    SwallowAnswer,
}

impl Cut {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::BeforeRequest, Self::AfterRequest, Self::MidAnswer, Self::SwallowAnswer];
}

/// Where connections go, and what happens to them.
struct Way {
    to: SocketAddr,
    cuts: Mutex<Cuts>,
    /// Requests so far.
    requests: AtomicU64,
    /// Counts up when every connection is to break.
    severed: watch::Sender<u64>,
}

#[derive(Default)]
struct Cuts {
    /// For each request to come; `None` lets it pass.
    any: VecDeque<Option<Cut>>,
    /// For each commit of a PostgreSQL transaction to come.
    commits: VecDeque<Option<Cut>>,
}

impl Cuts {
    fn of(&mut self, request: &[u8]) -> Option<Cut> {
        // With the zero that ends a query: BEGIN says "READ COMMITTED".
        let commits = !self.commits.is_empty() && request.windows(7).any(|word| word == b"COMMIT\0");
        let cut = if commits { self.commits.pop_front().flatten() } else { None };
        cut.or_else(|| self.any.pop_front().flatten())
    }
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
    tasks: Tasks,
}

impl Proxy {
    /// Listens on a free loopback port, for `to`.
    pub async fn start(to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let way =
            Way { to, cuts: Mutex::default(), requests: AtomicU64::new(0), severed: watch::Sender::new(0) };
        let (way, tasks) = (Arc::new(way), Tasks::new());
        let (inner, connections) = (Arc::clone(&way), tasks.clone());
        tasks.spawn("proxy", async move {
            let token = connections.token().clone();
            loop {
                let accepted = tokio::select! {
                    () = token.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (Ok((stream, _)), way, token) = (accepted, Arc::clone(&inner), token.clone()) else {
                    continue;
                };
                let mut severed = way.severed.subscribe();
                connections.spawn("proxied connection", async move {
                    tokio::select! {
                        () = token.cancelled() => {}
                        _ = severed.changed() => {}
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
        self.way.cuts(|cuts| cuts.any.extend(std::iter::repeat_n(None, pass).chain([Some(cut)])));
    }

    /// The same for the commits of a database.
    pub fn cut_commit(&self, pass: usize, cut: Cut) {
        self.way.cuts(|cuts| cuts.commits.extend(std::iter::repeat_n(None, pass).chain([Some(cut)])));
    }

    /// Breaks every connection at once, whatever is on it.
    pub fn sever(&self) {
        self.way.severed.send_modify(|count| *count += 1);
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.way.requests.load(Ordering::SeqCst)
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.way.cuts(|cuts| *cuts = Cuts::default());
    }

    /// Cuts every connection and listens no more.
    pub async fn stop(&self) {
        self.tasks.shutdown(Duration::from_secs(2)).await;
    }
}

impl Way {
    fn cuts<T>(&self, change: impl FnOnce(&mut Cuts) -> T) -> T {
        change(&mut self.cuts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Carries one connection until either side, or a cut, ends it. What goes wrong below is what a proxy's
    /// caller sees too: an end.
    async fn carry(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.to).await else { return };
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut pending = None;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Some(piece) = read.ok().and_then(|n| up.get(..n)).filter(|p| !p.is_empty()) else { return };
                    self.requests.fetch_add(1, Ordering::SeqCst);
                    if pending.is_none() {
                        pending = self.cuts(|cuts| cuts.of(piece));
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
                            let gives_up = async { while client.read(&mut up).await.is_ok_and(|n| n > 0) {} };
                            // Either way the connection ends.
                            let _ = tokio::time::timeout(SWALLOWED, gives_up).await;
                            return;
                        }
                    }
                }
            }
        }
    }
}
