//! An open watch as it is sent: ready pieces, and an end that says where to go on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;
use tonic::Status;

use super::convert::frame::{Pieces, pieces};
use super::layers::deadline::CallDeadline;
use super::status::{watch_deadline, watch_end};
use crate::domain::error::Error;
use crate::engine::Watch;
use crate::engine::calls::WatchItem;
use crate::engine::token::ResumeToken;

/// The pieces of a watch, each of one message or more. An error ends it, with the last token that was given: at first the
/// caller's own.
pub struct Messages<W = Watch> {
    watch: W,
    /// What is left of the item that is being sent.
    pieces: Pieces,
    /// The token of that item, given once its last piece is out.
    next: Option<ResumeToken>,
    given: Given,
    deadline: Option<(CallDeadline, Pin<Box<Sleep>>)>,
    over: bool,
}

/// The token that the client has.
enum Given {
    /// None, or the one it came with.
    Its(Option<String>),
    /// Ours.
    Ours(ResumeToken),
}

impl<W> Messages<W> {
    /// A watch that was opened with `token` and must end at the caller's own deadline, if it has one.
    pub fn new(watch: W, token: Option<String>, deadline: Option<CallDeadline>) -> Self {
        let deadline = deadline.map(|d| (d, Box::pin(tokio::time::sleep_until(d.at))));
        Self { watch, pieces: Pieces::One(None), next: None, given: Given::Its(token), deadline, over: false }
    }

    fn last_token(&self) -> Option<String> {
        match &self.given {
            Given::Its(token) => token.clone(),
            Given::Ours(token) => Some(token.to_string()),
        }
    }
}

impl<W: Stream<Item = Result<WatchItem, Error>> + Unpin> Stream for Messages<W> {
    type Item = Result<Bytes, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = this.pieces.next() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(token) = this.next.take() {
                this.given = Given::Ours(token);
            }
            // Before what is new: a watch that always has news would never end.
            if let Some((limit, passed)) = &mut this.deadline
                && passed.as_mut().poll(context).is_ready()
            {
                this.over = true;
                let limit = limit.limit;
                let token = this.last_token();
                return Poll::Ready(Some(Err(watch_deadline(limit, token.as_deref()))));
            }
            match Pin::new(&mut this.watch).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    this.over = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(item))) => {
                    this.next = item.resume_token;
                    this.pieces = pieces(item);
                }
                Poll::Ready(Some(Err(error))) => {
                    this.over = true;
                    let token = this.last_token();
                    return Poll::Ready(Some(Err(watch_end(&error, token.as_deref()))));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.pieces.size_hint().0 + self.watch.size_hint().0, None)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt, stream};
    use prost::Message;
    use tokio::time::Instant;
    use tonic::Code;
    use tonic_types::StatusExt;
    use uuid::Uuid;

    use super::*;
    use crate::api::convert::frame::PREFIX_BYTES;
    use crate::api::pb;
    use crate::engine::calls::WatchBody;

    fn token(position: u64) -> ResumeToken {
        ResumeToken::new(Uuid::from_u128(1), position)
    }

    fn said(status: &Status) -> (String, Option<String>) {
        let info = status.get_details_error_info().unwrap();
        (info.reason, info.metadata.get("resume_token").cloned())
    }

    #[tokio::test]
    async fn a_watch_that_ends_says_its_last_token() {
        let item = |body, position| Ok(WatchItem { body, resume_token: Some(token(position)) });
        let watch = stream::iter(vec![
            item(WatchBody::Synced, 1),
            item(WatchBody::Heartbeat, 2),
            Err(Error::ShuttingDown),
        ]);
        let all: Vec<_> = Messages::new(watch, None, None).collect().await;
        assert_eq!(all.len(), 3);
        let second = pb::WatchJobsResponse::decode(&all[1].as_ref().unwrap()[PREFIX_BYTES..]).unwrap();
        assert_eq!(second.resume_token, token(2).to_string());
        assert_eq!(
            said(all[2].as_ref().unwrap_err()),
            ("SHUTTING_DOWN".to_owned(), Some(token(2).to_string()))
        );
    }

    #[tokio::test]
    async fn a_resumed_watch_that_ends_at_once_gives_the_token_back() {
        let watch = stream::iter(vec![Err(Error::ShuttingDown)]);
        let all: Vec<_> = Messages::new(watch, Some("mine".to_owned()), None).collect().await;
        assert_eq!(said(all[0].as_ref().unwrap_err()).1.as_deref(), Some("mine"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_at_its_callers_deadline_however_much_there_is_to_tell() {
        let busy = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok(WatchItem { body: WatchBody::Heartbeat, resume_token: Some(token(5)) }), ()))
        });
        let limit = Duration::from_millis(50);
        let deadline = CallDeadline { at: Instant::now() + limit, limit };
        let all: Vec<_> = Messages::new(Box::pin(busy), None, Some(deadline)).collect().await;
        let end = all.last().unwrap().as_ref().unwrap_err();
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert_eq!(said(end), ("DEADLINE_EXCEEDED".to_owned(), Some(token(5).to_string())));
        assert!((40..=50).contains(&all.len()), "{}", all.len());
    }
}
