//! placeholder
pub mod settings;
