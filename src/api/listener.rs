//! Accepted connections: bounded in number, cut when they stay silent, and all of them can be cut at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::outbox::Outbox;

/// The pause after a failed accept: out of file descriptors passes only when a connection ends.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, at most `max` at a time; once `cut` is cancelled each of them fails.
///
/// One from which nothing is heard for as long as `silence` fails too. HTTP/2's keepalive begins only when the client has
/// said its first words, so without this, clients that say nothing would hold every place for ever. It must be
/// longer than the keepalive's interval and timeout together: then a client that is there is heard in time. `tls` says that
/// TLS is spoken over them.
pub fn connections(
    listener: TcpListener,
    max: usize,
    silence: Duration,
    tls: bool,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(max));
    stream::unfold((listener, slots, cut), move |(listener, slots, cut)| async move {
        // The semaphore is never closed.
        let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Watches send small messages that should not wait for more; a refusal only costs speed.
                    let _ = stream.set_nodelay(true);
                    let connection = Connection {
                        stream: Outbox::new(stream, !tls),
                        cut: Box::pin(cut.clone().cancelled_owned()),
                        silence,
                        heard: Instant::now(),
                        check: Box::pin(tokio::time::sleep(silence)),
                        _slot: slot,
                    };
                    return Some((Ok(connection), (listener, slots, cut)));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}

/// One accepted connection.
pub struct Connection {
    stream: Outbox<TcpStream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Duration,
    heard: Instant,
    /// When to look at `heard` next. It is not moved at every read: that would cost more than the read.
    check: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.check.as_mut().poll(context).is_ready() {
            let until = self.heard + self.silence;
            if until <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.check.as_mut().reset(until);
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.stream().connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Every connection is being read at all times, so this is what wakes it to be cut.
        this.poll_cut(context)?;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() {
            this.heard = Instant::now();
        } else {
            this.poll_silence(context)?;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn connections_are_bounded_and_can_be_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = CancellationToken::new();
        let mut incoming =
            std::pin::pin!(connections(listener, 1, Duration::from_secs(60), false, cut.clone()));
        let _clients =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let first = incoming.next().await.unwrap().unwrap();
        assert!(incoming.next().now_or_never().is_none(), "the second must wait for the first");
        drop(first);
        let mut second = incoming.next().await.unwrap().unwrap();
        cut.cancel();
        let error = second.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
    #[tokio::test]
    async fn who_says_nothing_loses_the_place() {
        use tokio::io::AsyncWriteExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silence = Duration::from_millis(400);
        let mut incoming = std::pin::pin!(connections(listener, 1, silence, false, CancellationToken::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut accepted = incoming.next().await.unwrap().unwrap();
        let begun = Instant::now();
        // Words in between count from anew.
        tokio::time::sleep(silence / 2).await;
        client.write_u8(7).await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), 7);
        let error = accepted.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= silence * 3 / 2, "{:?}", begun.elapsed());
    }
}
