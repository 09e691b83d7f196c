//! Leases of a store that one process owns: kept in memory, because they end with the process.
//!
//! The file's lock keeps other processes out, so a new process owes nothing to leases of an earlier one and drives
//! its providers at once. Several replicas on this store are several engines in one process, which only tests have;
//! the rules are the same as on a store that is shared.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::id::{JobId, ProviderId};
use crate::store::error::StoreError;
use crate::store::lease::{Attendance, Attendant, Fence, Guard, Lease, Presence, ReplicaId};

/// Presence and leases in memory.
#[derive(Debug)]
pub(super) struct MemoryLeases {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    replicas: BTreeMap<ReplicaId, Here>,
    leases: BTreeMap<ProviderId, Held>,
}

#[derive(Debug)]
struct Here {
    name: String,
    providers: Vec<ProviderId>,
    watched: Vec<JobId>,
    until: Instant,
}

#[derive(Debug)]
struct Held {
    fence: Fence,
    holder: Option<(ReplicaId, Instant)>,
    report: Option<String>,
}

impl Held {
    fn holder(&self, now: Instant) -> Option<ReplicaId> {
        self.holder.filter(|(_, until)| *until > now).map(|(holder, _)| holder)
    }
}

impl MemoryLeases {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changes: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn attend(&self, presence: &Presence) -> Attendance {
        let now = Instant::now();
        let until = now + cut(presence.lease);
        let mut state = self.state();
        let gone = state.replicas.len();
        state.replicas.retain(|_, here| here.until > now);
        let here = Here {
            name: presence.name.clone(),
            providers: presence.providers.clone(),
            watched: presence.watched.clone(),
            until,
        };
        let came = state.replicas.insert(presence.replica, here).is_none();
        let changed = came || gone > state.replicas.len();
        for (provider, held) in &mut state.leases {
            if held.holder(now) == Some(presence.replica) {
                held.holder = Some((presence.replica, until));
                if let Some((_, report)) = presence.reports.iter().find(|(of, _)| of == provider) {
                    held.report = Some(report.clone());
                }
            }
        }
        let attendance = state.attendance(now);
        drop(state);
        if changed {
            self.changed();
        }
        attendance
    }

    pub(super) fn take(&self, provider: &ProviderId, replica: ReplicaId, lease: Duration) -> Option<Fence> {
        let now = Instant::now();
        let mut state = self.state();
        state.replicas.get(&replica).filter(|here| here.until > now)?;
        let held = state.leases.entry(provider.clone()).or_insert_with(|| Held {
            fence: Fence(0),
            holder: None,
            report: None,
        });
        if held.holder(now).is_some() {
            return None;
        }
        held.fence = Fence(held.fence.0 + 1);
        held.holder = Some((replica, now + cut(lease)));
        Some(held.fence)
    }

    pub(super) fn release(&self, replica: ReplicaId, guards: &[Guard]) {
        let mut state = self.state();
        for guard in guards {
            if let Some(held) = state.leases.get_mut(&guard.provider)
                && held.fence == guard.fence
                && held.holder.is_some_and(|(holder, _)| holder == replica)
            {
                held.holder = None;
            }
        }
        drop(state);
        self.changed();
    }

    pub(super) fn leave(&self, replica: ReplicaId) {
        let mut state = self.state();
        state.replicas.remove(&replica);
        for held in state.leases.values_mut() {
            if held.holder.is_some_and(|(holder, _)| holder == replica) {
                held.holder = None;
            }
        }
        drop(state);
        self.changed();
    }

    /// Whether a write may be made under `guard`: its fence is still the last one given, and was given to its holder.
    /// That its time ran out does no harm while nobody else took the provider.
    pub(super) fn permit(&self, guard: Option<&Guard>) -> Result<(), StoreError> {
        let Some(guard) = guard else { return Ok(()) };
        let state = self.state();
        match state.leases.get(&guard.provider) {
            Some(held)
                if held.fence == guard.fence
                    && held.holder.is_some_and(|(holder, _)| holder == guard.holder) =>
            {
                Ok(())
            }
            Some(_) | None => Err(StoreError::Fenced(guard.provider.clone())),
        }
    }
}

impl State {
    fn attendance(&self, now: Instant) -> Attendance {
        let attendant = |(replica, here): (&ReplicaId, &Here)| Attendant {
            replica: *replica,
            name: here.name.clone(),
            providers: here.providers.clone(),
            watched: here.watched.clone(),
        };
        let lease = |(provider, held): (&ProviderId, &Held)| Lease {
            provider: provider.clone(),
            fence: held.fence,
            holder: held.holder(now),
            report: held.report.clone(),
            last_holder: held.holder.map(|(holder, _)| holder),
        };
        Attendance {
            replicas: self.replicas.iter().filter(|(_, here)| here.until > now).map(attendant).collect(),
            leases: self.leases.iter().map(lease).collect(),
        }
    }
}

/// Milliseconds, as a shared store keeps them.
fn cut(lease: Duration) -> Duration {
    Duration::from_millis(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}
