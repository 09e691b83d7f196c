//! The whole program as users have it: a child process, a configuration file, simulated vendors, a real client.

#[cfg(test)]
mod collector;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod silent;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod watch;
#[cfg(test)]
#[path = "../support/watch_checks/mod.rs"]
mod watch_checks;
