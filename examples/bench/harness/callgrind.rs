//! Counts the instructions of a running process: valgrind's callgrind, told when to begin and when to stop.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// What runs a program so that it can be counted; its counts are written into `folder`.
pub fn under(folder: &Path) -> Vec<OsString> {
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(folder.join("counts.%p"));
    ["valgrind", "--quiet", "--tool=callgrind", "--fair-sched=yes"]
        .map(OsString::from)
        .into_iter()
        .chain([file])
        .collect()
}

/// A process whose instructions are counted.
pub struct Counted {
    process: u32,
    folder: PathBuf,
}

impl Counted {
    /// A process that runs under [`under`].
    pub const fn new(process: u32, folder: PathBuf) -> Self {
        Self { process, folder }
    }

    /// How many instructions it executes, in user mode, while `work` is done.
    pub async fn during<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(f64, T)> {
        self.tell("--zero").await?;
        let done = work.await?;
        self.tell("--dump").await?;
        Ok((self.newest()?, done))
    }

    async fn tell(&self, what: &str) -> anyhow::Result<()> {
        let output =
            Command::new("callgrind_control").arg(what).arg(self.process.to_string()).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && said.contains("OK"), "callgrind_control {what} failed: {said}");
        Ok(())
    }

    /// The total of the newest dump.
    fn newest(&self) -> anyhow::Result<f64> {
        let prefix = format!("counts.{}.", self.process);
        let mut newest: Option<(u32, PathBuf)> = None;
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(n) = name.strip_prefix(&prefix).and_then(|n| n.parse().ok())
                && newest.as_ref().is_none_or(|(most, _)| n > *most)
            {
                newest = Some((n, path));
            }
        }
        let (_, path) = newest.context("callgrind wrote nothing")?;
        let text = std::fs::read_to_string(path)?;
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        Ok(total.context("no totals")?.trim().parse()?)
    }
}
