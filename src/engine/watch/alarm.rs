//! When a subscriber next says something by itself: a heartbeat, or that it has reached its age.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The times of one subscriber.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    heartbeat: Duration,
    /// When a heartbeat is due unless something else is said before.
    next_beat: Instant,
    ends_at: Instant,
    /// Something was said since `next_beat` was reckoned.
    said: bool,
}

/// The times of one subscriber, and its timer.
pub(super) struct Alarm {
    times: Times,
    /// When the timer rings: at the earlier of the two, or before. It is not moved at every message; that would cost more
    /// than the message.
    rings_at: Instant,
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes. While that is who asks, the timer itself need not be looked at.
    wakes: Option<Waker>,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Heartbeat,
    End,
}

impl Times {
    /// Something was said: the next heartbeat is a whole interval away from the next look at the clock. The clock is not
    /// looked at here, since that comes soon enough.
    pub const fn said(&mut self) {
        self.said = true;
    }

    /// What it is time for now.
    pub fn due(&mut self, now: Instant) -> Due {
        if std::mem::take(&mut self.said) {
            self.next_beat = now + self.heartbeat;
        }
        if now >= self.ends_at {
            Due::End
        } else if now >= self.next_beat {
            Due::Heartbeat
        } else {
            Due::Nothing
        }
    }

    /// When something is due next, as the last look at the clock left it.
    pub fn next(&self) -> Instant {
        self.next_beat.min(self.ends_at)
    }
}

impl Alarm {
    pub fn new(now: Instant, heartbeat: Duration, max_age: Duration) -> Self {
        let times = Times { heartbeat, next_beat: now + heartbeat, ends_at: now + max_age, said: false };
        let rings_at = times.next();
        let timer = Box::pin(tokio::time::sleep_until(rings_at));
        Self { times, rings_at, timer, wakes: None }
    }

    /// When the subscriber reaches its age.
    pub const fn ends_at(&self) -> Instant {
        self.times.ends_at
    }

    /// See [`Times::said`].
    pub const fn said(&mut self) {
        self.times.said();
    }

    /// See [`Times::due`].
    pub fn due(&mut self, now: Instant) -> Due {
        self.times.due(now)
    }

    /// Its times, for somebody else to keep for a while.
    pub const fn times(&self) -> Times {
        self.times
    }

    /// Takes back its own times. They only grow later, so the timer still rings in time.
    pub const fn take_back(&mut self, times: Times) {
        self.times = times;
    }

    /// Has the task of `context` woken when something is due; `now` is when [`Alarm::due`] said that nothing is.
    /// Ready when it is already.
    pub fn poll(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<()> {
        if now >= self.rings_at {
            self.rings_at = self.times.next();
            self.timer.as_mut().reset(self.rings_at);
            self.wakes = None;
        }
        if self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(context.waker())) {
            return Poll::Pending;
        }
        // Without budget the timer only has the task polled again, and notes nobody.
        let notes = tokio::task::coop::has_budget_remaining();
        let polled = self.timer.as_mut().poll(context);
        self.wakes = (notes && polled.is_pending()).then(|| context.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const BEAT: Duration = Duration::from_secs(10);

    /// Rests until something is due, as a subscriber does.
    async fn rest(alarm: &mut Alarm) -> (Instant, Due) {
        poll_fn(|context| {
            loop {
                let now = Instant::now();
                let due = alarm.due(now);
                if due != Due::Nothing {
                    return Poll::Ready((now, due));
                }
                if alarm.poll(now, context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_comes_an_interval_after_the_last_word() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start, BEAT, 100 * BEAT);
        assert_eq!(rest(&mut alarm).await, (start + BEAT, Due::Heartbeat));
        alarm.said();
        // Something else is said before the next one is due.
        let half = tokio::time::timeout(BEAT / 2, rest(&mut alarm)).await;
        assert!(half.is_err());
        alarm.said();
        let (at, due) = rest(&mut alarm).await;
        assert_eq!(due, Due::Heartbeat);
        let wanted = start + BEAT + BEAT / 2 + BEAT;
        assert!((wanted..wanted + Duration::from_millis(5)).contains(&at), "{:?}", at - start);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_comes_before_a_heartbeat() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start, BEAT, BEAT);
        assert_eq!(rest(&mut alarm).await.1, Due::End);
        assert_eq!(alarm.ends_at(), start + BEAT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_in_another_task_is_woken_there() {
        let mut alarm = Alarm::new(Instant::now(), BEAT, 100 * BEAT);
        let early = tokio::time::timeout(BEAT / 2, rest(&mut alarm)).await;
        assert!(early.is_err());
        let elsewhere = tokio::task::JoinSet::from_iter([async move { rest(&mut alarm).await.1 }]);
        assert_eq!(elsewhere.join_all().await, [Due::Heartbeat]);
    }
}
