//! A crash at every point of the code, once and twice in a row, each in a story that comes by it; and answers lost
//! at every commit and at every request.

use std::path::Path;
use std::time::Duration;

use drydock::kit::crash_point::CrashPoint;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::backend::Backend;
use super::cases::{Case, Story, case};
use super::judge::Breach;
use super::process::Orders;
use super::proxy::Cut;
use super::report::Tally;
use super::server::Servers;
use super::telling::tell;

/// How many stories are told at once.
const AT_ONCE: usize = 6;

/// How thoroughly stories are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Depth {
    /// Each point once.
    Short,
    /// Points that every commit or request comes by at several visits; more answers lost.
    Full,
}

impl Depth {
    /// At how many visits the points of every commit and request are tried. Several gateways share the visits, so
    /// that none comes by as often as one alone.
    const fn visits(self, replicas: usize) -> u64 {
        match (self, replicas) {
            (Self::Short, _) => 1,
            (Self::Full, 1) => 8,
            (Self::Full, _) => 2,
        }
    }

    /// How many commits, and how many requests, have their answer lost, one in each telling.
    const fn losses(self) -> u64 {
        match self {
            Self::Short => 4,
            Self::Full => 12,
        }
    }
}

/// How many crashes at a point differ from each other, from the first visit on.
const fn visits(point: CrashPoint, depth: Depth, replicas: usize) -> u64 {
    match point {
        CrashPoint::CommitOpen
        | CrashPoint::CommitDone
        | CrashPoint::RequestUnsent
        | CrashPoint::AnswerUnread => depth.visits(replicas),
        // To come, and to stay.
        CrashPoint::AttendOpen | CrashPoint::AttendDone => 2,
        // Three migrations; three kinds of rows.
        CrashPoint::SchemaBehind | CrashPoint::SchemaMade | CrashPoint::RowsCopied => 3,
        _ => 1,
    }
}

/// One telling: what the processes are told, one after the other, and what happens to the wire.
pub struct Telling {
    /// What happens in it.
    pub name: String,
    /// The story.
    pub story: Story,
    /// For each process; those after the last are told nothing.
    pub orders: Vec<Orders>,
    /// How many of the processes must have died of their orders.
    pub deaths: usize,
    /// What happens to which request to a vendor.
    pub cut: Option<(usize, Cut)>,
    /// What happens to which commit of each gateway.
    pub commit: Option<(usize, Cut)>,
}

impl Telling {
    /// Whether a process is to stand still.
    pub fn sleeps(&self) -> bool {
        self.orders.iter().flatten().any(|(order, _)| *order == "DRYDOCK_STOP_AT")
    }
}

/// Where stories are told.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// The program to run as a gateway.
    pub program: &'a Path,
    /// Where jobs are kept.
    pub backend: Backend,
    /// How many gateways. With several of them, each has the orders of the process that is next to die.
    pub replicas: usize,
    /// How long a lease lasts where the store is shared.
    pub lease: Duration,
    /// Servers for stores that need one.
    pub servers: &'a Servers,
}

impl Stage<'_> {
    /// Whether processes come by this point here.
    pub const fn has(&self, point: CrashPoint) -> bool {
        match self.backend {
            // Its leases end with the process that owns the file, so they are in memory; and what moves from a file
            // is told where it moves to.
            Backend::Sqlite => !matches!(
                point,
                CrashPoint::AttendOpen
                    | CrashPoint::AttendDone
                    | CrashPoint::TakeOpen
                    | CrashPoint::TakeDone
                    | CrashPoint::ReleaseOpen
                    | CrashPoint::ReleaseDone
                    | CrashPoint::LeaveOpen
                    | CrashPoint::LeaveDone
                    | CrashPoint::RowsCopied
                    | CrashPoint::FileUnmarked
                    | CrashPoint::FileMarked
                    | CrashPoint::MovedUncommitted
                    | CrashPoint::MovedCommitted
                    | CrashPoint::FileStillMarked
                    | CrashPoint::FileFreed
            ),
            // PostgreSQL's own log is not ours to empty, and passwords that replicas share are always sealed.
            Backend::Postgres => !matches!(
                point,
                CrashPoint::LogUnemptied | CrashPoint::LogEmptied | CrashPoint::PasswordGoneWritten
            ),
        }
    }
}

/// Tells every telling of these stories, and of each by `done`. What was broken, with its telling's name.
pub async fn tell_all(
    stories: &[Story],
    depth: Depth,
    stage: &Stage<'_>,
    mut done: impl FnMut(&str, Duration),
) -> (Tally, Vec<(String, Breach)>) {
    let all = stories.iter().flat_map(|story| tellings(*story, depth, stage));
    let mut told = stream::iter(all)
        .map(|telling| async move {
            let (name, begun) = (format!("{:?}: {}", telling.story, telling.name), Instant::now());
            (name, tell(telling, stage).await, begun.elapsed())
        })
        .buffer_unordered(AT_ONCE);
    let (mut tally, mut breaches) = (Tally::default(), Vec::new());
    while let Some((name, outcome, took)) = told.next().await {
        done(&name, took);
        let (counts, found) =
            outcome.unwrap_or_else(|error| (Tally::default(), vec![Breach::unplayed(&error)]));
        tally.add(counts);
        breaches.extend(found.into_iter().map(|breach| (name.clone(), breach)));
    }
    (tally, breaches)
}

/// How many tellings a story has.
#[cfg(test)]
pub fn count(told: Story, depth: Depth, stage: &Stage<'_>) -> usize {
    tellings(told, depth, stage).len()
}

fn tellings(told: Story, depth: Depth, stage: &Stage<'_>) -> Vec<Telling> {
    let mut all = Vec::new();
    let crash =
        |point: CrashPoint, visit: u64| vec![("DRYDOCK_CRASH_AT", format!("{}:{visit}", point.as_str()))];
    let points = CrashPoint::ALL.iter().copied();
    for point in points.filter(|point| case(*point) == Case::Told(told) && stage.has(*point)) {
        for visit in 1..=visits(point, depth, stage.replicas) {
            // What one process brought to its end, such as a migration, the next one does not come by.
            let again = if told.is_upkeep() { 1 } else { visit };
            let mut orders = vec![crash(point, visit), crash(point, again)];
            if told == Story::Forgotten {
                // The password goes with a first process.
                orders.insert(0, crash(CrashPoint::AcceptCommitted, 1));
            }
            let deaths = orders.len() - 1;
            let name = format!("{}, visit {visit}, twice in a row", point.as_str());
            all.push(Telling { name, story: told, orders, deaths, cut: None, commit: None });
        }
        // Each of them falls asleep there once, and wakes when another one has long taken over.
        if stage.replicas > 1 && !told.is_upkeep() {
            let orders = vec![vec![("DRYDOCK_STOP_AT", point.as_str().to_owned())]];
            let name = format!("{}, slept through a lease", point.as_str());
            all.push(Telling { name, story: told, orders, deaths: 0, cut: None, commit: None });
        }
    }
    // Of several gateways nobody can say which one accepts the new try.
    if told == Story::Retry && stage.replicas == 1 {
        // The second job that comes to be is the new try; the next process meets it as its first.
        for point in [CrashPoint::AcceptUncommitted, CrashPoint::AcceptCommitted] {
            let name = format!("{} of another try, twice in a row", point.as_str());
            let orders = vec![crash(point, 2), crash(point, 1)];
            all.push(Telling { name, story: told, orders, deaths: 1, cut: None, commit: None });
        }
    }
    if told == Story::Upgrade {
        for n in 1..=depth.losses() {
            let lose = vec![("DRYDOCK_LOSE_AT", format!("{}:{n}", CrashPoint::CommitDone.as_str()))];
            let name = format!("the answer of commit {n} is lost");
            all.push(Telling { name, story: told, orders: vec![lose], deaths: 0, cut: None, commit: None });
            let pass = usize::try_from(n - 1).unwrap_or(0);
            let name = format!("the answer of request {n} is swallowed");
            let cut = Some((pass, Cut::SwallowAnswer));
            all.push(Telling { name, story: told, orders: Vec::new(), deaths: 0, cut, commit: None });
            let cuts = match stage.backend {
                Backend::Sqlite => &[][..],
                Backend::Postgres => &Cut::ALL[..],
            };
            for cut in cuts.iter().copied() {
                let name = format!("commit {n} is cut: {cut:?}");
                let commit = Some((pass, cut));
                all.push(Telling { name, story: told, orders: Vec::new(), deaths: 0, cut: None, commit });
            }
        }
    }
    all
}
