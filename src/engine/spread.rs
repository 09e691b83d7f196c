//! Who should drive what. Pure: every replica that sees the same attendance comes to the same answer, so nobody has to
//! be asked.
//!
//! The spread is even where the configuration allows it: a provider moves only from a replica that drives at least two
//! more than the one that gets it, at the end of a chain of replicas that can take each other's providers. That is the
//! most even spread there is, reached by few moves, and once it is reached nothing moves any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::id::ProviderId;
use crate::store::lease::{Attendance, ReplicaId};

/// What one replica has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Leases that are free and should be its own.
    pub take: Vec<ProviderId>,
    /// Leases that it holds and another one should have.
    pub give_up: Vec<ProviderId>,
}

/// What `me` has to do for an even spread.
pub fn spread(me: ReplicaId, attendance: &Attendance) -> Moves {
    let plan = Plan::of(attendance);
    let holders: BTreeMap<_, _> =
        attendance.leases.iter().filter_map(|lease| Some((&lease.provider, lease.holder?))).collect();
    let mut moves = Moves::default();
    for (provider, owner) in &plan.owners {
        match holders.get(provider) {
            None if *owner == me => moves.take.push((*provider).clone()),
            Some(holder) if *holder == me && *owner != me => moves.give_up.push((*provider).clone()),
            None | Some(_) => {}
        }
    }
    // What it holds and is configured for no more.
    let mine = holders.iter().filter(|(_, holder)| **holder == me).map(|(provider, _)| *provider);
    moves.give_up.extend(mine.filter(|provider| !plan.able.contains_key(provider)).cloned());
    moves.give_up.sort_unstable();
    moves
}

struct Plan<'a> {
    /// Who could drive a provider, by provider.
    able: BTreeMap<&'a ProviderId, BTreeSet<ReplicaId>>,
    /// Who should.
    owners: BTreeMap<&'a ProviderId, ReplicaId>,
    loads: BTreeMap<ReplicaId, usize>,
}

impl<'a> Plan<'a> {
    fn of(attendance: &'a Attendance) -> Self {
        let mut able: BTreeMap<&ProviderId, BTreeSet<ReplicaId>> = BTreeMap::new();
        for attendant in &attendance.replicas {
            for provider in &attendant.providers {
                able.entry(provider).or_default().insert(attendant.replica);
            }
        }
        let loads = attendance.replicas.iter().map(|attendant| (attendant.replica, 0)).collect();
        let mut plan = Self { able, owners: BTreeMap::new(), loads };
        plan.keep(attendance);
        plan.fill();
        while plan.even_out() {}
        plan
    }

    /// Who holds a lease and is there keeps it, to begin with.
    fn keep(&mut self, attendance: &'a Attendance) {
        for lease in &attendance.leases {
            if let Some(holder) = lease.holder
                && let Some((provider, able)) = self.able.get_key_value(&lease.provider)
                && able.contains(&holder)
            {
                self.owners.insert(*provider, holder);
                *self.loads.entry(holder).or_default() += 1;
            }
        }
    }

    /// The rest goes to whoever drives least.
    fn fill(&mut self) {
        for (provider, able) in &self.able {
            if self.owners.contains_key(provider) {
                continue;
            }
            let least = able.iter().min_by_key(|replica| (self.loads.get(replica).copied(), **replica));
            if let Some(replica) = least {
                self.owners.insert(*provider, *replica);
                *self.loads.entry(*replica).or_default() += 1;
            }
        }
    }

    /// Moves load from one replica to another that has at least two less, along the shortest chain. `false`: there is
    /// no such pair.
    fn even_out(&mut self) -> bool {
        let mut by_load: Vec<(usize, ReplicaId)> = self.loads.iter().map(|(r, load)| (*load, *r)).collect();
        by_load.sort_unstable_by(|a, b| b.cmp(a));
        by_load.into_iter().any(|(load, from)| match self.chain(from, load) {
            Some(chain) => {
                self.shift(from, chain);
                true
            }
            None => false,
        })
    }

    /// The shortest way to take one provider off `from`: which provider goes to which replica, in turn.
    fn chain(&self, from: ReplicaId, load: usize) -> Option<Vec<(&'a ProviderId, ReplicaId)>> {
        let mut came: BTreeMap<ReplicaId, (ReplicaId, &'a ProviderId)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if self.loads.get(&at).is_some_and(|there| there + 2 <= load) {
                let mut chain = Vec::new();
                let mut to = at;
                while let Some((before, provider)) = came.get(&to) {
                    chain.push((*provider, to));
                    to = *before;
                }
                return Some(chain);
            }
            for (provider, _) in self.owners.iter().filter(|(_, owner)| **owner == at) {
                for next in self.able.get(provider).into_iter().flatten() {
                    if *next != from && !came.contains_key(next) {
                        came.insert(*next, (at, provider));
                        queue.push_back(*next);
                    }
                }
            }
        }
        None
    }

    fn shift(&mut self, from: ReplicaId, chain: Vec<(&'a ProviderId, ReplicaId)>) {
        // The last replica of the chain gets one more; those between give one and get one.
        let last = chain.first().map(|(_, to)| *to);
        for (provider, to) in chain {
            self.owners.insert(provider, to);
        }
        if let Some(load) = self.loads.get_mut(&from) {
            *load = load.saturating_sub(1);
        }
        if let Some(load) = last.and_then(|last| self.loads.get_mut(&last)) {
            *load += 1;
        }
    }
}

#[cfg(test)]
#[path = "spread_tests.rs"]
mod tests;
