//! What a process costs, as the operating system counts it.

use anyhow::Context as _;

/// How often a second Linux counts processor time for `/proc`; fixed in its interface.
const TICKS: f64 = 100.0;

/// Processor time so far, in seconds, of all its threads, in user and kernel mode; exact to 10 ms.
pub fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("a broken stat")?;
    let field = |n: usize| -> anyhow::Result<f64> {
        Ok(rest.split_whitespace().nth(n).context("a short stat")?.parse()?)
    };
    Ok((field(11)? + field(12)?) / TICKS)
}

/// Memory in bytes that the process has for itself: its anonymous pages (`Pss_Anon`). Pages of files, such as the
/// program's own, the system takes back when it likes.
pub fn memory(process: u32) -> anyhow::Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).context("no Pss_Anon")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}
