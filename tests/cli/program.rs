//! Runs the program.

use std::path::Path;
use std::process::{Command, Output};

/// The program, in an environment that sets none of its keys.
pub fn drydock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DRYDOCK") || name.starts_with("OTEL_") {
            command.env_remove(&*name);
        }
    }
    command.args(arguments);
    command
}

/// What a run said, and its exit code.
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: i32,
}

pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Said {
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        code: status.code().unwrap(),
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
