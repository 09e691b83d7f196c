//! Writes what was measured into `docs/performance.md`, between its markers.

use std::path::PathBuf;

use anyhow::Context as _;

/// The folder of the documentation.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
}

/// Replaces the block of this name.
pub fn write(name: &str, block: &str) -> anyhow::Result<()> {
    let file = folder().join("performance.md");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    std::fs::write(&file, with_block(&text, name, block)?)?;
    Ok(())
}

/// The text with another block between the markers of this name.
pub fn with_block(text: &str, name: &str, block: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no marker {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no marker {end}"))?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", block.trim_end()))
}
