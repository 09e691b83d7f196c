//! What callers rely on: the contract as it is written down, and a server that speaks it.

#[cfg(test)]
mod compression;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod operations;
#[cfg(test)]
#[path = "../support/postgres/mod.rs"]
mod postgres;
#[cfg(test)]
mod rewound;
#[cfg(test)]
mod server;
#[cfg(test)]
mod settle;
#[cfg(test)]
mod store_away;
#[cfg(test)]
mod streams;
#[cfg(test)]
#[path = "../support/watch_checks/mod.rs"]
mod watch_checks;
