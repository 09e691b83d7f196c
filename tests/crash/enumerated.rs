//! Every durable step has its crash points, and every crash point stands in the code.
//!
//! The compiler keeps most of it: the engine matches its kinds of calls and of news to points without a wildcard, and
//! the harness matches points to stories. What it cannot see is kept here: a step that is made somewhere new.

use std::fs;
use std::path::{Path, PathBuf};

use drydock::kit::crash_point::CrashPoint;
use drydock::store::durable::Durable;

use crate::harness::cases::{Case, case};

/// Where a durable step may be made: the call, and every place in `src/engine` that makes it. Each of them stands
/// between crash points. Whoever adds a place adds points too, a story for them, and a line here.
const STEPS: &[(&str, &[&str])] = &[
    ("store.create(", &["accept.rs"]),
    ("store.write(", &["driver/writing.rs", "engine.rs"]),
    ("vendor.submit(", &["round.rs"]),
    ("vendor.cancel(", &["round.rs"]),
    ("vendor.reschedule(", &["round.rs"]),
    ("vendor.check(", &["accept.rs", "round.rs"]),
    ("vendor.find(", &["round.rs"]),
    ("vendor.observe(", &["round.rs"]),
];

/// The methods of the store's traits that only read, or end it. Every other one makes something durable, and is a
/// [`Durable`] with its crash points.
const READS: &[&str] = &[
    "close",
    "count_live",
    "events",
    "job",
    "job_events",
    "jobs",
    "knows_request",
    "live_jobs",
    "now",
    "sealed_password",
    "too_many",
];

/// How what a file writes becomes durable.
enum How {
    /// With the commit of a writer's group, whose kinds of work the compiler matches to their steps.
    InGroup,
    /// Between the crash points of these steps, which stand in the same file.
    Here(&'static [Durable]),
    /// Between the crash points of this step, which stand in that other file.
    There(Durable, &'static str),
}

/// Every file below `src/store` that changes what is kept, and how many statements of it do. Whoever adds a statement sees
/// to it that a step covers it, and counts it here.
const STATEMENTS: &[(&str, usize, How)] = &[
    ("postgres/import.rs", 2, How::Here(&[Durable::CommitMove])),
    (
        "postgres/leases.rs",
        8,
        How::Here(&[Durable::Attend, Durable::TakeLease, Durable::ReleaseLeases, Durable::Leave]),
    ),
    ("postgres/open.rs", 2, How::Here(&[Durable::Migrate, Durable::MakeId])),
    ("postgres/purge.rs", 5, How::InGroup),
    ("postgres/rewound.rs", 1, How::Here(&[Durable::MarkRewound])),
    ("postgres/save.rs", 7, How::InGroup),
    ("sqlite/export.rs", 1, How::There(Durable::MarkMoved, "moving.rs")),
    ("sqlite/export.rs", 1, How::There(Durable::UnmarkMoved, "moving.rs")),
    ("sqlite/open.rs", 2, How::Here(&[Durable::Migrate, Durable::MakeId])),
    ("sqlite/purge.rs", 7, How::InGroup),
    ("sqlite/save.rs", 3, How::InGroup),
    ("sqlite/writer.rs", 1, How::InGroup),
    ("sqlite/writer.rs", 1, How::Here(&[Durable::EmptyLog])),
];

/// How many statements of a source change what is kept. Its own tests are not looked at.
fn statements(text: &str) -> usize {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let words: Vec<&str> =
        text.lines().filter(|line| !is_comment(line)).flat_map(str::split_whitespace).collect();
    let changes = |at: usize| {
        let (word, then) = (words[at], |n: usize| words.get(at + n).copied().unwrap_or_default());
        word.contains("run_direct(")
            || word.contains("wal_checkpoint(")
            || (word.ends_with("INSERT") && matches!(then(1), "INTO" | "OR"))
            || (word.ends_with("DELETE") && then(1) == "FROM")
            || (word.ends_with("UPDATE") && then(2) == "SET")
    };
    (0..words.len()).filter(|at| changes(*at)).count()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn sources(below: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(below);
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(&path).unwrap())
    };
    found.into_iter().map(read).collect()
}

/// Method chains over several lines are one.
fn squeezed((name, text): (String, String)) -> (String, String) {
    (name, text.split_whitespace().collect())
}

#[test]
fn durable_steps_are_made_only_between_crash_points() {
    let engine: Vec<_> = sources("engine").into_iter().map(squeezed).collect();
    for (call, places) in STEPS {
        let found: Vec<_> =
            engine.iter().filter(|(_, text)| text.contains(call)).map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            found, *places,
            "`{call}…)` is made in a new place: give it crash points (src/kit/crash_point.rs)"
        );
        let calls: usize = engine.iter().map(|(_, text)| text.matches(call).count()).sum();
        assert_eq!(calls, places.len(), "`{call}…)` is made twice in one file");
    }
}

#[test]
fn every_method_of_the_traits_reads_or_is_a_durable_step() {
    let mut methods = Vec::new();
    for (name, text) in sources("store") {
        if matches!(name.as_str(), "contract.rs" | "lease.rs") {
            let found = text.split("async fn ").skip(1);
            methods.extend(found.map(|rest| rest[..rest.find('(').unwrap()].to_owned()));
        }
    }
    let durable: Vec<_> = Durable::ALL.iter().filter_map(|step| step.method()).collect();
    for method in &methods {
        let reads = READS.contains(&method.as_str());
        let writes = durable.contains(&method.as_str());
        assert!(
            reads != writes,
            "`{method}` makes something durable: give it a step (src/store/durable.rs), with crash points and a story"
        );
    }
    for known in READS.iter().chain(&durable) {
        assert!(methods.iter().any(|method| method == known), "there is no `{known}`");
    }
}

#[test]
fn every_statement_that_changes_rows_is_covered_by_a_step() {
    let store = sources("store");
    for (name, text) in &store {
        // Those explain statements of the others, and run none.
        if name.ends_with("/plans.rs") {
            continue;
        }
        let listed: usize =
            STATEMENTS.iter().filter(|(file, ..)| file == name).map(|(_, count, _)| count).sum();
        assert_eq!(
            statements(text),
            listed,
            "{name} changes rows in another number of statements: see to it that a step of \
             src/store/durable.rs covers each, and count it here"
        );
    }
    let holds = |file: &str, step: Durable| {
        let (_, text) = store.iter().find(|(name, _)| name == file).unwrap();
        text.contains(&format!("durable::about_to(Durable::{step:?})"))
            && text.contains(&format!("durable::done(Durable::{step:?})"))
    };
    let mut covered = Vec::new();
    for (file, _, how) in STATEMENTS {
        match how {
            How::InGroup => {}
            How::Here(steps) => {
                for step in *steps {
                    assert!(holds(file, *step), "{step:?} has not both its points in {file}");
                    covered.push(*step);
                }
            }
            How::There(step, other) => {
                assert!(holds(other, *step), "{step:?} has not both its points in {other}");
                covered.push(*step);
            }
        }
    }
    // The others are kinds of work of a group: `Work::step` is matched by the compiler.
    let (_, group) = store.iter().find(|(name, _)| name == "group.rs").unwrap();
    for step in Durable::ALL.iter().filter(|step| !covered.contains(step)) {
        assert!(group.contains(&format!("Durable::{step:?}")), "{step:?} is nowhere");
    }
}

#[test]
fn a_point_that_no_story_comes_by_is_tried_by_a_test_of_the_store() {
    let tests: String = ["retention.rs", "postgres/lost.rs", "postgres/rewound.rs", "postgres/opening.rs"]
        .iter()
        .map(|file| {
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store").join(file)).unwrap()
        })
        .collect();
    for point in CrashPoint::ALL {
        match case(*point) {
            Case::Told(_) => {}
            Case::Tested(name) => {
                assert!(tests.contains(&format!("async fn {name}(")), "{point:?}: no {name}")
            }
        }
    }
}

#[test]
fn every_crash_point_stands_in_the_code() {
    let rooms = ["engine", "store", "vendors"].into_iter().flat_map(sources).map(squeezed);
    let rooms: Vec<_> = rooms.collect();
    for point in CrashPoint::ALL {
        let name = format!("CrashPoint::{point:?}");
        let found = rooms.iter().any(|(_, text)| {
            text.match_indices(&name)
                .any(|(at, _)| !text[at + name.len()..].starts_with(char::is_alphanumeric))
        });
        assert!(found, "{name} is nowhere");
    }
}
