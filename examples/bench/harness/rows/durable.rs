//! Durable `UpgradeCluster`: many callers against one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use drydock::api::pb;
use prost::Message as _;

use crate::harness::load::{self, Round};
use crate::harness::row::{Figure, Goal, Row, median};
use crate::harness::server::{Plan, Server};
use crate::harness::{Bench, admin, commit, jobs, seed};

pub const UPGRADE: &str = "/drydock.v1.UpgradeService/UpgradeCluster";
const CONNECTIONS: usize = 8;
/// How many commits show what one costs.
const COMMITS: usize = 100;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    // The provider's default budget: the vendor's side of these jobs stays small beside what is measured.
    let mut server = Server::prepare(&bench.home, &Plan::QUIET).await?;
    seed::running(&server.database(), &server.fleet.names(), bench.options.stored).await?;
    server.up().await?;
    let channels = server.connect(CONNECTIONS).await?;
    let targets = Arc::new(AtomicUsize::new(0));
    let requests = || {
        let targets = Arc::clone(&targets);
        move |_| {
            let target = jobs::target(targets.fetch_add(1, Ordering::Relaxed));
            Bytes::from(pb::UpgradeClusterRequest { target, ..Default::default() }.encode_to_vec())
        }
    };
    let (many, time, id) = (bench.options.callers, bench.options.round(), server.id()?);
    let (mut ours, mut alone): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    let (mut groups, mut commits) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds {
        let one = load::calls(id, &channels, UPGRADE, requests(), 1, time).await?;
        let before = server.page("/metrics").await?.1;
        let all = load::calls(id, &channels, UPGRADE, requests(), many, time).await?;
        let after = server.page("/metrics").await?.1;
        if round > 0 {
            let grown = |metric: &str| admin::sum(&after, metric) - admin::sum(&before, metric);
            let group = grown("drydock_store_commit_writes_sum") / grown("drydock_store_commit_writes_count");
            groups.push(group);
            commits.push(commit::seconds(server.folder(), COMMITS).await?);
            ours.push(all);
            alone.push(one);
        }
    }
    server.stop().await?;
    let row = Row::new(
        "durable",
        format!("durable `UpgradeCluster`, {many} callers"),
        Figure::new("UpgradeCluster", load::middle(&ours, |r| r.rate), "calls/s"),
        Figure::new("1 caller", load::middle(&alone, |r| r.rate), "calls/s"),
        Goal::AtLeast(6.0),
    );
    Ok(vec![row.with_ratio(load::ratio(&ours, &alone)).beside(vec![
        Figure::new("writes that share one fsync", median(&groups), ""),
        Figure::new("p50", load::middle(&ours, |r| r.middle) * 1e3, "ms"),
        Figure::new("p50 of 1 caller", load::middle(&alone, |r| r.middle) * 1e3, "ms"),
        Figure::new("one bare durable commit", median(&commits) * 1e3, "ms"),
        Figure::new("server's processor time each", load::cpu_each(&ours), "µs"),
    ])])
}
