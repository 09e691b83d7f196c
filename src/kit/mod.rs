//! Tools without a business word: time, permits that end, owned tasks, secrets, back-off, trace context, tables read
//! whole, turns among many, crash points for tests.

pub mod clock;
pub mod crash_point;
pub mod permit;
pub mod retry;
pub mod seal;
pub mod secret;
pub mod table;
pub mod tasks;
pub mod trace;
pub mod turns;
