//! Checks `SDK-HMAC-SHA256` signatures, from the vendor's signing guide.

use aws_lc_rs::{digest, hmac};
use axum::http::request::Parts;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

/// A signature that is further off than this is refused.
const MAX_SKEW_SECONDS: i64 = 15 * 60;

/// Whether `Authorization` is right for this request, this key pair and this moment. The text says what is wrong.
pub(super) fn verify(
    parts: &Parts,
    body: &[u8],
    access: &str,
    secret: &str,
    now: Timestamp,
) -> Result<(), &'static str> {
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let authorization = header("authorization").ok_or("no Authorization header")?;
    let fields = authorization.strip_prefix("SDK-HMAC-SHA256 ").ok_or("unknown algorithm")?;
    let field = |name: &str| {
        fields
            .split(", ")
            .find_map(|f| f.strip_prefix(name)?.strip_prefix('='))
            .ok_or("incomplete Authorization")
    };
    if field("Access")? != access {
        return Err("unknown access key");
    }
    let date = header("x-sdk-date").ok_or("no X-Sdk-Date")?;
    let sent = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_| "X-Sdk-Date is malformed")?
        .timestamp();
    if now.duration_since(sent).as_secs().abs() > MAX_SKEW_SECONDS {
        return Err("X-Sdk-Date is more than 15 minutes off");
    }
    let signed = field("SignedHeaders")?;
    for needed in ["host", "x-sdk-date"] {
        if !signed.split(';').any(|s| s == needed) {
            return Err("host and x-sdk-date must be signed");
        }
    }
    let mut lines = String::new();
    for name in signed.split(';') {
        let value = header(name).ok_or("a signed header is missing")?;
        lines.push_str(&format!("{name}:{}\n", value.trim()));
    }
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        parts.method,
        path(parts.uri.path()),
        query(parts.uri.query().unwrap_or_default()),
        hex::encode(digest::digest(&digest::SHA256, body)),
    );
    let hash = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let given = hex::decode(field("Signature")?).map_err(|_| "Signature is not hexadecimal")?;
    hmac::verify(&key, format!("SDK-HMAC-SHA256\n{date}\n{hash}").as_bytes(), &given)
        .map_err(|_| "the signature does not match")
}

fn path(raw: &str) -> String {
    let mut out = raw
        .split('/')
        .map(|s| encode(&percent_decode_str(s).decode_utf8_lossy()))
        .collect::<Vec<_>>()
        .join("/");
    if !out.ends_with('/') {
        out.push('/');
    }
    out
}

fn query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// The vector was made with the vendor's own signer.
    #[test]
    fn accepts_the_vendors_vector_and_nothing_changed() {
        let project = "0123456789abcdef0123456789abcdef";
        let body =
            r#"{"password":"Rack-7.unit=Q","instance_id_set":["0197f36d-0000-7258-b177-000000000001"]}"#;
        let request = |path: &str| {
            Request::put(path)
                .header("host", "clouddc.cn-east-3.myhuaweicloud.com")
                .header("x-sdk-date", "20260102T030405Z")
                .header("x-project-id", project)
                .header("content-type", "application/json;charset=UTF-8")
                .header(
                    "authorization",
                    "SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, \
                     SignedHeaders=content-type;host;x-project-id;x-sdk-date, \
                     Signature=0a37c9d8bab1bf344aef8afb4327228cd31b116ee447f23cbf22e78fd7727d7d",
                )
                .body(())
                .unwrap()
                .into_parts()
                .0
        };
        let check = |path: &str, body: &str, access: &str, secret: &str, now: &str| {
            verify(&request(path), body.as_bytes(), access, secret, now.parse().unwrap())
        };
        let (path, access, secret, now) = (
            format!("/v1/{project}/instances/reinstall"),
            "AKEXAMPLE00000000001",
            "example-secret-not-real",
            "2026-01-02T03:10:00Z",
        );
        assert_eq!(check(&path, body, access, secret, now), Ok(()));
        assert!(check("/v1/other/instances/reinstall", body, access, secret, now).is_err());
        assert!(check(&path, "{}", access, secret, now).is_err());
        assert!(check(&path, body, "AKOTHER", secret, now).is_err());
        assert!(check(&path, body, access, "wrong", now).is_err());
        assert!(check(&path, body, access, secret, "2026-01-02T03:30:00Z").is_err());
    }
}
