//! A permit that ends by itself: what may be done until a moment, checked as late as possible.
//!
//! The grantor prolongs it ([`Grant::prolong`]); whoever acts asks [`Permit::holds`] right before. Both the steady clock
//! and the wall clock are asked: the steady one stands still while the whole machine sleeps, the wall clock can be set
//! back. The one that shows more time passed decides.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::{self, Clock};

#[derive(Clone, Copy, Debug)]
struct End {
    steady: Instant,
    wall: Timestamp,
}

/// The right to prolong or end a permit. When it is dropped, the permit runs out at its time.
#[derive(Debug)]
pub struct Grant {
    end: watch::Sender<End>,
    clock: Clock,
}

impl Grant {
    /// A grant that holds for `length` from `from` on: a moment before the right was asked for.
    pub fn new(clock: Clock, from: Moment, length: Duration) -> Self {
        Self { end: watch::Sender::new(from.plus(length)), clock }
    }

    /// Prolongs it; a shorter one than before leaves it as it is.
    pub fn prolong(&self, from: Moment, length: Duration) {
        let new = from.plus(length);
        self.end.send_if_modified(|end| {
            let later = new.steady > end.steady;
            if later {
                *end = new;
            }
            later
        });
    }

    /// Ends it now.
    pub fn end(&self) {
        let now = Moment::now(&self.clock);
        self.end.send_replace(End { steady: now.steady, wall: now.wall });
    }

    /// A permit under this grant.
    pub fn permit(&self) -> Permit {
        Permit { term: Some(Term { end: self.end.subscribe(), clock: self.clock.clone() }) }
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    steady: Instant,
    wall: Timestamp,
}

impl Moment {
    /// Now.
    pub fn now(clock: &Clock) -> Self {
        Self { steady: Instant::now(), wall: clock.now() }
    }

    fn plus(self, length: Duration) -> End {
        End { steady: self.steady + length, wall: clock::after(self.wall, length) }
    }
}

/// What may be done until its end. Clones share it.
#[derive(Clone, Debug)]
pub struct Permit {
    term: Option<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    end: watch::Receiver<End>,
    clock: Clock,
}

impl Permit {
    /// One that never ends: for what nobody else could do at the same time.
    pub const fn unlimited() -> Self {
        Self { term: None }
    }

    /// Whether it holds at this moment.
    pub fn holds(&self) -> bool {
        self.term.as_ref().is_none_or(|term| {
            let end = *term.end.borrow();
            Instant::now() < end.steady && term.clock.now() < end.wall
        })
    }

    /// Waits until it does not hold.
    pub async fn lapsed(&self) {
        let Some(term) = &self.term else { return std::future::pending().await };
        let mut end = term.end.clone();
        while self.holds() {
            let until = end.borrow_and_update().steady;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // Only an end that came nearer is worth waking for.
                () = ended_early(&mut end, until) => {}
            }
        }
    }

    /// Waits until it holds (again). For ever, once its grant is gone.
    pub async fn holds_again(&self) {
        let Some(term) = &self.term else { return };
        let mut end = term.end.clone();
        while !self.holds() {
            if end.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

async fn ended_early(end: &mut watch::Receiver<End>, until: Instant) {
    if end.wait_for(|end| end.steady < until).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn clock() -> Clock {
        Clock::paused_at(Timestamp::UNIX_EPOCH)
    }

    #[tokio::test(start_paused = true)]
    async fn ends_by_itself_and_can_be_prolonged() {
        let clock = clock();
        let asked = Moment::now(&clock);
        tokio::time::advance(Duration::from_secs(4)).await;
        let grant = Grant::new(clock.clone(), asked, LENGTH);
        let permit = grant.permit();
        assert!(permit.holds());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!permit.holds(), "it counts from before it was asked for");
        grant.prolong(Moment::now(&clock), LENGTH);
        permit.holds_again().await;
        let began = Instant::now();
        permit.lapsed().await;
        assert_eq!(began.elapsed().as_secs(), 10);
        assert!(!permit.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_end_wakes_who_waits_for_it() {
        let clock = clock();
        let grant = Grant::new(clock.clone(), Moment::now(&clock), LENGTH);
        let permit = grant.permit();
        let end = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            grant.end();
        };
        let began = Instant::now();
        tokio::join!(permit.lapsed(), end);
        assert_eq!(began.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_finds_its_permit_over() {
        // The steady clock stood still; the wall clock went on.
        let clock = clock();
        let now = Moment::now(&clock);
        let before = Moment { wall: now.wall - jiff::SignedDuration::from_secs(11), ..now };
        assert!(!Grant::new(clock, before, LENGTH).permit().holds());
    }

    #[tokio::test]
    async fn an_unlimited_permit_always_holds() {
        assert!(Permit::unlimited().holds());
        assert!(tokio::time::timeout(Duration::from_millis(5), Permit::unlimited().lapsed()).await.is_err());
    }
}
