//! Tools without a business word: time, owned tasks, secrets, back-off, trace context.

pub mod clock;
pub mod retry;
pub mod seal;
pub mod secret;
pub mod tasks;
pub mod trace;
