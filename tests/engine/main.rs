//! The engine's behaviour over a real store, with a vendor that does what the test tells it.

#[cfg(test)]
mod attention;
#[cfg(test)]
mod checkers;
#[cfg(test)]
mod drivers;
#[cfg(test)]
mod flaky;
#[cfg(test)]
mod follower;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod house;
#[cfg(test)]
mod jobs;
#[cfg(test)]
#[path = "../support/postgres/mod.rs"]
mod postgres;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod watch_age;
#[cfg(test)]
#[path = "../support/watch_checks/mod.rs"]
mod watch_checks;
#[cfg(test)]
mod watch_laggards;
#[cfg(test)]
mod watch_replicas;
#[cfg(test)]
mod watch_retention;
#[cfg(test)]
mod watches;
