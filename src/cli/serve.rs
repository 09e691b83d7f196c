//! `drydock serve`: the gateway on the user's own providers.

use super::args::ConfigArgs;
use super::{Exit, output};
use crate::app::{self, Ended};
use crate::config::load;

pub(super) async fn run(args: ConfigArgs) -> Exit {
    let config = match load::load(args.config.as_deref(), toml::Table::new()) {
        Ok(config) => config,
        Err(faults) => {
            output::problem(faults);
            return Exit::BadUsage;
        }
    };
    match app::run(config).await {
        // A late end loses nothing: jobs are durable. The log says what was left.
        Ok(Ended::Clean | Ended::Late) => Exit::Done,
        Ok(Ended::Cut) => Exit::Cut,
        Ok(Ended::Broken) => Exit::Failed,
        Err(error) => {
            output::failure(&error);
            Exit::Failed
        }
    }
}
