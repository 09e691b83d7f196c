//! What callers rely on: the contract as it is written down, and a server that speaks it.

mod contract;
mod fixture;
mod server;
