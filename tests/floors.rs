//! The house: imports run downward only, and rooms on one floor do not know each other.
//!
//! Reads every file under `src/` and follows each path that starts with `crate`, `super` or `self`, and
//! each that names a crate with a home of its own (`tonic`, `sqlx`, …). The rules are the tables below.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may name. The roof (see [`ROOF`]) names everyone.
const FLOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("kit", &[]),
    ("store", &["domain", "kit"]),
    ("vendors", &["domain", "kit"]),
    ("engine", &["store", "vendors", "domain", "kit"]),
    ("api", &["engine", "domain", "kit"]),
    // Under the roof, but stand-ins for somebody else's servers: they must not know what they are asked by.
    ("simulators", &["kit"]),
];

/// Wiring: knows everyone, known by no one below. So do `src/lib.rs` and `src/main.rs`.
const ROOF: &[&str] = &["app", "config", "telemetry", "cli"];

/// What has a home: a path and everything under it, and the files or folders of `src/` that may name it.
/// A crate stands for its family too: `tonic` covers `tonic_health`.
const HOMES: &[(&str, &[&str])] = &[
    ("tonic", &["api", "app", "cli", "telemetry"]),
    ("prost", &["api", "app", "cli", "telemetry"]),
    ("crate::api::pb", &["api", "app", "cli"]),
    ("sqlx", &["store"]),
    ("reqwest", &["vendors", "cli"]),
    ("anyhow", &["main"]),
    ("tokio::spawn", &["kit::tasks"]),
    ("tokio::task::spawn", &["kit::tasks"]),
];

#[test]
fn imports_run_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files).unwrap();
    files.sort();
    assert!(files.len() > 1, "no sources under {}", src.display());

    let mut faults = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        faults.extend(check(&name, &fs::read_to_string(file).unwrap()));
    }
    let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} imports break the house rules:\n{}", list.len(), list.join("\n"));
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

// --- rules --------------------------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
struct Fault {
    file: String,
    line: usize,
    path: String,
    why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  src/{}:{}: `{}`: {}", self.file, self.line, self.path, self.why)
    }
}

/// Checks one file, named relative to `src/`.
fn check(file: &str, text: &str) -> Vec<Fault> {
    let module = module_of(file);
    let room = module[0].as_str();
    let fault = |line, path: &str, why| Fault { file: file.to_owned(), line, path: path.to_owned(), why };
    if !is_room(room) && !matches!(room, "lib" | "main") {
        return vec![fault(1, room, "no such room; give it a floor in tests/floors.rs".to_owned())];
    }

    let mut faults = Vec::new();
    for used in paths(text, &module) {
        let path = used.segments.join("::");
        if used.segments[0] == "crate" {
            let other = used.segments.get(1).map_or("", String::as_str);
            if !is_room(other) {
                faults.push(fault(used.line, &path, "name the room: `crate::<room>::…`".to_owned()));
            } else if !may_know(room, other) {
                faults.push(fault(used.line, &path, format!("{room} must not know {other}")));
            }
        }
        for (what, homes) in HOMES {
            // A test may use anyhow anywhere.
            let excused = *what == "anyhow" && used.in_test;
            if covers(what, &used.segments) && !excused && !homes.iter().any(|home| lives_in(&module, home)) {
                faults.push(fault(used.line, &path, format!("{what} is named only in {}", homes.join(", "))));
            }
        }
    }
    faults
}

fn is_room(name: &str) -> bool {
    ROOF.contains(&name) || FLOORS.iter().any(|(room, _)| *room == name)
}

fn may_know(room: &str, other: &str) -> bool {
    match FLOORS.iter().find(|(name, _)| *name == room) {
        Some((_, rooms)) => room == other || rooms.contains(&other),
        None => true,
    }
}

/// Whether a path is `what` or lies under it.
fn covers(what: &str, segments: &[String]) -> bool {
    let what: Vec<&str> = what.split("::").collect();
    if what.len() == 1 {
        return segments[0] == what[0] || segments[0].starts_with(&format!("{}_", what[0]));
    }
    what.len() <= segments.len() && what.iter().zip(segments).all(|(a, b)| a == b)
}

fn lives_in(module: &[String], home: &str) -> bool {
    let home: Vec<&str> = home.split("::").collect();
    home.len() <= module.len() && home.iter().zip(module).all(|(a, b)| a == b)
}

/// `engine/step.rs` → `[engine, step]`, `engine/mod.rs` → `[engine]`, `main.rs` → `[main]`.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    stem.strip_suffix("/mod").unwrap_or(stem).split('/').map(ToOwned::to_owned).collect()
}

// --- reading ------------------------------------------------------------------------------------------

/// A path as written, but absolute: `crate::room::…` or `some_crate::…`.
#[derive(Debug, PartialEq)]
struct Used {
    line: usize,
    segments: Vec<String>,
    in_test: bool,
}

/// Every path of a file that names a module of ours or another crate, with use groups taken apart.
fn paths(text: &str, file_module: &[String]) -> Vec<Used> {
    let tokens = tokens(text);
    let at = |i: usize| tokens.get(i).map_or("", |t: &Token| t.text.as_str());
    let test_file = file_module.iter().any(|part| part == "tests");
    // Where we are: the file's module (none for lib.rs and main.rs), then the inline modules around us.
    let mut here: Vec<String> = match file_module {
        [root] if matches!(root.as_str(), "lib" | "main") => Vec::new(),
        module => module.to_vec(),
    };
    let mut inline: Vec<(usize, bool)> = Vec::new(); // brace depth before `mod x {`, and whether it is a test
    let mut depth = 0;
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let in_test = test_file || inline.iter().any(|(_, test)| *test);
        match at(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inline.last().is_some_and(|(outer, _)| *outer == depth) {
                    inline.pop();
                    here.pop();
                }
            }
            "mod" if at(i + 2) == "{" => {
                let name = at(i + 1).to_owned();
                inline.push((depth, name == "tests" || name == "test"));
                here.push(name);
                depth += 1;
                i += 2;
            }
            // Not `impl Trait + use<'a>`.
            "use" if at(i + 1) != "<" => {
                let mut leaves = Vec::new();
                i = use_tree(&tokens, i + 1, &[], &mut leaves);
                for (line, segments) in leaves {
                    found.extend(absolute(segments, &here).map(|segments| Used { line, segments, in_test }));
                }
                continue;
            }
            name if is_name(name) && at(i + 1) == "::" => {
                let line = tokens[i].line;
                let mut segments = vec![name.to_owned()];
                while at(i + 1) == "::" && is_name(at(i + 2)) {
                    segments.push(at(i + 2).to_owned());
                    i += 2;
                }
                found.extend(absolute(segments, &here).map(|segments| Used { line, segments, in_test }));
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Reads one use tree from token `i`; returns the token after it.
fn use_tree(
    tokens: &[Token],
    mut i: usize,
    prefix: &[String],
    leaves: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let at = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut path = prefix.to_vec();
    let line = tokens.get(i).map_or(0, |t| t.line);
    loop {
        match at(i) {
            "{" => {
                i += 1;
                while !matches!(at(i), "}" | "") {
                    i = use_tree(tokens, i, &path, leaves);
                    if at(i) == "," {
                        i += 1;
                    }
                }
                return i + 1;
            }
            "as" => i += 1,
            name if is_name(name) => path.push(name.to_owned()),
            "," | "}" | ";" | "" => break,
            _ => {}
        }
        i += 1;
    }
    // `use a::{self}` names `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if !path.is_empty() {
        leaves.push((line, path));
    }
    i
}

/// Turns `super::…` and `self::…` into `crate::…`. `None` for the crate's own root, which names no room.
fn absolute(segments: Vec<String>, here: &[String]) -> Option<Vec<String>> {
    let supers = segments.iter().take_while(|s| *s == "super" || *s == "self").count();
    if supers == 0 {
        return Some(segments);
    }
    let up = segments[..supers].iter().filter(|s| *s == "super").count();
    let base = &here[..here.len().saturating_sub(up)];
    let rest = &segments[supers..];
    if base.is_empty() && rest.is_empty() {
        return None;
    }
    let crate_ = std::iter::once("crate".to_owned());
    Some(crate_.chain(base.iter().cloned()).chain(rest.iter().cloned()).collect())
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

struct Token {
    line: usize,
    text: String,
}

/// Names and the punctuation that paths need; comments, strings, characters and lifetimes are dropped.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut nested = 0;
                while i < chars.len() {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (nested, i) = (nested + 1, i + 2),
                        ('*', '/') => (nested, i) = (nested - 1, i + 2),
                        _ => i += 1,
                    }
                    if nested == 0 {
                        break;
                    }
                }
            }
            '"' => i = string_end(&chars, i),
            // 'x' or '\n' is a character, 'x alone a lifetime.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => {
                i += 1;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                match (word.as_str(), at(i)) {
                    ("r" | "br" | "cr", '"' | '#') if raw_string(&chars, i) => i = raw_end(&chars, i),
                    // r#type is the name `type`.
                    ("r", '#') => i += 1,
                    // b"…" and c"…" end like any string; b'x' like any character.
                    _ => tokens.push(Token { line, text: word }),
                }
            }
            ':' if at(i + 1) == ':' => {
                // After a blank, as in `impl ::prost::Message`, it begins a path and joins nothing.
                if i > 0 && !at(i - 1).is_whitespace() {
                    tokens.push(Token { line, text: "::".to_owned() });
                }
                i += 2;
            }
            c if c.is_whitespace() => i += 1,
            c => {
                tokens.push(Token { line, text: c.to_string() });
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn string_end(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_string(chars: &[char], i: usize) -> bool {
    chars[i..].iter().find(|c| **c != '#') == Some(&'"')
}

fn raw_end(chars: &[char], mut i: usize) -> usize {
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes + 1;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

// --- the checker itself -------------------------------------------------------------------------------

/// The paths of the faults, in order.
fn faults(file: &str, text: &str) -> Vec<String> {
    check(file, text).into_iter().map(|fault| fault.path).collect()
}

#[test]
fn good_imports_pass() {
    let engine = r##"
        //! use crate::api::nothing; in a comment
        use std::sync::Arc;
        use crate::{domain::job::{self, Job}, kit::clock::Clock, store::Store as Rows};
        use crate::vendors::contract::Vendor;
        use super::lease;
        /* crate::api::pb /* nested */ tonic::Status */
        pub(crate) fn f<'a>(x: &'a str) -> crate::domain::id::JobId {
            let _ = ("crate::api::pb", r#"sqlx::query("x")"#, '"', b'\'', "\" tonic::Status");
            let _ = my::tonic::thing();
            tokio::task::yield_now();
            self::helper()
        }
        fn g<'a>(x: &'a str) -> impl Iterator<Item = u8> + use<'a> { x.bytes() }
        mod tests { use super::*; use super::super::lease; use anyhow::Result; }
    "##;
    assert_eq!(faults("engine/step.rs", engine), Vec::<String>::new());
    assert_eq!(
        faults("api/jobs.rs", "use tonic::Status; use crate::api::pb::Job; use crate::engine::Engine;"),
        [""; 0]
    );
    assert_eq!(
        faults(
            "app.rs",
            "use crate::{api, engine, simulators, store::sqlite, vendors}; use crate::api::pb::X;"
        ),
        [""; 0]
    );
    assert_eq!(faults("config/mod.rs", "use crate::store::settings::Settings;"), [""; 0]);
    assert_eq!(faults("main.rs", "fn main() -> anyhow::Result<()> { drydock::app::run() }"), [""; 0]);
    assert_eq!(faults("lib.rs", "pub mod domain; pub mod kit;"), [""; 0]);
    assert_eq!(faults("kit/tasks.rs", "fn f() { tokio::spawn(x); }"), [""; 0]);
    assert_eq!(faults("simulators/zstack/mod.rs", "use crate::kit::tasks; use super::shared;"), [""; 0]);
}

#[test]
fn upward_and_sideways_imports_fail() {
    assert_eq!(faults("domain/job.rs", "use crate::kit::clock;"), ["crate::kit::clock"]);
    assert_eq!(faults("kit/clock.rs", "use crate::domain::id;"), ["crate::domain::id"]);
    assert_eq!(faults("store/mod.rs", "use crate::vendors::contract;"), ["crate::vendors::contract"]);
    assert_eq!(faults("vendors/mod.rs", "use crate::{kit, store};"), ["crate::store"]);
    assert_eq!(faults("engine/mod.rs", "fn f() { crate::api::x() }"), ["crate::api::x"]);
    assert_eq!(faults("api/jobs.rs", "use crate::store::Store;"), ["crate::store::Store"]);
    assert_eq!(faults("api/mod.rs", "use crate::config::load;"), ["crate::config::load"]);
    assert_eq!(faults("engine/mod.rs", "use crate::telemetry::span;"), ["crate::telemetry::span"]);
    assert_eq!(faults("simulators/mod.rs", "use crate::vendors::http;"), ["crate::vendors::http"]);
    // By way of `super`, from inside inline modules, after a lifetime, in a group over several lines.
    assert_eq!(faults("store/sqlite/mod.rs", "use super::super::vendors::x;"), ["crate::vendors::x"]);
    assert_eq!(faults("domain/mod.rs", "mod a { mod b { } use super::super::kit; }"), ["crate::kit"]);
    assert_eq!(faults("kit/mod.rs", "fn f<'a>(x: &'a crate::api::X) {}"), ["crate::api::X"]);
    let group = check("vendors/mod.rs", "use crate::{\n  domain,\n  engine::{\n    step,\n  },\n};\n");
    assert_eq!(
        group.iter().map(|f| (f.line, f.path.as_str())).collect::<Vec<_>>(),
        [(4, "crate::engine::step")]
    );
}

#[test]
fn what_has_a_home_stays_there() {
    assert_eq!(faults("engine/mod.rs", "use tonic_health::server;"), ["tonic_health::server"]);
    assert_eq!(faults("domain/mod.rs", "impl ::prost::Message for X {}"), ["prost::Message"]);
    assert_eq!(faults("config/mod.rs", "use crate::api::pb::Job;"), ["crate::api::pb::Job"]);
    assert_eq!(faults("app.rs", "use sqlx::SqlitePool;"), ["sqlx::SqlitePool"]);
    assert_eq!(faults("store/mod.rs", "use {reqwest::Client, sqlx::Row};"), ["reqwest::Client"]);
    assert_eq!(faults("cli/mod.rs", "fn f() -> anyhow::Result<()> {}"), ["anyhow::Result"]);
    assert_eq!(faults("kit/retry.rs", "use tokio::spawn;"), ["tokio::spawn"]);
    assert_eq!(
        faults("api/mod.rs", "#[tokio::main] fn f() { tokio::task::spawn(x); }"),
        ["tokio::task::spawn"]
    );
}

#[test]
fn a_path_of_any_shape_is_seen() {
    assert_eq!(faults("kit/mod.rs", "impl<T> ::prost::Message for X<T> {}"), ["prost::Message"]);
    assert_eq!(faults("kit/mod.rs", "type X = Vec::<sqlx::Row>;"), ["sqlx::Row"]);
    assert_eq!(faults("kit/mod.rs", "macro_rules! m { () => { $crate::api::x() } }"), ["crate::api::x"]);
    assert_eq!(faults("kit/mod.rs", "mod tests { use super::super::api; }"), ["crate::api"]);
}

#[test]
fn an_unknown_room_fails() {
    assert_eq!(faults("helpers/mod.rs", ""), ["helpers"]);
    assert_eq!(faults("engine/mod.rs", "use crate::Shortcut;"), ["crate::Shortcut"]);
    assert_eq!(faults("engine/mod.rs", "use crate::*;"), ["crate"]);
}
