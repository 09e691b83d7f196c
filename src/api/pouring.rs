//! The body of a watch: its pieces as they are, and at the end its status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tonic::{Code, Status};

/// Small pieces that are at hand together leave together, up to so much: one of HTTP/2's usual frames.
const ENOUGH_BYTES: usize = 16 << 10;

/// A stream of pieces as a body.
pub struct Pouring<M> {
    messages: M,
    /// A piece that was too large to leave with those before it.
    next: Option<Bytes>,
    /// The end has come, after pieces that leave first.
    end: Option<Status>,
    over: bool,
}

impl<M> Pouring<M> {
    /// The body of what `messages` says.
    pub const fn new(messages: M) -> Self {
        Self { messages, next: None, end: None, over: false }
    }

    fn ended(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.over = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

/// Pieces that leave together. One by itself is not copied: everybody gets these very bytes.
#[derive(Default)]
struct Together {
    only: Option<Bytes>,
    several: BytesMut,
}

impl Together {
    fn length(&self) -> usize {
        self.only.as_ref().map_or(self.several.len(), Bytes::len)
    }

    fn add(&mut self, piece: Bytes) {
        if self.length() == 0 {
            self.only = Some(piece);
            return;
        }
        if let Some(only) = self.only.take() {
            self.several.extend_from_slice(&only);
        }
        self.several.extend_from_slice(&piece);
    }

    fn frame(self) -> Frame<Bytes> {
        Frame::data(self.only.unwrap_or_else(|| self.several.freeze()))
    }
}

impl<M: Stream<Item = Result<Bytes, Status>> + Unpin> Body for Pouring<M> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(status) = this.end.take() {
            return Poll::Ready(Some(this.ended(&status)));
        }
        let mut together = Together::default();
        if let Some(next) = this.next.take() {
            together.add(next);
        }
        loop {
            let gathered = together.length();
            // Where nothing is at hand, to ask once more would only cost.
            if gathered >= ENOUGH_BYTES || (gathered > 0 && this.messages.size_hint().0 == 0) {
                return Poll::Ready(Some(Ok(together.frame())));
            }
            let end = match Pin::new(&mut this.messages).poll_next(context) {
                Poll::Ready(Some(Ok(piece))) if gathered > 0 && gathered + piece.len() > ENOUGH_BYTES => {
                    this.next = Some(piece);
                    return Poll::Ready(Some(Ok(together.frame())));
                }
                Poll::Ready(Some(Ok(piece))) => {
                    together.add(piece);
                    continue;
                }
                Poll::Pending if gathered == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(together.frame()))),
                Poll::Ready(Some(Err(status))) => status,
                Poll::Ready(None) => Status::new(Code::Ok, ""),
            };
            if gathered == 0 {
                return Poll::Ready(Some(this.ended(&end)));
            }
            this.end = Some(end);
            return Poll::Ready(Some(Ok(together.frame())));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    fn piece(letter: u8, length: usize) -> Bytes {
        vec![letter; length].into()
    }

    fn pouring(
        items: Vec<Result<Bytes, Status>>,
    ) -> Pouring<impl Stream<Item = Result<Bytes, Status>> + Unpin> {
        Pouring::new(stream::iter(items))
    }

    async fn data(body: &mut (impl Body<Data = Bytes, Error = Status> + Unpin)) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    async fn end(body: &mut (impl Body<Data = Bytes, Error = Status> + Unpin)) -> Status {
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        Status::from_header_map(&trailers).unwrap()
    }

    #[tokio::test]
    async fn a_piece_leaves_as_it_is() {
        let only = piece(b'a', 8);
        let mut body = pouring(vec![Ok(only.clone())]);
        assert_eq!(data(&mut body).await.as_ptr(), only.as_ptr(), "it was copied");
        assert_eq!(end(&mut body).await.code(), Code::Ok);
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }

    #[tokio::test]
    async fn small_pieces_at_hand_leave_together_and_large_ones_alone() {
        let (small, large) = (piece(b'a', 6_000), piece(b'b', 20_000));
        let all = [&small, &small, &small, &large, &small, &small];
        let mut body = pouring(all.map(|piece| Ok(piece.clone())).into());
        let mut came = Vec::new();
        for _ in 0..4 {
            came.push(data(&mut body).await);
        }
        let lengths: Vec<_> = came.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [12_000, 6_000, 20_000, 12_000]);
        assert_eq!(came[2].as_ptr(), large.as_ptr(), "it was copied");
        assert_eq!(came.concat(), all.map(|piece| &piece[..]).concat());
        assert_eq!(end(&mut body).await.code(), Code::Ok);
    }

    #[tokio::test]
    async fn what_is_ready_does_not_wait_for_what_is_not() {
        let first = stream::iter([Ok(piece(b'a', 1)), Ok(piece(b'b', 1))]);
        let mut body = Pouring::new(futures_util::StreamExt::chain(first, stream::pending()));
        assert_eq!(data(&mut body).await, "ab");
        assert!(futures_util::FutureExt::now_or_never(body.frame()).is_none());
    }

    #[tokio::test]
    async fn an_error_is_told_after_what_came_before_it() {
        let items = vec![Ok(piece(b'a', 1)), Ok(piece(b'b', 1)), Err(Status::unavailable("gone"))];
        let mut body = pouring(items);
        assert_eq!(data(&mut body).await, "ab");
        let status = end(&mut body).await;
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "gone"));
        assert!(body.frame().await.is_none());
    }
}
