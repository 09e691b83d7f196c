//! placeholder
pub mod admin;
