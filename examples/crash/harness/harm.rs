//! What the storm prepared, and what of it struck. A fault that waits and meets nobody proves nothing, so both are
//! counted; and whether a job may be in doubt is judged by what really struck, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::kit::clock::Clock;
use drydock::simulators::{Fault, Route};
use jiff::Timestamp;
use tokio::time::Instant;

use super::fleet::Kind;
use super::proxy::Cut;

/// From so many rounds on, each kind of harm must have struck at least once.
pub const ROUNDS_FOR_EACH: u64 = 50;

/// A way to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Harm {
    /// SIGKILL.
    Kill,
    /// A process ended at a crash point.
    Crash,
    /// A stop in order.
    Stop,
    /// SIGSTOP for a moment.
    Freeze,
    /// SIGSTOP for longer than a lease.
    Oversleep,
    /// SIGSTOP for longer than a lease, at a crash point.
    OversleepAtPoint,
    /// A commit that was made answers that the database is away.
    LoseCommit,
    /// Any request to a vendor is cut.
    Request(Cut),
    /// A request that starts something is cut. All but the first of [`Cut::ALL`] mean: done, and the caller cannot know.
    Start(Cut),
    /// The vendor itself is at fault.
    Fault(Fault),
    /// Nobody reaches a vendor for longer than a lease.
    VendorAway,
    /// A statement to the database is cut.
    Statement(Cut),
    /// A commit is cut. All but the first of [`Cut::ALL`] mean: made, and the gateway cannot know.
    Commit(Cut),
    /// All connections of a gateway to the database break at once.
    Sever,
    /// The database's server is stopped, in order or as by a crash, and started again.
    Restart,
    /// Nobody reaches the database for longer than a lease.
    DatabaseAway,
}

impl Harm {
    /// Everything that a storm has in store.
    pub fn all(shared: bool, armable: bool) -> Vec<Self> {
        let mut all = vec![Self::Kill, Self::Stop, Self::Freeze, Self::VendorAway];
        all.extend(Cut::ALL.into_iter().flat_map(|cut| [Self::Request(cut), Self::Start(cut)]));
        all.extend(super::storm::FAULTS.map(Self::Fault));
        if armable {
            all.extend([Self::Crash, Self::LoseCommit]);
        }
        if shared {
            all.extend([Self::Oversleep, Self::Sever, Self::Restart, Self::DatabaseAway]);
            all.extend(Cut::ALL.into_iter().flat_map(|cut| [Self::Statement(cut), Self::Commit(cut)]));
        }
        if shared && armable {
            all.push(Self::OversleepAtPoint);
        }
        all
    }

    /// Whether a call under way may be left without an answer by it.
    pub fn may_lose_an_answer(self) -> bool {
        match self {
            Self::Fault(fault) => match fault {
                Fault::ResetBefore
                | Fault::ResetAfter
                | Fault::HtmlBefore(_)
                | Fault::HtmlAfter(_)
                | Fault::Truncated
                | Fault::WrongTypes
                | Fault::WrongShape
                | Fault::UnknownEnum
                | Fault::UnknownField
                | Fault::MissingOptional
                | Fault::LeavesOneOut
                | Fault::ExpiredSession => true,
                // A caller that is patient enough gets its answer.
                Fault::DelayMs(millis) => Duration::from_millis(millis) > super::house::REQUEST_TIMEOUT / 2,
                // The vendor says that it did nothing.
                Fault::TooManyRequests(_) => false,
            },
            // One that stops in order waits for what is out.
            Self::Stop => false,
            Self::Kill
            | Self::Crash
            | Self::Freeze
            | Self::Oversleep
            | Self::OversleepAtPoint
            | Self::LoseCommit
            | Self::Request(_)
            | Self::Start(_)
            | Self::VendorAway
            | Self::Statement(_)
            | Self::Commit(_)
            | Self::Sever
            | Self::Restart
            | Self::DatabaseAway => true,
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("SIGKILL"),
            Self::Crash => f.write_str("crash at a point"),
            Self::Stop => f.write_str("stop in order"),
            Self::Freeze => f.write_str("SIGSTOP for a moment"),
            Self::Oversleep => f.write_str("SIGSTOP past a lease"),
            Self::OversleepAtPoint => f.write_str("SIGSTOP past a lease at a point"),
            Self::LoseCommit => f.write_str("commit made, its answer lost in the process"),
            Self::Request(cut) => write!(f, "vendor request cut: {cut:?}"),
            Self::Start(cut) => write!(f, "vendor start cut: {cut:?}"),
            Self::Fault(fault) => write!(f, "vendor fault: {fault:?}"),
            Self::VendorAway => f.write_str("vendor away past a lease"),
            Self::Statement(cut) => write!(f, "statement cut: {cut:?}"),
            Self::Commit(cut) => write!(f, "commit cut: {cut:?}"),
            Self::Sever => f.write_str("database connections severed"),
            Self::Restart => f.write_str("database restarted"),
            Self::DatabaseAway => f.write_str("database away past a lease"),
        }
    }
}

/// Whom it struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Requests to a vendor, of this kind if that is known.
    Vendor(&'static str, Option<Route>),
    /// A gateway.
    Gateway,
    /// A gateway's way to the database, or the database.
    Database,
}

/// Harm that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What.
    pub harm: Harm,
    /// To whom.
    pub place: Place,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Strike {
    /// Whether a call to a vendor's target that was under way at some moment of this time may have lost its answer by
    /// it: its own request (or one that reads how it stands) was harmed, or the gateway or its memory was.
    pub fn excuses(&self, kind: Kind, from: Timestamp, until: Timestamp) -> bool {
        let there = match self.place {
            Place::Vendor(provider, route) => {
                let near = route.is_none_or(|route| matches!(route, Route::Submit | Route::Observe));
                provider == kind.provider() && near
            }
            Place::Gateway | Place::Database => true,
        };
        there && self.harm.may_lose_an_answer() && self.from <= until && from <= self.until
    }
}

/// How often harm was prepared, and how often it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Prepared.
    pub armed: u64,
    /// Done.
    pub struck: u64,
}

/// The record of a round. Clones share it.
#[derive(Clone, Default)]
pub struct Harms(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    armed: BTreeMap<Harm, u64>,
    strikes: Vec<Strike>,
}

impl Harms {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Harm is prepared.
    pub fn arm(&self, harm: Harm) {
        self.with(|inner| *inner.armed.entry(harm).or_default() += 1);
    }

    /// It is done now.
    pub fn strike(&self, harm: Harm, place: Place) {
        let now = now();
        self.note(Strike { harm, place, from: now, until: now });
    }

    /// It was done from then until now.
    pub fn strike_since(&self, harm: Harm, place: Place, from: Timestamp) {
        self.note(Strike { harm, place, from, until: now() });
    }

    /// It was done.
    pub fn note(&self, strike: Strike) {
        self.with(|inner| inner.strikes.push(strike));
    }

    /// Prepared and done at once.
    pub fn done(&self, harm: Harm, place: Place, from: Timestamp, until: Timestamp) {
        self.arm(harm);
        self.note(Strike { harm, place, from, until });
    }

    /// All that was done.
    pub fn strikes(&self) -> Vec<Strike> {
        self.with(|inner| inner.strikes.clone())
    }

    /// How often each was prepared and done.
    pub fn counts(&self) -> BTreeMap<Harm, Count> {
        self.with(|inner| {
            let mut counts: BTreeMap<Harm, Count> = BTreeMap::new();
            for (harm, armed) in &inner.armed {
                counts.entry(*harm).or_default().armed = *armed;
            }
            for strike in &inner.strikes {
                counts.entry(strike.harm).or_default().struck += 1;
            }
            counts
        })
    }
}

/// What in a whole run never struck although there was time enough. A run that is short says nothing.
pub fn never_struck(rounds: u64, expected: &[Harm], counts: &BTreeMap<Harm, Count>) -> Vec<Harm> {
    if rounds < ROUNDS_FOR_EACH {
        return Vec::new();
    }
    let struck = |harm: &&Harm| counts.get(*harm).is_some_and(|count| count.struck > 0);
    expected.iter().filter(|harm| !struck(harm)).copied().collect()
}

/// This machine's time, as gateways write it into events.
pub fn now() -> Timestamp {
    Clock::system().now()
}

/// A moment before or after now, on the same clock.
pub fn at(instant: Instant) -> Timestamp {
    let (now, here) = (now(), Instant::now());
    let passed = |by: Duration| jiff::SignedDuration::try_from(by).unwrap_or_default();
    match instant.checked_duration_since(here) {
        Some(ahead) => now.checked_add(passed(ahead)).unwrap_or(now),
        None => now.checked_sub(passed(here.duration_since(instant))).unwrap_or(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_struck_is_told_once_there_was_time_enough() {
        let harms = Harms::default();
        harms.arm(Harm::Kill);
        harms.arm(Harm::Sever);
        harms.strike(Harm::Kill, Place::Gateway);
        let expected = [Harm::Kill, Harm::Sever, Harm::Restart];
        let counts = harms.counts();
        assert_eq!(counts[&Harm::Sever], Count { armed: 1, struck: 0 });
        assert_eq!(never_struck(ROUNDS_FOR_EACH, &expected, &counts), [Harm::Sever, Harm::Restart]);
        assert!(never_struck(ROUNDS_FOR_EACH - 1, &expected, &counts).is_empty());
    }

    #[test]
    fn a_strike_excuses_only_what_it_can_have_met() {
        let second = |n| Timestamp::from_second(n).unwrap();
        let place = Place::Vendor("hw", Some(Route::Submit));
        let strike =
            Strike { harm: Harm::Start(Cut::AfterRequest), place, from: second(5), until: second(5) };
        assert!(strike.excuses(Kind::Huawei, second(4), second(6)));
        assert!(!strike.excuses(Kind::Avisi, second(4), second(6)), "another vendor");
        assert!(!strike.excuses(Kind::Huawei, second(6), second(7)), "another time");
        let place = Place::Vendor("hw", Some(Route::Inventory));
        assert!(!Strike { place, ..strike }.excuses(Kind::Huawei, second(4), second(6)), "another request");
        let mild = Strike { harm: Harm::Fault(Fault::TooManyRequests(1)), ..strike };
        assert!(!mild.excuses(Kind::Huawei, second(4), second(6)), "an answer came");
        let kill = Strike { harm: Harm::Kill, place: Place::Gateway, ..strike };
        assert!(kill.excuses(Kind::Avisi, second(4), second(6)));
    }
}
