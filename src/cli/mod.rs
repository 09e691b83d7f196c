//! The commands of the `drydock` program.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed; standard error says why |
//! | 64 | bad arguments or a bad configuration |
//! | 130 | cut short by a second signal, or stopped before it was ready |

mod args;
mod check_config;
#[cfg(feature = "simulators")]
mod demo;
#[cfg(feature = "simulators")]
mod fleet;
mod migrate_store;
mod output;
mod serve;
#[cfg(feature = "simulators")]
mod simulate;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use args::{Cli, Command};

/// How long threads that the runtime lent out may take to end.
const THREADS_DEADLINE: Duration = Duration::from_secs(1);

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    BadUsage,
    Cut,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadUsage => 64,
            Exit::Cut => 130,
        })
    }
}

/// Runs the command that the arguments (the program's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too; they are no mistakes.
            let exit = if error.use_stderr() { Exit::BadUsage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.command {
        Command::CheckConfig(args) => in_runtime(check_config::run(args)),
        Command::MigrateStore(args) => in_runtime(migrate_store::run(args)),
        Command::Serve(args) => in_runtime(serve::run(args)),
        #[cfg(feature = "simulators")]
        Command::Demo(args) => in_runtime(demo::run(args)),
        #[cfg(feature = "simulators")]
        Command::Simulate(args) => in_runtime(simulate::run(args)),
    }
    .into()
}

fn in_runtime(work: impl Future<Output = Exit>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::problem(format_args!("the runtime cannot be started: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(work);
    runtime.shutdown_timeout(THREADS_DEADLINE);
    exit
}
