//! Following: what a subscriber does at every event while it keeps up, and how it rests.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::alarm::{Alarm, Due};
use super::opening::Counted;
use super::single::Single;
use super::snapshot::Snapshot;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::engine::attention::Gaze;
use crate::engine::bell::Ear;
use crate::engine::calls::{WatchBody, WatchItem};
use crate::engine::commit::{Commit, Delivery, Run, Shared};
use crate::engine::hub::Hub;
use crate::engine::token::ResumeToken;
use crate::store::Store;
use crate::store::contract::JobFilter;

/// For how many messages, and for how many commits, an idle subscriber keeps room.
const KEPT: usize = 4;
const KEPT_COMMITS: usize = 16;
/// After how many commits without a rest it looks at the clock.
const STRIDE: u32 = 64;

/// Who watches.
pub(super) struct Subscriber {
    pub hub: Arc<Hub>,
    /// Everything up to here was delivered or did not match, apart from what is in `taken`.
    pub position: u64,
    /// How many commits it has looked at since it looked at the clock.
    pub looked: u32,
    /// What follows `position`, taken from the ring or read from the store at once.
    pub taken: VecDeque<Arc<Commit>>,
    /// Messages that are ready: those of a snapshot, of what is merged.
    pub ready: VecDeque<WatchItem>,
    pub stage: Stage,
    /// Its filter leaves nothing out.
    pub takes_all: bool,
    pub latest_only: bool,
    /// It was shown no jobs, and must still look which ones it is about.
    pub looks: bool,
    pub alarm: Alarm,
    pub ear: Ear,
    pub gaze: Gaze,
    /// End after this job's last event.
    pub single: Option<Single>,
    pub filter: JobFilter,
    pub store: Arc<dyn Store>,
    pub _counted: Counted,
}

/// How far it has come.
pub(super) enum Stage {
    /// Reading the jobs that match.
    Snapshot(Snapshot),
    /// Delivering what was committed while the snapshot was read, up to a position.
    CatchUp { shown: HashMap<JobId, u64>, until: u64 },
    /// Following.
    Live,
}

/// What comes next.
pub(super) enum Next {
    /// A message.
    Item(WatchItem),
    /// The end of the stream, with an error or without.
    End(Option<Error>),
    /// Something that takes longer. See [`Subscriber::work`].
    Work(Chore),
}

/// What takes longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chore {
    /// To read the next page of the snapshot.
    Show,
    /// To tell what was committed since the snapshot began.
    CatchUp,
    /// To read from the store what the ring has no more.
    Read,
    /// To take all that is unread and leave only the newest of each job.
    Merge,
    /// To see whether the one watched job is over.
    AskEnd,
    /// To see which jobs it is about.
    Look,
}

impl Subscriber {
    /// Does what takes longer, and comes back. It says nothing itself meanwhile: that is up to whoever polls it, see
    /// [`Away`](super::away::Away).
    pub(super) async fn work(mut self: Box<Self>, chore: Chore) -> Result<Box<Self>, Error> {
        match chore {
            Chore::Show => self.show().await?,
            Chore::CatchUp => self.catch_up().await?,
            Chore::Read => self.read().await?,
            Chore::Merge => self.merge().await?,
            Chore::AskEnd => self.ask_end().await?,
            Chore::Look => self.look().await,
        }
        Ok(self)
    }

    /// What comes next; pending while it rests.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.ear.hear();
        loop {
            if let Some(item) = self.ready.pop_front() {
                return self.say(item);
            }
            if self.hub.is_stopped() {
                return Poll::Ready(Next::End(Some(Error::ShuttingDown)));
            }
            match self.stage {
                Stage::Live => {}
                Stage::Snapshot(_) => {
                    return Poll::Ready(self.due(Instant::now()).unwrap_or(Next::Work(Chore::Show)));
                }
                Stage::CatchUp { .. } => {
                    return Poll::Ready(self.due(Instant::now()).unwrap_or(Next::Work(Chore::CatchUp)));
                }
            }
            // Also while it reads much that does not match: the token then says how far it has come.
            if self.looked >= STRIDE
                && let Some(next) = self.due(Instant::now())
            {
                return Poll::Ready(next);
            }
            if let Some(commit) = self.taken.pop_front() {
                self.looked += 1;
                self.position = commit.position();
                if let Some(delivery) = self.pick(commit) {
                    let item = self.item(WatchBody::Events(delivery));
                    return self.say(item);
                }
                continue;
            }
            if self.hub.position() > self.position {
                let chore = if self.latest_only {
                    Chore::Merge
                } else {
                    match self.hub.take(self.position) {
                        Some((run, 0)) if self.takes_all => return self.say_all(run),
                        Some((run, known)) => {
                            self.taken.extend(run.commits().iter().skip(known).map(Arc::clone));
                            continue;
                        }
                        None => Chore::Read,
                    }
                };
                return Poll::Ready(self.due(Instant::now()).unwrap_or(Next::Work(chore)));
            }
            match &self.single {
                Some(single) if single.ended => return Poll::Ready(Next::End(None)),
                Some(single) if !single.known_live => return Poll::Ready(Next::Work(Chore::AskEnd)),
                Some(_) | None => {}
            }
            if std::mem::take(&mut self.looks) {
                return Poll::Ready(Next::Work(Chore::Look));
            }
            let now = Instant::now();
            if let Some(next) = self.due(now) {
                return Poll::Ready(next);
            }
            self.rest();
            self.ear.listen(context.waker());
            // Only now can nothing be missed.
            if self.hub.position() > self.position || self.hub.is_stopped() {
                continue;
            }
            if self.alarm.poll(now, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Delivers a run whole.
    fn say_all(&mut self, run: Arc<Run>) -> Poll<Next> {
        self.looked = self.looked.saturating_add(run.commits().len().try_into().unwrap_or(u32::MAX));
        self.position = run.position();
        self.note(run.events());
        let item = self.item(WatchBody::Events(Delivery::Run(run)));
        self.say(item)
    }

    fn say(&mut self, item: WatchItem) -> Poll<Next> {
        self.alarm.said();
        Poll::Ready(Next::Item(item))
    }

    /// What it is time for.
    fn due(&mut self, now: Instant) -> Option<Next> {
        self.looked = 0;
        match self.alarm.due(now) {
            Due::Nothing => None,
            Due::End => Some(Next::End(Some(Error::WatchAged))),
            Due::Heartbeat => {
                self.alarm.said();
                // Nobody may ask for more for a long time: whoever counts on its turn counts in vain.
                self.ear.leave();
                Some(Next::Item(self.heartbeat()))
            }
        }
    }

    /// A sign of life: before `SYNCED` it has no token, because a resume in the middle of a snapshot could not be exact.
    pub(super) fn heartbeat(&self) -> WatchItem {
        match self.stage {
            Stage::Live => self.item(WatchBody::Heartbeat),
            Stage::Snapshot(_) | Stage::CatchUp { .. } => {
                WatchItem { body: WatchBody::Heartbeat, resume_token: None }
            }
        }
    }

    /// What of a commit is wanted.
    fn pick(&mut self, commit: Arc<Commit>) -> Option<Delivery> {
        let picked = if self.takes_all {
            Delivery::Whole(commit)
        } else {
            Delivery::of(commit, |event| self.filter.matches(event))?
        };
        self.note(picked.events());
        Some(picked)
    }

    /// Notes what the subscriber is told.
    pub(super) fn note<'a>(&mut self, events: impl IntoIterator<Item = &'a Arc<Shared>>) {
        if self.gaze.is_wide() && self.single.is_none() {
            return;
        }
        for event in events {
            self.gaze.see(event.job, event.status.state.is_ended());
            if let Some(single) = &mut self.single {
                single.note(event);
            }
        }
    }

    /// How many messages are at hand, at least.
    pub(super) fn at_hand(&self) -> usize {
        let news = match self.stage {
            Stage::Live if self.takes_all => !self.taken.is_empty() || self.hub.position() > self.position,
            Stage::Live => {
                let mut events = self.taken.iter().flat_map(|commit| commit.events());
                events.any(|event| self.filter.matches(event))
            }
            Stage::Snapshot(_) | Stage::CatchUp { .. } => false,
        };
        self.ready.len() + usize::from(news)
    }

    /// A message with the token of where the subscriber now stands.
    pub(super) fn item(&self, body: WatchBody) -> WatchItem {
        WatchItem { body, resume_token: Some(ResumeToken::new(self.hub.store_id(), self.position)) }
    }

    /// Gives back the room that a snapshot or much to catch up with has taken: an idle subscriber keeps none of it.
    fn rest(&mut self) {
        if self.ready.capacity() > KEPT {
            self.ready.shrink_to(KEPT);
        }
        if self.taken.capacity() > KEPT_COMMITS {
            self.taken.shrink_to(KEPT_COMMITS);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Sleep;

    use super::*;
    use crate::engine::berths::Berth;

    /// What an idle subscriber holds here, of the 16 KiB that it may cost in all.
    #[test]
    fn a_subscriber_is_small() {
        let sizes = (size_of::<Subscriber>(), size_of::<Berth>(), size_of::<Sleep>());
        let room = KEPT * size_of::<WatchItem>() + KEPT_COMMITS * size_of::<Arc<Commit>>();
        assert!(sizes.0 + sizes.1 + sizes.2 + room <= 2 << 10, "{sizes:?} {room}");
    }
}
