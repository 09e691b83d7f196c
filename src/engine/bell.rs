//! The bell: wakes every watch at rest when there is news.
//!
//! Thousands of subscribers rest at the same bell, and each is woken for each message, so what a place at it costs is a
//! good part of what a message costs (`docs/performance.md`). A place is one entry of one list: no links to neighbours
//! who lie elsewhere in memory, and nothing to undo when it rings.
//!
//! It wakes, and says nothing. Who wants to miss nothing listens first and then looks once more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// So many that are woken at once are a herd.
const HERD: usize = 256;
/// How long a herd is given to pass, and how often it is looked at meanwhile.
pub(super) const PASSES_WITHIN: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(1);

/// Of each who listens, so long is waited for more to tell: far less than it takes to wake them. Below a millisecond,
/// which is what the clock can tell, there is no wait.
const GATHERS: Duration = Duration::from_nanos(250);
const GATHERS_WITHIN: Duration = Duration::from_millis(5);

/// A bell that rings for everybody at once.
#[derive(Debug, Default)]
pub(super) struct Bell {
    waiting: Mutex<Waiting>,
    /// That of `waiting`, for who only wants to know whether it rang.
    round: AtomicU64,
    /// How many heard it since it last rang.
    heard: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How often it has rung.
    round: u64,
    /// Who waits for the next time. As many as ever waited at once since it last rang.
    wakers: Vec<Option<Waker>>,
    /// Places of those who went away.
    free: Vec<usize>,
}

impl Waiting {
    /// How many wait.
    const fn listening(&self) -> usize {
        self.wakers.len().saturating_sub(self.free.len())
    }
}

/// The ear of one subscriber.
#[derive(Debug)]
pub(super) struct Ear {
    bell: Arc<Bell>,
    /// Its place, and in which round it took it.
    place: Option<(u64, usize)>,
}

impl Bell {
    /// An ear that does not listen yet.
    pub fn ear(self: &Arc<Self>) -> Ear {
        Ear { bell: Arc::clone(self), place: None }
    }

    /// Wakes all who listen, and says how many. They listen anew for the next time.
    pub fn ring(&self) -> usize {
        let (wakers, woken) = {
            let mut waiting = self.waiting();
            waiting.round += 1;
            self.round.store(waiting.round, Ordering::Relaxed);
            self.heard.store(0, Ordering::Relaxed);
            let woken = waiting.listening();
            waiting.free.clear();
            let room = Vec::with_capacity(waiting.wakers.len());
            (std::mem::replace(&mut waiting.wakers, room), woken)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        woken
    }

    /// Waits for a moment before thousands are woken, so that what is committed together with the first news is told
    /// together with it.
    pub async fn gathers(&self) {
        let listening = self.waiting().listening();
        let wait = GATHERS.saturating_mul(u32::try_from(listening).unwrap_or(u32::MAX)).min(GATHERS_WITHIN);
        if wait >= LOOK {
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits until most of the `woken` have had their turn, or for a moment. Whoever rings again before that wakes
    /// thousands for one message each who would have found both.
    ///
    /// A turn is a matter of the processors alone: who does not read, or slowly, has had it as soon as it was asked.
    pub async fn passed(&self, woken: usize) {
        if woken < HERD {
            return;
        }
        let until = Instant::now() + PASSES_WITHIN;
        while self.heard.load(Ordering::Relaxed) < woken - woken / 8 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ear {
    /// Its subscriber has its turn.
    pub fn hear(&mut self) {
        let round = self.bell.round.load(Ordering::Relaxed);
        if self.place.take_if(|(taken, _)| *taken != round).is_some() {
            self.bell.heard.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives its place up.
    pub fn leave(&mut self) {
        let Some((round, place)) = self.place.take() else { return };
        let mut waiting = self.bell.waiting();
        if round != waiting.round {
            return;
        }
        let old = waiting.wakers.get_mut(place).and_then(Option::take);
        waiting.free.push(place);
        drop(waiting);
        drop(old);
    }

    /// Has `waker` woken when it rings next. Looking for news comes after this, or news may be missed.
    pub fn listen(&mut self, waker: &Waker) {
        let mut waiting = self.bell.waiting();
        let round = waiting.round;
        let taken = self.place.filter(|(taken, _)| *taken == round);
        if let Some(known) = taken.and_then(|(_, place)| waiting.wakers.get_mut(place)) {
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                let old = known.replace(waker.clone());
                // To drop a waker may drop a whole task, with ears of its own.
                drop(waiting);
                drop(old);
            }
            return;
        }
        let free = waiting.free.pop();
        let place = match free.and_then(|place| Some((place, waiting.wakers.get_mut(place)?))) {
            Some((place, free)) => {
                *free = Some(waker.clone());
                place
            }
            None => {
                waiting.wakers.push(Some(waker.clone()));
                waiting.wakers.len() - 1
            }
        };
        self.place = Some((round, place));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), count.into())
    }

    #[test]
    fn everybody_who_listens_is_woken_once() {
        let bell = Arc::new(Bell::default());
        let mut all: Vec<_> = (0..5).map(|_| (bell.ear(), task())).collect();
        for (ear, (_, waker)) in &mut all {
            ear.listen(waker);
            ear.listen(waker);
        }
        bell.ring();
        bell.ring();
        assert!(all.iter().all(|(_, (count, _))| count.0.load(Ordering::SeqCst) == 1));
        let (ear, (count, waker)) = &mut all[3];
        ear.listen(waker);
        bell.ring();
        assert_eq!(count.0.load(Ordering::SeqCst), 2, "it listened again");
    }

    #[test]
    fn who_moves_to_another_task_is_woken_there() {
        let bell = Arc::new(Bell::default());
        let (mut ear, (old, first), (new, second)) = (bell.ear(), task(), task());
        ear.listen(&first);
        ear.listen(&second);
        bell.ring();
        assert_eq!((old.0.load(Ordering::SeqCst), new.0.load(Ordering::SeqCst)), (0, 1));
    }

    #[test]
    fn who_goes_away_leaves_its_place_to_the_next() {
        let bell = Arc::new(Bell::default());
        let (stays, waker) = task();
        let mut one = bell.ear();
        one.listen(&waker);
        for _ in 0..100 {
            let (gone, waker) = task();
            let mut ear = bell.ear();
            ear.listen(&waker);
            drop((ear, waker));
            assert_eq!(Arc::strong_count(&gone), 1, "the bell still holds its task");
        }
        assert_eq!(bell.waiting().wakers.len(), 2);
        bell.ring();
        assert_eq!(stays.0.load(Ordering::SeqCst), 1);
        drop(one);
        assert!(bell.waiting().wakers.is_empty(), "a place of an earlier round is nobody's");
    }
}
