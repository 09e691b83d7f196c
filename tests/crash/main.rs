//! The crash harness in short: some rounds, every crash point, and the judge against lies. The long form is
//! `cargo run --release --example crash`.

#[cfg(test)]
#[path = "../../examples/crash/harness/mod.rs"]
mod harness;

#[cfg(test)]
mod enumerated;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod short;
#[cfg(test)]
#[path = "../support/watch_checks/mod.rs"]
mod watch_checks;
