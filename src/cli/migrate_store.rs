//! `drydock migrate-store`: all jobs from a SQLite file into an empty PostgreSQL database.

use std::path::Path;

use super::args::MigrateStoreArgs;
use super::{Exit, output};
use crate::store::moving;
use crate::store::settings::StoreSettings;

pub(super) async fn run(args: MigrateStoreArgs) -> Exit {
    let to = match url(&args.to_url_file) {
        Ok(url) => StoreSettings { url, ..StoreSettings::default() },
        Err(message) => return bad("--to-url-file", &message),
    };
    let from = StoreSettings { url: args.from, ..StoreSettings::default() };
    if let Err(fault) = from.sqlite_path() {
        return bad("--from", &fault.message);
    }
    if !to.is_postgres() {
        return bad("--to-url-file", "must hold a url that begins with `postgres://`");
    }
    if let Some(fault) = to.faults().into_iter().next() {
        return bad("--to-url-file", &fault.message);
    }
    match moving::migrate(&from, &to).await {
        Ok(moved) => {
            output::say(format_args!(
                "moved {} jobs, {} events and {} request keys; let `store.url_file` name the same file, and start Drydock",
                moved.jobs, moved.events, moved.requests
            ));
            Exit::Done
        }
        Err(error) => {
            output::failure(&error);
            Exit::Failed
        }
    }
}

fn bad(flag: &str, message: &str) -> Exit {
    output::problem(format_args!("`{flag}`: {message}"));
    Exit::BadUsage
}

fn url(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text.trim().to_owned())
}
