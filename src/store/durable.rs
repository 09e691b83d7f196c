//! Everything that a store makes durable, by name, with the crash points on both sides of it.
//!
//! What a store writes stands between [`about_to`] and [`done`], or names its step by [`Work`](super::group::Work). The
//! lists are kept whole by `tests/crash/enumerated.rs`: it reads the traits' methods and every writing statement below
//! `src/store`, and fails on one that no step here stands for.

use crate::kit::crash_point::{self, CrashPoint};

/// One kind of durable step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durable {
    /// Jobs are accepted, with their events, their request's key and their sealed passwords.
    Create,
    /// Jobs are changed, with their events.
    Write,
    /// It is proved that a row can be written.
    Ping,
    /// Ended jobs are removed, one step's worth.
    Purge,
    /// Request keys are removed that stand for no job.
    PurgeBareKeys,
    /// SQLite: erased passwords leave the write-ahead log.
    EmptyLog,
    /// PostgreSQL: a replica says that it is there, and its leases are prolonged.
    Attend,
    /// PostgreSQL: a provider changes hands.
    TakeLease,
    /// PostgreSQL: providers are handed over.
    ReleaseLeases,
    /// PostgreSQL: a replica says good-bye.
    Leave,
    /// PostgreSQL: positions that a database has forgotten are marked as gone.
    MarkRewound,
    /// One migration of the schema; each is a transaction of its own.
    Migrate,
    /// The database gets its id.
    MakeId,
    /// `migrate-store`: the file is marked, so that nobody drives its jobs from it any more.
    MarkMoved,
    /// `migrate-store`: all rows are in their new database, in one transaction.
    CommitMove,
    /// `migrate-store`: the mark is taken off after that transaction failed.
    UnmarkMoved,
}

impl Durable {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Create,
        Self::Write,
        Self::Ping,
        Self::Purge,
        Self::PurgeBareKeys,
        Self::EmptyLog,
        Self::Attend,
        Self::TakeLease,
        Self::ReleaseLeases,
        Self::Leave,
        Self::MarkRewound,
        Self::Migrate,
        Self::MakeId,
        Self::MarkMoved,
        Self::CommitMove,
        Self::UnmarkMoved,
    ];

    /// The method of [`Store`](super::Store) or [`Leases`](super::Leases) that asks for it, if one does.
    pub const fn method(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("create"),
            Self::Write => Some("write"),
            Self::Ping => Some("ping"),
            Self::Purge => Some("purge"),
            Self::PurgeBareKeys => Some("purge_bare_keys"),
            Self::Attend => Some("attend"),
            Self::TakeLease => Some("take_lease"),
            Self::ReleaseLeases => Some("release_leases"),
            Self::Leave => Some("leave"),
            Self::EmptyLog
            | Self::MarkRewound
            | Self::Migrate
            | Self::MakeId
            | Self::MarkMoved
            | Self::CommitMove
            | Self::UnmarkMoved => None,
        }
    }

    /// The last moment at which nothing of it is durable.
    pub const fn before(self) -> CrashPoint {
        match self {
            // Whatever is in a group, its commit is one.
            Self::Create | Self::Write | Self::Ping => CrashPoint::CommitOpen,
            Self::Purge => CrashPoint::PurgeOpen,
            Self::PurgeBareKeys => CrashPoint::KeysPurgeOpen,
            Self::EmptyLog => CrashPoint::LogUnemptied,
            Self::Attend => CrashPoint::AttendOpen,
            Self::TakeLease => CrashPoint::TakeOpen,
            Self::ReleaseLeases => CrashPoint::ReleaseOpen,
            Self::Leave => CrashPoint::LeaveOpen,
            Self::MarkRewound => CrashPoint::RewoundUnmarked,
            Self::Migrate => CrashPoint::SchemaBehind,
            Self::MakeId => CrashPoint::IdUnmade,
            Self::MarkMoved => CrashPoint::FileUnmarked,
            Self::CommitMove => CrashPoint::MovedUncommitted,
            Self::UnmarkMoved => CrashPoint::FileStillMarked,
        }
    }

    /// The first moment at which all of it is durable. Nobody was told.
    pub const fn after(self) -> CrashPoint {
        match self {
            Self::Create | Self::Write | Self::Ping => CrashPoint::CommitDone,
            Self::Purge => CrashPoint::PurgeDone,
            Self::PurgeBareKeys => CrashPoint::KeysPurgeDone,
            Self::EmptyLog => CrashPoint::LogEmptied,
            Self::Attend => CrashPoint::AttendDone,
            Self::TakeLease => CrashPoint::TakeDone,
            Self::ReleaseLeases => CrashPoint::ReleaseDone,
            Self::Leave => CrashPoint::LeaveDone,
            Self::MarkRewound => CrashPoint::RewoundMarked,
            Self::Migrate => CrashPoint::SchemaMade,
            Self::MakeId => CrashPoint::StoreOpened,
            Self::MarkMoved => CrashPoint::FileMarked,
            Self::CommitMove => CrashPoint::MovedCommitted,
            Self::UnmarkMoved => CrashPoint::FileFreed,
        }
    }
}

/// Nothing of `step` is durable yet.
pub(super) fn about_to(step: Durable) {
    crash_point::reach(step.before());
}

/// `step` is durable; nobody was told.
pub(super) fn done(step: Durable) {
    crash_point::reach(step.after());
}
