//! What a command says: answers on standard output, problems on standard error.
//!
//! A reader who left (`drydock … | head`) is no failure of the command.

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
