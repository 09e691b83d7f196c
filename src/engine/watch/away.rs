//! A subscriber that is away on work, and what its stream says meanwhile.
//!
//! Work can take long: reads of the store stand in a line, behind those of all other subscribers. The work is not broken off
//! for a heartbeat, or else a subscriber whose heartbeats come quicker than its turn would never have its turn. Nothing is
//! told before the work is done, so the place where the subscriber stood when it left is where its stream stands till then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::alarm::{Due, Times};
use super::following::{Chore, Subscriber};
use crate::domain::error::Error;
use crate::engine::calls::{WatchBody, WatchItem};
use crate::engine::token::ResumeToken;

/// The work. It brings the subscriber back, or the error that ends its stream.
type Work = Pin<Box<dyn Future<Output = Result<Box<Subscriber>, Error>> + Send>>;

/// A subscriber that is away.
pub(super) struct Away {
    work: Work,
    times: Times,
    /// Made when the work turns out to take longer.
    timer: Option<Pin<Box<Sleep>>>,
    /// What its heartbeats carry.
    token: Option<ResumeToken>,
}

/// What comes of it.
pub(super) enum News {
    /// The work is done.
    Back(Box<Subscriber>),
    /// The work goes on, and it is time for a sign of life.
    Heartbeat(WatchItem),
    /// The stream is over.
    End(Error),
}

impl Away {
    pub fn on(chore: Chore, subscriber: Box<Subscriber>) -> Self {
        let times = subscriber.alarm.times();
        let token = subscriber.heartbeat().resume_token;
        let hub = Arc::clone(&subscriber.hub);
        let work = Box::pin(async move {
            tokio::select! {
                biased;
                back = subscriber.work(chore) => back,
                // Where many stand in line, the end of the service does not wait for them.
                () = hub.stopped() => Err(Error::ShuttingDown),
            }
        });
        Self { work, times, timer: None, token }
    }

    /// What comes of it; pending while the work goes on and nothing is due.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        match self.work.as_mut().poll(context) {
            Poll::Ready(Ok(mut subscriber)) => {
                subscriber.alarm.take_back(self.times);
                return Poll::Ready(News::Back(subscriber));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(News::End(error)),
            Poll::Pending => {}
        }
        loop {
            match self.times.due(Instant::now()) {
                Due::End => return Poll::Ready(News::End(Error::WatchAged)),
                Due::Heartbeat => {
                    self.times.said();
                    let beat = WatchItem { body: WatchBody::Heartbeat, resume_token: self.token };
                    return Poll::Ready(News::Heartbeat(beat));
                }
                Due::Nothing => {}
            }
            let next = self.times.next();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
