//! A TCP proxy before the server that cuts connections where a test wants it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where the next commit is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears of it.
    Before,
    /// It is made, but its answer is lost.
    After,
}

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    /// `host:port`.
    pub place: String,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    /// After how many others.
    cut: Mutex<Option<(u32, Cut)>>,
    /// Refuses and cuts everything.
    gone: AtomicBool,
    /// Connections that were made before swallow all that is sent, both ways, and stay open.
    swallowed: watch::Sender<u64>,
    changed: watch::Sender<u64>,
}

impl Proxy {
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            cut: Mutex::new(None),
            gone: AtomicBool::new(false),
            swallowed: watch::Sender::new(0),
            changed: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        let (server, shared) = (server.to_owned(), Arc::clone(&state));
        tasks.spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if shared.gone.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let state = Arc::clone(&shared);
                pipes.spawn(async move {
                    let mut changed = state.changed.subscribe();
                    let mut swallowed = state.swallowed.subscribe();
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = pipe(client, server, &state, &mut swallowed) => {}
                    }
                });
            }
        });
        Self { place, state, _tasks: tasks }
    }

    /// Cuts the next commit.
    pub fn cut_next_commit(&self, cut: Cut) {
        self.cut_commit_after(0, cut);
    }

    /// Lets so many commits pass and cuts the one that follows.
    pub fn cut_commit_after(&self, others: u32, cut: Cut) {
        *self.state.cut.lock().unwrap() = Some((others, cut));
    }

    /// Whether a cut has not struck yet. It is forgotten.
    pub fn take_cut(&self) -> bool {
        self.state.cut.lock().unwrap().take().is_some()
    }

    /// All connections there are go on in silence; what is made later works.
    pub fn swallow(&self) {
        self.state.swallowed.send_modify(|count| *count += 1);
    }

    /// Cuts all connections and lets none through, or lets them through again.
    pub fn gone(&self, gone: bool) {
        self.state.gone.store(gone, Ordering::SeqCst);
        if gone {
            self.state.changed.send_modify(|count| *count += 1);
        }
    }
}

impl State {
    /// What happens to a commit that is on its way.
    fn cut_of_commit(&self) -> Option<Cut> {
        let mut cut = self.cut.lock().unwrap();
        match &mut *cut {
            Some((0, _)) => cut.take().map(|(_, cut)| cut),
            Some((others, _)) => {
                *others -= 1;
                None
            }
            None => None,
        }
    }
}

async fn pipe(
    mut client: TcpStream,
    mut server: TcpStream,
    state: &State,
    swallowed: &mut watch::Receiver<u64>,
) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            // Both sockets stay open, and nobody reads them.
            _ = swallowed.changed() => std::future::pending().await,
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                // With the zero that ends a query: BEGIN says "READ COMMITTED".
                let commits = asked[..length].windows(7).any(|word| word == b"COMMIT\0");
                let cut = if commits { state.cut_of_commit() } else { None };
                if cut == Some(Cut::Before) || server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
                if cut == Some(Cut::After) {
                    // The answer is the proof that it was made.
                    drop(server.read(&mut answered).await);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
