//! Reads recorded answers of Avisi, see [`crate::vendors::recorded`].

use jiff::Timestamp;
use serde_json::Value;

use super::auth::Pat;
use super::config::Knobs;
use super::infer::{Evidence, infer};
use super::lost::{self, Trace};
use super::map::{self, Word};
use super::notes::Notes;
use super::precheck::{self, Scene};
use super::roster::target;
use super::upkeep::{windows, with_channels};
use super::wire::{Cluster, ClusterVersion, MaintenanceSchedule, Named, Paged, ScheduledUpgrade};
use crate::domain::id::ProviderId;
use crate::domain::operation::{Operation, ScheduledUpgrade as Scheduled, Upgrade};
use crate::kit::secret::Secret;
use crate::vendors::contract::Found;
use crate::vendors::error::VendorError;
use crate::vendors::http::Reply;
use crate::vendors::recorded::{CANARY, Reading};

const OLD: &str = "v1.34.9-u-ame.2";
const NEW: &str = "v1.35.6-u-ame.4";
/// 2026-11-29T01:00:00Z
const START: i64 = 1_795_914_000;

/// What the adapter makes of an answer; `None` for a question that it does not ask.
pub fn read(question: &str, reply: Reply) -> Option<Reading> {
    let listed = reply.status.is_success();
    let reply = if listed { reply } else { Pat::new(Secret::from(CANARY)).redact(reply) };
    let mut out = Reading::new(proves_success(&reply.body)).listed(listed);
    let operation = operation();
    match question {
        "schedule" => match good::<ScheduledUpgrade>(&reply) {
            Ok(upgrade) => out.observation(map::accepted(upgrade, &operation, &notes(), true)),
            Err(error) => out.submitted(map::not_started(error)),
        },
        "upgrade" => match good::<Cluster>(&reply) {
            Ok(cluster) => all(&mut out, &cluster),
            Err(error) => out.submitted(map::not_started(error)),
        },
        "scheduled" => out.either(good(&reply), |out, upgrade: ScheduledUpgrade| {
            out.observation(map::reported(&upgrade, &operation, true));
            out.fact("to a customer:");
            out.observation(map::reported(&upgrade, &operation, false));
        }),
        "schedules" => out.either(good(&reply), |out, page: Paged<ScheduledUpgrade>| {
            out.fact(format!("last: {}", page.is_last(0)));
            let is_over = |upgrade: &&ScheduledUpgrade| Word::of(upgrade).is_some_and(Word::is_over);
            let open: Vec<&ScheduledUpgrade> = page.content.iter().filter(|u| !is_over(u)).take(8).collect();
            let cluster = cluster(OLD);
            out.checked(precheck::check(&scene(&operation, Some(&cluster), Some(&open))));
            let sent = Timestamp::from_second(START).ok();
            out.found(match lost::by_list(page.content, NEW, sent) {
                Trace::Arrived(upgrade) => {
                    Found::Arrived(Box::new(map::reported(&upgrade, &operation, true)))
                }
                Trace::NotArrived { until } => Found::NotArrived { until },
                Trace::CannotTell(why) => Found::CannotTell(why),
            });
        }),
        "cluster" => out.either(good(&reply), |out, cluster: Cluster| all(out, &cluster)),
        "clusters" => out.either(good(&reply), |out, page: Paged<Cluster>| {
            out.fact(format!("last: {}", page.is_last(0)));
            for cluster in page.content.into_iter().take(8) {
                all(out, &cluster);
                if let Ok(provider) = ProviderId::parse("a") {
                    out.fact(format!("{:?}", target(&provider, cluster)));
                }
            }
        }),
        "versions" => out.either(list(&reply), |out, versions: Vec<ClusterVersion>| {
            for version in versions.into_iter().take(8) {
                out.fact(format!("{:?}", version.version));
            }
        }),
        "channels" => out.either(good(&reply), |out, page: Paged<Named>| {
            for version in with_channels(Vec::new(), page.content).into_iter().take(8) {
                out.fact(format!("{version:?}"));
            }
        }),
        "maintenance-schedules" => out.either(list(&reply), |out, all: Vec<MaintenanceSchedule>| {
            for schedule in all.iter().take(8) {
                out.fact(format!("{:?} {:?}", schedule.name, windows(&schedule.windows)));
            }
        }),
        _ => return None,
    }
    Some(out)
}

/// A cluster as every step of a job sees it: before its start, in its window, and long after.
fn all(out: &mut Reading, cluster: &Cluster) {
    let scheduled = operation();
    let direct = Operation::Upgrade(upgrade());
    out.checked(precheck::check(&scene(&scheduled, Some(cluster), None)));
    let moved = Notes { moved: true, ..notes() };
    for seconds in [-3600, 1800, 86_400 * 7] {
        let Ok(now) = Timestamp::from_second(START + seconds) else { continue };
        for operation in [&scheduled, &direct] {
            for notes in [&notes(), &moved] {
                out.fact(format!(
                    "{:?} {seconds} s after the start, moved {}:",
                    operation.kind(),
                    notes.moved
                ));
                out.observation(infer(&Evidence {
                    operation,
                    notes,
                    cluster: Some(cluster),
                    submit_time: Timestamp::from_second(START - 7200).ok(),
                    now,
                    knobs: Knobs::default(),
                }));
            }
        }
    }
}

fn good<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T, VendorError> {
    if reply.status.is_success() { reply.json() } else { Err(map::error(reply)) }
}

fn list<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<Vec<T>, VendorError> {
    if reply.status.is_success() { reply.json_list() } else { Err(map::error(reply)) }
}

fn upgrade() -> Upgrade {
    Upgrade { version: Some(NEW.to_owned()), ..Upgrade::default() }
}

fn operation() -> Operation {
    Operation::ScheduledUpgrade(Scheduled {
        upgrade: upgrade(),
        start_time: Timestamp::from_second(START).ok(),
        ..Scheduled::default()
    })
}

fn notes() -> Notes {
    let told = ScheduledUpgrade {
        identity: Some("2f6f6c0e".to_owned()),
        window_start: Some("2026-11-29T01:00:00Z".to_owned()),
        window_end: Some("2026-11-29T03:00:00Z".to_owned()),
        ..ScheduledUpgrade::default()
    };
    Notes { baseline: Some(OLD.to_owned()), schedule: Some(told), ..Notes::default() }
}

fn cluster(version: &str) -> Cluster {
    Cluster { version: Some(version.to_owned()), status: Some("running".to_owned()), ..Cluster::default() }
}

fn scene<'a>(
    operation: &'a Operation,
    cluster: Option<&'a Cluster>,
    open: Option<&'a [&'a ScheduledUpgrade]>,
) -> Scene<'a> {
    Scene { operation, cluster, versions: None, open, own: None, is_repeat: false, is_ahead: false }
}

/// Whether an upgrade says `SUCCEEDED`, or a cluster shows the wanted version.
fn proves_success(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let listed = body.get("content").and_then(Value::as_array).into_iter().flatten();
    std::iter::once(&body).chain(listed).any(|one| {
        let runs = one["status"]
            .as_str()
            .is_some_and(|word| word.eq_ignore_ascii_case("running") || word.eq_ignore_ascii_case("started"));
        one["status"] == "SUCCEEDED" || (runs && one["version"] == NEW)
    })
}
