//! How a watch leaves: as ready bytes, past tonic's encoder.
//!
//! tonic would copy each message into a buffer of its call's own, and keep that buffer for as long as the watch lasts. The
//! bytes of a watch are ready, prefixes included (`convert::frame`), so they go to HTTP/2 as they are (`pouring`).
//! Where the client takes gzip and watches may be packed, tonic packs them, message by message.
//!
//! A service cannot answer with a body of its own. So the watch lies in an [`Outlet`], in the answer's stream and in its
//! extensions; [`as_it_is`], outside of the service, sees what tonic decided and takes it from there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tonic::body::Body;
use tonic::{Response, Status};

use super::codec::Frame;
use super::convert::frame::PREFIX_BYTES;
use super::layers::Answer;
use super::messages::Messages;
use super::pouring::Pouring;

/// How tonic says that it packs an answer.
const ENCODING: &str = "grpc-encoding";

/// A watch that waits to be sent, by whoever takes it first.
pub struct Outlet<M = Messages>(Arc<Mutex<Option<M>>>);

impl<M> Clone for Outlet<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Send + 'static> Outlet<M> {
    /// One that has this watch.
    pub fn of(messages: M) -> Self {
        Self(Arc::new(Mutex::new(Some(messages))))
    }

    /// An answer that can be sent both ways.
    pub fn into_response(self) -> Response<Unpacked<M>> {
        let mut response =
            Response::new(Unpacked { outlet: self.clone(), messages: None, left: VecDeque::new() });
        response.extensions_mut().insert(self);
        response
    }

    fn take(&self) -> Option<M> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Has a watch that tonic does not pack sent as it is.
pub fn as_it_is(mut answer: Answer) -> Answer {
    let outlet = answer.extensions_mut().remove::<Outlet>();
    match outlet.filter(|_| !answer.headers().contains_key(ENCODING)).and_then(|outlet| outlet.take()) {
        Some(messages) => answer.map(|_| Body::new(Pouring::new(messages))),
        None => answer,
    }
}

/// A watch as tonic packs it: message by message, without prefixes.
pub struct Unpacked<M = Messages> {
    outlet: Outlet<M>,
    messages: Option<M>,
    /// Messages of a piece.
    left: VecDeque<Frame>,
}

impl<M> Stream for Unpacked<M>
where
    M: Stream<Item = Result<Bytes, Status>> + Unpin + Send + 'static,
{
    type Item = Result<Frame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.messages.is_none() {
            this.messages = this.outlet.take();
        }
        let Some(messages) = &mut this.messages else { return Poll::Ready(None) };
        loop {
            if let Some(frame) = this.left.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match Pin::new(&mut *messages).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) => this.left = split(piece),
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
    }
}

/// The messages of a piece, without their prefixes.
fn split(mut piece: Bytes) -> VecDeque<Frame> {
    let mut frames = VecDeque::with_capacity(1);
    while let Some(prefix) = piece.first_chunk::<PREFIX_BYTES>() {
        let [_, length @ ..] = *prefix;
        let end = PREFIX_BYTES.saturating_add(u32::from_be_bytes(length) as usize).min(piece.len());
        frames.push_back(Frame(piece.split_to(end).slice(PREFIX_BYTES..)));
    }
    frames
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    /// A piece of messages, each of one letter so many times.
    fn piece(messages: &[(u8, usize)]) -> Bytes {
        let mut piece = Vec::new();
        for (letter, length) in messages {
            piece.push(0);
            piece.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
            piece.extend(std::iter::repeat_n(*letter, *length));
        }
        piece.into()
    }

    #[tokio::test]
    async fn a_packed_watch_is_split_into_its_messages() {
        let pieces = [piece(&[(b'a', 3), (b'b', 0), (b'c', 70_000)]), piece(&[(b'd', 1)])];
        let watch = Outlet::of(stream::iter(pieces.map(Ok::<_, Status>)));
        let frames: Vec<_> = watch.into_response().into_inner().map(|frame| frame.unwrap().0).collect().await;
        let lengths: Vec<_> = frames.iter().map(|frame| (frame.first().copied(), frame.len())).collect();
        assert_eq!(lengths, [(Some(b'a'), 3), (None, 0), (Some(b'c'), 70_000), (Some(b'd'), 1)]);
    }

    #[test]
    fn whoever_comes_second_gets_nothing() {
        let outlet = Outlet::of(());
        let other = outlet.clone();
        assert_eq!((other.take(), outlet.take()), (Some(()), None));
    }
}
