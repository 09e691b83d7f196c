//! Points at which a test can end this process at once, stop it for a while, or lose the answer to something that was
//! done.
//!
//! They stand at every durable step, on both sides of it, so that "a crash at every step" is a list that the
//! compiler keeps: [`CrashPoint`] is matched without a wildcard by the engine (each kind of vendor call and each
//! kind of news has its points) and by `tests/crash` (each point has its scenario).
//!
//! Only debug builds and builds with the feature `crash-points` have them. In any other build [`reach`] and
//! [`loses`] are nothing at all, and the variables below are not read. **Never release a build with the feature.**
//!
//! * `DRYDOCK_CRASH_AT=start.answered` ends the process the first time it gets there; `start.answered:3` the third
//!   time.
//! * `DRYDOCK_STOP_AT=start.unsent` sends the process SIGSTOP there; whoever watches it sends SIGCONT later.
//! * `DRYDOCK_LOSE_AT=commit.done:2` makes the second commit answer that the database is away, though it was made.
//!
//! A name that nobody knows ends the process too: a test must not pass because of a slip of the pen.

macro_rules! crash_points {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// A moment on one side of a durable step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CrashPoint {
            $($(#[$doc])+ $variant,)+
        }

        impl CrashPoint {
            /// All points.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the variables.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

crash_points! {
    /// The store is open and its schema is up to date; nothing is served yet.
    StoreOpened = "store.opened",
    /// A group of writes is decided in an open transaction, and nothing of it is durable.
    CommitOpen = "commit.open",
    /// The group is durable; nobody was told.
    CommitDone = "commit.done",
    /// Passwords were erased and their callers told; the log still holds them, sealed.
    LogUnemptied = "log.unemptied",

    /// A request was found good; nothing of it is kept.
    AcceptUncommitted = "accept.uncommitted",
    /// Its jobs are durable; neither the caller nor the driver was told.
    AcceptCommitted = "accept.committed",
    /// A caller's cancel, new start time or settlement was decided, and is not kept.
    WishUncommitted = "wish.uncommitted",
    /// It is durable; neither the caller nor the driver was told.
    WishCommitted = "wish.committed",

    /// Prechecks are about to be asked for.
    CheckUnsent = "check.unsent",
    /// The prechecks' answer is here, and not kept. If they passed, no intent to start is durable.
    CheckAnswered = "check.answered",
    /// The intent to start is durable; the start is about to be sent.
    StartUnsent = "start.unsent",
    /// The start took effect; its answer is here, and not kept.
    StartAnswered = "start.answered",
    /// The vendor is about to be asked whether a start arrived.
    LookUnsent = "look.unsent",
    /// It said; that is not kept.
    LookAnswered = "look.answered",
    /// The vendor is about to be asked how jobs stand.
    ObserveUnsent = "observe.unsent",
    /// It said; that is not kept.
    ObserveAnswered = "observe.answered",
    /// A cancel is about to be sent.
    CancelUnsent = "cancel.unsent",
    /// It took effect; the answer is not kept.
    CancelAnswered = "cancel.answered",
    /// A new start time is about to be sent.
    MoveUnsent = "move.unsent",
    /// It took effect; the answer is not kept.
    MoveAnswered = "move.answered",

    /// Any one request is about to leave.
    RequestUnsent = "request.unsent",
    /// Any one request was answered: the status is here, the body is not read.
    AnswerUnread = "answer.unread",

    /// Durable: the target is held.
    AcquiredWritten = "acquired.written",
    /// Durable: the target is held by another job.
    StillBusyWritten = "still_busy.written",
    /// Durable: Drydock waits for the start time.
    HeldWritten = "held.written",
    /// Durable: prechecks run.
    CheckBeganWritten = "check_began.written",
    /// Durable: prechecks refused the job, or could not be asked for.
    CheckedWritten = "checked.written",
    /// Durable: the intent to start. Nothing was sent.
    IntentWritten = "intent.written",
    /// Durable: what the vendor said to the start.
    StartedWritten = "started.written",
    /// Durable: whether the start arrived.
    LookedWritten = "looked.written",
    /// Durable: how the job stands.
    ObservedWritten = "observed.written",
    /// Durable: what the vendor said to the cancel.
    CancelledWritten = "cancelled.written",
    /// Durable: what the vendor said to the new start time.
    MovedWritten = "moved.written",
    /// Durable: the password is gone.
    PasswordGoneWritten = "password_gone.written",
    /// Durable: the vendor is not asked for a while.
    PausedWritten = "paused.written",
}

/// Whether this build has its crash points.
pub const ARMABLE: bool = cfg!(any(feature = "crash-points", debug_assertions));

/// The process has got to `point`. Ends or stops it there when it was told to.
#[cfg(not(any(feature = "crash-points", debug_assertions)))]
#[inline(always)]
pub const fn reach(_point: CrashPoint) {}

/// Whether the answer to what was just done at `point` is to be lost.
#[cfg(not(any(feature = "crash-points", debug_assertions)))]
#[inline(always)]
pub const fn loses(_point: CrashPoint) -> bool {
    false
}

#[cfg(any(feature = "crash-points", debug_assertions))]
pub use armed::{loses, reach};

#[cfg(any(feature = "crash-points", debug_assertions))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::CrashPoint;

    static CRASH: OnceLock<Option<Mine>> = OnceLock::new();
    static STOP: OnceLock<Option<Mine>> = OnceLock::new();
    static LOSE: OnceLock<Option<Mine>> = OnceLock::new();

    /// A point that was chosen, and how many times it is still passed unharmed.
    #[derive(Debug)]
    pub(super) struct Mine {
        pub point: CrashPoint,
        pub left: AtomicU64,
    }

    impl Mine {
        /// Whether this is the visit that counts.
        pub(super) fn goes_off(&self, point: CrashPoint) -> bool {
            self.point == point && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        }
    }

    /// Reads `point` or `point:n`, with `n` from 1.
    pub(super) fn parse(text: &str) -> Option<Mine> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let point = CrashPoint::ALL.iter().copied().find(|p| p.as_str() == name)?;
        let left = count.parse().ok().filter(|n| *n > 0)?;
        Some(Mine { point, left: AtomicU64::new(left) })
    }

    #[expect(clippy::disallowed_methods, reason = "for tests only; it must never be a setting")]
    fn read(variable: &str) -> Option<Mine> {
        let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
        let mine = parse(&text);
        if mine.is_none() {
            tracing::error!(variable, text, "there is no such crash point");
            std::process::abort();
        }
        tracing::warn!(variable, text, "this process was told to fail; it is for tests only");
        mine
    }

    /// The process has got to `point`. Ends or stops it there when it was told to.
    pub fn reach(point: CrashPoint) {
        let mine = CRASH.get_or_init(|| read("DRYDOCK_CRASH_AT"));
        if mine.as_ref().is_some_and(|mine| mine.goes_off(point)) {
            tracing::error!(point = point.as_str(), "told to crash here");
            std::process::abort();
        }
        let mine = STOP.get_or_init(|| read("DRYDOCK_STOP_AT"));
        if mine.as_ref().is_some_and(|mine| mine.goes_off(point)) {
            tracing::error!(point = point.as_str(), "told to stop here for a while");
            stop();
        }
    }

    /// Sends this process SIGSTOP. A program does it, because nothing here is unsafe; all threads stand still.
    fn stop() {
        let id = std::process::id().to_string();
        if let Err(error) = std::process::Command::new("kill").args(["-STOP", &id]).status() {
            tracing::error!(%error, "no `kill` to stop with");
            std::process::abort();
        }
    }

    /// Whether the answer to what was just done at `point` is to be lost.
    pub fn loses(point: CrashPoint) -> bool {
        let mine = LOSE.get_or_init(|| read("DRYDOCK_LOSE_AT"));
        let lost = mine.as_ref().is_some_and(|mine| mine.goes_off(point));
        if lost {
            tracing::error!(point = point.as_str(), "told to lose this answer");
        }
        lost
    }
}

#[cfg(all(test, any(feature = "crash-points", debug_assertions)))]
mod tests {
    use super::armed::parse;
    use super::*;

    #[test]
    fn a_point_goes_off_once_on_the_visit_that_was_asked_for() {
        let mine = parse("start.answered:2").unwrap();
        let visits = [CrashPoint::StartAnswered, CrashPoint::StartUnsent, CrashPoint::StartAnswered]
            .map(|point| mine.goes_off(point));
        assert_eq!(visits, [false, false, true]);
        assert!(!mine.goes_off(CrashPoint::StartAnswered));
        assert!(parse("start.answered").unwrap().goes_off(CrashPoint::StartAnswered));
    }

    #[test]
    fn a_slip_of_the_pen_is_no_point() {
        for text in ["start", "start.answered:0", "start.answered:x", "start.answered:", ""] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        for point in CrashPoint::ALL {
            assert_eq!(parse(point.as_str()).unwrap().point, *point);
        }
    }
}
