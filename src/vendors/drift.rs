//! Notices what a vendor sends and its documents do not have: unknown words, and unknown fields.
//!
//! An adapter reads leniently, so that a changed API breaks nothing; then nobody would learn of the change until it
//! hurts. So each answer that decides how an operation stands is also held against what the vendor documents: a
//! [`Shape`] lists an object's documented fields, also those that Drydock does not read, and the fields whose words
//! are documented. Walking an answer allocates nothing unless something is found.
//!
//! No value of an unknown field is kept, only its kind: nobody knows whether it is a secret. Of a field whose words
//! are documented the word itself is kept, cut short.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::drift::Drift;

/// How many fields are told apart for one provider; the others are counted together.
const MAX_FIELDS: usize = 64;
/// The name under which the others are counted.
const OTHER: &str = "other";
/// The longest name of an unknown field that is kept, in characters.
const MAX_NAME: usize = 64;
/// The longest sample, in characters.
const MAX_SAMPLE: usize = 64;

/// What a vendor documents of one kind of object.
#[derive(Debug)]
pub struct Shape {
    /// The vendor's name for it.
    pub name: &'static str,
    /// Whether [`Shape::fields`] is all that the documents have. Where the documents leave fields out, an unknown one
    /// tells nothing.
    pub is_complete: bool,
    /// Its fields.
    pub fields: &'static [(&'static str, Is)],
}

/// What a vendor documents of one value.
#[derive(Clone, Copy)]
pub enum Is {
    /// Anything: not looked into.
    Any,
    /// A word, known if the function says so. No value and an empty text are no words.
    Word(fn(&str) -> bool),
    /// An object, or a list of such.
    Shaped(&'static Shape),
    /// An object whose one member is an object or list of such; its other members are not looked at.
    Inside(&'static str, &'static Shape),
    /// An object with free names (ids), whose values are such objects.
    Values(&'static Shape),
}

impl fmt::Debug for Is {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "Any",
            Self::Word(_) => "Word",
            Self::Shaped(shape) | Self::Inside(_, shape) | Self::Values(shape) => shape.name,
        })
    }
}

/// The drift of one provider, since start-up.
#[derive(Debug)]
pub struct DriftBook {
    seen: Mutex<BTreeMap<String, Drift>>,
    counter: Counter<u64>,
    vendor: &'static str,
    provider: String,
}

impl DriftBook {
    /// An empty book. Made after telemetry is installed.
    pub fn new(vendor: &'static str, provider: String) -> Self {
        let counter = opentelemetry::global::meter("drydock")
            .u64_counter("drydock.vendor.drift")
            .with_description("Fields and words in vendors' answers that their documents do not have")
            .build();
        Self { seen: Mutex::default(), counter, vendor, provider }
    }

    /// Holds an answer's body against what is documented. A body that is no JSON is the adapter's to tell.
    pub fn look(&self, body: &[u8], documented: Is, now: Timestamp) {
        let mut found = Found::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let walk = Walk { is: documented, at: ("answer", ""), found: &mut found };
        if walk.deserialize(&mut json).is_ok() {
            for (field, (sample, count)) in found.0 {
                self.note(field, sample, count, now);
            }
        }
    }

    fn note(&self, field: String, sample: String, count: u64, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = seen.contains_key(&field) || seen.len() < MAX_FIELDS;
        let field = if fits { field } else { OTHER.to_owned() };
        let facts = [
            KeyValue::new("drydock.vendor", self.vendor),
            KeyValue::new("drydock.provider", self.provider.clone()),
            KeyValue::new("drydock.field", field.clone()),
        ];
        self.counter.add(count, &facts);
        match seen.get_mut(&field) {
            Some(known) => {
                known.count += count;
                known.sample = sample;
                known.last_seen = now;
            }
            None => {
                tracing::warn!(
                    provider.name = %self.provider,
                    vendor.name = self.vendor,
                    field,
                    sample,
                    "the vendor sends what its documents do not have; nothing breaks, but look whether its API changed"
                );
                let entry = Drift { field: field.clone(), sample, count, first_seen: now, last_seen: now };
                seen.insert(field, entry);
            }
        }
    }

    /// What was seen, by field.
    pub fn view(&self) -> Vec<Drift> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// What one answer holds: by field, the newest sample and how often.
#[derive(Default)]
struct Found(BTreeMap<String, (String, u64)>);

impl Found {
    fn add(&mut self, shape: &str, field: &str, sample: String) {
        let name = format!("{shape}.{}", tame(field, MAX_NAME));
        // One answer can be made of nothing but unknown fields; more than a provider's bound is never needed.
        let name =
            if self.0.contains_key(&name) || self.0.len() < MAX_FIELDS { name } else { OTHER.to_owned() };
        let entry = self.0.entry(name).or_default();
        entry.0 = sample;
        entry.1 += 1;
    }
}

/// A vendor's text, short and printable.
fn tame(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Walks one value.
struct Walk<'a> {
    is: Is,
    /// The object's and the field's name.
    at: (&'static str, &'static str),
    found: &'a mut Found,
}

impl Walk<'_> {
    /// A value that is no text where a word is documented.
    fn odd(self, sample: impl fmt::Display) {
        if matches!(self.is, Is::Word(_)) {
            self.found.add(self.at.0, self.at.1, tame(&sample.to_string(), MAX_SAMPLE));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if matches!(self.is, Is::Any) {
            return json.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Is::Word(known) = self.is
            && !text.is_empty()
            && !known(text)
        {
            self.found.add(self.at.0, self.at.1, tame(text, MAX_SAMPLE));
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.odd(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.odd(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.odd(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.odd(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let is = match self.is {
            Is::Shaped(_) => self.is,
            Is::Any | Is::Word(_) | Is::Inside(..) | Is::Values(_) => Is::Any,
        };
        while list.next_element_seed(Walk { is, at: self.at, found: self.found })?.is_some() {}
        if is_any(is) {
            self.odd("a list");
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.is {
            Is::Shaped(shape) => {
                while let Some(key) = map.next_key_seed(Key(shape))? {
                    match key {
                        Named::Known(name, is) => {
                            map.next_value_seed(Walk { is, at: (shape.name, name), found: self.found })?;
                        }
                        Named::Unknown(name) => {
                            let kind = map.next_value_seed(Kind)?;
                            self.found.add(shape.name, &name, kind.to_owned());
                        }
                        Named::Ignored => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
            }
            Is::Inside(member, shape) => {
                while let Some(is_it) = map.next_key_seed(IsNamed(member))? {
                    let is = if is_it { Is::Shaped(shape) } else { Is::Any };
                    map.next_value_seed(Walk { is, at: self.at, found: self.found })?;
                }
            }
            Is::Values(shape) => {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value_seed(Walk { is: Is::Shaped(shape), at: self.at, found: self.found })?;
                }
            }
            Is::Any | Is::Word(_) => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.odd("an object");
            }
        }
        Ok(())
    }
}

const fn is_any(is: Is) -> bool {
    matches!(is, Is::Any)
}

/// A field's name, looked up without keeping it.
struct Key(&'static Shape);

enum Named {
    Known(&'static str, Is),
    Unknown(String),
    Ignored,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Named, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        Ok(match self.0.fields.iter().find(|(known, _)| *known == name) {
            Some((known, is)) => Named::Known(known, *is),
            None if self.0.is_complete => Named::Unknown(tame(name, MAX_NAME)),
            None => Named::Ignored,
        })
    }
}

struct IsNamed(&'static str);

impl<'de> DeserializeSeed<'de> for IsNamed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for IsNamed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// The kind of a value, in words.
struct Kind;

impl<'de> DeserializeSeed<'de> for Kind {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<&'static str, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kind {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, _: &str) -> Result<&'static str, E> {
        Ok("a text")
    }

    fn visit_unit<E>(self) -> Result<&'static str, E> {
        Ok("null")
    }

    fn visit_bool<E>(self, _: bool) -> Result<&'static str, E> {
        Ok("true or false")
    }

    fn visit_i64<E>(self, _: i64) -> Result<&'static str, E> {
        Ok("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<&'static str, E> {
        Ok("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<&'static str, E> {
        Ok("a number")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<&'static str, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<&'static str, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok("an object")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INNER: Shape =
        Shape { name: "Inner", is_complete: false, fields: &[("status", Is::Word(|w| w == "OK"))] };
    const OUTER: Shape = Shape {
        name: "Job",
        is_complete: true,
        fields: &[
            ("id", Is::Any),
            ("state", Is::Word(|w| matches!(w, "A" | "B"))),
            ("parts", Is::Shaped(&INNER)),
        ],
    };

    fn seen(body: &str, is: Is) -> Vec<(String, String, u64)> {
        let book = DriftBook::new("test", "p".to_owned());
        book.look(body.as_bytes(), is, Timestamp::UNIX_EPOCH);
        book.view().into_iter().map(|d| (d.field, d.sample, d.count)).collect()
    }

    fn one(field: &str, sample: &str, count: u64) -> Vec<(String, String, u64)> {
        vec![(field.to_owned(), sample.to_owned(), count)]
    }

    #[test]
    fn what_is_documented_is_no_drift() {
        let body = r#"{"id":{"any":"thing"},"state":"A","parts":[{"status":"OK","more":1},{"status":null}]}"#;
        assert_eq!(seen(body, Is::Shaped(&OUTER)), []);
        assert_eq!(seen(r#"{"state":""}"#, Is::Shaped(&OUTER)), []);
        assert_eq!(seen(&format!("[{body},{body}]"), Is::Shaped(&OUTER)), []);
        assert_eq!(seen(&format!(r#"{{"list":[{body}],"total":1}}"#), Is::Inside("list", &OUTER)), []);
        assert_eq!(seen(&format!(r#"{{"id-1":{body}}}"#), Is::Values(&OUTER)), []);
        assert_eq!(seen("[4, null, \"x\"]", Is::Shaped(&OUTER)), []);
    }

    #[test]
    fn unknown_words_are_kept_short_and_counted_by_field() {
        let long = "x".repeat(500);
        let body = format!(r#"{{"l":[{{"state":"C"}},{{"state":"{long}"}},{{"state":"A"}}]}}"#);
        assert_eq!(seen(&body, Is::Inside("l", &OUTER)), one("Job.state", &long[..MAX_SAMPLE], 2));
        assert_eq!(seen(r#"{"a":{"state":17}}"#, Is::Values(&OUTER)), one("Job.state", "17", 1));
        assert_eq!(seen(r#"{"state":["A"]}"#, Is::Shaped(&OUTER)), one("Job.state", "a list", 1));
        assert_eq!(seen(r#"{"state":{"v":"A"}}"#, Is::Shaped(&OUTER)), one("Job.state", "an object", 1));
        assert_eq!(seen(r#"{"parts":{"status":"NO"}}"#, Is::Shaped(&OUTER)), one("Inner.status", "NO", 1));
    }

    #[test]
    fn of_an_unknown_field_only_the_kind_is_kept() {
        let body = r#"{"rootPassword":"CANARY"}"#;
        assert_eq!(seen(body, Is::Shaped(&OUTER)), one("Job.rootPassword", "a text", 1));
        assert_eq!(seen(r#"{"n\new":[{"CANARY":1}]}"#, Is::Shaped(&OUTER)), one("Job.n ew", "a list", 1));
    }

    #[test]
    fn fields_are_bounded_whatever_comes() {
        let book = DriftBook::new("test", "p".to_owned());
        for round in 0..3 {
            let fields: Vec<_> = (0..100).map(|n| format!(r#""f{round}-{n}":1"#)).collect();
            let body = format!("{{{}}}", fields.join(","));
            book.look(body.as_bytes(), Is::Shaped(&OUTER), Timestamp::UNIX_EPOCH);
        }
        let view = book.view();
        assert!(view.len() <= MAX_FIELDS + 1, "{}", view.len());
        assert_eq!(view.iter().map(|d| d.count).sum::<u64>(), 300, "none is lost");
        assert!(view.iter().any(|d| d.field == OTHER));
    }

    #[test]
    fn a_broken_body_tells_nothing() {
        assert_eq!(seen(r#"{"state":"C","#, Is::Shaped(&OUTER)), []);
        assert_eq!(seen("<html>", Is::Shaped(&OUTER)), []);
        assert_eq!(seen(&"[".repeat(10_000), Is::Shaped(&OUTER)), []);
    }

    #[test]
    fn the_first_and_the_last_time_are_kept() {
        let book = DriftBook::new("test", "p".to_owned());
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, word) in [(1, "C"), (5, "D")] {
            let body = format!(r#"{{"state":"{word}"}}"#);
            book.look(body.as_bytes(), Is::Shaped(&OUTER), at(second));
        }
        let drift = book.view().remove(0);
        assert_eq!((drift.first_seen, drift.last_seen, drift.count), (at(1), at(5), 2));
        assert_eq!(drift.sample, "D");
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let book = DriftBook::new("test", "p".to_owned());
            book.look(&body, Is::Shaped(&OUTER), Timestamp::UNIX_EPOCH);
        }
    }
}
