//! What a command says: answers on standard output, problems on standard error.
//!
//! A reader who left (`drydock … | head`) is no failure of the command.

use std::error::Error;
use std::fmt::Display;
use std::io::Write as _;

/// One answer, with a line end.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One problem, with a line end.
pub(super) fn problem(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "drydock: {text}");
}

/// A failure with its causes, with a line end.
pub(super) fn failure(error: &dyn Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors repeat their cause in their own words.
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    problem(text);
}
