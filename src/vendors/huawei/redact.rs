//! Takes a password out of an answer before anybody reads it.

use bytes::Bytes;

use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::http::Reply;

/// The answer without `secret`: a vendor that refuses a value may quote it in its message.
pub(super) fn redact(mut reply: Reply, secret: &Secret) -> Reply {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return reply;
    }
    let text = String::from_utf8_lossy(&reply.body);
    let escaped = serde_json::Value::from(secret).to_string();
    let escaped = escaped.trim_matches('"');
    if text.contains(secret) || text.contains(escaped) {
        reply.body = Bytes::from(text.replace(escaped, "[redacted]").replace(secret, "[redacted]"));
    }
    reply
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn a_quoted_password_is_gone_in_plain_and_in_escaped_form() {
        for body in [r#"{"error_msg":"`Ca/na\"ry-7` is bad"}"#, "<p>Ca/na\"ry-7</p>"] {
            let reply = Reply {
                status: StatusCode::BAD_REQUEST,
                headers: HeaderMap::new(),
                body: Bytes::copy_from_slice(body.as_bytes()),
            };
            let reply = redact(reply, &Secret::from("Ca/na\"ry-7"));
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(text.contains("[redacted]") && !text.contains("ry-7"), "{text}");
        }
    }
}
