//! Reads the layers: the file, then the environment. The one place that reads the environment.
//!
//! Every key can be set by a variable: `DRYDOCK__` and the key's path in capitals, joined by two underscores.
//!
//! * `DRYDOCK__GRPC__ADDRESS=127.0.0.1:6000` sets `grpc.address`.
//! * `DRYDOCK__PROVIDERS__VCENTER_AMS__PASSWORD=…` sets `providers.vcenter-ams.password`: in a provider's id,
//!   an underscore stands for a hyphen (ids hold no underscores, so there is no doubt which is meant).
//!
//! A value is read as TOML when it is a number, `true` or `false`, a list, an inline table or quoted; anything
//! else is text. Where only text fits, it is text whatever it looks like (`texts`). A secret is always text, taken as it
//! is.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::{Table, Value};

use super::Config;
use super::fault::{Fault, Faults};
use super::layers::{Layers, Origin};
use super::{texts, validate};
use crate::telemetry::settings::Otlp;

/// What every variable of ours begins with.
const PREFIX: &str = "DRYDOCK__";
/// The largest configuration file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and checks the configuration: defaults, below `file`, below the environment, below `given`.
///
/// # Errors
/// Every fault at once.
pub fn load(file: Option<&Path>, given: Table) -> Result<Config, Faults> {
    load_with(file, &Environment::read(), given)
}

/// Checks what the program itself gives, above the defaults. Of the environment only the `OTEL_*` variables count:
/// our own are for the user's gateway.
///
/// # Errors
/// Every fault at once.
#[cfg(feature = "simulators")]
pub(crate) fn load_given(given: Table) -> Result<Config, Faults> {
    load_with(None, &Environment::read().without_ours(), given)
}

/// The same with a given environment.
fn load_with(file: Option<&Path>, environment: &Environment, given: Table) -> Result<Config, Faults> {
    let named = |list| Faults { file: file.map(Path::to_path_buf), list };
    let table = match file.map(read_file) {
        None => Table::new(),
        Some(Ok(table)) => table,
        Some(Err(message)) => {
            return Err(named(vec![Fault { key: String::new(), variable: None, message }]));
        }
    };
    let mut layers = Layers::new(table);
    let mut faults = Vec::new();
    environment.lay_over(&mut layers, &mut faults);
    let otlp = environment.otlp(&mut faults);
    layers.lay(given, &Origin::Given);
    texts::check(layers, otlp, &faults, |name| environment.text(name)).map_err(named)
}

fn read_file(path: &Path) -> Result<Table, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read as text: {error}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes; is it the right file?"));
    }
    text.parse().map_err(|error: toml::de::Error| {
        // The error's own text repeats the line, which may hold a secret.
        let line =
            error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or(&text).matches('\n').count());
        format!("is not TOML: line {line}: {}", error.message())
    })
}

/// The variable that sets `key` of the table at `path`.
pub(crate) fn variable(path: &[String], key: &str) -> String {
    let mut parts: Vec<String> = path.iter().map(|part| part.replace('-', "_").to_uppercase()).collect();
    parts.push(key.to_uppercase());
    format!("{PREFIX}{}", parts.join("__"))
}

/// The variables that concern us.
#[derive(Default)]
struct Environment(Vec<(String, Result<String, ()>)>);

impl Environment {
    fn read() -> Self {
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) || name.starts_with("OTEL_"))
                .then(|| (name, value.into_string().map_err(|_| ())))
        });
        let mut all: Vec<_> = ours.collect();
        all.sort();
        Self(all)
    }

    #[cfg(feature = "simulators")]
    fn without_ours(mut self) -> Self {
        self.0.retain(|(name, _)| !name.starts_with(PREFIX));
        self
    }

    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        value.as_deref().ok().map(str::trim).filter(|value| !value.is_empty())
    }

    /// A variable's text, as it is.
    fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        value.as_deref().ok()
    }

    /// Lays our variables over the file.
    fn lay_over(&self, layers: &mut Layers, faults: &mut Vec<Fault>) {
        for (name, value) in &self.0 {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let mut fault = |message: &str| {
                let (key, message) = (String::new(), message.to_owned());
                faults.push(Fault { key, variable: Some(name.clone()), message });
            };
            let mut path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            if path.iter().any(String::is_empty) {
                fault("must be `DRYDOCK__SECTION__KEY`, with two underscores between the parts");
                continue;
            }
            if let [section, id, ..] = path.as_mut_slice()
                && section == "providers"
            {
                *id = id.replace('_', "-");
            }
            let Ok(value) = value else {
                fault("the value is not UTF-8 text");
                continue;
            };
            let value = if is_secret(&path) { Value::String(value.clone()) } else { typed(value) };
            layers.set(path, value, Origin::Variable(name.clone()));
        }
    }

    /// What the standard variables say is exported: a signal is, when an endpoint for it is named.
    /// (OpenTelemetry specification, "Environment Variable Specification" and "Protocol Exporter".)
    fn otlp(&self, faults: &mut Vec<Fault>) -> Otlp {
        let disabled = self.get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let mut signal = |signal: &str| {
            let own = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{what}");
            let endpoint = self.get(&own("ENDPOINT")).or_else(|| self.get("OTEL_EXPORTER_OTLP_ENDPOINT"));
            let exporter = format!("OTEL_{signal}_EXPORTER");
            let on = match self.get(&exporter) {
                None => endpoint.is_some(),
                Some("otlp") => true,
                Some("none") => false,
                Some(_) => {
                    faults.push(Fault {
                        key: String::new(),
                        variable: Some(exporter),
                        message: "must be `otlp` or `none`".to_owned(),
                    });
                    false
                }
            };
            for name in [own("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()] {
                let Some(protocol) = self.get(&name) else { continue };
                if on && !disabled && protocol != "grpc" {
                    faults.push(Fault {
                        key: String::new(),
                        variable: Some(name),
                        message: "Drydock exports over `grpc` only".to_owned(),
                    });
                }
                break;
            }
            on && !disabled
        };
        let otlp = Otlp { traces: signal("TRACES"), metrics: signal("METRICS") };
        faults.dedup();
        otlp
    }
}

/// Whether a key may hold a secret, whatever the vendor: such a value is taken as it is.
fn is_secret(path: &[String]) -> bool {
    match path {
        [section, _, key] if section == "providers" => {
            crate::vendors::VENDORS.iter().any(|entry| entry.secret_keys.contains(&key.as_str()))
        }
        [section, key] => section == "secrets" && validate::SECRET_KEYS.contains(&key.as_str()),
        _ => false,
    }
}

/// A variable's text as a value.
fn typed(text: &str) -> Value {
    let read = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| {
        let value = table.remove("value")?;
        table.is_empty().then_some(value)
    });
    match read {
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
