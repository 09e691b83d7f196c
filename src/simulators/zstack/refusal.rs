//! Business errors: a code, its description, what is wrong in particular, and perhaps a cause below.

use serde_json::{Value, json};

/// Why a request is refused: a code and its details, and perhaps a cause below.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub details: String,
    pub cause: Option<(&'static str, String)>,
}

impl Refusal {
    pub fn new(code: &'static str, details: impl Into<String>) -> Self {
        Self { code, details: details.into(), cause: None }
    }

    pub fn json(&self) -> Value {
        let mut error =
            json!({"code": self.code, "description": description(self.code), "details": self.details});
        if let (Some((code, details)), Some(map)) = (&self.cause, error.as_object_mut()) {
            map.insert(
                "cause".to_owned(),
                json!({"code": code, "description": description(code), "details": details}),
            );
        }
        json!({"error": error})
    }
}

fn description(code: &str) -> &'static str {
    match code {
        "SYS.1001" => "Operation timeout",
        "SYS.1003" => "Resource not found",
        "SYS.1006" => "Operation Error",
        "SYS.1007" => "One or more API argument is invalid",
        "SYS.1010" => "Management node is not ready",
        "ID.1000" => "Authentication failure",
        "ID.1001" => "Invalid session",
        "ID.1002" => "Permission denied",
        "ID.1006" => "Login sessions over limit",
        "LONG_JOB.1003" => "Long job operation not supported",
        _ => "An internal error happened in system",
    }
}
