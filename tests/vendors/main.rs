//! Each vendor's adapter, driven through real HTTP against its stand-in.

mod vsphere;
