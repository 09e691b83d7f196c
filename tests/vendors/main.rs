//! Each vendor's adapter, driven through real HTTP against its stand-in.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod vsphere;
