//! The engine: accepts operations, drives them at the vendors, and tells what became of them.

pub mod calls;
