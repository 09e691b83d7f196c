//! The program as a user meets it: arguments in, words and exit codes out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod check_config;
#[cfg(feature = "simulators")]
mod demo;
mod program;
mod serve;
