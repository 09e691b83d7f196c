//! Answers that arrive, but not as the vendor's documents have them.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header;
use axum::response::Response;
use serde_json::Value;

/// The largest answer that is spoiled: more than any simulator sends.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// A state word that no document knows.
const NEW_WORD: &str = "BRAND_NEW_STATE";
/// A member that no document knows.
const NEW_MEMBER: &str = "brandNewField";

/// How an answer is spoiled. Members are JSON members, at any depth.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spoiled {
    /// The body ends in the middle, with a content length to match.
    CutInHalf,
    /// The JSON is the one entry of a list.
    Wrapped,
    /// The texts of these members are numbers.
    Numbers(&'static [&'static str]),
    /// The texts of these members are a word that nobody has seen before.
    NewWords(&'static [&'static str]),
    /// Objects that have one of these members have one more, which nobody has seen before.
    NewMembers(&'static [&'static str]),
    /// The last entry of the outermost list, or map of objects, of several is missing.
    WithoutLast,
    /// These members are missing.
    Without(&'static [&'static str]),
}

/// Spoils an answer; `true` if there was something to spoil.
pub(super) async fn spoil(answer: Response, how: Spoiled) -> (Response, bool) {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    let spoiled = match how {
        Spoiled::CutInHalf => (!body.is_empty()).then(|| body.slice(..body.len() / 2)),
        Spoiled::Wrapped => change_json(&body, |value| {
            *value = Value::Array(vec![value.take()]);
        }),
        Spoiled::Numbers(members) => change_json(&body, |v| replace(v, members, &Value::from(17))),
        Spoiled::NewWords(members) => change_json(&body, |v| replace(v, members, &Value::from(NEW_WORD))),
        Spoiled::NewMembers(members) => change_json(&body, |v| add(v, members)),
        Spoiled::WithoutLast => change_json(&body, |v| {
            drop_last(v);
        }),
        Spoiled::Without(members) => change_json(&body, |v| remove(v, members)),
    };
    let changed = spoiled.is_some();
    (Response::from_parts(parts, Body::from(spoiled.unwrap_or(body))), changed)
}

/// The changed body, if it is JSON and there was something to change.
fn change_json(body: &Bytes, change: impl FnOnce(&mut Value)) -> Option<Bytes> {
    let before: Value = serde_json::from_slice(body).ok()?;
    let mut after = before.clone();
    change(&mut after);
    (after != before).then(|| Bytes::from(after.to_string()))
}

/// Drops the last of several entries; whether there was one.
fn drop_last(value: &mut Value) -> bool {
    match value {
        Value::Array(items) if items.len() > 1 => items.pop().is_some(),
        Value::Array(items) => items.iter_mut().any(drop_last),
        Value::Object(map) if map.len() > 1 && map.values().all(Value::is_object) => {
            let last = map.keys().next_back().cloned();
            last.is_some_and(|last| map.remove(&last).is_some())
        }
        Value::Object(map) => map.values_mut().any(drop_last),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn replace(value: &mut Value, members: &[&str], by: &Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if members.contains(&key.as_str()) && inner.is_string() {
                    *inner = by.clone();
                } else {
                    replace(inner, members, by);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| replace(v, members, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add(value: &mut Value, members: &[&str]) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|v| add(v, members));
            if members.iter().any(|member| map.contains_key(*member)) {
                map.insert(NEW_MEMBER.to_owned(), Value::from("BRAND-NEW-CANARY"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| add(v, members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn remove(value: &mut Value, members: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !members.contains(&key.as_str()));
            map.values_mut().for_each(|v| remove(v, members));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| remove(v, members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_entry_of_several_is_left_out() {
        for (mut before, after) in [
            (json!({"n": 2, "rows": [1, 2]}), json!({"n": 2, "rows": [1]})),
            (json!({"a": {"x": 1}, "b": {"x": 2}}), json!({"a": {"x": 1}})),
            (json!([{"rows": [1]}]), json!([{"rows": [1]}])),
        ] {
            let changed = before != after;
            assert_eq!(drop_last(&mut before), changed);
            assert_eq!(before, after);
        }
    }
}
