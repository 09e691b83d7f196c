//! A subscription as it is polled: a subscriber that follows, or one that is away on work.

use std::task::{Context, Poll};

use super::away::{Away, News};
use super::following::{Next, Subscriber};
use crate::domain::error::Error;
use crate::engine::calls::WatchItem;

/// A stream of watch messages. An error item is the last one.
pub(in crate::engine) struct Subscription(Doing);

enum Doing {
    Following(Box<Subscriber>),
    Working(Away),
    Over,
}

impl Subscription {
    pub(super) fn of(subscriber: Subscriber) -> Self {
        // Boxed, because it goes into its work and comes back.
        Self(Doing::Following(Box::new(subscriber)))
    }

    /// How many messages are at hand, so that whoever sends them may send them together.
    pub(in crate::engine) fn at_hand(&self) -> usize {
        match &self.0 {
            Doing::Following(subscriber) => subscriber.at_hand(),
            Doing::Working(_) | Doing::Over => 0,
        }
    }

    /// The next message.
    pub(in crate::engine) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchItem, Error>>> {
        loop {
            match &mut self.0 {
                Doing::Following(subscriber) => match subscriber.poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Next::Item(item)) => return Poll::Ready(Some(Ok(item))),
                    Poll::Ready(Next::End(end)) => {
                        self.0 = Doing::Over;
                        return Poll::Ready(end.map(Err));
                    }
                    Poll::Ready(Next::Work(chore)) => {
                        if let Doing::Following(subscriber) = std::mem::replace(&mut self.0, Doing::Over) {
                            self.0 = Doing::Working(Away::on(chore, subscriber));
                        }
                    }
                },
                Doing::Working(away) => match away.poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(News::Back(subscriber)) => self.0 = Doing::Following(subscriber),
                    Poll::Ready(News::Heartbeat(beat)) => return Poll::Ready(Some(Ok(beat))),
                    Poll::Ready(News::End(error)) => {
                        self.0 = Doing::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Doing::Over => return Poll::Ready(None),
            }
        }
    }
}
