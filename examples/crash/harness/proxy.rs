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
use tokio::time::Instant;

/// How long an answer is kept back that is not to come; most callers give up before.
const SWALLOWED: Duration = Duration::from_secs(3);

/// What happens to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Requests that matter more than others, by their first piece: a start, a commit.
pub type Marked = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Hears of what struck.
pub trait Hear: Send + Sync {
    /// A cut struck the request that begins so, after it was armed for requests of all kinds or (`marked`) for those
    /// that matter more.
    fn cut(&self, cut: Cut, marked: bool, request: &[u8]);
    /// Somebody met a way that leads nowhere. Told once for each time.
    fn away(&self, until: Instant);
}

/// Where connections go, and what happens to them.
struct Way {
    to: SocketAddr,
    marked: Marked,
    cuts: Mutex<Cuts>,
    /// Requests so far, by the door that they came by.
    requests: Vec<AtomicU64>,
    /// Counts up when every connection is to break.
    severed: watch::Sender<u64>,
    ear: Box<dyn Hear>,
}

#[derive(Default)]
struct Cuts {
    /// For each request to come; `None` lets it pass.
    any: VecDeque<Option<Cut>>,
    /// For each marked request to come.
    marked: VecDeque<Option<Cut>>,
    /// Until when the way leads nowhere, and whether somebody met that.
    away: Option<(Instant, bool)>,
}

/// A cut on its way.
struct Pending {
    cut: Cut,
    marked: bool,
    request: Vec<u8>,
}

impl Cuts {
    fn of(&mut self, request: &[u8], is_marked: bool) -> Option<Pending> {
        let marked = if is_marked { self.marked.pop_front().flatten() } else { None };
        let cut = match marked {
            Some(cut) => Some((cut, true)),
            None => self.any.pop_front().flatten().map(|cut| (cut, false)),
        };
        cut.map(|(cut, marked)| Pending { cut, marked, request: request.to_owned() })
    }
}

/// A running proxy. It has several doors to the same place, so that it can be told who came.
pub struct Proxy {
    doors: Vec<SocketAddr>,
    way: Arc<Way>,
    tasks: Tasks,
}

impl Proxy {
    /// Listens on so many free loopback ports, for `to`.
    pub async fn start(
        to: SocketAddr,
        doors: usize,
        marked: Marked,
        ear: Box<dyn Hear>,
    ) -> std::io::Result<Self> {
        let way = Arc::new(Way {
            to,
            marked,
            cuts: Mutex::default(),
            requests: (0..doors).map(|_| AtomicU64::new(0)).collect(),
            severed: watch::Sender::new(0),
            ear,
        });
        let (tasks, mut addresses) = (Tasks::new(), Vec::new());
        for door in 0..doors {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            addresses.push(listener.local_addr()?);
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
                            () = way.carry(stream, door) => {}
                        }
                    });
                }
            });
        }
        Ok(Self { doors: addresses, way, tasks })
    }

    /// Where its first door is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.door(0)
    }

    /// Where a door is.
    pub fn door(&self, door: usize) -> Option<SocketAddr> {
        self.doors.get(door).copied()
    }

    /// Lets the request suffer that comes after `pass` others; several are taken one after the other.
    pub fn cut(&self, pass: usize, cut: Cut) {
        self.way.cuts(|cuts| cuts.any.extend(std::iter::repeat_n(None, pass).chain([Some(cut)])));
    }

    /// The same for the requests that matter more.
    pub fn cut_marked(&self, pass: usize, cut: Cut) {
        self.way.cuts(|cuts| cuts.marked.extend(std::iter::repeat_n(None, pass).chain([Some(cut)])));
    }

    /// Breaks every connection at once, whatever is on it. Says how many there were.
    pub fn sever(&self) -> usize {
        let there = self.way.severed.receiver_count();
        self.way.severed.send_modify(|count| *count += 1);
        there
    }

    /// Lets nobody through until then.
    pub fn go_away(&self, until: Instant) {
        self.way.cuts(|cuts| cuts.away = Some((until, false)));
        if self.sever() > 0 {
            self.way.is_away();
        }
    }

    /// Until when nobody gets through, if that is so now.
    pub fn away_until(&self) -> Option<Instant> {
        self.way.cuts(|cuts| cuts.away.map(|(until, _)| until).filter(|until| *until > Instant::now()))
    }

    /// How many requests came by a door so far.
    pub fn requests(&self, door: usize) -> u64 {
        self.way.requests.get(door).map_or(0, |count| count.load(Ordering::SeqCst))
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

    /// Whether the way leads nowhere now, for somebody who wants to go it.
    fn is_away(&self) -> bool {
        let (away, first) = self.cuts(|cuts| match &mut cuts.away {
            Some((until, met)) if *until > Instant::now() => (Some(*until), !std::mem::replace(met, true)),
            Some(_) | None => (None, false),
        });
        if let Some(until) = away.filter(|_| first) {
            self.ear.away(until);
        }
        away.is_some()
    }

    fn struck(&self, pending: &Pending) {
        self.ear.cut(pending.cut, pending.marked, &pending.request);
    }

    /// Carries one connection until either side, or a cut, ends it. What goes wrong below is what a proxy's
    /// caller sees too: an end.
    async fn carry(&self, mut client: TcpStream, door: usize) {
        if self.is_away() {
            return;
        }
        let Ok(mut server) = TcpStream::connect(self.to).await else { return };
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut pending: Option<Pending> = None;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Some(piece) = read.ok().and_then(|n| up.get(..n)).filter(|p| !p.is_empty()) else { return };
                    if let Some(count) = self.requests.get(door) {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    if pending.is_none() {
                        let is_marked = (self.marked)(piece);
                        pending = self.cuts(|cuts| cuts.of(piece, is_marked));
                    }
                    if let Some(pending) = pending.as_ref().filter(|pending| pending.cut == Cut::BeforeRequest) {
                        self.struck(pending);
                        return;
                    }
                    if server.write_all(piece).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Some(piece) = read.ok().and_then(|n| down.get(..n)).filter(|p| !p.is_empty()) else { return };
                    let Some(pending) = pending.take() else {
                        if client.write_all(piece).await.is_err() {
                            return;
                        }
                        continue;
                    };
                    self.struck(&pending);
                    match pending.cut {
                        Cut::BeforeRequest | Cut::AfterRequest => {}
                        Cut::MidAnswer => {
                            let half = piece.get(..piece.len() / 2).unwrap_or_default();
                            // A client that is gone by now has its cut too.
                            let _ = client.write_all(half).await;
                        }
                        Cut::SwallowAnswer => {
                            let gives_up = async { while client.read(&mut up).await.is_ok_and(|n| n > 0) {} };
                            // Either way the connection ends.
                            let _ = tokio::time::timeout(SWALLOWED, gives_up).await;
                        }
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
