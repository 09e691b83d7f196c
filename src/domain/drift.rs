//! Drift: what a vendor sends and its documents do not have. The sign of a changed API, before it hurts.

use jiff::Timestamp;

/// One field in which a vendor's answers differ from its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The field, as `Object.field` under the vendor's own names: one that is not documented, or one that holds a
    /// word which is not. At most 128 characters. `other` stands for all fields beyond the bound.
    pub field: String,
    /// The newest word of a field whose words are documented; of a field that is not documented only the kind of its
    /// value, because nobody knows whether it holds a secret. At most 64 characters.
    pub sample: String,
    /// How often it was seen since Drydock started.
    pub count: u64,
    /// When it was seen first since Drydock started.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
}
