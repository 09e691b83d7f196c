//! Starts reinstalls: jobs with the same image and password share calls, in chunks that the vendor takes.
//!
//! What may be sent a second time is decided here. Whether a refusal can be partial is not documented, so it is very
//! little: a bad value (`iMetal.0001`) that is about the number of ids is sent again in smaller chunks. After a refusal
//! about some instances, the others are looked up, see [`bystanders`](super::bystanders). Everything else is left to
//! the engine.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::bystanders::Bystanders;
use super::client::Client;
use super::look::{Sight, look};
use super::notes::Notes;
use super::read::{self, Start};
use super::{fault, map, wanted_image};
use crate::domain::error::VendorFault;
use crate::domain::failure::{Failure, FailureReason};
use crate::kit::permit::Permit;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::contract::{Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::Reply;

/// Ids in one call, by the API reference.
pub(super) const CHUNK: usize = 50;
/// Ids in one call, by the SDKs' texts; which of the two the service enforces is not documented.
const SMALL_CHUNK: usize = 10;

/// How long after the first call of a batch others still go out: what was checked before it holds no longer. Somebody may
/// have reinstalled the machine by hand meanwhile.
const FRESH: Duration = Duration::from_secs(30);

/// Starts a batch. `chunk` is the number of ids that this provider is known to take; it shrinks once, when the
/// vendor says so.
pub(super) async fn submit(
    client: &Client,
    chunk: &AtomicUsize,
    bystanders: &Bystanders,
    batch: &[Submission],
) -> Vec<Submitted> {
    let begun = Instant::now();
    let mut run = Run { client, bystanders, batch, out: batch.iter().map(|_| None).collect(), stopped: None };
    for group in run.groups() {
        let most = chunk.load(Ordering::Relaxed).clamp(1, CHUNK);
        // What shared a refused call goes alone, so that the refusal of a whole call cannot repeat for ever.
        let (alone, together): (Vec<usize>, Vec<usize>) =
            group.members.iter().partition(|place| run.was_bystander(**place));
        let mut queue: VecDeque<Vec<usize>> = together.chunks(most).map(<[usize]>::to_vec).collect();
        queue.extend(alone.into_iter().map(|place| vec![place]));
        while let Some(members) = queue.pop_front() {
            if begun.elapsed() > FRESH {
                members.into_iter().for_each(|place| run.answer(place, Submitted::Failed(late())));
                continue;
            }
            let again = run.send(&group, members, chunk).await;
            again.into_iter().rev().for_each(|members| queue.push_front(members));
        }
    }
    run.out.into_iter().map(|one| one.unwrap_or_else(|| Submitted::Failed(not_sent(None)))).collect()
}

/// Jobs that can share a call.
struct Group<'a> {
    image_id: Option<&'a str>,
    password: &'a Secret,
    members: Vec<usize>,
}

struct Run<'a> {
    client: &'a Client,
    bystanders: &'a Bystanders,
    batch: &'a [Submission],
    out: Vec<Option<Submitted>>,
    /// Set when the provider as a whole does not take calls now: the rest is not sent.
    stopped: Option<VendorError>,
}

impl<'a> Run<'a> {
    fn groups(&mut self) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut ids = HashSet::new();
        for (place, submission) in self.batch.iter().enumerate() {
            let Some(password) = &submission.password else {
                self.answer(
                    place,
                    Submitted::Refused(
                        Failure::new(
                            FailureReason::SecretUnavailable,
                            "the password is not at hand; nothing was sent",
                        ),
                        Vec::new(),
                    ),
                );
                continue;
            };
            // One live job per target is the engine's rule; a machine is not wiped twice even if it were broken.
            if !ids.insert(&*submission.planned.target.id) {
                self.answer(
                    place,
                    Submitted::Refused(
                        Failure::new(
                            FailureReason::Internal,
                            "the instance is already in this batch; not sent twice",
                        ),
                        Vec::new(),
                    ),
                );
                continue;
            }
            let image_id = wanted_image(&submission.planned);
            let fits = |g: &&mut Group<'_>| {
                g.image_id == image_id && g.password.expose_secret() == password.expose_secret()
            };
            match groups.iter_mut().find(fits) {
                Some(group) => group.members.push(place),
                None => groups.push(Group { image_id, password, members: vec![place] }),
            }
        }
        groups
    }

    /// One permit covers a batch; without members there is nothing to send.
    fn permit(&self, members: &[usize]) -> Option<&'a Permit> {
        members.first().and_then(|place| self.batch.get(*place)).map(|s| &s.planned.permit)
    }

    /// Sends one call and answers for its members, which are places in the batch. What it returns is to be sent in calls
    /// of its own.
    async fn send(&mut self, group: &Group<'a>, members: Vec<usize>, chunk: &AtomicUsize) -> Vec<Vec<usize>> {
        if self.stopped.is_some() {
            for place in members {
                let error = not_sent(self.stopped.as_ref());
                self.answer(place, Submitted::Failed(error));
            }
            return Vec::new();
        }
        let ids: Vec<&'a str> = members.iter().filter_map(|place| self.id(*place)).collect();
        let Some(permit) = self.permit(&members) else { return Vec::new() };
        members
            .iter()
            .filter_map(|place| self.batch.get(*place))
            .for_each(|s| self.bystanders.disarm(s.planned.job));
        let reply = match self.client.reinstall(group.image_id, group.password, &ids, permit).await {
            Ok(reply) => reply,
            Err(error) => {
                self.fail(&members, error);
                return Vec::new();
            }
        };
        match read::start(&reply) {
            Start::Taken(named) => self.accepted(&members, &named, &reply),
            Start::TooMany(_) if members.len() > SMALL_CHUNK => {
                chunk.store(SMALL_CHUNK, Ordering::Relaxed);
                return members.chunks(SMALL_CHUNK).map(<[usize]>::to_vec).collect();
            }
            Start::SomeRefused(error) => self.sort_out(&members, &ids, &error).await,
            Start::TooMany(error) | Start::Refused(error) => self.refuse(&members, &error),
            Start::Failed(error) => self.fail(&members, error),
        }
        Vec::new()
    }

    /// The vendor took the call: those that it names have started, the others are unclear.
    fn accepted(&mut self, members: &[usize], named: &HashSet<String>, reply: &Reply) {
        let request_id = reply.header("x-request-id");
        for &place in members {
            let Some(id) = self.id(place) else { continue };
            if named.contains(&id.to_ascii_lowercase()) {
                let notes = Notes::read(self.batch.get(place).and_then(|s| s.planned.handle.as_ref()));
                self.answer(place, Submitted::Started(Box::new(map::accepted(id, &notes, request_id))));
            } else {
                let mut error = VendorError::garbled(
                    "CloudDC accepted the call but did not name this instance; whether it started is looked up",
                )
                .with_status(reply.status.as_u16());
                error.request_id = request_id.map(str::to_owned);
                self.answer(place, Submitted::Failed(error));
            }
        }
    }

    /// The call was refused because of some instances: refuses those that the vendor names, and after "not found" those
    /// that it does not know. The others are looked up: they may have started all the same.
    async fn sort_out(&mut self, members: &[usize], ids: &[&'a str], error: &VendorError) {
        if members.len() == 1 {
            self.refuse(members, error);
            return;
        }
        let mut guilty: HashSet<&str> = named_in(&error.message, ids).into_iter().collect();
        if error.code.as_deref() == Some(fault::INSTANCES_NOT_FOUND) {
            let sights = look(self.client, ids).await;
            let gone = |sight: &Result<Sight, VendorError>| matches!(sight, Ok(Sight::Gone(_)));
            guilty.extend(ids.iter().zip(&sights).filter(|(_, sight)| gone(sight)).map(|(id, _)| *id));
        }
        for &place in members {
            let Some(id) = self.id(place) else { continue };
            if guilty.contains(id) {
                self.refuse(&[place], error);
            } else {
                if let Some(submission) = self.batch.get(place) {
                    self.bystanders.add(submission.planned.job);
                }
                self.answer(place, Submitted::Failed(error.again().with_reached(Reached::Maybe)));
            }
        }
    }

    fn refuse(&mut self, members: &[usize], error: &VendorError) {
        for &place in members {
            // Its earlier call went without an answer, so the engine looks it up before it believes the refusal.
            self.stand_by(place);
            self.answer(place, Submitted::Refused(fault::failure(error), Vec::new()));
        }
    }

    fn fail(&mut self, members: &[usize], error: VendorError) {
        let refused = error.reached == Reached::No
            && matches!(
                error.kind,
                VendorFault::PermissionDenied | VendorFault::NotFound | VendorFault::Rejected
            );
        for &place in members {
            // The gateway's refusal is one too: its earlier call went without an answer, see `refuse`.
            if refused {
                self.stand_by(place);
            }
            self.answer(place, Submitted::Failed(error.again()));
        }
        match error.kind {
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Unauthenticated => self.stopped = Some(error),
            // Rights can be given for single resources: it may be about an instance of this call only.
            VendorFault::PermissionDenied
            | VendorFault::NotFound
            | VendorFault::Rejected
            | VendorFault::Garbled => {}
        }
    }

    /// Has one looked after again whose call was sent a second time.
    fn stand_by(&self, place: usize) {
        if self.was_bystander(place)
            && let Some(submission) = self.batch.get(place)
        {
            self.bystanders.add(submission.planned.job);
        }
    }

    fn was_bystander(&self, place: usize) -> bool {
        self.batch.get(place).is_some_and(|s| self.bystanders.knows(s.planned.job))
    }

    fn answer(&mut self, place: usize, submitted: Submitted) {
        if let Some(slot) = self.out.get_mut(place) {
            *slot = Some(submitted);
        }
    }

    fn id(&self, place: usize) -> Option<&'a str> {
        self.batch.get(place).map(|s| &*s.planned.target.id)
    }
}

/// An error for a job whose call was not made because its turn came too late.
fn late() -> VendorError {
    let text = "nothing was sent: the calls before it took so long that it is checked anew";
    VendorError::new(VendorFault::TimedOut, Reached::No, text)
}

/// An error for a job whose call was never made.
fn not_sent(reason: Option<&VendorError>) -> VendorError {
    match reason {
        Some(reason) => {
            let mut error = reason.again().with_reached(Reached::No);
            error.message = format!("not sent, since the call before it failed: {}", reason.message);
            error
        }
        None => VendorError::new(VendorFault::Rejected, Reached::No, "not sent"),
    }
}

/// The ids that a message names.
pub(super) fn named_in<'a>(message: &str, ids: &[&'a str]) -> Vec<&'a str> {
    let message = message.to_ascii_lowercase();
    ids.iter().copied().filter(|id| message.contains(&id.to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_messages_whatever_their_case() {
        let ids = ["0197f36d-0000-7258-b177-00000000000a", "0197f36d-0000-7258-b177-00000000000b"];
        let message = "instances [0197F36D-0000-7258-B177-00000000000A] not found";
        assert_eq!(named_in(message, &ids), [ids[0]]);
        assert!(named_in("instances not found", &ids).is_empty());
    }
}
