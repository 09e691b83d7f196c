//! The beginning of a watch that asks for the jobs as they stand.
//!
//! The snapshot is exact: it notes the position before it reads, remembers the sequence each job had when it was
//! read, and then delivers what was committed meanwhile and is newer than what the snapshot showed. Only then
//! comes `SYNCED`, and with it the first token.

use std::collections::HashMap;
use std::time::Duration;

use super::following::{Stage, Subscriber};
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::page::PageRequest;
use crate::engine::calls::{WatchBody, WatchItem};
use crate::engine::commit::Delivery;
use crate::engine::fault;
use crate::engine::hub::{READ, Read};
use crate::engine::reads::Reads;
use crate::store::StoreError;

/// Jobs read at once for a snapshot. A subscriber holds them until its client has read them.
const PAGE: u32 = 50;
/// How long the tail may take to publish what is committed, before it is looked for again.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);

/// How far a snapshot is.
#[derive(Default)]
pub(super) struct Snapshot {
    page: Option<String>,
    /// The sequence that each job had when it was read.
    shown: HashMap<JobId, u64>,
}

impl Subscriber {
    /// Reads the next page of the snapshot.
    pub(super) async fn show(&mut self) -> Result<(), Error> {
        let Stage::Snapshot(mut snapshot) = std::mem::replace(&mut self.stage, Stage::Live) else {
            return Ok(());
        };
        let request = PageRequest { size: PAGE, token: snapshot.page.take() };
        let page = self.hub.reads().jobs(&self.filter, &request).await.map_err(fault::store)?;
        for job in page.items {
            snapshot.shown.insert(job.id, job.sequence);
            self.gaze.see(job.id, job.status.state.is_ended());
            self.ready.push_back(WatchItem { body: WatchBody::Snapshot(Box::new(job)), resume_token: None });
        }
        self.stage = match page.next {
            Some(next) => Stage::Snapshot(Snapshot { page: Some(next), ..snapshot }),
            None => {
                let known = *self.store.newest_position().borrow();
                let until = committed(self.hub.reads(), known).await?;
                Stage::CatchUp { shown: snapshot.shown, until }
            }
        };
        Ok(())
    }

    /// Tells what was committed since the snapshot began and is newer than what it showed.
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        let Stage::CatchUp { shown, until } = std::mem::replace(&mut self.stage, Stage::Live) else {
            return Ok(());
        };
        if self.position >= until {
            self.ready.push_back(self.item(WatchBody::Synced));
            return Ok(());
        }
        let mut news = self.hub.newest();
        match self.hub.read(self.position).await.map_err(fault::store)? {
            Read::Nothing => {
                // Committed, but the tail has not published it yet: that is a matter of moments.
                let _ = tokio::time::timeout(PUBLISHED_WITHIN, news.changed()).await;
            }
            Read::Commits(commits, last) => {
                for commit in commits {
                    let newer = |e: &Event| shown.get(&e.job).is_none_or(|sequence| e.sequence > *sequence);
                    if let Some(picked) = Delivery::of(commit, |e| self.filter.matches(e) && newer(e)) {
                        self.note(picked.events());
                        self.ready
                            .push_back(WatchItem { body: WatchBody::Events(picked), resume_token: None });
                    }
                }
                self.position = last;
            }
        }
        self.stage = Stage::CatchUp { shown, until };
        Ok(())
    }
}

/// The newest position that is committed now, on whichever replica: after `known`. The snapshot may show what this one has
/// not heard of yet.
async fn committed(reads: &Reads, known: u64) -> Result<u64, Error> {
    let mut newest = known;
    loop {
        newest = match reads.events(newest, READ).await {
            Ok(events) => match events.last() {
                Some(later) if events.len() >= READ as usize => later.position,
                // That was all: what is committed from now on is told as news.
                Some(later) => return Ok(later.position),
                None => return Ok(newest),
            },
            // Whoever reads on to there is told.
            Err(StoreError::DamagedEvents { through, .. }) => through,
            Err(error) => return Err(fault::store(error)),
        };
    }
}
