//! One attendance: what is held is prolonged, what is free is taken, what is too much is given up.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Keeping, Place, RETELL};
use crate::domain::id::ProviderId;
use crate::engine::calls::DriverView;
use crate::engine::driver::Driver;
use crate::engine::provider::Known;
use crate::engine::report::Report;
use crate::engine::spread::spread;
use crate::engine::tenure::Held;
use crate::kit::permit::Moment;
use crate::store::StoreError;
use crate::store::lease::{Attendance, Fence, Guard, Lease, Presence, ReplicaId};

impl Keeping {
    /// Attends, and does what the attendance asks for. A replica that is `leaving` counts for nothing.
    pub(super) async fn attend(&mut self, leaving: bool) -> Result<(), StoreError> {
        self.release().await;
        let asked = Moment::now(&self.keeper.clock);
        let presence = self.presence(leaving);
        let attendance = self.within(self.keeper.store.attend(&presence)).await?;
        self.note_told(&presence);
        self.prolong(&attendance, asked, leaving);
        self.show(&attendance);
        if leaving {
            return Ok(());
        }
        let present: Vec<_> = attendance.replicas.iter().map(|attendant| attendant.replica).collect();
        if present != self.present {
            self.present = present;
            self.present_since = Instant::now();
        }
        let moves = spread(self.replica, &attendance);
        // Whoever came or left this moment may be only the first of several, and a restart is soon over: what runs well
        // is not moved at once.
        if self.present_since.elapsed() >= self.keeper.beat() {
            for provider in &moves.give_up {
                if let Some(place) = self.held.get(provider).filter(|place| !place.held.is_finishing()) {
                    tracing::info!(provider.name = %provider, "another replica should drive the provider: finishing");
                    place.held.finish();
                }
            }
        }
        for provider in &moves.take {
            self.take(provider).await?;
        }
        Ok(())
    }

    /// No call of the store may last as long as a lease: what it answers would be of no use.
    async fn within<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let limit = self.keeper.lease / 2;
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no answer within {} ms", limit.as_millis())))
        })
    }

    fn presence(&self, leaving: bool) -> Presence {
        let reports = self.held.iter().filter_map(|(id, place)| Some((id.clone(), self.report(id, place)?)));
        Presence {
            replica: self.replica,
            name: self.keeper.name.clone(),
            providers: if leaving { Vec::new() } else { self.keeper.runtimes.keys().cloned().collect() },
            reports: reports.map(|(id, report)| (id, report.write())).collect(),
            watched: self.keeper.attention.to_tell(),
            lease: self.keeper.lease,
        }
    }

    /// What there is to tell of a provider, when it is news.
    fn report(&self, id: &ProviderId, place: &Place) -> Option<Report> {
        let view = self.keeper.runtimes.get(id)?.view();
        let report = Report {
            replica: self.replica,
            since: place.since,
            health: view.health,
            live_jobs: view.live_jobs,
        };
        let stale = place.told.as_ref().is_none_or(|(told, at)| {
            report.differs(told) || at.elapsed() >= RETELL.max(self.keeper.lease / 3)
        });
        stale.then_some(report)
    }

    fn note_told(&mut self, presence: &Presence) {
        for (id, text) in &presence.reports {
            if let (Some(place), Some(report)) = (self.held.get_mut(id), Report::read(text)) {
                place.told = Some((report, Instant::now()));
            }
        }
    }

    /// Prolongs what is held still, and ends what is not. A replica that is `leaving` starts no driver: a lease that a
    /// call took whose answer was dropped is given up.
    fn prolong(&mut self, attendance: &Attendance, asked: Moment, leaving: bool) {
        let lease = self.keeper.lease;
        for Lease { provider, fence, holder, last_holder, .. } in &attendance.leases {
            let mine = *holder == Some(self.replica);
            match self.held.get(provider) {
                Some(Place { held, .. }) if mine && held.fence() == *fence => held.prolong(asked, lease),
                // Taken by a call whose answer was lost.
                Some(Place { held, .. }) if mine => {
                    let unbroken = held.renew(*fence, asked, lease);
                    if !unbroken {
                        held.cut();
                    }
                }
                // Another one has it or had it; or the database forgot that it was given, and will give its fence again.
                Some(Place { held, .. }) if *fence != held.fence() || *last_holder != Some(self.replica) => {
                    held.cut();
                }
                // Run out, and nobody took it: to be taken again.
                Some(_) => {}
                None if mine && leaving => {
                    let guard = Guard { provider: provider.clone(), fence: *fence, holder: self.replica };
                    self.ended.push(guard);
                }
                None if mine => self.drive(provider, *fence, asked),
                None => {}
            }
        }
    }

    async fn take(&mut self, provider: &ProviderId) -> Result<(), StoreError> {
        if self.held.get(provider).is_some_and(|place| place.held.is_finishing()) {
            return Ok(());
        }
        let asked = Moment::now(&self.keeper.clock);
        let (replica, lease) = (self.replica, self.keeper.lease);
        let taken = self.within(self.keeper.store.take_lease(provider, replica, lease)).await?;
        let Some(fence) = taken else { return Ok(()) };
        match self.held.get(provider) {
            Some(place) if place.held.renew(fence, asked, lease) => {
                tracing::info!(provider.name = %provider, lease.fence = fence.0, "the provider's lease had run out; its driver goes on");
            }
            // Its driver ends, and the next attendance starts another one.
            Some(place) => place.held.cut(),
            None => self.drive(provider, fence, asked),
        }
        Ok(())
    }

    /// Starts the driver of a provider whose lease is held.
    fn drive(&mut self, provider: &ProviderId, fence: Fence, asked: Moment) {
        if self.ended.iter().any(|guard| guard.provider == *provider) {
            // It was given up; the store does not know it yet.
            return;
        }
        let Some(runtime) = self.keeper.runtimes.get(provider) else { return };
        let guard = Guard { provider: provider.clone(), fence, holder: self.replica };
        let held = Held::new(&self.keeper.clock, guard, asked, self.keeper.lease);
        let driver = Driver {
            runtime: Arc::clone(runtime),
            store: Arc::clone(&self.keeper.store),
            vault: Arc::clone(&self.keeper.vault),
            attention: Arc::clone(&self.keeper.attention),
            clock: self.keeper.clock.clone(),
            metrics: self.keeper.metrics.clone(),
            tenure: held.tenure(),
            ping_interval: self.keeper.ping_interval,
            round_limit: self.keeper.round_limit,
            overdue_after: self.keeper.overdue_after,
        };
        let since = self.keeper.clock.now();
        runtime.begin();
        runtime.note(Known { driver: Some(self.me(fence, Some(since))), told: None });
        let task = self.drivers.spawn(driver.supervise());
        self.tasks.insert(task.id(), provider.clone());
        self.held.insert(provider.clone(), Place { held, since, told: None });
        self.keeper.metrics.lease_changed(provider.as_str(), "taken");
        tracing::info!(provider.name = %provider, lease.fence = fence.0, "driving the provider");
    }

    fn me(&self, fence: Fence, since: Option<jiff::Timestamp>) -> DriverView {
        DriverView {
            replica: self.keeper.name.clone(),
            replica_id: self.replica.to_string(),
            since,
            fence: fence.0,
        }
    }

    /// Notes who drives what, for callers on this replica, and what is watched on others, for the drivers here.
    fn show(&self, attendance: &Attendance) {
        let others = attendance.replicas.iter().filter(|attendant| attendant.replica != self.replica);
        self.keeper.attention.told(others.flat_map(|attendant| &attendant.watched).copied());
        for lease in &attendance.leases {
            let Some(runtime) = self.keeper.runtimes.get(&lease.provider) else { continue };
            if let Some(place) = self.held.get(&lease.provider).filter(|place| place.held.holds()) {
                runtime
                    .note(Known { driver: Some(self.me(place.held.fence(), Some(place.since))), told: None });
                continue;
            }
            let report = lease.report.as_deref().and_then(Report::read);
            let driver = lease.holder.map(|holder| DriverView {
                replica: name_of(attendance, holder),
                replica_id: holder.to_string(),
                since: report.as_ref().filter(|report| report.replica == holder).map(|report| report.since),
                fence: lease.fence.0,
            });
            runtime.note(Known { driver, told: report.map(|report| (report.health, report.live_jobs)) });
        }
    }

    /// Tells the store which leases are given up. What fails is told again the next time.
    pub(super) async fn release(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let released = self.within(self.keeper.store.release_leases(self.replica, &self.ended)).await;
        match released {
            Ok(()) => self.ended.clear(),
            Err(error) => tracing::debug!(error = %error, "leases could not be given up yet"),
        }
    }
}

fn name_of(attendance: &Attendance, replica: ReplicaId) -> String {
    let known = attendance.replicas.iter().find(|attendant| attendant.replica == replica);
    known.map(|attendant| attendant.name.clone()).unwrap_or_default()
}
