//! Reads the gateway's admin pages.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Asks for one page: status and text.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The sum of a metric's samples on the metrics page, over all labels; 0 when there is none.
pub fn sum(page: &str, metric: &str) -> f64 {
    sum_where(page, metric, "")
}

/// The same of the samples whose labels hold `part`.
pub fn sum_where(page: &str, metric: &str, part: &str) -> f64 {
    let sample = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(metric)?;
        if !rest.starts_with(['{', ' ']) || !rest.contains(part) {
            return None;
        }
        rest.rsplit_once(' ')?.1.parse().ok()
    };
    page.lines().filter_map(sample).sum()
}
