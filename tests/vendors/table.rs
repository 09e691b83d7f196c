//! `docs/vendors.md` is made from what the adapters say of themselves, so that it cannot lie. To write it anew:
//! `UPDATE_GOLDEN=1 cargo test --test vendors table`.

use drydock::domain::capability::CancelSupport;
use drydock::simulators::{Pace, Settings, Simulator, avisi, huawei, vsphere, zstack};
use drydock::vendors::contract::Vendor;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::adapter::adapter;

fn build(table: toml::Table) -> Arc<dyn Vendor> {
    adapter("doc", table).1
}

const fn yes(fact: bool) -> &'static str {
    if fact { "yes" } else { "no" }
}

fn rows(out: &mut String, vendor: &dyn Vendor, note: &str) {
    for c in &vendor.capabilities().targets {
        let operations: Vec<_> = c.operations.iter().map(|o| o.as_str()).collect();
        let cancel = match c.cancel {
            CancelSupport::Never(why) => format!("no: {why}"),
            CancelSupport::Asked => "asked: the job's `cancelability` says".to_owned(),
        };
        let schedule = if c.schedules_natively { "at the vendor" } else { "held by Drydock" };
        let _ = writeln!(
            out,
            "| {}{note} | {} | {} | {} | {cancel} | {} | {} | {schedule} | {} | {} | {} | {} | {} | {} |",
            vendor.name(),
            c.target.collection(),
            operations.join(", "),
            yes(c.prechecks),
            c.retry,
            if c.progress { "percentage" } else { "states only" },
            if c.has_maintenance_windows { "at the vendor" } else { "no" },
            yes(c.lists_versions),
            yes(c.lists_images),
            c.batch_size,
            c.lost_answer,
            c.success_proof,
        );
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the switch that writes the document anew")]
async fn the_document_is_what_the_code_says() {
    let settings = Settings { address: ([127, 0, 0, 1], 0).into(), targets: 1, pace: Pace::new(1.0) };
    let mut out = String::from(
        "# What each vendor can do\n\n\
         Made from the adapters' own `capabilities` by `UPDATE_GOLDEN=1 cargo test --test vendors table`; a test \
         fails when it is stale.\n\n\
         | vendor | targets | operations | prechecks | cancel | retry (`RetryJob`) | progress | schedule | \
         maintenance windows | versions | images | most in one call | after a lost answer | success is proven by |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let zs = zstack::SimZstack::start(settings).await.unwrap();
    rows(&mut out, &*build(zs.provider()), "");
    let vs = vsphere::start(settings).await.unwrap();
    rows(&mut out, &*build(vs.provider()), "");
    let av = avisi::start(settings).await.unwrap();
    rows(&mut out, &*build(av.provider()), "");
    rows(&mut out, &*build(av.operator_provider()), " with `admin_token`");
    let hw = huawei::start(settings).await.unwrap();
    rows(&mut out, &*build(hw.provider()), "");
    out.push_str(include_str!("notes.md"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vendors.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, out, "docs/vendors.md is stale; write it anew as its head says");
}
