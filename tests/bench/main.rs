//! The bench with tiny sizes, so that it does not rot. No time is judged here.

#[cfg(test)]
#[path = "../../examples/bench/harness/mod.rs"]
mod harness;

#[cfg(test)]
mod smoke;
#[cfg(test)]
#[path = "../support/watch_checks/mod.rs"]
mod watch_checks;
