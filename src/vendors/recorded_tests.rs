//! The golden files: every state and error of the vendors' documents, with missing, odd and extra members, as
//! recorded answers in `<vendor>/golden/*.http`, and what each means in the snapshot beside it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::*;

const VENDORS: [&str; 4] = ["zstack", "vsphere", "avisi", "huawei"];

fn golden(vendor: &str) -> Vec<(String, Vec<u8>)> {
    let dir = folder(vendor);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "http"));
    files.sort();
    assert!(files.len() > 20, "{} holds only {} recorded answers", dir.display(), files.len());
    files
        .into_iter()
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

fn folder(vendor: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vendors").join(vendor).join("golden")
}

fn reads_as_recorded(vendor: &str) {
    for (name, bytes) in golden(vendor) {
        let text = match judge(vendor, &bytes) {
            Verdict::Kept(text) => text,
            other => panic!("{vendor}/golden/{name}.http: {other:?}"),
        };
        insta::with_settings!({
            snapshot_path => folder(vendor), prepend_module_to_snapshot => false, omit_expression => true
        }, {
            insta::assert_snapshot!(name, text);
        });
    }
}

#[test]
fn zstack_reads_as_recorded() {
    reads_as_recorded("zstack");
}

#[test]
fn vsphere_reads_as_recorded() {
    reads_as_recorded("vsphere");
}

#[test]
fn avisi_reads_as_recorded() {
    reads_as_recorded("avisi");
}

#[test]
fn huawei_reads_as_recorded() {
    reads_as_recorded("huawei");
}

/// One change to a recorded answer.
#[derive(Clone, Debug)]
enum Change {
    Cut(usize),
    Flip(usize, u8),
    Drop(usize, usize),
    Repeat(usize, usize),
    Splice(usize, &'static [u8]),
    Status(u16),
}

/// What vendors, proxies and chance put where it does not belong.
const SHARDS: [&[u8]; 16] = [
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"true",
    b"\\u0000",
    b"\xff\xfe",
    b"<html>",
    "\u{202f}\u{1f4a5}é".as_bytes(),
    b"Ca=na<ry>&'7",
    b"\"Ca\\u003dna\\u003cry\\u003e\\u0026\\u00277\"",
    b",\"error\":{\"code\":\"X\",\"message\":\"Ca=na<ry>&'7\"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        at.prop_map(Change::Cut),
        (at, any::<u8>()).prop_map(|(at, to)| Change::Flip(at, to)),
        (at, 1..40_usize).prop_map(|(at, n)| Change::Drop(at, n)),
        (at, 1..40_usize).prop_map(|(at, n)| Change::Repeat(at, n)),
        (at, 0..SHARDS.len()).prop_map(|(at, n)| Change::Splice(at, SHARDS[n])),
        (200..600_u16).prop_map(Change::Status),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let place = |at: usize| at % (bytes.len() + 1);
        match *change {
            Change::Cut(at) => bytes.truncate(place(at)),
            Change::Flip(at, to) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = to;
                }
            }
            Change::Drop(at, n) => {
                let at = place(at);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Change::Repeat(at, n) => {
                let at = place(at);
                let part = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Splice(at, shard) => {
                let at = place(at);
                bytes.splice(at..at, shard.iter().copied());
            }
            Change::Status(status) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut words = text.splitn(3, [' ', '\n']);
                if let (Some(question), Some(_), Some(rest)) = (words.next(), words.next(), words.next()) {
                    bytes = format!("{question} {status}\n{rest}").into_bytes();
                }
            }
        }
    }
    bytes
}

#[test]
fn no_change_to_a_recorded_answer_breaks_a_promise() {
    for vendor in VENDORS {
        let files = golden(vendor);
        let case = (0..files.len(), proptest::collection::vec(change(), 1..6));
        let config = Config { cases: 800, failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&case, |(file, changes)| {
            let bytes = changed(&files[file].1, &changes);
            match judge(vendor, &bytes) {
                Verdict::Broken(why) => {
                    let bytes = String::from_utf8_lossy(&bytes);
                    Err(TestCaseError::fail(format!(
                        "{vendor}/golden/{}.http: {why}\n{bytes}",
                        files[file].0
                    )))
                }
                Verdict::Kept(_) | Verdict::NotAnAnswer => Ok(()),
            }
        });
        run.unwrap();
    }
}

/// The HTTP client stops a body at 8 MiB. What is kept of one must be far smaller, whichever member is the long one:
/// each text, and each list, that any recorded answer to a question has.
fn stays_short(vendor: &str) {
    let long = "long ü ".repeat(5_000);
    let mut done = HashSet::new();
    for (name, bytes) in golden(vendor) {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else { continue };
        let Ok(body) = serde_json::from_slice::<Value>(&bytes[end + 1..]) else { continue };
        let question = bytes.split(|b| *b == b' ').next().unwrap().to_vec();
        let mut members = Vec::new();
        walk(&body, String::new(), &mut members);
        for member in members {
            // One entry of a list stands for all.
            let kind: String = member.chars().filter(|c| !c.is_ascii_digit()).collect();
            if !done.insert((question.clone(), kind)) {
                continue;
            }
            let mut body = body.clone();
            match body.pointer_mut(&member).unwrap() {
                Value::String(text) => text.push_str(&long),
                Value::Array(items) => *items = items.iter().cycle().take(400).cloned().collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => continue,
            }
            let mut answer = bytes[..=end].to_vec();
            answer.extend(body.to_string().into_bytes());
            if let Verdict::Broken(why) = judge(vendor, &answer) {
                panic!("{vendor}/golden/{name}.http with a very long {member}: {why}");
            }
        }
    }
    assert!(done.len() > 20, "only {} members were tried", done.len());
}

/// The JSON pointers of all texts and lists.
fn walk(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, item) in map {
                walk(item, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| walk(item, format!("{at}/{n}"), found));
            if !items.is_empty() {
                found.push(at);
            }
        }
        Value::String(_) => found.push(at),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn what_is_kept_of_zstack_stays_short() {
    stays_short("zstack");
}

#[test]
fn what_is_kept_of_vsphere_stays_short() {
    stays_short("vsphere");
}

#[test]
fn what_is_kept_of_avisi_stays_short() {
    stays_short("avisi");
}

#[test]
fn what_is_kept_of_huawei_stays_short() {
    stays_short("huawei");
}
