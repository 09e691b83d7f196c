//! A few short texts by name: labels of a caller, ids of a vendor.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A few short texts by name, in the order of their names.
///
/// Each of a hundred thousand live jobs has two of these in memory. A `BTreeMap` takes half a kilobyte for its first
/// entry; this takes what its texts need. It is made once and read often, and looked through from the front.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts(Box<[(Box<str>, Box<str>)]>);

impl Texts {
    /// The text of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// Names and texts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same, for those who need a map.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }
}

/// Of two texts of one name the later one stays.
impl FromIterator<(String, String)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(texts: I) -> Self {
        let mut all = Self::default();
        all.extend(texts);
        all
    }
}

impl Extend<(String, String)> for Texts {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, texts: I) {
        let mut all: BTreeMap<Box<str>, Box<str>> = mem::take(&mut self.0).into_iter().collect();
        all.extend(texts.into_iter().map(|(name, text)| (name.into(), text.into())));
        self.0 = all.into_iter().collect();
    }
}

impl<const N: usize> From<[(String, String); N]> for Texts {
    fn from(texts: [(String, String); N]) -> Self {
        texts.into_iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all: BTreeMap<Box<str>, Box<str>> = Deserialize::deserialize(deserializer)?;
        Ok(Self(all.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_map_is(
            first in prop::collection::btree_map("[a-d]{0,2}", ".{0,4}", 0..6),
            later in prop::collection::vec(("[a-d]{0,2}".prop_map(String::from), ".{0,4}"), 0..6),
        ) {
            let (mut map, mut texts) = (first.clone(), first.into_iter().collect::<Texts>());
            map.extend(later.clone());
            texts.extend(later);
            prop_assert_eq!(texts.is_empty(), map.is_empty());
            for name in map.keys().map(String::as_str).chain(["", "dd", "absent"]) {
                prop_assert_eq!(texts.get(name), map.get(name).map(String::as_str));
            }
            let json = serde_json::to_string(&texts).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(&serde_json::from_str::<Texts>(&json).unwrap(), &texts);
            prop_assert_eq!(texts.to_map(), map);
        }
    }
}
