//! Messages of a watch, as bytes that are made once for everybody.
//!
//! An event is encoded once, as the field that it is in an `EventBatch`; a commit that a subscriber gets whole is encoded
//! once as whole messages, its token included, because everybody who has read it stands at the same place. Protobuf
//! makes that possible: a message is the sequence of its fields, so ready fields in a row are a message.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::event::event;
use super::job::job;
use crate::api::codec::Frame;
use crate::api::pb;
use crate::engine::calls::{WatchBody, WatchItem};
use crate::engine::commit::{Commit, Delivery, Shared};
use crate::engine::token::ResumeToken;

/// A commit larger than this is sent in several messages; clients refuse messages above 4 MiB unless told otherwise.
const ENOUGH_BYTES: usize = 1 << 20;

/// Numbers of the contract's fields. `a_frame_is_what_prost_would_write` holds them to it.
mod field {
    /// `EventBatch.events`
    pub const BATCH_EVENTS: u32 = 1;
    /// `WatchJobResponse.events`, `WatchJobsResponse.events`
    pub const EVENTS: u32 = 3;
    /// `WatchJobResponse.resume_token`, `WatchJobsResponse.resume_token`
    pub const RESUME_TOKEN: u32 = 5;
}

/// The frames of one item: one, or for a large commit several, of which only the last has the token.
pub fn frames(item: WatchItem) -> Frames {
    use pb::watch_jobs_response::Message as Body;
    let token = item.resume_token;
    let one = |message| {
        let resume_token = token.map(|t| t.to_string()).unwrap_or_default();
        let message = pb::WatchJobsResponse { message: Some(message), resume_token };
        Frames::One(Some(Frame(message.encode_to_vec().into())))
    };
    match item.body {
        WatchBody::Snapshot(shown) => one(Body::Snapshot(job(&shown))),
        WatchBody::Synced => one(Body::Synced(pb::WatchSynced {})),
        WatchBody::Heartbeat => one(Body::Heartbeat(pb::WatchHeartbeat {})),
        WatchBody::Events(Delivery::Whole(commit)) => match token {
            Some(token) if token.position() == commit.position() => {
                let ready = commit.encoded(|commit: &Commit| batches(commit.events(), Some(token)));
                Frames::of(ready.iter().map(Bytes::clone))
            }
            Some(_) | None => Frames::of(batches(commit.events(), token).into_iter()),
        },
        WatchBody::Events(Delivery::Picked(events)) => Frames::of(batches(&events, token).into_iter()),
    }
}

/// Frames, mostly one. Apart from a list, because most of a watch's work is to make one.
#[derive(Debug)]
pub enum Frames {
    /// At most one.
    One(Option<Frame>),
    /// More, in order.
    Many(std::vec::IntoIter<Frame>),
}

impl Frames {
    fn of(mut bytes: impl ExactSizeIterator<Item = Bytes>) -> Self {
        if bytes.len() > 1 {
            return Self::Many(bytes.map(Frame).collect::<Vec<_>>().into_iter());
        }
        Self::One(bytes.next().map(Frame))
    }
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        match self {
            Self::One(frame) => frame.take(),
            Self::Many(frames) => frames.next(),
        }
    }
}

/// Messages with these events, none much larger than [`ENOUGH_BYTES`]; the last has the token.
fn batches(events: &[std::sync::Arc<Shared>], token: Option<ResumeToken>) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(1);
    let (mut batch, mut bytes): (Vec<&Bytes>, usize) = (Vec::new(), 0);
    for next in events {
        let next = next.encoded(|e| ready(&event(e)));
        if bytes + next.len() > ENOUGH_BYTES && !batch.is_empty() {
            out.push(message(&batch, bytes, None));
            (batch, bytes) = (Vec::new(), 0);
        }
        bytes += next.len();
        batch.push(next);
    }
    out.push(message(&batch, bytes, token));
    out
}

/// An event as the field of a batch.
fn ready(event: &pb::JobEvent) -> Bytes {
    let mut buffer = BytesMut::with_capacity(encoding::message::encoded_len(field::BATCH_EVENTS, event));
    encoding::message::encode(field::BATCH_EVENTS, event, &mut buffer);
    buffer.freeze()
}

/// A message with a batch of ready events, together `bytes` long.
fn message(batch: &[&Bytes], bytes: usize, token: Option<ResumeToken>) -> Bytes {
    let token = token.map(|t| t.to_string());
    let room = token.as_ref().map_or(0, |t| encoding::string::encoded_len(field::RESUME_TOKEN, t));
    // A length in memory always fits.
    let length = bytes as u64;
    let room = key_len(field::EVENTS) + encoded_len_varint(length) + bytes + room;
    let mut buffer = BytesMut::with_capacity(room);
    encode_key(field::EVENTS, WireType::LengthDelimited, &mut buffer);
    encode_varint(length, &mut buffer);
    for event in batch {
        buffer.extend_from_slice(event);
    }
    if let Some(token) = &token {
        encoding::string::encode(field::RESUME_TOKEN, token, &mut buffer);
    }
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::event::tests::full_event;
    use super::super::job::tests::full_job;
    use super::*;
    use crate::domain::event::{Event, EventKind};
    use crate::domain::state::JobState;

    fn token(position: u64) -> ResumeToken {
        ResumeToken::new(Uuid::from_u128(3), position)
    }

    fn decoded(item: WatchItem) -> Vec<pb::WatchJobsResponse> {
        frames(item).map(|f| pb::WatchJobsResponse::decode(f.0).unwrap()).collect()
    }

    /// What prost makes of the same item, without any of the above.
    fn plain(item: &WatchItem) -> pb::WatchJobsResponse {
        use pb::watch_jobs_response::Message as Body;
        let message = match &item.body {
            WatchBody::Snapshot(shown) => Body::Snapshot(job(shown)),
            WatchBody::Synced => Body::Synced(pb::WatchSynced {}),
            WatchBody::Heartbeat => Body::Heartbeat(pb::WatchHeartbeat {}),
            WatchBody::Events(delivery) => {
                Body::Events(pb::EventBatch { events: delivery.events().iter().map(|e| event(e)).collect() })
            }
        };
        let resume_token = item.resume_token.map(|t| t.to_string()).unwrap_or_default();
        pb::WatchJobsResponse { message: Some(message), resume_token }
    }

    prop_compose! {
        fn events()(parts in prop::collection::vec(
            (".{0,200}", 0..u64::MAX, 0..JobState::ALL.len(), any::<bool>(), "[a-z]{1,9}", ".{0,20}"), 1..20
        )) -> Vec<Event> {
            let make = |(index, parts): (u64, (String, u64, usize, bool, String, String))| {
                let (message, sequence, state, full, key, value) = parts;
                let mut event = Event { message, position: 100 + index, ..full_event(sequence) };
                event.status.state = JobState::ALL[state];
                if !full {
                    event.kind = EventKind::Created;
                    event.status.vendor = Default::default();
                    event.status.findings.clear();
                    event.status.failure = None;
                }
                Arc::make_mut(&mut event.about).labels.extend([(key, value)]);
                event
            };
            (0..).zip(parts).map(make).collect()
        }
    }

    fn body() -> impl Strategy<Value = WatchBody> {
        prop_oneof![
            Just(WatchBody::Snapshot(Box::new(full_job()))),
            Just(WatchBody::Synced),
            Just(WatchBody::Heartbeat),
            events().prop_map(|e| {
                let shared = e.into_iter().map(Shared::new).collect();
                WatchBody::Events(Delivery::Whole(Commit::new(shared)))
            }),
            (events(), any::<u64>()).prop_map(|(events, mask)| {
                let mut picked: Vec<_> = events.into_iter().map(Shared::new).collect();
                let last = picked.pop();
                picked.retain(|e| mask >> (e.position % 64) & 1 == 1);
                picked.extend(last);
                WatchBody::Events(Delivery::Picked(picked))
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_frame_is_what_prost_would_write(
            body in body(),
            other in any::<u64>(),
            kind in 0..3,
        ) {
            let position = match (&body, kind) {
                (WatchBody::Events(Delivery::Whole(commit)), 0) => Some(commit.position()),
                (_, 1) => Some(other),
                (_, _) => None,
            };
            let item = WatchItem { body, resume_token: position.map(token) };
            // Twice: the second time the bytes are there already.
            for _ in 0..2 {
                let made: Vec<_> = frames(item.clone()).map(|f| f.0).collect();
                let plain = plain(&item);
                prop_assert_eq!(made.len(), 1);
                prop_assert_eq!(&made[0], &plain.encode_to_vec());
                prop_assert_eq!(pb::WatchJobsResponse::decode(made[0].clone()).unwrap(), plain.clone());
                // The message of `WatchJob` has the same fields under the same numbers.
                let one = pb::WatchJobResponse::decode(made[0].clone()).unwrap();
                prop_assert_eq!(one.encode_to_vec(), plain.encode_to_vec());
                prop_assert_eq!(format!("{:?}", one.message), format!("{:?}", plain.message));
                prop_assert_eq!(one.resume_token, plain.resume_token);
            }
        }
    }

    #[test]
    fn everybody_gets_the_same_bytes() {
        let commit = Commit::new((1..=3).map(|n| Shared::new(full_event(n))).collect());
        let whole = || WatchItem {
            body: WatchBody::Events(Delivery::Whole(Arc::clone(&commit))),
            resume_token: Some(token(commit.position())),
        };
        let (first, second) = (frames(whole()).next().unwrap(), frames(whole()).next().unwrap());
        assert_eq!(first.0.as_ptr(), second.0.as_ptr(), "encoded twice");
        // Another place in the stream must not get this place's token.
        let other = WatchItem { resume_token: Some(token(7)), ..whole() };
        assert_eq!(decoded(other)[0].resume_token, token(7).to_string());
        assert_eq!(decoded(WatchItem { resume_token: None, ..whole() })[0].resume_token, "");
        let part = |event: &Arc<Shared>| event.encoded(|_| panic!("encoded twice")).as_ptr();
        assert_eq!(part(&commit.events()[0]), part(&commit.events()[0]));
    }

    #[test]
    fn a_large_commit_is_cut_and_only_its_end_has_a_token() {
        let mut large = full_event(0);
        large.message = "x".repeat(300_000);
        let events: Vec<_> =
            (1..=10).map(|sequence| Shared::new(Event { sequence, ..large.clone() })).collect();
        let whole = Commit::new(events.clone());
        let position = whole.position();
        for delivery in [Delivery::Whole(whole), Delivery::Picked(events)] {
            let item = WatchItem { body: WatchBody::Events(delivery), resume_token: Some(token(position)) };
            let messages = decoded(item);
            assert!(messages.len() > 1);
            let mut sequences = Vec::new();
            for (index, message) in messages.iter().enumerate() {
                assert!(message.encoded_len() < 2 << 20);
                let is_last = index + 1 == messages.len();
                assert_eq!(message.resume_token.is_empty(), !is_last);
                let Some(pb::watch_jobs_response::Message::Events(batch)) = &message.message else {
                    panic!()
                };
                sequences.extend(batch.events.iter().map(|e| e.sequence));
            }
            assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
        }
    }
}
