//! One table made of layers, with where each value came from.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The configuration file.
    File,
    /// This environment variable.
    Variable(String),
    /// The program itself: a flag, or the demo.
    Given,
}

/// The merged table.
#[derive(Clone)]
pub(super) struct Layers {
    table: Table,
    /// Where values came from that did not come from the file.
    origins: BTreeMap<Vec<String>, Origin>,
}

impl Layers {
    /// The lowest layer: the file.
    pub(super) fn new(file: Table) -> Self {
        Self { table: file, origins: BTreeMap::new() }
    }

    /// Lays a table over what is there; tables are merged, everything else is replaced.
    pub(super) fn lay(&mut self, over: Table, origin: &Origin) {
        for (key, value) in over {
            self.lay_at(vec![key], value, origin);
        }
    }

    fn lay_at(&mut self, path: Vec<String>, value: Value, origin: &Origin) {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                for (key, value) in inner {
                    let mut path = path.clone();
                    path.push(key);
                    self.lay_at(path, value, origin);
                }
            }
            value => self.set(path, value, origin.clone()),
        }
    }

    /// Sets one value. What stands in its way (a value where a table is needed) is replaced.
    pub(super) fn set(&mut self, path: Vec<String>, value: Value, origin: Origin) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut at = &mut self.table;
        for key in parents {
            let slot = at.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !slot.is_table() {
                *slot = Value::Table(Table::new());
            }
            let Value::Table(inner) = slot else { return };
            at = inner;
        }
        at.insert(last.clone(), value);
        self.origins.insert(path, origin);
    }

    /// Where the value at `path`, or the value around it, came from.
    pub(super) fn origin(&self, path: &[String]) -> &Origin {
        (1..=path.len())
            .rev()
            .find_map(|length| path.get(..length).and_then(|part| self.origins.get(part)))
            .unwrap_or(&Origin::File)
    }

    /// A variable that set something at or below `path`, if one did.
    pub(super) fn variable_below(&self, path: &[String]) -> Option<&str> {
        self.origins.iter().find_map(|(set, origin)| match origin {
            Origin::Variable(name) if set.starts_with(path) => Some(name.as_str()),
            Origin::Variable(_) | Origin::File | Origin::Given => None,
        })
    }

    /// Makes a text of what a variable gave. `false`: it is one, or the variable gave nothing.
    pub(super) fn take_as_text(&mut self, variable: &str, text: &str) -> bool {
        let of = |origin: &Origin| matches!(origin, Origin::Variable(name) if name == variable);
        let Some((path, _)) = self.origins.iter().find(|(_, origin)| of(origin)) else { return false };
        let Some((last, parents)) = path.split_last() else { return false };
        let mut at = Some(&mut self.table);
        for key in parents {
            at = at.and_then(|table| table.get_mut(key)).and_then(Value::as_table_mut);
        }
        match at.and_then(|table| table.get_mut(last)) {
            None | Some(Value::String(_)) => false,
            Some(value) => {
                *value = Value::from(text);
                true
            }
        }
    }

    /// Takes a top-level value out.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// Which top-level keys are left.
    pub(super) fn left(&self) -> impl Iterator<Item = &String> {
        self.table.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    #[test]
    fn a_higher_layer_wins_key_by_key() {
        let mut layers = Layers::new("[a]\nx = 1\ny = 2\n[b]\nz = 3".parse().unwrap());
        layers.set(path(&["a", "y"]), Value::from(20), Origin::Variable("V".to_owned()));
        layers.lay("[b]\nnew.deep = true".parse().unwrap(), &Origin::Given);
        assert_eq!(layers.origin(&path(&["a", "x"])), &Origin::File);
        assert_eq!(layers.origin(&path(&["a", "y"])), &Origin::Variable("V".to_owned()));
        assert_eq!(layers.origin(&path(&["b", "new", "deep"])), &Origin::Given);
        assert_eq!(layers.take("a").unwrap(), Value::Table("x = 1\ny = 20".parse().unwrap()));
        assert_eq!(layers.take("b").unwrap(), Value::Table("z = 3\nnew.deep = true".parse().unwrap()));
        assert_eq!(layers.left().count(), 0);
    }
}
