//! Every statement of the stores has its plan read (`plans.rs` beside each), or stands here with the reason why not.

use std::collections::BTreeSet;
use std::path::Path;

/// Statements whose plan is not read, and why.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("sqlite/load", "BEGIN", "reads no table"),
    ("sqlite/read", "PURGED", "one row of `meta` by its key"),
    ("sqlite/writer", "PING", "one row of `meta` by its key"),
    ("sqlite/export", "REQUESTS", "`migrate-store` reads everything"),
    ("sqlite/export", "JOBS", "`migrate-store` reads everything"),
    ("sqlite/export", "EVENTS", "`migrate-store` reads everything"),
    ("sqlite/export", "SEALED", "`migrate-store` reads everything"),
    ("sqlite/export", "LABELS", "`migrate-store` reads everything"),
    ("postgres/save", "INSERT_REQUESTS", "only inserts"),
    ("postgres/save", "INSERT_JOBS", "only inserts"),
    ("postgres/save", "INSERT_LABELS", "only inserts"),
    ("postgres/save", "INSERT_SEALED", "only inserts"),
    ("postgres/save", "INSERT_EVENTS", "only inserts"),
    ("postgres/purge", "NOTE_GONE", "the one row of `counters`"),
    ("postgres/purge", "NOW", "reads no table"),
    ("postgres/rewound", "MARK", "the one row of `counters`"),
    ("postgres/import", "RUNNING", "as many rows as replicas"),
    ("postgres/import", "LOCK", "the one row of `counters`"),
    ("postgres/writer", "BEGIN", "the one row of `counters`"),
    ("postgres/read", "PING", "the one row of `counters`"),
    ("postgres/open", "READ", "one row of `meta` by its key"),
    ("postgres/import", "HOLDS_SOMETHING", "stops at the first row; `migrate-store` alone"),
    ("postgres/leases", "FORGET", "as many rows as replicas"),
    ("postgres/leases", "ATTEND", "as many rows as replicas"),
    ("postgres/leases", "REPLICAS", "as many rows as replicas"),
    ("postgres/leases", "LEAVE", "as many rows as replicas and providers"),
    ("postgres/leases", "PROLONG", "as many rows as providers"),
    ("postgres/leases", "LEASES", "as many rows as providers"),
    ("postgres/leases", "MAKE_LEASE", "as many rows as providers"),
    ("postgres/leases", "TAKE", "as many rows as providers"),
    ("postgres/leases", "RELEASE", "as many rows as providers"),
];

/// The names of the constants of a file whose text is SQL.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("const ").chain(source.match_indices("static ")) {
        let rest = &source[at..];
        let Some((declared, value)) = rest.split_once('=') else { continue };
        let Some((name, _)) = declared.split_once(':') else { continue };
        let name = name.rsplit(' ').next().unwrap_or_default();
        let Some(text) = value.split(';').next().and_then(|v| v.split_once('"')).map(|(_, text)| text) else {
            continue;
        };
        let text = text.trim_start_matches(['\\', '\n', ' ']);
        let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "BEGIN"];
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            && verbs.iter().any(|verb| text.starts_with(verb))
        {
            found.push(name.to_owned());
        }
    }
    found
}

#[test]
fn every_statement_has_its_plan_read() {
    let mut unread = Vec::new();
    let mut excused = BTreeSet::new();
    for store in ["sqlite", "postgres"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store").join(store);
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let plans = read(&folder.join("plans.rs"));
        let purge_steps = plans.contains("purge::STEPS");
        let mut all = 0;
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            if module == "plans" {
                continue;
            }
            let place = format!("{store}/{module}");
            for name in statements(&read(&path)) {
                all += 1;
                let named =
                    plans.contains(&format!("{module}::{name}")) || plans.contains(&format!("{name}.texts"));
                let in_steps = purge_steps && module == "purge";
                if let Some((_, _, why)) = EXCUSED.iter().find(|(of, n, _)| *of == place && *n == name) {
                    assert!(!why.is_empty());
                    excused.insert((place.clone(), name));
                } else if !named && !in_steps {
                    unread.push(format!("{place}: {name}"));
                }
            }
        }
        assert!(all >= 20, "{store}: only {all} statements found");
    }
    assert_eq!(unread, [""; 0], "no test reads the plan of these");
    let unused: Vec<_> =
        EXCUSED.iter().filter(|(of, n, _)| !excused.contains(&((*of).to_owned(), (*n).to_owned()))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
