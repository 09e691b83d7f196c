//! `drydock check-config`: every fault of a configuration at once, and then of the certificates and keys that it names.

use std::fmt::Write as _;

use super::args::ConfigArgs;
use super::{Exit, output};
use crate::app;
use crate::config::{Config, load};

pub(super) async fn run(args: ConfigArgs) -> Exit {
    match load::load(args.config.as_deref(), toml::Table::new()) {
        Ok(config) => {
            for warning in &config.warnings {
                output::problem(format_args!("warning: {warning}"));
            }
            let summary = summary(&config);
            let faults = app::rehearse(config).await;
            if faults.is_empty() {
                output::say(summary);
                return Exit::Done;
            }
            faults.iter().for_each(|fault| output::failure(fault));
            Exit::BadUsage
        }
        Err(faults) => {
            output::problem(faults);
            Exit::BadUsage
        }
    }
}

fn summary(config: &Config) -> String {
    let count = config.providers.len();
    let mut text = format!("good: {count} provider{}", if count == 1 { "" } else { "s" });
    for (i, provider) in config.providers.iter().enumerate() {
        let between = if i == 0 { ": " } else { ", " };
        let _ = write!(text, "{between}{} ({})", provider.id.as_str(), provider.vendor);
    }
    text
}
