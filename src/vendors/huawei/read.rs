//! Reads answers: (status, body) → what they say. Pure; the calls are in `client.rs` and `auth.rs`.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::auth::RENEW_BEFORE;
use super::config::is_project_id;
use super::fault;
use super::wire::{
    CloudImage, ImagesReply, Instance, InstancesReply, ProjectsReply, ReinstallReply, TokenReply,
};
use crate::domain::error::VendorFault;
use crate::kit::clock;
use crate::kit::secret::Secret;
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::Reply;

/// A page of instances, each read for itself.
#[derive(Debug)]
pub(super) struct InstancesPage {
    pub items: Vec<Result<Instance, VendorError>>,
    pub next_marker: Option<String>,
}

/// A page of `GET /v1/{project_id}/instances`.
pub(super) fn instances(reply: &Reply) -> Result<InstancesPage, VendorError> {
    let page: InstancesReply = good(reply)?.json()?;
    let Some(items) = page.instances else {
        return Err(VendorError::garbled("the list of instances has no member `instances`"));
    };
    Ok(InstancesPage {
        items: items.into_iter().map(one_instance).collect(),
        next_marker: page.page_info.and_then(|p| p.next_marker).and_then(|m| marker_of(&m)),
    })
}

/// `GET …/instances/{id}/status`: only the state members are filled.
pub(super) fn status(reply: &Reply, id: &str) -> Result<Instance, VendorError> {
    let mut instance: Instance = good(reply)?.json()?;
    instance.id = Some(id.to_owned());
    Ok(instance)
}

/// A page of `GET {ims}/v2/cloudimages`.
pub(super) fn images(reply: &Reply) -> Result<Vec<CloudImage>, VendorError> {
    let page: ImagesReply = good(reply)?.json()?;
    page.images.ok_or_else(|| VendorError::garbled("the list of images has no member `images`"))
}

/// What the answer to a reinstall says.
#[derive(Debug)]
pub(super) enum Start {
    /// Taken, for the instances with these ids (in lower case). Whether others began is not told.
    Taken(HashSet<String>),
    /// There were too many ids; nothing began.
    TooMany(VendorError),
    /// Some of the instances cannot be reinstalled; nothing began.
    SomeRefused(VendorError),
    /// Refused as a whole, before anything began.
    Refused(VendorError),
    /// The call failed; the error tells whether something may have begun.
    Failed(VendorError),
}

/// Reads the answer to `PUT …/instances/reinstall`.
pub(super) fn start(reply: &Reply) -> Start {
    if reply.status.is_success() {
        return match reply.json::<ReinstallReply>() {
            Ok(body) => {
                Start::Taken(body.instances.into_iter().flatten().filter_map(|v| id_of(&v)).collect())
            }
            Err(error) => Start::Failed(error),
        };
    }
    let error = fault::of(reply);
    if started_some(reply) {
        // A refusal that names started instances: nobody can tell which of the others began.
        return Start::Failed(error.with_reached(Reached::Maybe));
    }
    match reply.status.as_u16() {
        400 if is_about_count(&error) => Start::TooMany(error),
        400 if is_about_request(&error) => Start::Refused(error),
        // Rights can be given for single resources.
        400 | 403 | 404 | 409 | 422 if is_about_instances(&error) => Start::SomeRefused(error),
        _ => Start::Failed(error),
    }
}

/// The token in the answer of IAM, and its end where that is of use.
pub(super) fn token(reply: &Reply, now: Timestamp) -> Result<(Secret, Option<Timestamp>), VendorError> {
    if !reply.status.is_success() {
        return Err(refused_by_iam(reply));
    }
    let Some(token) = reply.header("x-subject-token").filter(|t| !t.is_empty()) else {
        return Err(VendorError::garbled("the answer has no header `X-Subject-Token`"));
    };
    // Without a readable end, or with one that our clock says is over, the token is used until the vendor refuses
    // it: a wrong clock must not make every call log in.
    let expires_at = reply
        .json::<TokenReply>()
        .ok()
        .and_then(|r| r.token?.expires_at)
        .and_then(|text| text.parse::<Timestamp>().ok())
        .filter(|end| clock::since(now, *end) > RENEW_BEFORE);
    Ok((Secret::from(token.to_owned()), expires_at))
}

/// The id of the one project of this name, in the answer of IAM. The name is compared once more: whether IAM's filter
/// takes a part for the whole is not documented.
pub(super) fn project(reply: &Reply, name: &str) -> Result<String, VendorError> {
    if !reply.status.is_success() {
        return Err(refused_by_iam(reply));
    }
    let Some(projects) = reply.json::<ProjectsReply>()?.projects else {
        return Err(VendorError::garbled("the list of projects has no member `projects`"));
    };
    let fits =
        projects.into_iter().filter(|project| project.name.as_deref().is_some_and(|told| told == name));
    let mut ids: Vec<String> = fits.filter_map(|project| project.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let wrong = |text: String| VendorError::new(VendorFault::Unauthenticated, Reached::No, text);
    match ids.as_slice() {
        [id] if is_project_id(id) => Ok(id.clone()),
        [_] => Err(VendorError::garbled("the project's id is not made of letters, digits, `-` and `_`")),
        [] => Err(wrong(format!(
            "no project named `{name}` is to be seen with these credentials. Correct `project` (or `region`, whose name \
             is taken without it), or give `project_id`"
        ))),
        several => Err(wrong(format!(
            "{} projects are named `{name}`, the first {}: give `project_id`",
            several.len(),
            several.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// IAM says 400 or 404 to an unknown project or account: the configuration is wrong, not a request.
fn refused_by_iam(reply: &Reply) -> VendorError {
    let mut error = fault::of(reply);
    if matches!(error.kind, VendorFault::Rejected | VendorFault::NotFound | VendorFault::PermissionDenied) {
        error.kind = VendorFault::Unauthenticated;
    }
    error
}

fn good(reply: &Reply) -> Result<&Reply, VendorError> {
    if reply.status.is_success() { Ok(reply) } else { Err(fault::of(reply)) }
}

/// Reads one entry of a list. An odd one is an error that carries the entry's id as its code.
fn one_instance(entry: Value) -> Result<Instance, VendorError> {
    Instance::deserialize(&entry).map_err(|_| {
        let error =
            VendorError::garbled("the vendor's entry for this instance does not have the documented shape")
                .with_reached(Reached::Yes);
        match entry.get("id").and_then(Value::as_str) {
            Some(id) => error.with_code(id.chars().take(256).collect::<String>()),
            None => error,
        }
    })
}

/// The marker of the next page. The documents call it both a cursor and the next page's address.
fn marker_of(text: &str) -> Option<String> {
    let marker = match text.split_once('?') {
        Some((_, query)) => {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == "marker").map(|(_, value)| value.into_owned())?
        }
        None => text.to_owned(),
    };
    (!marker.is_empty()).then_some(marker)
}

/// Whether a refusal nevertheless lists instances as started.
fn started_some(reply: &Reply) -> bool {
    reply.json::<ReinstallReply>().is_ok_and(|body| body.instances.is_some_and(|i| !i.is_empty()))
}

fn id_of(entry: &Value) -> Option<String> {
    entry.get("id").and_then(Value::as_str).map(str::to_ascii_lowercase)
}

/// Whether a refusal is about how many ids there were. The text is the vendor's, so words are all there is beside
/// the code for a bad value: with any other code nobody can tell that nothing started.
fn is_about_count(error: &VendorError) -> bool {
    const WORDS: [&str; 12] = [
        "limit", "exceed", "exceeds", "exceeded", "maximum", "max", "most", "many", "number", "count",
        "length", "size",
    ];
    let text = error.message.to_ascii_lowercase();
    let counts = text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WORDS.contains(&word));
    error.code.as_deref() == Some(fault::BAD_VALUE)
        && counts
        && !text.contains("password")
        && !text.contains("image")
}

/// Whether a refusal is about the request as a whole, before any instance was looked at: a value in it, or the word of
/// the gateway before the service.
fn is_about_request(error: &VendorError) -> bool {
    match error.code.as_deref() {
        Some(fault::BAD_VALUE | fault::MISSING) => true,
        Some(code) => fault::is_gateways(code),
        None => false,
    }
}

/// Whether a refusal may be about some of the instances. The codes from `iMetal.0201` on are not published, and of a
/// code that nobody knows this is the careful reading: it refuses those that it names and lets the others be looked up.
fn is_about_instances(error: &VendorError) -> bool {
    error.code.as_deref().is_some_and(|code| !fault::is_gateways(code))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn a_marker_is_a_cursor_or_an_address() {
        assert_eq!(marker_of("abc").as_deref(), Some("abc"));
        assert_eq!(marker_of("https://h/v1/p/instances?limit=10&marker=a%2Cb").as_deref(), Some("a,b"));
        assert_eq!(marker_of("https://h/v1/p/instances?limit=10"), None);
        assert_eq!(marker_of(""), None);
    }

    #[test]
    fn an_odd_entry_keeps_its_id() {
        assert!(one_instance(serde_json::json!({"id": "a", "state": 17, "image": "x", "tags": 4})).is_ok());
        let error = one_instance(serde_json::json!("text")).unwrap_err();
        assert_eq!(error.code, None);
    }

    fn refusal(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn only_the_vendors_own_words_about_a_number_shrink_the_chunks() {
        let about_count = |message: &str| {
            let body = serde_json::json!({"error_code": "iMetal.0001", "error_msg": message}).to_string();
            is_about_count(&fault::of(&refusal(400, &body)))
        };
        for message in [
            "The number of instance IDs exceeds the maximum of 10.",
            "instance_id_set: at most 10 items",
            "Too many instances",
            "instance_id_set length limit",
        ] {
            assert!(about_count(message), "{message}");
        }
        for message in [
            "The account is frozen.",
            "Invalid password length.",
            "The image exceeds the disk size.",
            "Bad value.",
        ] {
            assert!(!about_count(message), "{message}");
        }
        let proxy = refusal(400, "<html>request exceeds the limit</html>");
        assert!(!is_about_count(&fault::of(&proxy)));
    }

    #[test]
    fn only_a_refusal_of_the_request_itself_is_one_for_every_instance_in_it() {
        let read = |status: u16, code: &str| {
            let body = serde_json::json!({"error_code": code, "error_msg": "why"}).to_string();
            match start(&refusal(status, &body)) {
                Start::Refused(_) => "all",
                Start::SomeRefused(_) => "some",
                Start::Failed(_) => "failed",
                Start::TooMany(_) => "too many",
                Start::Taken(_) => "taken",
            }
        };
        for code in ["iMetal.0001", "iMetal.0002", "APIGW.0106", "APIG.0106"] {
            assert_eq!(read(400, code), "all", "{code}");
        }
        for (status, code) in [
            (400, "iMetal.0101"),
            (400, "iMetal.0110"),
            (404, "iMetal.0100"),
            (404, "iMetal.0200"),
            (400, "iMetal.0201"),
            (409, "iMetal.0202"),
            (403, "iMetal.0004"),
            (422, "iMetal.9999"),
            (400, "Brand.New"),
        ] {
            assert_eq!(read(status, code), "some", "{status} {code}");
        }
        for (status, code) in
            [(401, "iMetal.0003"), (403, "APIGW.0302"), (404, "APIGW.0101"), (500, "iMetal.0099")]
        {
            assert_eq!(read(status, code), "failed", "{status} {code}");
        }
    }

    #[test]
    fn a_refusal_that_names_started_instances_proves_nothing() {
        assert!(started_some(&refusal(400, r#"{"error_code":"X","instances":[{"id":"a"}]}"#)));
        assert!(!started_some(&refusal(400, r#"{"error_code":"X","instances":[]}"#)));
        assert!(!started_some(&refusal(400, r#"{"error_code":"X"}"#)));
        assert!(!started_some(&refusal(400, "text")));
    }
}
