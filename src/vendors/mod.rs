//! The vendors: one folder each, with the same file names, behind one trait.
//!
//! [`VENDORS`] is the visible list: adding a vendor is one folder and one line here.

pub mod avisi;
pub mod contract;
pub mod drift;
pub mod error;
pub mod http;
pub mod huawei;
mod logins;
#[cfg(any(test, fuzzing))]
pub mod recorded;
mod redact;
pub mod settings;
pub mod vsphere;
pub mod zstack;

use settings::VendorEntry;

/// Every vendor that this build knows.
pub const VENDORS: &[VendorEntry] = &[zstack::ENTRY, vsphere::ENTRY, avisi::ENTRY, huawei::ENTRY];

/// The entry for a vendor's name as it stands in the configuration.
pub fn entry(name: &str) -> Option<&'static VendorEntry> {
    VENDORS.iter().find(|e| e.name == name)
}
