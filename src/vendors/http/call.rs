//! One request to a vendor, before it is sent.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use serde::Serialize;
use url::Url;

use crate::kit::permit::Permit;
use crate::kit::secret::{ExposeSecret, Secret};

/// The HTTP verbs that vendors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Verb {
    /// As the HTTP crate has it.
    pub const fn method(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
            Self::Patch => http::Method::PATCH,
            Self::Delete => http::Method::DELETE,
        }
    }
}

/// One request to a vendor.
///
/// `route` is the path with placeholders (`/v1/{project}/instances`), for traces and metrics: low cardinality and
/// no ids. Headers added by [`Call::secret_header`] are marked sensitive and never printed.
#[derive(Debug)]
pub struct Call {
    pub(super) verb: Verb,
    pub(super) url: Url,
    pub(super) route: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Body>,
    pub(super) timeout: Option<Duration>,
    pub(super) safe: bool,
    pub(super) permit: Option<Permit>,
}

/// A body that does not print and is wiped when dropped, since it may hold a password.
pub(super) struct Body(pub(super) zeroize::Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Call {
    /// A call to `url`. A GET is safe (may be repeated at once after a transport fault); others are not.
    pub fn new(verb: Verb, url: Url, route: &'static str) -> Self {
        Self {
            verb,
            url,
            route,
            headers: Vec::new(),
            body: None,
            timeout: None,
            safe: matches!(verb, Verb::Get),
            permit: None,
        }
    }

    /// Appends percent-encoded path segments to a base address: `join(base, &["v1", id])`.
    pub fn join(base: &Url, segments: &[&str]) -> Url {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Adds a query pair.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    /// Adds a header that may be shown. A value that is no header text is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Adds a header that must never be shown.
    #[must_use]
    pub fn secret_header(mut self, name: &'static str, value: &Secret) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
            value.set_sensitive(true);
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Sets a JSON body with `content-type: application/json`, unless a content type was set before.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        // Serialising our own wire structs (strings, numbers, maps with string keys) to memory cannot fail.
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        self.bytes("application/json", bytes)
    }

    /// Sets a body that is already bytes (for signing exactly what is sent).
    #[must_use]
    pub fn bytes(mut self, content_type: &'static str, bytes: Vec<u8>) -> Self {
        self.headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        self.body = Some(Body(bytes.into()));
        self
    }

    /// Declares that the call changes nothing although its verb is not GET (a query by POST, a login).
    #[must_use]
    pub const fn safe(mut self) -> Self {
        self.safe = true;
        self
    }

    /// Declares that the call changes something at the vendor, and until when it may be sent. It is asked after every
    /// wait, and again when the body goes out. A call that was not sent fails with `Reached::No`.
    #[must_use]
    pub fn under(mut self, permit: &Permit) -> Self {
        self.permit = Some(permit.clone());
        self
    }

    /// A deadline other than the provider's.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The address, for signing.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The body, for signing.
    pub fn body_bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |b| &b.0)
    }
}
