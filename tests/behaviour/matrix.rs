//! The matrix: every subject, every fault, every kind of call.

use std::fmt::Write as _;
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream;

use crate::avisi::Avisi;
use crate::cell::{Cell, Outcome};
use crate::faults::{Kind, Phase};
use crate::house::House;
use crate::huawei::Huawei;
use crate::shared;
use crate::subject::Subject;
use crate::vsphere::{Clusters, Supervisors};
use crate::zstack::Zstack;

/// How many cells of one subject run at once.
const AT_ONCE: usize = 50;

const SUBJECTS: [&dyn Subject; 7] =
    [&Zstack, &Clusters, &Supervisors, &Avisi::Direct, &Avisi::Customer, &Avisi::Operator, &Huawei];

/// Runs every cell of a subject, and looks for secrets in what was stored.
async fn run(subject: &dyn Subject) -> Vec<Outcome> {
    let mut cells = Vec::new();
    let mut providers = Vec::new();
    for phase in Phase::ALL {
        for kind in Kind::ALL {
            if phase == Phase::Login && !subject.logs_in() {
                continue;
            }
            for role in phase.roles(kind) {
                let (cell, provider) = Cell::prepare(cells.len(), subject, phase, kind, *role).await;
                cells.push(cell);
                providers.push(provider);
            }
        }
    }
    let canaries = cells[0].canaries();
    let house = House::open(providers).await;
    let engine = &*house.engine;
    let outcomes = stream::iter(cells).map(|cell| cell.run(engine)).buffer_unordered(AT_ONCE).collect().await;
    house.close().await;
    for file in std::fs::read_dir(house.dir.path()).unwrap() {
        let path = file.unwrap().path();
        let stored = std::fs::read(&path).unwrap();
        for canary in &canaries {
            let shown = stored.windows(canary.len()).any(|w| w == canary.as_bytes());
            assert!(!shown, "a secret of {} stands in {}", subject.name(), path.display());
        }
    }
    outcomes
}

/// There is no such call, or the fault has nothing to strike in it.
fn nothing() -> String {
    "–".to_owned()
}

fn cell(outcome: &Outcome, notes: &mut Vec<&'static str>) -> String {
    match outcome.doubt {
        _ if !outcome.struck => nothing(),
        None => outcome.end.clone(),
        Some(doubt) => {
            let note = notes.iter().position(|why| *why == doubt.why).unwrap_or_else(|| {
                notes.push(doubt.why);
                notes.len() - 1
            });
            format!("{} ({})", outcome.end, note + 1)
        }
    }
}

fn section(out: &mut String, subject: &dyn Subject, outcomes: &[Outcome]) {
    let heads: Vec<_> = Phase::ALL.iter().map(|phase| phase.words()).collect();
    let _ = writeln!(out, "\n## {}\n\n| fault | {} |", subject.name(), heads.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(heads.len()));
    let mut notes = Vec::new();
    for kind in Kind::ALL {
        let row: Vec<_> = Phase::ALL
            .iter()
            .map(|phase| {
                let roles = phase.roles(kind).iter();
                let of = |role| outcomes.iter().find(|o| (o.kind, o.phase, o.role) == (kind, *phase, role));
                let mut ends: Vec<_> =
                    roles.map(|role| of(*role).map_or_else(nothing, |o| cell(o, &mut notes))).collect();
                ends.dedup();
                ends.join(" / ")
            })
            .collect();
        let _ = writeln!(out, "| {} | {} |", kind.words(), row.join(" | "));
    }
    for (n, why) in notes.iter().enumerate() {
        let _ = writeln!(out, "\n({}) {why}", n + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "switches for people, no settings of the program")]
async fn matrix() {
    let only = std::env::var("BEHAVIOUR_ONLY").unwrap_or_default();
    let subjects: Vec<_> = SUBJECTS.into_iter().filter(|s| s.name().starts_with(&only)).collect();
    let results: Vec<_> = stream::iter(&subjects).map(|s| run(*s)).buffered(SUBJECTS.len()).collect().await;
    // Not beside the others: jobs that a busy machine delays past the limit of a look-up would be in doubt.
    let shared: Vec<_> =
        stream::iter(&subjects).map(|s| shared::run(*s)).buffered(SUBJECTS.len()).collect().await;
    let mut out = include_str!("head.md").to_owned();
    for (subject, outcomes) in subjects.iter().zip(&results) {
        section(&mut out, *subject, outcomes);
    }
    shared::section(&mut out, &subjects, &shared);
    println!("{out}");
    let alone = results.iter().flatten().filter_map(|o| o.complaint.clone());
    let together = shared.iter().flatten().filter_map(|o| o.complaint.clone());
    let complaints: Vec<_> = alone.chain(together).collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    if !only.is_empty() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vendor-faults.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, out, "docs/vendor-faults.md is stale; write it anew as its head says");
}
