//! Between the contract and the domain.
//!
//! Inwards every conversion collects all faults with their field paths; outwards none can fail. What only a vendor
//! knows to be wrong is found below, by the engine.

pub mod event;
pub mod filter;
pub mod frame;
pub mod job;
pub mod long_running;
pub mod operation;
pub mod page;
pub mod provider;
pub mod retry;
pub mod start;
pub mod structure;
pub mod time;
pub mod watch;

use std::collections::BTreeMap;

use crate::domain::error::{Error, FieldViolation};
use crate::domain::id::BadId;

/// The faults found so far in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<FieldViolation>);

impl Faults {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes a fault.
    pub fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(FieldViolation::new(field, rule));
    }

    /// Notes faults found elsewhere, each once.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = FieldViolation>) {
        for fault in faults {
            if !self.0.contains(&fault) {
                self.0.push(fault);
            }
        }
    }

    /// The value, or a fault of `field`.
    pub fn take<T>(&mut self, field: &str, value: Result<T, BadId>) -> Option<T> {
        value.map_err(|rule| self.add(field, rule.0)).ok()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value`, if there are none.
    ///
    /// # Errors
    /// `InvalidRequest` with all of them.
    pub fn check<T>(self, value: T) -> Result<T, Error> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// All of them as one error.
    pub fn into_error(self) -> Error {
        Error::InvalidRequest(self.0)
    }

    /// Reads each entry of a list, with its index in the path, and bounds how many there are.
    pub fn each<S, T>(
        &mut self,
        field: &str,
        max: usize,
        list: &[S],
        read: impl Fn(&S) -> Result<T, BadId>,
    ) -> Vec<T> {
        if list.len() > max {
            self.add(field, format!("must have at most {max} entries, has {}", list.len()));
            return Vec::new();
        }
        let mut out = Vec::with_capacity(list.len());
        for (index, entry) in list.iter().enumerate() {
            if let Some(value) = self.take(&at(field, index), read(entry)) {
                out.push(value);
            }
        }
        out
    }

    /// A text of at most `max` characters, none of them a control character.
    pub fn text(&mut self, field: &str, max: usize, text: String) -> String {
        if text.chars().count() > max {
            self.add(field, format!("must have at most {max} characters"));
        } else if text.chars().any(char::is_control) {
            self.add(field, "must not contain control characters");
        }
        text
    }

    /// As [`Faults::text`]; empty is unset.
    pub fn optional_text(&mut self, field: &str, max: usize, text: String) -> Option<String> {
        Some(self.text(field, max, text)).filter(|t| !t.is_empty())
    }

    /// A list of texts, each as [`Faults::text`].
    pub fn texts(&mut self, field: &str, entries: usize, max: usize, list: Vec<String>) -> Vec<String> {
        if list.len() > entries {
            self.add(field, format!("must have at most {entries} entries, has {}", list.len()));
            return Vec::new();
        }
        list.into_iter().enumerate().map(|(index, text)| self.text(&at(field, index), max, text)).collect()
    }

    /// Labels: bounded in number and in size, keys in a fixed alphabet.
    pub fn labels(&mut self, field: &str, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if labels.len() > MAX_LABELS {
            self.add(field, format!("must have at most {MAX_LABELS} entries, has {}", labels.len()));
            return BTreeMap::new();
        }
        for (key, value) in &labels {
            let first = key.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let fits = |b: u8| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'/' | b'-')
            };
            // A key that breaks the rule may be long or unprintable: it is quoted short and escaped.
            let path = || format!("{field}[{:?}]", key.chars().take(MAX_LABEL_KEY).collect::<String>());
            if !first || key.len() > MAX_LABEL_KEY || !key.bytes().all(fits) {
                self.add(
                    path(),
                    "a key must have 1 to 63 of `a-z 0-9 . _ / -` and begin with a letter or digit",
                );
            }
            if value.chars().count() > MAX_LABEL_VALUE || value.chars().any(char::is_control) {
                self.add(
                    path(),
                    "a value must have at most 255 characters, none of them a control character",
                );
            }
        }
        labels
    }
}

const MAX_LABELS: usize = 64;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 255;

/// The path of a list's entry.
pub fn at(field: &str, index: usize) -> String {
    format!("{field}[{index}]")
}

/// The path of a field inside another; `parent` may be empty.
pub fn inside(parent: &str, field: &str) -> String {
    if parent.is_empty() { field.to_owned() } else { format!("{parent}.{field}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of the faults of an error, for the tests of every conversion.
    pub fn paths(error: Error) -> Vec<String> {
        let Error::InvalidRequest(faults) = error else { panic!("{error:?}") };
        faults.into_iter().map(|f| f.field).collect()
    }

    #[test]
    fn labels_are_bounded() {
        let check = |key: &str, value: &str| {
            let mut faults = Faults::new();
            faults.labels("labels", BTreeMap::from([(key.to_owned(), value.to_owned())]));
            faults
        };
        for key in ["a", "team", "example.com/owner", "0", &"k".repeat(63)] {
            assert!(check(key, "Any text, also with ümlauts").is_empty(), "{key}");
        }
        for key in ["", "-a", "Team", "a b", &"k".repeat(64)] {
            assert!(!check(key, "v").is_empty(), "{key}");
        }
        assert!(check("k", &"ü".repeat(255)).is_empty());
        assert!(!check("k", &"v".repeat(256)).is_empty());
        assert!(!check("k", "a\nb").is_empty());
        let many = (0..65).map(|i| (format!("k{i}"), String::new())).collect();
        let mut faults = Faults::new();
        faults.labels("labels", many);
        assert_eq!(paths(faults.into_error()), ["labels"]);
    }

    #[test]
    fn the_same_fault_is_told_once() {
        let mut faults = Faults::new();
        faults.add("password", "is required");
        faults.extend([FieldViolation::new("password", "is required"), FieldViolation::new("a", "b")]);
        assert_eq!(paths(faults.into_error()), ["password", "a"]);
    }
}
