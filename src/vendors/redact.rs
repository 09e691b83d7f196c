//! Takes secrets out of an answer before anybody reads it: a vendor, or something before it, may quote what it was
//! sent.
//!
//! JSON is looked at after it was decoded. Gson and Jackson write `=`, `<`, `>`, `&` and `'` as `\u003d` and so on,
//! and a search through the raw bytes would let a password of such letters pass.

use bytes::Bytes;
use serde_json::Value;

use super::http::Reply;
use crate::kit::secret::{ExposeSecret, Secret};

/// What stands where a secret stood.
const MARK: &str = "[redacted]";

/// How often escapes are solved that only appear when others were.
const PASSES: usize = 8;

/// The answer without these secrets, in body and headers. Empty secrets are no secrets.
pub(super) fn redact(mut reply: Reply, secrets: &[&Secret]) -> Reply {
    for secret in secrets.iter().map(|secret| secret.expose_secret()).filter(|text| !text.is_empty()) {
        if let Some(body) = without(&reply.body, secret) {
            reply.body = Bytes::from(body);
        }
        let quoting = |value: &http::HeaderValue| {
            value.as_bytes().windows(secret.len()).any(|part| part == secret.as_bytes())
        };
        for value in reply.headers.values_mut().filter(|value| quoting(value)) {
            *value = http::HeaderValue::from_static(MARK);
        }
    }
    reply
}

/// The body without `secret`; `None` when it does not hold it.
fn without(body: &[u8], secret: &str) -> Option<Vec<u8>> {
    // What is returned is sound text, so it is read as what it will be.
    let text = String::from_utf8_lossy(body);
    if body.contains(&b'\\')
        && let Ok(mut value) = serde_json::from_str::<Value>(&text)
    {
        return blot(&mut value, secret).then(|| value.to_string().into_bytes());
    }
    // Not only text that is no JSON comes here: who reads a few members passes over a broken one elsewhere.
    let text = legible(&text);
    let forms = forms(secret);
    if !forms.iter().any(|form| text.contains(form.as_str())) {
        return None;
    }
    let clean = forms.iter().fold(text, |text, form| text.replace(form.as_str(), MARK));
    Some(clean.into_bytes())
}

/// Blots the secret out of every text and every name; whether it was anywhere.
fn blot(value: &mut Value, secret: &str) -> bool {
    match value {
        Value::String(text) => match blotted(text, secret) {
            Some(clean) => {
                *text = clean;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |found, item| blot(item, secret) | found),
        Value::Object(map) => {
            let quoting: Vec<String> =
                map.keys().filter(|name| blotted(name, secret).is_some()).cloned().collect();
            let mut found = !quoting.is_empty();
            for name in quoting {
                map.remove(&name);
            }
            for member in map.values_mut() {
                found |= blot(member, secret);
            }
            found
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn blotted(text: &str, secret: &str) -> Option<String> {
    let plain = text.contains(secret).then(|| text.replace(secret, MARK));
    let text = plain.as_deref().unwrap_or(text);
    if !text.contains(char::is_control) {
        return plain;
    }
    // Control characters are dropped from what is shown, which would put a secret together again.
    let shown: String = text.chars().filter(|c| !c.is_control()).collect();
    if shown.contains(secret) { Some(shown.replace(secret, MARK)) } else { plain }
}

/// The text as it may be shown or read in the end: JSON's escapes by number and of `/` are solved, and control characters
/// are gone. What that puts together is solved again, so that nobody who reads the text finds an escape in it.
fn legible(text: &str) -> String {
    let mut text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    for _ in 0..PASSES {
        let solved = solved(&text);
        // It only ever gets shorter.
        if solved.len() >= text.len() {
            return text;
        }
        text = solved;
    }
    // Nobody writes that but to hide something.
    text.replace('\\', "")
}

fn solved(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let numbered = || {
            let code = escape.strip_prefix('u')?.get(..4)?;
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, escape.get(5..)?))
        };
        let (letter, after) = match escape.strip_prefix('/') {
            Some(after) => ('/', after),
            // Half of a pair stands for nothing, and stays.
            None => numbered().unwrap_or(('\\', escape)),
        };
        out.push(letter);
        rest = after;
    }
    out.push_str(rest);
    out.retain(|letter| !letter.is_control());
    out
}

/// How a secret may be written in a legible text.
fn forms(secret: &str) -> [String; 3] {
    let escaped = Value::from(secret).to_string();
    let escaped = escaped.trim_matches('"').to_owned();
    [secret.to_owned(), in_html(secret), escaped]
}

fn in_html(secret: &str) -> String {
    secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn clean(body: &str, secret: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("about Rack-7"));
        let reply =
            Reply { status: StatusCode::BAD_REQUEST, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        let reply = redact(reply, &[&Secret::from(secret), &Secret::from("")]);
        format!(
            "{} {}",
            reply.header("x-request-id").unwrap_or_default(),
            String::from_utf8_lossy(&reply.body)
        )
    }

    #[test]
    fn a_quoted_secret_is_gone_however_it_is_written() {
        let secret = "Ca/na\"r<y=7&";
        for body in [
            r#"{"error_msg":"`Ca/na\"r<y=7&` is bad"}"#,
            r#"{"error_msg":"`Ca\/na\"r\u003cy\u003d7\u0026` is bad"}"#,
            r#"{"a":[{"Ca/na\"r<y=7&":"x\\"},"Ca/na\"r<y\u00017&"]}"#,
            r#"{"error_msg":"Ca/na\"r<\u0001y=7&"}"#,
            r#"{"error_msg":"Ca/na\"r<y=7& and Ca/na\"r<\u0000y=7&"}"#,
            "<p>Ca/na\"r<y=7&</p>",
            "<p>Ca/na&quot;r&lt;y=7&amp;</p>",
            r#"{"error_msg":"Ca/na\"r<y=7&"#,
            r#"{"error_msg":"Ca/na\"r\u003cy\u003d7\u0026"#,
            r#"{"error_msg":"Ca/na\"r\u003Cy\u003D7\u0026"#,
        ] {
            let text = clean(body, secret);
            let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
            let text = text.replace("\\u0000", "");
            assert!(!text.contains("na\"r<y=7") && !text.contains("y\\u003d7"), "{body} -> {text}");
            assert!(!text.contains("r<y=7") && !text.contains("r&lt;y"), "{body} -> {text}");
        }
    }

    #[test]
    fn a_broken_letter_does_not_hide_a_secret() {
        let body = b"{\"\xff\":\"\",\"a\":\"x\\u003dy\",\"b\":\"x=y\"}";
        let text = String::from_utf8(without(body, "x=y").unwrap()).unwrap();
        assert!(!text.contains("x=y") && !text.contains("003d"), "{text}");
    }

    #[test]
    fn a_member_that_cannot_be_read_hides_no_secret_in_another() {
        let secret = "Ca=na<ry>&'7";
        for body in [
            // Half of a surrogate pair is no JSON, and nobody reads that member.
            r#"{"at":"2\ud800","message":"Ca\u003dna\u003cry\u003e&'7"}"#,
            r#"{"at":"2\ud800","message":"Ca\u003Dna\u0001<ry>&'7"}"#,
            "{\"at\":\"2\\ud800\",\"message\":\"Ca=na\u{1}<ry>&'7\"}",
            r#"{"message":"Ca=na\u003cry\u003e\u0026\u00277"#,
            "{\"message\":\"Ca=na<ry>&'7\",\"details\":[\"Ca=na\\u003\u{6}c\u{0}ry>&'7\"]}",
            r#"{"at":"\ud800","message":"Ca=na\u005cu003cry>&'7"}"#,
        ] {
            let text = clean(body, secret);
            assert!(!legible(&text).contains(secret), "{body} -> {text}");
            assert!(text.contains(MARK), "{body} -> {text}");
        }
    }

    #[test]
    fn what_quotes_nothing_stays_as_it_was() {
        let body = r#"{"b": "\u003d", "a": 1.50}"#;
        assert_eq!(clean(body, "secret"), format!("about Rack-7 {body}"));
        assert_eq!(clean("{}", "Rack-7"), "[redacted] {}");
    }
}
