//! `drydock simulate`: the simulated vendors alone, for practice with one's own gateway.

use toml::{Table, Value};

use super::args::SimulateArgs;
use super::fleet::{Fleet, without_secrets};
use super::{Exit, output};
use crate::app::signals::Signals;
use crate::config::load;

pub(super) async fn run(args: SimulateArgs) -> Exit {
    let signals = Signals::listen();
    let (mut signals, fleet) = match (signals, Fleet::start(args.targets, args.speed).await) {
        (Ok(signals), Ok(fleet)) => (signals, fleet),
        (Err(error), _) | (_, Err(error)) => {
            output::problem(format_args!("the simulated vendors cannot be started: {error}"));
            return Exit::Failed;
        }
    };
    output::say(instructions(&fleet, &args));
    signals.next().await;
    fleet.stop().await;
    Exit::Done
}

fn instructions(fleet: &Fleet, args: &SimulateArgs) -> String {
    let mut text = format!(
        "# Four simulated vendors, {} targets of each kind, {} times as fast as life. Ctrl-C ends them.\n\
         #\n# For your drydock.toml:\n\n",
        args.targets, args.speed
    );
    let mut exports = String::new();
    let mut doors = String::new();
    for (id, simulator) in fleet.each() {
        let (table, secrets) = without_secrets(simulator.provider());
        text.push_str(&section(id, table));
        text.push('\n');
        for (key, secret) in secrets {
            let variable = load::variable(&["providers".to_owned(), id.to_owned()], key);
            exports.push_str(&format!("export {variable}={}\n", quoted(&secret)));
        }
        doors.push_str(&format!(
            "curl {base}/_sim/effects                # what took effect at {vendor}\n\
             curl {base}/_sim/faults -H 'content-type: application/json' \
             -d '{{\"route\":\"submit\",\"fault\":\"reset_after\",\"times\":1}}'\n",
            base = simulator.base(),
            vendor = simulator.vendor(),
        ));
    }
    text.push_str("# Their secrets, for the shell that starts Drydock:\n\n");
    text.push_str(&exports);
    text.push_str(
        "\n# Faults: the next request of a route (login, submit, observe, cancel, inventory; leave it out for any)\n\
         # suffers one of reset_before, reset_after, truncated, wrong_types, wrong_shape, unknown_enum,\n\
         # missing_optional, leaves_one_out, expired_session, {\"delay_ms\":500}, {\"too_many_requests\":2},\n\
         # {\"html_before\":502}, {\"html_after\":504}. \"when\":\"before_start\" or \"after_start\" holds it to one side of a start, \"times\":3\n\
         # strikes three times, and \"each_path\":true as often for every path by itself.\n\n",
    );
    text.push_str(&doors);
    text
}

/// `[providers.{id}]` as text.
fn section(id: &str, table: Table) -> String {
    let providers = Table::from_iter([(id.to_owned(), Value::Table(table))]);
    let whole = Table::from_iter([("providers".to_owned(), Value::Table(providers))]);
    whole.to_string()
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_prints_is_a_file_without_secrets_and_a_shell_with_them() {
        let fleet = Fleet::start(1, 60.0).await.unwrap();
        let text = instructions(&fleet, &SimulateArgs { targets: 1, speed: 60.0 });
        let (file, shell) = text.split_once("# Their secrets").unwrap();
        let file: Table = file.parse().unwrap();
        assert_eq!(file["providers"].as_table().unwrap().len(), 4);
        for (id, simulator) in fleet.each() {
            let (_, secrets) = without_secrets(simulator.provider());
            assert!(!secrets.is_empty(), "{id}");
            for (key, secret) in secrets {
                assert!(file["providers"][id].get(key).is_none(), "{id}.{key}");
                assert!(shell.contains(&quoted(&secret)), "{id}.{key}");
            }
        }
        fleet.stop().await;
    }
}
