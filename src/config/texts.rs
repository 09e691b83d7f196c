//! Texts from the environment that look like something else: a user named `12345`, a project named `true`.
//!
//! A variable does not say which type it means, and only the code that reads a key knows what the key takes: the vendors'
//! own structs too, behind a function. So nobody keeps a list of the keys that are texts. Where a value that was read as a
//! number, a list or the like does not fit, it is tried as the text that it was, and stays one if that fits.

use super::Config;
use super::fault::Fault;
use super::layers::Layers;
use super::validate;
use crate::telemetry::settings::Otlp;

/// Checks everything, as [`validate::check`] does. `raw` gives the text of a variable.
pub(super) fn check<'a>(
    mut layers: Layers,
    otlp: Otlp,
    faults: &[Fault],
    raw: impl Fn(&str) -> Option<&'a str>,
) -> Result<Config, Vec<Fault>> {
    loop {
        let told = match validate::check(layers.clone(), otlp, faults.to_vec()) {
            Ok(config) => return Ok(config),
            Err(told) => told,
        };
        let mut tried = layers.clone();
        let mut variables: Vec<&str> = told.iter().filter_map(|fault| fault.variable.as_deref()).collect();
        variables.retain(|name| raw(name).is_some_and(|text| tried.take_as_text(name, text)));
        if variables.is_empty() {
            return Err(told);
        }
        let left = match validate::check(tried, otlp, faults.to_vec()) {
            Ok(config) => return Ok(config),
            Err(left) => left,
        };
        // Of one that fits neither way, what was said first is to the point.
        variables.retain(|name| !left.iter().any(|fault| fault.variable.as_deref() == Some(*name)));
        if variables.is_empty() {
            return Err(told);
        }
        // What fits now may uncover others: each turn makes a text of one value at least.
        for (name, text) in variables.iter().filter_map(|name| Some((name, raw(name)?))) {
            layers.take_as_text(name, text);
        }
    }
}
