//! What callers rely on: the contract as it is written down, and a server that speaks it.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod server;
