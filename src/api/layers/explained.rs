//! Reasons for the refusals that the gRPC library makes by itself, before Drydock sees a call.
//!
//! They are whole answers in their heads, so only heads are looked at: a stream that is under way costs nothing here. What
//! the library says is recognised by its code, since our own statuses always come with details, and by its test with a
//! real client.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::Answer;
use crate::api::status::DOMAIN;

/// There is no such service or method.
pub const METHOD_UNKNOWN: &str = "METHOD_UNKNOWN";
/// The request is packed in a way that is not taken.
pub const ENCODING_UNSUPPORTED: &str = "ENCODING_UNSUPPORTED";
/// The request is not what its method takes.
pub const REQUEST_UNREADABLE: &str = "REQUEST_UNREADABLE";
/// The request is above `grpc.max_message_bytes`, as it came or unpacked.
pub const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// Those of the published reasons that are said here only, each with its code.
pub const REASONS: [(&str, Code); 4] = [
    (METHOD_UNKNOWN, Code::Unimplemented),
    (ENCODING_UNSUPPORTED, Code::Unimplemented),
    (REQUEST_UNREADABLE, Code::Internal),
    (REQUEST_TOO_LARGE, Code::OutOfRange),
];

/// Gives a refusal of the library its reason. Everything else stays as it is.
pub fn explained(mut answer: Answer) -> Answer {
    let said = Status::from_header_map(answer.headers()).filter(|status| status.details().is_empty());
    if let Some(status) = said.as_ref().and_then(with_reason) {
        // The head keeps what else it says, such as the encodings that are taken. What was just written fits into one.
        let _ = status.add_header(answer.headers_mut());
    }
    answer
}

fn with_reason(said: &Status) -> Option<Status> {
    let reason = match said.code() {
        // The library says nothing more of a method that it does not know.
        Code::Unimplemented if said.message().is_empty() => METHOD_UNKNOWN,
        Code::Unimplemented => ENCODING_UNSUPPORTED,
        Code::Internal => REQUEST_UNREADABLE,
        // The second: it became too large when it was unpacked. Patience, for which that code asks, would not help.
        Code::OutOfRange | Code::ResourceExhausted => REQUEST_TOO_LARGE,
        _ => return None,
    };
    let (_, code) = REASONS.into_iter().find(|(known, _)| *known == reason)?;
    let message = if reason == METHOD_UNKNOWN { "this server has no such method" } else { said.message() };
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Some(Status::with_error_details(code, message, details))
}
