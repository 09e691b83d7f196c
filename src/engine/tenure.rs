//! The right under which a driver drives: a guard for its writes, and a permit for what it sends.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kit::clock::Clock;
use crate::kit::permit::{Grant, Moment, Permit};
use crate::store::lease::{Fence, Guard};

/// How long a renewal may be under way.
const RENEWAL: Duration = Duration::from_secs(1);

/// A driver's side of a lease.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    guard: watch::Receiver<Guard>,
    /// Until when calls may be sent.
    pub permit: Permit,
    /// Finish what is on the wire, and end.
    pub finish: CancellationToken,
    /// End at once: somebody else drives, and nothing that is heard could be written.
    pub cut: CancellationToken,
}

impl Tenure {
    /// Under which lease to write now.
    pub fn guard(&self) -> Guard {
        self.guard.borrow().clone()
    }

    /// The store refused a write under `refused`. Whether that is only because the lease ran out and is being taken
    /// again for this very driver: that is known in moments.
    pub async fn renewed(&self, refused: &Guard) -> bool {
        let mut guard = self.guard.clone();
        let renewal = guard.wait_for(|guard| guard.fence > refused.fence);
        matches!(tokio::time::timeout(RENEWAL, renewal).await, Ok(Ok(_)))
    }
}

/// The keeper's side of a lease.
#[derive(Debug)]
pub(super) struct Held {
    guard: watch::Sender<Guard>,
    grant: Grant,
    finish: CancellationToken,
    cut: CancellationToken,
}

impl Held {
    /// A lease that was asked for at `asked` and given.
    pub fn new(clock: &Clock, guard: Guard, asked: Moment, lease: Duration) -> Self {
        let cut = CancellationToken::new();
        Self {
            guard: watch::Sender::new(guard),
            grant: Grant::new(clock.clone(), asked, usable(lease)),
            finish: cut.child_token(),
            cut,
        }
    }

    /// For its driver.
    pub fn tenure(&self) -> Tenure {
        Tenure {
            guard: self.guard.subscribe(),
            permit: self.grant.permit(),
            finish: self.finish.clone(),
            cut: self.cut.clone(),
        }
    }

    /// Under which lease its driver writes.
    pub fn guard(&self) -> Guard {
        self.guard.borrow().clone()
    }

    pub fn fence(&self) -> Fence {
        self.guard.borrow().fence
    }

    /// It was prolonged by a call that began at `asked`.
    pub fn prolong(&self, asked: Moment, lease: Duration) {
        self.grant.prolong(asked, usable(lease));
    }

    /// It ran out and was taken again, and the fence shows that nobody had it in between: its driver can go on, with
    /// what it was about to write. `false`: somebody had it.
    pub fn renew(&self, fence: Fence, asked: Moment, lease: Duration) -> bool {
        let unbroken = fence.0 == self.fence().0 + 1;
        if unbroken {
            self.guard.send_modify(|guard| guard.fence = fence);
            self.prolong(asked, lease);
        }
        unbroken
    }

    /// Has its driver finish. The lease goes on until it did.
    pub fn finish(&self) {
        self.finish.cancel();
    }

    pub fn is_finishing(&self) -> bool {
        self.finish.is_cancelled()
    }

    /// Somebody else has it: its driver ends at once.
    pub fn cut(&self) {
        self.grant.end();
        self.cut.cancel();
    }

    /// Whether its driver may call the vendor.
    pub fn holds(&self) -> bool {
        self.grant.permit().holds()
    }
}

/// How much of a lease is used: clocks do not run alike, and what is checked is sent a moment later.
pub(super) fn usable(lease: Duration) -> Duration {
    lease - (lease / 10).clamp(Duration::from_millis(50), Duration::from_secs(2)).min(lease / 2)
}
