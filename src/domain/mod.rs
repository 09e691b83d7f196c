//! The words of Drydock as plain data and pure functions: no I/O, no clock (functions are handed `now`).

pub mod cadence;
pub mod capability;
pub mod drift;
pub mod error;
pub mod event;
pub mod failure;
pub mod finding;
pub mod id;
pub mod job;
pub mod operation;
pub mod page;
pub mod state;
pub mod target;
pub mod texts;
