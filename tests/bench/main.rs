//! The bench with tiny sizes, so that it does not rot. No time is judged here.

#[cfg(test)]
#[path = "../../examples/bench/harness/mod.rs"]
mod harness;

#[cfg(test)]
mod smoke;
