//! `cargo run --release --example bench`: see `docs/performance.md`.
//!
//! Started as `bench serve …`, the program is the gateway itself, the same code as `drydock serve`; as
//! `bench yardstick` it is what the gateway is compared with.

mod harness;
#[expect(clippy::expect_used, reason = "shared with tests, where a panic is the report")]
#[path = "../../tests/support/watch_checks/mod.rs"]
mod watch_checks;

use std::process::ExitCode;

use clap::Parser as _;

use harness::home::Home;
use harness::options::Options;
use harness::{Bench, counts, docs, growth, yardstick};

#[derive(clap::Parser)]
#[command(name = "bench", max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[expect(clippy::print_stdout, reason = "the yardstick says where it listens")]
fn main() -> anyhow::Result<ExitCode> {
    let word = std::env::args_os().nth(1).unwrap_or_default();
    if word == "serve" {
        return Ok(drydock::cli::run(std::env::args_os()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if word == "yardstick" {
        runtime.block_on(yardstick::serve(|address| println!("{address}")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Cli { options } = Cli::parse();
    let program = std::env::current_exe()?;
    let home = Home { program: program.clone(), yardstick: Some(program), under: Vec::new() };
    runtime.block_on(run(Bench { options, home }))
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
async fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    let writes = bench.options.write_docs;
    if bench.options.counts {
        let table = counts::measure(&bench.home).await?;
        println!("{table}");
        if writes {
            docs::write("counts", &table)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if bench.options.growth {
        let growth = growth::measure(&bench, |step, row| println!("{step} {}", row.text())).await?;
        println!("\n{}", growth.markdown());
        if writes {
            docs::write("growth", &growth.markdown())?;
            std::fs::write(docs::folder().join("performance-growth.svg"), growth.plot())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = bench.run(|row| println!("{}", row.text())).await?;
    println!("\n{report}");
    if writes {
        docs::write("table", &report.markdown())?;
    }
    if let Some(file) = &bench.options.json {
        std::fs::write(file, report.json()?)?;
    }
    Ok(ExitCode::SUCCESS)
}
