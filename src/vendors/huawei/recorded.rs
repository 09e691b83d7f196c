//! Reads recorded answers of CloudDC, IAM and IMS, see [`crate::vendors::recorded`].

use jiff::Timestamp;
use serde_json::Value;

use super::map::{self, Context};
use super::notes::{Baseline, Notes};
use super::read::{self, Start};
use super::wire::Instance;
use super::{auth, check, fault, targets};
use crate::domain::id::ProviderId;
use crate::kit::secret::Secret;
use crate::vendors::contract::Submitted;
use crate::vendors::http::Reply;
use crate::vendors::recorded::{CANARY, Reading, names};
use crate::vendors::redact::redact;

const ID: &str = "0197f36d-0000-7258-b177-000000000001";
const SENT: i64 = 1_767_323_045;
const NOW: i64 = SENT + 600;

/// What the adapter makes of an answer; `None` for a question that it does not ask.
pub fn read(question: &str, reply: Reply) -> Option<Reading> {
    let secret = Secret::from(CANARY);
    // As the adapter's own calls do it.
    let (reply, listed) = match question {
        "start" | "token" => (redact(reply, &[&secret]), false),
        _ => {
            let listed = reply.status.is_success();
            (auth::without(reply, &[&secret]), listed)
        }
    };
    let mut out = Reading::new(proves_success(&reply.body)).listed(listed);
    match question {
        "start" => match read::start(&reply) {
            Start::Taken(named) if named.contains(ID) => {
                let id = reply.header("x-request-id");
                out.observation(map::accepted(ID, &notes(), id));
            }
            Start::Taken(named) => out.fact(format!("taken without our instance, for {}", named.len())),
            Start::TooMany(error) => {
                out.fact("too many ids:");
                out.error(error);
            }
            Start::SomeRefused(error) => {
                out.fact("about some instances:");
                out.error(error);
            }
            Start::Refused(error) => {
                out.submitted(Submitted::Refused(fault::failure(&error), Vec::new()));
            }
            Start::Failed(error) => out.error(error),
        },
        "status" => out.either(read::status(&reply, ID), |out, instance| all(out, &instance)),
        "instances" => out.either(read::instances(&reply), |out, page| {
            out.fact(format!("next: {:?}", page.next_marker.map(|m| m.len())));
            for item in page.items.into_iter().take(8) {
                out.either(item, |out, instance| {
                    all(out, &instance);
                    if let Ok(provider) = ProviderId::parse("h") {
                        out.fact(format!("{:?}", targets::info(&provider, instance)));
                    }
                });
            }
        }),
        "images" => out.either(read::images(&reply), |out, images| {
            for image in images.into_iter().take(8) {
                for finding in check::of_image("i", &Ok(Some(image.clone()))) {
                    out.fact(format!("{finding:?}"));
                }
                out.fact(format!("{:?}", targets::image(image)));
            }
        }),
        "token" => {
            let now = Timestamp::from_second(NOW).ok()?;
            out.either(read::token(&reply, now), |out, (_, end)| out.fact(format!("a token until {end:?}")));
        }
        _ => return None,
    }
    Some(out)
}

/// An instance as every step of a job sees it.
fn all(out: &mut Reading, instance: &Instance) {
    let (Ok(sent), Ok(now)) = (Timestamp::from_second(SENT), Timestamp::from_second(NOW)) else { return };
    let submitted = Some(sent);
    let (quiet, watched) = (notes(), Notes { processing_seen: true, ..notes() });
    for (name, notes) in [("unseen", &quiet), ("seen processing", &watched)] {
        out.fact(format!("{name}:"));
        out.observation(map::observe(instance, Context { notes, submitted, now }));
    }
    out.fact("after a lost answer:");
    let lost = Notes { accepted: false, ..notes() };
    out.found(map::find(instance, Context { notes: &lost, submitted, now }, Some("new-image")));
    out.fact("before the start:");
    out.checked(check::of_instance(super::look::Sight::Seen(Box::new(instance.clone()))));
}

fn notes() -> Notes {
    let text = |text: &str| Some(text.to_owned());
    Notes {
        baseline: Some(Baseline {
            state: text("running"),
            operation_state: text("install-succeed"),
            image_id: text("old-image"),
            updated_at: text("2026-01-01T00:00:00Z"),
            launched_at: text("2026-01-01T00:00:00Z"),
            error: None,
        }),
        accepted: true,
        ..Notes::default()
    }
}

/// Whether an instance runs, and no word of it says that an installation failed.
fn proves_success(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return names(body, &["running"]) };
    let listed = body.get("instances").and_then(Value::as_array).into_iter().flatten();
    let failed = ["reinstall-failed", "switch-install-failed", "install-failed"];
    std::iter::once(&body)
        .chain(listed)
        .any(|one| one["state"] == "running" && !failed.iter().any(|word| one["operation_state"] == *word))
}
