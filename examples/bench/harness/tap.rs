//! A TCP proxy before a vendor that notes when each request passes, and when its answer does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Method and path, without the query.
    pub line: String,
    /// When its first bytes passed.
    pub asked: Instant,
    /// When the first bytes of its answer passed.
    pub answered: Option<Instant>,
}

/// A running tap.
pub struct Tap {
    address: SocketAddr,
    notes: Arc<Mutex<Vec<Passed>>>,
    tasks: Tasks,
}

impl Tap {
    /// Listens on a free loopback port, for `to`.
    pub async fn start(to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (notes, tasks) = (Arc::<Mutex<Vec<Passed>>>::default(), Tasks::new());
        let (kept, connections) = (Arc::clone(&notes), tasks.clone());
        tasks.spawn("tap", async move {
            let token = connections.token().clone();
            while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
                let (Ok((stream, _)), kept, token) = (accepted, Arc::clone(&kept), token.clone()) else {
                    continue;
                };
                connections.spawn("tapped connection", async move {
                    let _ = token.run_until_cancelled(carry(stream, to, kept)).await;
                });
            }
        });
        Ok(Self { address, notes, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What passed since this was asked last.
    pub fn take(&self) -> Vec<Passed> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cuts every connection and listens no more.
    pub async fn stop(&self) {
        self.tasks.shutdown(Duration::from_secs(2)).await;
    }
}

/// Carries one connection until either side ends it. Over HTTP/1.1 a client sends its next request only after the
/// answer, so what it says first after an answer is the head of a request.
async fn carry(mut client: TcpStream, to: SocketAddr, notes: Arc<Mutex<Vec<Passed>>>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    // Without this, a request in two pieces would wait for an acknowledgement. A refusal only costs time.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut open: Option<Passed> = None;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Some(piece) = read.ok().and_then(|n| up.get(..n)).filter(|p| !p.is_empty()) else { break };
                // Its rest, when its body comes apart from its head.
                if open.as_ref().is_none_or(|passed| passed.answered.is_some()) {
                    keep(&notes, open.take());
                    open = Some(Passed { line: line(piece), asked: Instant::now(), answered: None });
                }
                if server.write_all(piece).await.is_err() {
                    break;
                }
            }
            read = server.read(&mut down) => {
                let Some(piece) = read.ok().and_then(|n| down.get(..n)).filter(|p| !p.is_empty()) else { break };
                if let Some(mut passed) = open.take() {
                    // Noted as soon as it is answered; pieces that follow belong to the same answer.
                    passed.answered = Some(Instant::now());
                    keep(&notes, Some(passed));
                }
                if client.write_all(piece).await.is_err() {
                    break;
                }
            }
        }
    }
    keep(&notes, open);
}

fn keep(notes: &Mutex<Vec<Passed>>, passed: Option<Passed>) {
    if let Some(passed) = passed {
        notes.lock().unwrap_or_else(PoisonError::into_inner).push(passed);
    }
}

/// Method and path of a request's head.
fn line(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head.get(..head.len().min(512)).unwrap_or_default());
    let mut words = text.split([' ', '?', '\r']);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    format!("{method} {path}")
}
