//! Access-key signatures (zstack `ZSClient.java`, the Go SDK's `zstack_http_client.go`).
//!
//! String to sign: verb, date and path, one a line; the path starts at `/v1/…` and has no query. HMAC-SHA1,
//! standard base64. The server compares the date's wall-clock digits with its own **local** time, ±15 min, and by
//! default does not even look at the zone; so the date must be written in the server's own zone.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::kit::secret::{ExposeSecret, Secret};

/// Offsets to try when the server's zone is not known: UTC and China first, then every other in use, in minutes.
/// A guess within 15 minutes is good enough for the server, and thereby for us.
pub(super) const LIKELY_OFFSETS: [i32; 38] = [
    0, 480, 540, 420, 330, 60, 120, 180, -300, -480, -360, -420, -240, 240, 600, 660, 720, 780, 840, 300,
    360, 570, 630, 345, 390, 270, 210, 525, 765, -60, -120, -180, -210, -150, -540, -570, -600, -660,
];

/// The `Date` header: `Thu, 05 Jun 2025 15:47:29 GMT+08:00`, in a form that Java's `z` reads.
pub(super) fn date(now: Timestamp, offset: Offset) -> String {
    let local = offset.to_datetime(now);
    let seconds = offset.seconds();
    let zone = if seconds == 0 {
        "GMT".to_owned()
    } else {
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        format!("GMT{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    };
    format!("{} {zone}", local.strftime("%a, %d %b %Y %H:%M:%S"))
}

/// The `Authorization` header for a request. `path` starts with `/v1/`.
pub(super) fn authorization(id: &str, secret: &Secret, verb: &str, date: &str, path: &str) -> Secret {
    Secret::from(format!("ZStack {id}:{}", signature(secret, verb, date, path)))
}

fn signature(secret: &Secret, verb: &str, date: &str, path: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose_secret().as_bytes());
    STANDARD.encode(hmac::sign(&key, format!("{verb}\n{date}\n{path}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vectors_hold() {
        let secret = Secret::from("exampleSecretKey");
        let date = "Thu, 05 Jun 2025 15:47:29 CST";
        let put = signature(&secret, "PUT", date, "/v1/clusters/932696598b64375ea4ae6226cc0c1407/actions");
        assert_eq!(put, "2NGwRXcDB1T8yc3g7ZKo0YXdCbQ=");
        assert_eq!(signature(&secret, "GET", date, "/v1/longjobs"), "vhHmXSh6J8z46Xfaz3JVJUwKwO4=");
    }

    #[test]
    fn dates_are_written_in_the_servers_zone() {
        let now: Timestamp = "2025-06-05T07:47:29Z".parse().unwrap();
        let at = |minutes: i32| date(now, Offset::from_seconds(minutes * 60).unwrap());
        assert_eq!(at(0), "Thu, 05 Jun 2025 07:47:29 GMT");
        assert_eq!(at(480), "Thu, 05 Jun 2025 15:47:29 GMT+08:00");
        assert_eq!(at(-210), "Thu, 05 Jun 2025 04:17:29 GMT-03:30");
    }

    #[test]
    fn no_zone_in_use_is_further_than_the_servers_window() {
        for minutes in (-11 * 60..=14 * 60).step_by(60) {
            assert!(LIKELY_OFFSETS.iter().any(|o| (o - minutes).abs() <= 15), "{minutes}");
        }
        let mut all = LIKELY_OFFSETS.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), LIKELY_OFFSETS.len());
    }
}
