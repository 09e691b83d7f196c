//! Avisi's personal access tokens: static, so there is no session to make, renew or end.
//!
//! The scheme word is `Token`, not `Bearer` (page "Using Personal Access Tokens"). A refused token (expired,
//! revoked, or used from outside its address range) can only be replaced by a person.

use std::fmt;

use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::http::{Call, Reply};
use crate::vendors::redact::redact;

/// A personal access token, ready for its header.
pub(super) struct Pat {
    token: Secret,
    header: Secret,
}

impl fmt::Debug for Pat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pat(..)")
    }
}

impl Pat {
    /// A token as Avisi handed it out (`acpat_…`).
    pub(super) fn new(token: Secret) -> Self {
        let header = Secret::from(format!("Token {}", token.expose_secret()));
        Self { token, header }
    }

    /// Puts the token on a call.
    pub(super) fn sign(&self, call: Call) -> Call {
        call.secret_header("authorization", &self.header)
    }

    /// A refusal without the token in it.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        redact(reply, &[&self.token])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::http::Verb;

    #[test]
    fn a_signed_call_prints_no_token() {
        let pat = Pat::new(Secret::from("acpat_canary"));
        let call = Call::new(Verb::Get, "http://x/".parse().unwrap(), "/");
        let text = format!("{:?} {pat:?}", pat.sign(call));
        assert!(text.contains("authorization") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn an_echoed_token_is_taken_out() {
        let pat = Pat::new(Secret::from("acpat_canary"));
        let reply = Reply {
            status: http::StatusCode::FORBIDDEN,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"token acpat_canary is bad"),
        };
        assert_eq!(pat.redact(reply).text(), "token [redacted] is bad");
    }
}
