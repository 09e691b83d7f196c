//! Request signing with an access key pair: `SDK-HMAC-SHA256`.
//!
//! After the vendor's API Request Signing Guide and the signer of its SDK core: the secret key itself is the HMAC
//! key (nothing is derived), and the path ends in `/` in what is signed although not on the wire.

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::kit::secret::{ExposeSecret, Secret};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// All but `A-Z a-z 0-9 - _ . ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An access key pair.
#[derive(Debug)]
pub(super) struct Keys {
    /// The public half.
    pub access: String,
    /// The secret half.
    pub secret: Secret,
    /// Goes with a temporary pair.
    pub security_token: Option<Secret>,
}

/// What is signed of a request.
pub(super) struct Signable<'a> {
    /// `GET`, `PUT` ...
    pub method: &'a str,
    /// Where it goes.
    pub url: &'a Url,
    /// Headers to sign besides `host` and `x-sdk-date`, names in lower case.
    pub headers: &'a [(&'static str, &'a str)],
    /// Exactly the bytes that are sent.
    pub body: &'a [u8],
}

/// The `X-Sdk-Date` of a moment.
pub(super) fn sdk_date(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The `Authorization` header for a request sent with `X-Sdk-Date: {date}`.
pub(super) fn authorization(keys: &Keys, request: &Signable<'_>, date: &str) -> String {
    let (canonical, signed) = canonical_request(request, date);
    let to_sign = format!("{ALGORITHM}\n{date}\n{}", sha256_hex(canonical.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.expose_secret().as_bytes());
    let signature = hex::encode(hmac::sign(&key, to_sign.as_bytes()));
    format!("{ALGORITHM} Access={}, SignedHeaders={signed}, Signature={signature}", keys.access)
}

/// The canonical request and its list of signed headers.
fn canonical_request(request: &Signable<'_>, date: &str) -> (String, String) {
    let host = match (request.url.host_str().unwrap_or_default(), request.url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let mut headers = vec![("host", host.as_str()), ("x-sdk-date", date)];
    headers.extend_from_slice(request.headers);
    headers.sort_unstable();
    let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = [
        request.method,
        &canonical_path(request.url),
        &canonical_query(request.url),
        &lines,
        &signed,
        &sha256_hex(request.body),
    ]
    .join("\n");
    (canonical, signed)
}

fn canonical_path(url: &Url) -> String {
    let mut path = String::new();
    for segment in url.path().trim_start_matches('/').split('/') {
        path.push('/');
        let plain = percent_decode_str(segment).collect::<Vec<u8>>();
        path.extend(percent_encoding::percent_encode(&plain, ENCODED));
    }
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<_> = url.query_pairs().collect();
    pairs.sort_unstable();
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    pairs
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            access: "AKEXAMPLE00000000001".to_owned(),
            secret: Secret::from("example-secret-not-real"),
            security_token: None,
        }
    }

    /// The vector was made with the vendor's own signer.
    #[test]
    fn signs_as_the_vendors_signer_does() {
        let project = "0123456789abcdef0123456789abcdef";
        let url = format!("https://clouddc.cn-east-3.myhuaweicloud.com/v1/{project}/instances/reinstall");
        let url = Url::parse(&url).unwrap();
        let body =
            br#"{"password":"Rack-7.unit=Q","instance_id_set":["0197f36d-0000-7258-b177-000000000001"]}"#;
        assert_eq!(body.len(), 87);
        let request = Signable {
            method: "PUT",
            url: &url,
            headers: &[("x-project-id", project), ("content-type", "application/json;charset=UTF-8")],
            body,
        };
        let date = sdk_date("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(date, "20260102T030405Z");
        assert_eq!(sha256_hex(body), "4f66d7b1757b3211a1a6193c2f93a2983230dd90e25dc5834ddb2c95a596696c");
        let (canonical, _) = canonical_request(&request, &date);
        assert_eq!(
            sha256_hex(canonical.as_bytes()),
            "dcdba5ac4e72b035f0aa69f4c4c0ffa1920bf6b5c31c9203de75de4ccff4ac9b",
            "{canonical}"
        );
        assert_eq!(
            authorization(&keys(), &request, &date),
            "SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, \
             SignedHeaders=content-type;host;x-project-id;x-sdk-date, \
             Signature=0a37c9d8bab1bf344aef8afb4327228cd31b116ee447f23cbf22e78fd7727d7d"
        );
    }

    #[test]
    fn queries_are_sorted_and_encoded_and_an_empty_body_is_hashed() {
        let mut url = Url::parse("http://127.0.0.1:8080/v2/a%20b").unwrap();
        url.query_pairs_mut().append_pair("instance_id", "b,a").append_pair("__imagetype", "x y");
        let (canonical, signed) =
            canonical_request(&Signable { method: "GET", url: &url, headers: &[], body: b"" }, "D");
        assert_eq!(
            canonical,
            "GET\n/v2/a%20b/\n__imagetype=x%20y&instance_id=b%2Ca\nhost:127.0.0.1:8080\nx-sdk-date:D\n\n\
             host;x-sdk-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(signed, "host;x-sdk-date");
    }
}
