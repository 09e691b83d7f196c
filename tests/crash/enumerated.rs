//! Every durable step has its crash points, and every crash point stands in the code.
//!
//! The compiler keeps most of it: the engine matches its kinds of calls and of news to points without a wildcard, and
//! the harness matches points to stories. What it cannot see is kept here: a step that is made somewhere new.

use std::fs;
use std::path::{Path, PathBuf};

use drydock::kit::crash_point::CrashPoint;

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
        // Method chains over several lines are one.
        let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
        (name, text)
    };
    found.into_iter().map(read).collect()
}

#[test]
fn durable_steps_are_made_only_between_crash_points() {
    let engine = sources("engine");
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
fn every_crash_point_stands_in_the_code() {
    let rooms: Vec<_> = ["engine", "store", "vendors"].into_iter().flat_map(sources).collect();
    for point in CrashPoint::ALL {
        let name = format!("CrashPoint::{point:?}");
        let found = rooms.iter().any(|(_, text)| {
            text.match_indices(&name)
                .any(|(at, _)| !text[at + name.len()..].starts_with(char::is_alphanumeric))
        });
        assert!(found, "{name} is nowhere");
    }
}
