//! Jobs as callers were last shown them, at hand: a job that is asked for again is not read again.
//!
//! It is never older than what somebody could have read from the database: one process has the file, and its one writer
//! [holds](Shown::hold) what it is about to commit. From then until the commit is over, those jobs are read from the
//! database, and nothing is kept of them. Who reads notes so before, and the writer strikes the note out: what was
//! read before a commit is not kept after it.
//!
//! Bounded by what it weighs; who was not asked for longest goes first. Only what was asked for by name comes in: lists,
//! watches and drivers leave it alone, and whoever decides anything about a job reads the database.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use crate::domain::id::JobId;
use crate::store::error::StoreError;

/// What all that is kept may weigh, in bytes.
const ROOM: usize = 16 << 20;
/// What a job weighs beside its bytes: its key, its place, and what the allocator adds. In bytes, roughly.
const BESIDE: usize = 160;

/// The jobs at hand.
#[derive(Debug)]
pub(super) struct Shown {
    room: usize,
    /// Never held for long.
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    kept: LruCache<JobId, Bytes>,
    /// What `kept` weighs, in bytes.
    weight: usize,
    /// Jobs that are being read to be kept, each with the number of the read. Bounded by the calls under way.
    reading: HashMap<JobId, u64>,
    reads: u64,
    writing: Writing,
}

/// What the writer is committing.
#[derive(Debug)]
enum Writing {
    /// Nothing.
    Nothing,
    /// These jobs.
    Jobs(HashSet<JobId>),
    /// A commit failed, and may be there after all: nothing is kept until the next one is done.
    Unsure,
}

impl Writing {
    fn is_on(&self, id: JobId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Jobs(jobs) => jobs.contains(&id),
            Self::Unsure => true,
        }
    }
}

impl Shelf {
    fn put(&mut self, id: JobId, shown: Bytes, room: usize) {
        if weight(&shown) > room {
            return;
        }
        self.weight += weight(&shown);
        let old = self.kept.insert(id, shown);
        self.weight -= old.as_ref().map_or(0, weight);
        while self.weight > room
            && let Some((_, oldest)) = self.kept.remove_lru()
        {
            self.weight -= weight(&oldest);
        }
    }

    fn forget(&mut self, id: JobId) {
        self.reading.remove(&id);
        self.weight -= self.kept.remove(&id).as_ref().map_or(0, weight);
    }
}

const fn weight(shown: &Bytes) -> usize {
    BESIDE + shown.len()
}

impl Shown {
    /// Nothing at hand.
    pub(super) fn new() -> Self {
        Self::of(ROOM)
    }

    fn of(room: usize) -> Self {
        let shelf = Shelf {
            kept: LruCache::new_unbounded(),
            weight: 0,
            reading: HashMap::new(),
            reads: 0,
            writing: Writing::Nothing,
        };
        Self { room, shelf: Mutex::new(shelf) }
    }

    /// The job as it was last shown, or as `read` reads it now.
    pub(super) async fn get(
        &self,
        id: JobId,
        read: impl Future<Output = Result<Option<Bytes>, StoreError>>,
    ) -> Result<Option<Bytes>, StoreError> {
        let note = match self.look(id) {
            Look::AtHand(shown) => return Ok(Some(shown)),
            Look::ToKeep(note) => Some(note),
            Look::ToRead => None,
        };
        let found = read.await?;
        if let (Some(note), Some(found)) = (note, &found) {
            note.keep(found);
        }
        Ok(found)
    }

    fn look(&self, id: JobId) -> Look<'_> {
        let mut shelf = self.shelf();
        if let Some(shown) = shelf.kept.get(&id) {
            return Look::AtHand(shown.clone());
        }
        // Who reads at the same time as another shares a statement anyway.
        if shelf.writing.is_on(id) || shelf.reading.contains_key(&id) {
            return Look::ToRead;
        }
        shelf.reads += 1;
        let number = shelf.reads;
        shelf.reading.insert(id, number);
        Look::ToKeep(Note { shown: self, id, number })
    }

    /// The writer is about to commit a change of these jobs, or their end. Nobody can have read it before this returns.
    pub(super) fn hold(&self, jobs: impl Iterator<Item = JobId>) {
        let jobs: HashSet<JobId> = jobs.collect();
        let mut shelf = self.shelf();
        for job in &jobs {
            shelf.forget(*job);
        }
        shelf.writing = Writing::Jobs(jobs);
    }

    /// The commit is done.
    pub(super) fn release(&self) {
        self.shelf().writing = Writing::Nothing;
    }

    /// The commit failed. What it held may be there all the same, by the time the database is opened again.
    pub(super) fn doubt(&self) {
        let mut shelf = self.shelf();
        shelf.writing = Writing::Unsure;
        shelf.kept.clear();
        shelf.reading.clear();
        shelf.weight = 0;
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a job that is asked for.
enum Look<'s> {
    AtHand(Bytes),
    ToKeep(Note<'s>),
    ToRead,
}

/// The note that a job is being read to be kept. Given up, it makes room for another.
struct Note<'s> {
    shown: &'s Shown,
    id: JobId,
    number: u64,
}

impl Note<'_> {
    /// Keeps what was read, unless the writer has struck the note out.
    fn keep(self, found: &Bytes) {
        let mut shelf = self.shown.shelf();
        if shelf.reading.get(&self.id) == Some(&self.number) {
            shelf.put(self.id, found.clone(), self.shown.room);
        }
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        let mut shelf = self.shown.shelf();
        if shelf.reading.get(&self.id) == Some(&self.number) {
            shelf.reading.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> JobId {
        JobId::new(Uuid::from_u128(n))
    }

    /// A read that finds `text` at once.
    fn finds(text: &'static str) -> impl Future<Output = Result<Option<Bytes>, StoreError>> {
        std::future::ready(Ok(Some(Bytes::from_static(text.as_bytes()))))
    }

    async fn shown(shown: &Shown, n: u128, now: &'static str) -> String {
        let bytes = shown.get(id(n), finds(now)).await.unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_was_shown_is_shown_again_until_it_is_written() {
        let all = Shown::new();
        assert_eq!(shown(&all, 1, "old").await, "old");
        assert_eq!(shown(&all, 1, "new").await, "old", "read again");
        assert_eq!(shown(&all, 2, "other").await, "other");
        all.hold([id(1)].into_iter());
        assert_eq!(shown(&all, 1, "new").await, "new");
        all.release();
        assert_eq!(shown(&all, 1, "newer").await, "newer", "kept while it was written");
        assert_eq!(shown(&all, 2, "x").await, "other", "one job's write is no other's");
    }

    /// A read that began before a commit and ends at some moment after it.
    #[tokio::test]
    async fn what_was_read_before_a_commit_is_not_kept_after_it() {
        for ends_within in [true, false] {
            let all = Shown::new();
            let (answer, read) = oneshot::channel();
            let mut early = Box::pin(all.get(id(1), async move { Ok(read.await.ok()) }));
            assert!(early.as_mut().now_or_never().is_none());
            all.hold([id(1)].into_iter());
            if !ends_within {
                all.release();
            }
            answer.send(Bytes::from_static(b"old")).unwrap();
            assert_eq!(early.await.unwrap().unwrap(), "old", "it asked before the commit");
            assert_eq!(shown(&all, 1, "new").await, "new");
            all.release();
            assert_eq!(shown(&all, 1, "new").await, "new");
        }
    }

    #[tokio::test]
    async fn what_is_read_during_a_commit_is_not_kept() {
        let all = Shown::new();
        all.hold([id(1)].into_iter());
        assert_eq!(shown(&all, 1, "old").await, "old");
        all.release();
        assert_eq!(shown(&all, 1, "new").await, "new");
    }

    #[tokio::test]
    async fn a_failed_commit_leaves_nothing_at_hand_until_the_next_is_done() {
        let all = Shown::new();
        let (answer, read) = oneshot::channel();
        let mut early = Box::pin(all.get(id(1), async move { Ok(read.await.ok()) }));
        assert!(early.as_mut().now_or_never().is_none());
        shown(&all, 2, "old").await;
        all.hold([id(3)].into_iter());
        all.doubt();
        answer.send(Bytes::from_static(b"old")).unwrap();
        early.await.unwrap();
        for now in ["one", "two"] {
            assert_eq!([shown(&all, 1, now).await, shown(&all, 2, now).await], [now, now]);
        }
        all.hold([].into_iter());
        all.release();
        assert_eq!([shown(&all, 1, "three").await, shown(&all, 2, "three").await], ["three", "three"]);
        assert_eq!([shown(&all, 1, "x").await, shown(&all, 2, "x").await], ["three", "three"]);
    }

    #[tokio::test]
    async fn who_finds_another_reading_reads_too_and_one_that_goes_away_is_no_hindrance() {
        let all = Shown::new();
        let mut stuck = Box::pin(all.get(id(1), std::future::pending()));
        assert!(stuck.as_mut().now_or_never().is_none());
        assert_eq!(shown(&all, 1, "one").await, "one");
        drop(stuck);
        assert_eq!(shown(&all, 1, "two").await, "two");
        assert_eq!(shown(&all, 1, "three").await, "two", "the first had left its note");
    }

    #[tokio::test]
    async fn what_is_missing_or_fails_is_asked_for_again() {
        let all = Shown::new();
        assert_eq!(all.get(id(1), async { Ok(None) }).await.unwrap(), None);
        assert!(all.get(id(1), async { Err(StoreError::Missing(id(1))) }).await.is_err());
        assert_eq!(shown(&all, 1, "there").await, "there");
    }

    #[tokio::test]
    async fn it_never_weighs_more_than_its_room() {
        let room = 64 << 10;
        let all = Shown::of(room);
        let large = Bytes::from(vec![b'x'; 900]);
        for n in 0..1_000 {
            let large = large.clone();
            all.get(id(n), async { Ok(Some(large)) }).await.unwrap();
            let shelf = all.shelf();
            assert_eq!(shelf.weight, shelf.kept.iter().map(|(_, shown)| weight(shown)).sum::<usize>());
            assert!(shelf.weight <= room && shelf.reading.is_empty(), "{}", shelf.weight);
        }
        assert!(all.shelf().kept.len() > 50, "{} kept", all.shelf().kept.len());
        // One that is larger than all the room is shown, and not kept.
        let huge = Bytes::from(vec![b'x'; 70 << 10]);
        all.get(id(2_000), async { Ok(Some(huge)) }).await.unwrap();
        assert_eq!(shown(&all, 2_000, "again").await, "again");
    }
}
