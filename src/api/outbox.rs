//! Writes of one connection, gathered until they are flushed.
//!
//! HTTP/2 on an ordinary socket sends each frame of 256 bytes or more by a system call of its own, which is most of what an
//! event to one more subscriber of a connection costs. Of a socket that does not take several buffers at once, it copies
//! frames below 1 KiB into one buffer and sends them together. So [`Outbox`] says that it does not; and what comes in
//! small parts all the same, such as the head of a large frame, it keeps until the next part or the flush, and sends both
//! by one call.
//!
//! Under TLS it is out of the way. TLS writes records of its own and says how it likes to be written to; and its last word to a
//! client that it cannot serve is written without a flush.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is smaller waits for what follows. Above what HTTP/2 writes before the rest of a large frame: its head and some
/// 1 KiB.
const SMALL_BYTES: usize = 2 << 10;

/// A stream whose small writes wait for the next one, or for the flush.
#[derive(Debug)]
pub struct Outbox<S> {
    stream: S,
    /// `false`: every write goes on as it comes.
    gathers: bool,
    /// What was taken and is not sent. Smaller than [`SMALL_BYTES`].
    held: Vec<u8>,
}

impl<S> Outbox<S> {
    /// One that sends by `stream`; it gathers what HTTP/2 writes, and not what TLS does.
    pub const fn new(stream: S, gathers: bool) -> Self {
        Self { stream, gathers, held: Vec::new() }
    }

    /// What it sends by.
    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    /// Sends what is held; room for it is not kept.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Notes that so much of what is held is sent.
    fn sent(&mut self, sent: usize) -> io::Result<()> {
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if sent >= self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..sent);
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outbox<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gathers && this.held.len() + bytes.len() < SMALL_BYTES {
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        while !this.held.is_empty() {
            let parts = [IoSlice::new(&this.held), IoSlice::new(bytes)];
            let sent = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, &parts))?;
            let of_these = sent.saturating_sub(this.held.len());
            this.sent(sent)?;
            if of_these > 0 {
                return Poll::Ready(Ok(of_these));
            }
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }

    /// Where it gathers it could, and that it says no is what it is for.
    fn is_write_vectored(&self) -> bool {
        !self.gathers && self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.gathers {
            return Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        self.poll_write(context, first)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outbox<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// A socket that takes so much of each write, and is not ready every other time.
    #[derive(Default)]
    struct Socket {
        takes: Vec<usize>,
        writes: usize,
        ready: bool,
        got: Vec<u8>,
        flushed: usize,
    }

    impl Socket {
        fn take(&mut self, context: &Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
            self.ready = !self.ready || self.takes.is_empty();
            if !self.ready {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let all = parts.concat();
            let most = self.takes.get(self.writes % self.takes.len().max(1)).copied().unwrap_or(usize::MAX);
            self.writes += 1;
            let taken = all.len().min(most);
            self.got.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.take(context, &[bytes])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
            self.take(context, &parts)
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed = self.got.len();
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_head_and_what_it_is_of_leave_by_one_call() {
        let mut outbox = Outbox::new(Socket::default(), true);
        outbox.write_all(&[1; 9]).await.unwrap();
        assert_eq!(outbox.stream().writes, 0);
        outbox.write_all(&[2; 9_000]).await.unwrap();
        assert_eq!((outbox.stream().writes, outbox.stream().got.len()), (1, 9_009));
        outbox.write_all(&[3; 9]).await.unwrap();
        outbox.flush().await.unwrap();
        assert_eq!((outbox.stream().writes, outbox.stream().flushed), (2, 9_018));
        assert!(!outbox.is_write_vectored());
    }

    #[tokio::test]
    async fn what_is_held_is_sent_before_the_end_and_a_closed_socket_is_told() {
        let mut outbox = Outbox::new(Socket::default(), true);
        outbox.write_all(b"goodbye").await.unwrap();
        outbox.shutdown().await.unwrap();
        assert_eq!(outbox.stream().got, b"goodbye");
        let mut outbox = Outbox::new(Socket { takes: vec![0], ..Socket::default() }, true);
        outbox.write_all(b"hello").await.unwrap();
        assert_eq!(outbox.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[tokio::test]
    async fn under_tls_nothing_waits() {
        let mut outbox = Outbox::new(Socket::default(), false);
        outbox.write_all(b"alert").await.unwrap();
        assert_eq!(outbox.stream().got, b"alert");
        let parts = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        assert_eq!(outbox.write_vectored(&parts).await.unwrap(), 6);
        assert_eq!(outbox.stream().got, b"alertonetwo");
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order(
            writes in prop::collection::vec((1usize..5_000, any::<bool>()), 0..20),
            takes in prop::collection::vec(1usize..3_000, 0..4),
            gathers in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut outbox = Outbox::new(Socket { takes, ..Socket::default() }, gathers);
            let mut sent = Vec::new();
            runtime.block_on(async {
                for (n, (length, flush)) in (0u8..).zip(writes) {
                    let bytes = vec![n; length];
                    outbox.write_all(&bytes).await.unwrap();
                    sent.extend(bytes);
                    if flush {
                        outbox.flush().await.unwrap();
                        assert_eq!(outbox.stream().flushed, sent.len());
                    }
                }
                outbox.flush().await.unwrap();
            });
            prop_assert_eq!(&outbox.stream().got, &sent);
        }
    }
}
