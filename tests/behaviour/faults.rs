//! The faults, and the calls that they strike.

use drydock::simulators::{Aim, Fault, Faults, Route, Strikes, When};

use crate::subject::Role;

/// Longer than [`DEADLINE_MS`].
const DELAY_MS: u64 = 60_000;
/// The deadline of a call where answers are late.
pub const DEADLINE_MS: u64 = 1_000;

/// How often a fault strikes each path at the end.
const END_TIMES: u32 = 3;

/// A fault as the matrix has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ResetBefore,
    ResetAfter,
    Late,
    TooMany,
    TooManyForASecond,
    /// One after the other: the second meets the repeat.
    Html,
    HtmlAfter,
    Truncated,
    WrongTypes,
    WrongShape,
    UnknownEnum,
    MissingOptional,
    ExpiredSession,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Late,
        Self::TooMany,
        Self::TooManyForASecond,
        Self::Html,
        Self::HtmlAfter,
        Self::Truncated,
        Self::WrongTypes,
        Self::WrongShape,
        Self::UnknownEnum,
        Self::MissingOptional,
        Self::ExpiredSession,
    ];

    /// As the simulators know it; of several, each strikes once, after the one before it.
    const fn faults(self) -> &'static [Fault] {
        match self {
            Self::ResetBefore => &[Fault::ResetBefore],
            Self::ResetAfter => &[Fault::ResetAfter],
            Self::Late => &[Fault::DelayMs(DELAY_MS)],
            Self::TooMany => &[Fault::TooManyRequests(0)],
            Self::TooManyForASecond => &[Fault::TooManyRequests(1)],
            Self::Html => &[Fault::HtmlBefore(500), Fault::HtmlBefore(502), Fault::HtmlBefore(503)],
            Self::HtmlAfter => &[Fault::HtmlAfter(502)],
            Self::Truncated => &[Fault::Truncated],
            Self::WrongTypes => &[Fault::WrongTypes],
            Self::WrongShape => &[Fault::WrongShape],
            Self::UnknownEnum => &[Fault::UnknownEnum],
            Self::MissingOptional => &[Fault::MissingOptional],
            Self::ExpiredSession => &[Fault::ExpiredSession],
        }
    }

    /// Whether the state words of an answer turn to ones that nobody knows.
    pub const fn is_unknown_word(self) -> bool {
        matches!(self, Self::WrongTypes | Self::UnknownEnum)
    }

    /// Whether a start meets it on its way, so that it takes no effect and nobody says so.
    pub const fn loses_request(self) -> bool {
        matches!(self, Self::ResetBefore | Self::Html)
    }

    /// Whether a start takes effect and its answer is lost, whatever it says.
    pub const fn loses_answer(self) -> bool {
        matches!(self, Self::ResetAfter | Self::Late | Self::HtmlAfter)
    }

    /// Whether it says itself that a start took no effect, so that it may be asked for again.
    pub const fn is_turned_away(self) -> bool {
        matches!(self, Self::TooMany | Self::TooManyForASecond | Self::ExpiredSession)
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ResetBefore => "reset before it took effect",
            Self::ResetAfter => "reset after it took effect",
            Self::Late => "answer later than the deadline",
            Self::TooMany => "429",
            Self::TooManyForASecond => "429 with `Retry-After: 1`",
            Self::Html => "500, then 502, then 503, each with HTML",
            Self::HtmlAfter => "502 with HTML after it took effect",
            Self::Truncated => "JSON that ends in the middle",
            Self::WrongTypes => "numbers for state words",
            Self::WrongShape => "JSON of another shape",
            Self::UnknownEnum => "a state word never seen",
            Self::MissingOptional => "optional members missing",
            Self::ExpiredSession => "session ended",
        }
    }
}

/// Which calls a fault strikes: each path once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The login that a dead session makes necessary.
    Login,
    /// What is read before the start.
    Precheck,
    /// The start.
    Start,
    /// A start that the vendor refuses.
    Refusal,
    /// What is read after the start took effect and its answer was lost.
    LookupArrived,
    /// What is read after the start was lost on its way.
    LookupLost,
    /// What is read while the operation runs.
    Observe,
    /// What is read when the operation is over.
    End,
}

impl Phase {
    pub const ALL: [Self; 8] = [
        Self::Login,
        Self::Precheck,
        Self::Start,
        Self::Refusal,
        Self::LookupArrived,
        Self::LookupLost,
        Self::Observe,
        Self::End,
    ];

    /// The head of its column.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Precheck => "precheck",
            Self::Start => "start",
            Self::Refusal => "start that is refused",
            Self::LookupArrived => "look-up, the start arrived",
            Self::LookupLost => "look-up, the start did not arrive",
            Self::Observe => "observation",
            Self::End => "the end",
        }
    }

    /// What the simulator makes of the jobs of a cell: both, where the fault meets what tells how a job goes; by turns
    /// elsewhere, so that every kind and every phase has jobs that end well and jobs that end badly.
    pub fn roles(self, kind: Kind) -> &'static [Role] {
        let place = |found: Option<usize>| found.unwrap_or_default();
        let sum = place(Self::ALL.iter().position(|p| *p == self))
            + place(Kind::ALL.iter().position(|k| *k == kind));
        match self {
            Self::Refusal => &[Role::Refused],
            Self::LookupArrived | Self::Observe | Self::End => &[Role::Well, Role::Badly],
            Self::Login | Self::Precheck | Self::Start | Self::LookupLost if sum.is_multiple_of(2) => {
                &[Role::Well]
            }
            Self::Login | Self::Precheck | Self::Start | Self::LookupLost => &[Role::Badly],
        }
    }

    /// Arms a fault for these calls.
    pub fn arm(self, faults: &Faults, kind: Kind) -> Vec<Strikes> {
        // An answer from just before the end may still meet the fault: of one alone, more are kept for the end itself.
        let times = if self == Self::End && kind.faults().len() == 1 { END_TIMES } else { 1 };
        let one =
            |route, when, fault| faults.aim(Aim { route: Some(route), when, times, each_path: true }, fault);
        let each = |routes: &[Route], when| {
            let pairs = routes.iter().flat_map(|route| kind.faults().iter().map(move |f| (*route, *f)));
            pairs.map(|(route, fault)| one(route, when, fault)).collect()
        };
        let reads = |when| each(&[Route::Observe, Route::Inventory], when);
        match self {
            Self::Login => {
                faults.arm(None, Fault::ExpiredSession, 1);
                each(&[Route::Login], When::Always)
            }
            Self::Precheck => reads(When::BeforeStart),
            Self::Start | Self::Refusal => each(&[Route::Submit], When::Always),
            Self::LookupArrived => {
                one(Route::Submit, When::Always, Fault::ResetAfter);
                reads(When::AfterStart)
            }
            Self::LookupLost => {
                one(Route::Submit, When::Always, Fault::ResetBefore);
                reads(When::AfterStart)
            }
            Self::Observe => reads(When::AfterStart),
            Self::End => reads(When::Always),
        }
    }
}
