//! When a job's start may have been out, and whose a start was. Pure.

use drydock::api::pb::JobState;
use jiff::{SignedDuration, Timestamp};

use super::fleet::Kind;
use super::record::{Ended, Happened, Seen, Start, Wish};
use super::truth;

/// What the clocks of two processes of one machine, and the way from a decision to its record, may differ by.
const SLACK: SignedDuration = SignedDuration::from_millis(50);

/// A time in which a start of a job may have been out: it was SUBMITTING, or nobody knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The intent was written.
    pub from: Timestamp,
    /// Its outcome was written; `None` while there is none.
    pub until: Option<Timestamp>,
    /// Its answer was found to be lost.
    pub lost: Option<Timestamp>,
    /// The start that was wanted when it was sent.
    pub wanted: Option<Timestamp>,
}

impl Sending {
    /// Whether a start that took effect then can be the one that was out.
    pub fn holds(&self, at: Timestamp) -> bool {
        at >= before(self.from) && self.until.is_none_or(|until| at <= after(until))
    }

    /// The time in which harm made its answer be lost, if it was.
    pub fn harmed(&self) -> (Timestamp, Timestamp) {
        let until = self.lost.into_iter().chain(self.until).min();
        (before(self.from), after(until.unwrap_or(Timestamp::MAX)))
    }
}

fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(SLACK).unwrap_or(at)
}

fn after(at: Timestamp) -> Timestamp {
    at.checked_add(SLACK).unwrap_or(at)
}

/// Whether a start may be out in this state.
const fn is_out(state: JobState) -> bool {
    matches!(state, JobState::Submitting | JobState::Indeterminate)
}

/// The sendings of a job, in order.
pub fn sendings(events: &[Seen]) -> Vec<Sending> {
    let mut all: Vec<Sending> = Vec::new();
    let mut out = false;
    for event in events {
        match (out, is_out(event.state)) {
            (false, true) => {
                all.push(Sending { from: event.at, until: None, lost: None, wanted: event.start });
            }
            (true, false) => all.iter_mut().rev().take(1).for_each(|last| last.until = Some(event.at)),
            (true, true) | (false, false) => {}
        }
        out = is_out(event.state);
        // In doubt, the answer is lost at the latest.
        if out && (event.lost || event.state == JobState::Indeterminate) {
            all.iter_mut().rev().take(1).for_each(|last| last.lost = last.lost.or(Some(event.at)));
        }
    }
    all
}

/// Whether a job was sent anew after a caller was told that it is to be cancelled.
pub fn is_sent_after_a_cancel(events: &[Seen]) -> bool {
    events.windows(2).any(|pair| match pair {
        [before, now] => before.cancel && !is_out(before.state) && now.state == JobState::Submitting,
        _ => false,
    })
}

/// A job that may have begun something.
pub struct Doer<'a> {
    /// The job.
    pub job: &'a Ended,
    /// When its starts were out.
    sendings: Vec<Sending>,
    /// The ids under which they were sent, where the vendor takes one.
    keys: Vec<&'a str>,
    /// A caller was told that nothing was sent, and nothing will be.
    prevented: bool,
}

impl<'a> Doer<'a> {
    /// A job with its events, and what callers were told of their wishes.
    pub fn new(job: &'a Ended, events: &'a [Seen], wishes: &[(String, Wish)]) -> Self {
        let keys = events.iter().map(|event| event.key.as_str()).filter(|key| !key.is_empty());
        let prevented = |(of, wish): &(String, Wish)| *of == job.name && *wish == Wish::Prevented;
        Self {
            job,
            sendings: sendings(events),
            keys: keys.collect(),
            prevented: wishes.iter().any(prevented),
        }
    }

    /// Whether a start can be this job's: by the id where there is one, by what was asked for, and by its time.
    fn may_have_begun(&self, kind: Kind, start: &Start, others: &[Doer<'_>]) -> bool {
        let fits = match kind {
            // One that was never told its id (it was settled before) has what is nobody else's.
            Kind::Zstack if self.keys.is_empty() => {
                !others.iter().any(|other| other.keys.contains(&start.detail.as_str()))
            }
            Kind::Zstack => self.keys.contains(&start.detail.as_str()),
            Kind::Cluster | Kind::Supervisor | Kind::Avisi => {
                self.job.version.is_empty() || self.job.version == start.detail
            }
            Kind::Huawei => true,
        };
        // Avisi takes an upgrade before its time, and waits itself.
        let in_time = |sending: &Sending| {
            kind == Kind::Avisi || sending.wanted.is_none_or(|wanted| start.at >= before(wanted))
        };
        fits && !self.prevented && self.sendings.iter().any(|s| s.holds(start.at) && in_time(s))
    }
}

/// How the starts of a target and its jobs go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Each start is one job's, and every job stands where its start, or the lack of one, puts it.
    Whole,
    /// Each start is one job's, but some job does not stand where that puts it.
    WrongEnds,
    /// Some start is no job's, or some job has two.
    Unaccounted,
}

/// Matches the starts of a target with its jobs.
pub fn matching(happened: &Happened, doers: &[Doer<'_>]) -> Match {
    if can_be_matched(happened, doers, true) {
        Match::Whole
    } else if can_be_matched(happened, doers, false) {
        Match::WrongEnds
    } else {
        Match::Unaccounted
    }
}

fn can_be_matched(happened: &Happened, doers: &[Doer<'_>], by_ends: bool) -> bool {
    fn place(happened: &Happened, nth: usize, doers: &[Doer<'_>], taken: u64, by_ends: bool) -> bool {
        let Some(start) = happened.starts.get(nth) else {
            let mut free = doers.iter().enumerate().filter(|(at, _)| taken & (1 << at) == 0);
            return !by_ends || free.all(|(_, doer)| truth::agrees_unstarted(doer.job));
        };
        let word = happened.ends.get(nth).map(String::as_str);
        doers.iter().enumerate().any(|(at, doer)| {
            taken & (1 << at) == 0
                && doer.may_have_begun(happened.kind, start, doers)
                && (!by_ends || truth::agrees(happened, word, doer.job))
                && place(happened, nth + 1, doers, taken | (1 << at), by_ends)
        })
    }
    happened.starts.len() <= doers.len() && doers.len() < 64 && place(happened, 0, doers, 0, by_ends)
}
