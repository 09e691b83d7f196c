//! What the four targets share.

use drydock::vendors::recorded::{self, Verdict};
use libfuzzer_sys::Corpus;

/// Shows `bytes` to the adapter of `vendor`.
///
/// # Panics
/// When a promise is broken: that is the finding.
pub fn hold(vendor: &str, bytes: &[u8]) -> Corpus {
    match recorded::judge(vendor, bytes) {
        Verdict::NotAnAnswer => Corpus::Reject,
        Verdict::Kept(_) => Corpus::Keep,
        Verdict::Broken(why) => panic!("{why}"),
    }
}
