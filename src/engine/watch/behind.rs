//! What a subscriber does that has fallen behind: it reads from the store, or, where only the latest state is asked for,
//! it merges.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::following::Subscriber;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::engine::calls::WatchBody;
use crate::engine::commit::{Commit, Delivery, Shared};
use crate::engine::fault;
use crate::engine::hub::Read;

/// "Latest state only" merges until it holds so many jobs, or has looked at so many events.
const MERGED_JOBS: usize = 64;
const MERGED_EVENTS: usize = 4_096;

impl Subscriber {
    /// Takes what follows from the store.
    pub(super) async fn read(&mut self) -> Result<(), Error> {
        let newest = self.hub.position();
        match self.hub.read(self.position).await.map_err(fault::store)? {
            Read::Commits(commits, _) => self.taken.extend(commits),
            // There is nothing up to there.
            Read::Nothing => self.position = self.position.max(newest),
        }
        Ok(())
    }

    /// Takes all that is unread, as far as its bounds allow, and delivers of each job only the newest event, at its
    /// own place in the order.
    pub(super) async fn merge(&mut self) -> Result<(), Error> {
        let newest_position = self.hub.position();
        let (commits, last) = match self.hub.read(self.position).await.map_err(fault::store)? {
            Read::Commits(commits, last) => (commits, last),
            Read::Nothing => {
                self.position = self.position.max(newest_position);
                return Ok(());
            }
        };
        let mut newest: HashMap<JobId, Arc<Shared>> = HashMap::new();
        let mut looked = 0;
        let mut note = |commits: &[Arc<Commit>]| {
            for event in commits.iter().flat_map(|c| c.events()) {
                looked += 1;
                // What no longer matches takes the place of what did, and is left out at the end.
                match newest.entry(event.job) {
                    Entry::Occupied(mut known) => _ = known.insert(Arc::clone(event)),
                    Entry::Vacant(free) if self.filter.matches(event) => _ = free.insert(Arc::clone(event)),
                    Entry::Vacant(_) => {}
                }
            }
            newest.len() >= MERGED_JOBS || looked >= MERGED_EVENTS
        };
        let mut full = note(&commits);
        self.position = last;
        while !full {
            match self.hub.read(self.position).await.map_err(fault::store)? {
                Read::Nothing => break,
                Read::Commits(more, last) => {
                    full = note(&more);
                    self.position = last;
                }
            }
        }
        let mut left: Vec<_> = newest.into_values().filter(|e| self.filter.matches(e)).collect();
        left.sort_unstable_by_key(|e| e.position);
        self.note(&left);
        if let [one] = &commits[..]
            && one.position() == self.position
            && one.events().len() == left.len()
        {
            // It kept up: what it gets is what everybody gets.
            self.ready.push_back(self.item(WatchBody::Events(Delivery::Whole(Arc::clone(one)))));
        } else if !left.is_empty() {
            self.ready.push_back(self.item(WatchBody::Events(Delivery::Picked(left))));
        }
        Ok(())
    }
}
