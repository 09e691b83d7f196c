//! Reads a TOML table into a struct and names every fault at once.
//!
//! Serde stops at the first fault. So a faulty key is noted and taken out, a missing one is noted and filled
//! with a stand-in, and the table is read again, until nothing is left to say. What is read in the end serves
//! only to look for further faults: with one fault or more, the table is refused.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One fault of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// The keys that lead to it, outermost first; a place in a list is its number.
    pub path: Vec<String>,
    /// What is wrong there.
    pub rule: Rule,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No such key; these are the keys that there are.
    Unknown {
        /// Keys that may stand beside it.
        known: Vec<String>,
    },
    /// The key must be given.
    Missing,
    /// The value does not fit. The text may repeat the value, so it is not for keys that hold secrets.
    Unfit(String),
}

impl Misread {
    /// The keys joined by dots; a key that is not a bare TOML key stands in quotes.
    pub fn key(&self) -> String {
        dotted(&self.path)
    }

    /// The rule in words. `suggest` says whether keys that look alike are offered.
    pub fn message(&self) -> String {
        match &self.rule {
            Rule::Unknown { known } => {
                let wrong = self.path.last().map_or("", String::as_str);
                match nearest(wrong, known.iter().map(String::as_str)) {
                    Some(near) => format!("there is no such key; did you mean `{near}`?"),
                    None if known.is_empty() => "there is no such key".to_owned(),
                    None => format!("there is no such key; there are {}", listed(known)),
                }
            }
            Rule::Missing => "must be given".to_owned(),
            Rule::Unfit(text) => text.clone(),
        }
    }
}

/// Keys joined by dots; a key that is not a bare TOML key stands in quotes.
pub fn dotted(path: &[String]) -> String {
    let bare = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    let parts: Vec<String> =
        path.iter().map(|key| if bare(key) { key.clone() } else { format!("{key:?}") }).collect();
    parts.join(".")
}

/// The word among `known` that `wrong` was probably meant to be.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::normalized_damerau_levenshtein(wrong, word), word))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// How often a table is read at most: a bound for the loop, far above the keys of any real table.
const MAX_FAULTS: usize = 200;

/// Reads `table`, and answers what could be read with every fault. With faults, the value is a repaired one:
/// good for finding more faults, never for use. `None` when no repair made the table readable.
pub fn read<T: DeserializeOwned>(mut table: Table) -> (Option<T>, Vec<Misread>) {
    let mut faults: Vec<Misread> = Vec::new();
    let mut stand_ins: Vec<(Vec<String>, usize)> = Vec::new();
    for _ in 0..MAX_FAULTS {
        let error = match serde_path_to_error::deserialize::<_, T>(Value::Table(table.clone())) {
            Ok(value) => return (Some(value), faults),
            Err(error) => error,
        };
        let mut path: Vec<String> = error.path().iter().map(part).collect();
        let text = error.inner().message().to_owned();
        if let Some(name) = text.strip_prefix("missing field ") {
            path.push(name.trim_matches('`').to_owned());
            put(&mut table, &path, stand_in(0));
            stand_ins.push((path.clone(), 0));
            // A required key whose value did not fit was taken out: that is told already.
            if !faults.iter().any(|fault| fault.path == path) {
                faults.push(Misread { path, rule: Rule::Missing });
            }
        } else if let Some((_, tried)) = stand_ins.iter_mut().find(|(of, _)| path.starts_with(of)) {
            // The stand-in was of the wrong type: try the next.
            *tried += 1;
            match stand_in(*tried) {
                None => return (None, faults),
                value => put(&mut table, &path, value),
            };
        } else {
            let rule = if text.starts_with("unknown field ") {
                let known = text.split('`').skip(3).step_by(2).map(ToOwned::to_owned).collect();
                Rule::Unknown { known }
            } else {
                Rule::Unfit(plain(&text))
            };
            let removed = take(&mut table, &path);
            faults.push(Misread { path, rule });
            if !removed {
                return (None, faults);
            }
        }
    }
    (None, faults)
}

/// Serde's words for a person who does not know Rust's types.
fn plain(text: &str) -> String {
    let words = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
    let Some((is, expected)) = words.and_then(|words| words.split_once(", expected ")) else {
        return text.to_owned();
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" => "text",
        "a map" => "a table",
        "a sequence" => "a list",
        other => other,
    };
    format!("must be {expected}, is {is}")
}

fn part(segment: &serde_path_to_error::Segment) -> String {
    match segment {
        serde_path_to_error::Segment::Seq { index } => index.to_string(),
        named => named.to_string(),
    }
}

/// Values to try for a key that is missing.
fn stand_in(tried: usize) -> Option<Value> {
    match tried {
        0 => Some(Value::from("https://localhost")),
        1 => Some(Value::from(1)),
        2 => Some(Value::from(1.0)),
        3 => Some(Value::from(true)),
        4 => Some(Value::Array(Vec::new())),
        5 => Some(Value::Table(Table::new())),
        _ => None,
    }
}

fn put(table: &mut Table, path: &[String], value: Option<Value>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = table;
    for key in parents {
        match at.get_mut(key) {
            Some(Value::Table(inner)) => at = inner,
            Some(_) | None => return,
        }
    }
    if let Some(value) = value {
        at.insert(last.clone(), value);
    }
}

/// Takes the value at `path` out, or the nearest value around it that can be taken out.
fn take(table: &mut Table, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if let Some(Value::Table(inner)) = table.get_mut(first)
        && !rest.is_empty()
        && take(inner, rest)
    {
        return true;
    }
    table.remove(first).is_some()
}

fn listed(words: &[String]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        count: u32,
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        marks: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        deep_ms: u64,
        on: bool,
        list: Vec<u16>,
    }

    fn faults(text: &str) -> Vec<(String, String)> {
        let (_, faults) = read::<Outer>(text.parse().unwrap());
        faults.iter().map(|f| (f.key(), f.message())).collect()
    }

    #[test]
    fn a_good_table_has_no_faults() {
        let (value, faults) = read::<Outer>("name = 'a'\ncount = 2\ninner.on = true".parse().unwrap());
        assert_eq!(faults, []);
        assert_eq!(value.unwrap().inner, Inner { deep_ms: 0, on: true, list: Vec::new() });
    }

    #[test]
    fn every_fault_is_named_by_its_full_key() {
        let found = faults(
            "nmae = 'a'\ncount = 'many'\n[inner]\ndep_ms = 1\non = 3\nlist = [1, 'x']\nzzz = 1\n[marks]\n'a.b' = 7",
        );
        let mut keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "count",
                "inner.dep_ms",
                "inner.list.1",
                "inner.on",
                "inner.zzz",
                "marks.\"a.b\"",
                "name",
                "nmae"
            ]
        );
        let message = |key: &str| found.iter().find(|(k, _)| k == key).unwrap().1.as_str();
        assert_eq!(message("nmae"), "there is no such key; did you mean `name`?");
        assert_eq!(message("inner.dep_ms"), "there is no such key; did you mean `deep_ms`?");
        assert_eq!(message("inner.zzz"), "there is no such key; there are `deep_ms`, `on`, `list`");
        assert_eq!(message("count"), "must be a whole number, 0 or more, is string \"many\"");
        assert_eq!(message("name"), "must be given");
    }

    #[test]
    fn all_missing_keys_are_named() {
        let keys: Vec<String> = faults("").into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["name", "count"]);
    }
}
