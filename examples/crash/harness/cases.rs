//! The story that comes by each crash point.
//!
//! [`case`] has no wildcard: a point without a story, or a test of the store that cuts just there, does not compile.

use drydock::kit::crash_point::CrashPoint;

/// What happens while the crash waits at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// One upgrade, from the call to the end.
    Upgrade,
    /// Two upgrades of one target, one after the other.
    Queue,
    /// An upgrade whose start Drydock waits for.
    Hold,
    /// A start whose answer is lost.
    LostAnswer,
    /// Prechecks that are answered slowly, so that a job is seen CHECKING.
    SlowCheck,
    /// Prechecks that cannot be asked for at first.
    Trouble,
    /// A vendor that is away until its pause begins.
    Outage,
    /// An operation that is cancelled while it runs.
    Cancel,
    /// A scheduled upgrade that the vendor keeps, moved.
    Move,
    /// An upgrade that fails, and is tried again.
    Retry,
    /// A reinstall whose password waits on disk.
    Sealed,
    /// A reinstall whose password was in the memory of a process that died.
    Forgotten,
    /// Gateways that are stopped in order while a job is live.
    Handover,
    /// A database that is made.
    Opening,
    /// A database that holds too much: ended jobs of long ago.
    Purging,
    /// A file whose jobs, a live one among them, move to another store.
    Moving,
}

impl Story {
    /// Every story.
    pub const ALL: [Self; 16] = [
        Self::Upgrade,
        Self::Queue,
        Self::Hold,
        Self::LostAnswer,
        Self::SlowCheck,
        Self::Trouble,
        Self::Outage,
        Self::Cancel,
        Self::Move,
        Self::Retry,
        Self::Sealed,
        Self::Forgotten,
        Self::Handover,
        Self::Opening,
        Self::Purging,
        Self::Moving,
    ];

    /// Whether its crashes come before anybody calls or watches: what they leave behind is what the callers meet.
    pub const fn is_upkeep(self) -> bool {
        match self {
            Self::Opening | Self::Purging | Self::Moving => true,
            Self::Upgrade
            | Self::Queue
            | Self::Hold
            | Self::LostAnswer
            | Self::SlowCheck
            | Self::Trouble
            | Self::Outage
            | Self::Cancel
            | Self::Move
            | Self::Retry
            | Self::Sealed
            | Self::Forgotten
            | Self::Handover => false,
        }
    }
}

/// What tries a crash at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// This story.
    Told(Story),
    /// No process can be brought there at will; this test of the store cuts the connection on both sides of the step.
    Tested(&'static str),
}

/// What tries a point.
pub const fn case(point: CrashPoint) -> Case {
    Case::Told(match point {
        // A database that lost commits. A process that dies right there is one that never knew them.
        CrashPoint::RewoundUnmarked | CrashPoint::RewoundMarked => {
            return Case::Tested("a_mark_whose_commit_is_cut_is_made_again");
        }
        CrashPoint::SchemaBehind | CrashPoint::SchemaMade | CrashPoint::IdUnmade => Story::Opening,
        CrashPoint::PurgeOpen
        | CrashPoint::PurgeDone
        | CrashPoint::KeysPurgeOpen
        | CrashPoint::KeysPurgeDone => Story::Purging,
        CrashPoint::RowsCopied
        | CrashPoint::FileUnmarked
        | CrashPoint::FileMarked
        | CrashPoint::MovedUncommitted
        | CrashPoint::MovedCommitted
        | CrashPoint::FileStillMarked
        | CrashPoint::FileFreed => Story::Moving,
        CrashPoint::ReleaseOpen | CrashPoint::ReleaseDone | CrashPoint::LeaveOpen | CrashPoint::LeaveDone => {
            Story::Handover
        }
        CrashPoint::StoreOpened
        | CrashPoint::TakeOpen
        | CrashPoint::TakeDone
        | CrashPoint::CommitOpen
        | CrashPoint::CommitDone
        | CrashPoint::AcceptUncommitted
        | CrashPoint::AcceptCommitted
        | CrashPoint::CheckUnsent
        | CrashPoint::CheckAnswered
        | CrashPoint::StartUnsent
        | CrashPoint::StartAnswered
        | CrashPoint::ObserveUnsent
        | CrashPoint::ObserveAnswered
        | CrashPoint::RequestUnsent
        | CrashPoint::AnswerUnread
        | CrashPoint::IntentWritten
        | CrashPoint::StartedWritten
        | CrashPoint::ObservedWritten => Story::Upgrade,
        CrashPoint::AcquiredWritten | CrashPoint::StillBusyWritten => Story::Queue,
        // Long enough for a second attendance, which prolongs what the first one took.
        CrashPoint::HeldWritten | CrashPoint::AttendOpen | CrashPoint::AttendDone => Story::Hold,
        CrashPoint::LookUnsent | CrashPoint::LookAnswered | CrashPoint::LookedWritten => Story::LostAnswer,
        CrashPoint::CheckBeganWritten => Story::SlowCheck,
        CrashPoint::CheckedWritten => Story::Trouble,
        CrashPoint::PausedWritten => Story::Outage,
        CrashPoint::WishUncommitted
        | CrashPoint::WishCommitted
        | CrashPoint::CancelUnsent
        | CrashPoint::CancelAnswered
        | CrashPoint::CancelledWritten => Story::Cancel,
        CrashPoint::MoveUnsent | CrashPoint::MoveAnswered | CrashPoint::MovedWritten => Story::Move,
        CrashPoint::LogUnemptied | CrashPoint::LogEmptied => Story::Sealed,
        CrashPoint::PasswordGoneWritten => Story::Forgotten,
    })
}
