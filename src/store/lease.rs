//! Who drives what: the presence of replicas, and the leases of providers.
//!
//! A provider has one driver at a time, on whichever replica holds its lease. A lease ends by itself, on the
//! store's clock, unless it is renewed; and it has a fence, a number that rises whenever the provider changes hands.
//! What a driver writes names the fence it drives under ([`Guard`]), and the store refuses the write once another
//! holder came. So a replica that slept past its lease can do no harm to what the next one wrote.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::error::StoreError;
use crate::domain::id::{JobId, ProviderId};

/// One run of Drydock. A restart is another replica: it remembers nothing of what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(Uuid);

impl ReplicaId {
    /// An id that no other replica has.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// From a UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts how often a provider changed hands, from 1. Never falls while a write of an earlier holder could still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Under which lease a driver writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The provider whose jobs are written. A change of another provider's job is refused, too.
    pub provider: ProviderId,
    /// The fence of the lease.
    pub fence: Fence,
    /// Who holds it. A database that lost its last commits may give the same fence once more, to another one.
    pub holder: ReplicaId,
}

/// What a replica says of itself each time it attends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which replica.
    pub replica: ReplicaId,
    /// What people call it: usually the host's name. At most 255 bytes.
    pub name: String,
    /// The providers that it is configured for, and so could drive.
    pub providers: Vec<ProviderId>,
    /// What the providers that it drives look like from here, for the other replicas to show. Opaque to the store; at
    /// most 16 KiB each. Those whose lease another replica holds by now are ignored.
    pub reports: Vec<(ProviderId, String)>,
    /// Jobs that are watched through it, whoever drives them. At most 64.
    pub watched: Vec<JobId>,
    /// How long the presence and the leases hold from now on. Milliseconds are kept, less is cut.
    pub lease: Duration,
}

/// Who is there and who drives what, as the store saw it in one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// The replicas whose presence has not run out, by id.
    pub replicas: Vec<Attendant>,
    /// Every provider that was ever leased, by id.
    pub leases: Vec<Lease>,
}

/// A replica that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendant {
    /// Which.
    pub replica: ReplicaId,
    /// What people call it.
    pub name: String,
    /// The providers that it could drive.
    pub providers: Vec<ProviderId>,
    /// Jobs that are watched through it, as it said the last time.
    pub watched: Vec<JobId>,
}

/// A provider's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of which provider.
    pub provider: ProviderId,
    /// The fence of its last holder.
    pub fence: Fence,
    /// Who holds it; `None` when it was given up or has run out.
    pub holder: Option<ReplicaId>,
    /// What its last holder reported.
    pub report: Option<String>,
    /// Who held it last, also when it has run out; `None` when it was given up.
    pub last_holder: Option<ReplicaId>,
}

/// Presence and leases. All times are the store's own.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Says that a replica is there, prolongs every lease that it still holds by `presence.lease` from now, and
    /// answers who else is there, all in one commit. A lease that has run out is not revived, even if nobody took it.
    async fn attend(&self, presence: &Presence) -> Result<Attendance, StoreError>;

    /// Takes a provider's lease if it is free or has run out, with a higher fence than ever before. `None`: another
    /// replica holds it, or the asking one does already, or is not there (its presence ran out).
    async fn take_lease(
        &self,
        provider: &ProviderId,
        replica: ReplicaId,
        lease: Duration,
    ) -> Result<Option<Fence>, StoreError>;

    /// Gives leases up. Those that the replica does not hold under that fence are left as they are.
    async fn release_leases(&self, replica: ReplicaId, guards: &[Guard]) -> Result<(), StoreError>;

    /// Ends a replica's presence and gives up every lease that it holds. Doing it twice does no harm.
    async fn leave(&self, replica: ReplicaId) -> Result<(), StoreError>;

    /// Changes when a replica came or left or a lease was given up. It only hurries what the next
    /// [`Leases::attend`] would find.
    fn lease_changes(&self) -> watch::Receiver<u64>;
}
