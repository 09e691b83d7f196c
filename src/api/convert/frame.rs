//! Messages of a watch, as bytes that are made once for everybody.
//!
//! An event is encoded once, as the field that it is in an `EventBatch`; a commit that a subscriber gets whole is encoded
//! once as whole messages, its token included, because everybody who has read it stands at the same place; and what came
//! together is put together once, for all who kept up. Protobuf makes that possible: a message is the sequence of its
//! fields, so ready fields in a row are a message. gRPC does the same for messages in a row: each has its length before it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::event::event;
use super::job::job;
use crate::api::pb;
use crate::engine::calls::{WatchBody, WatchItem};
use crate::engine::commit::{Commit, Delivery, Run, Shared};
use crate::engine::token::ResumeToken;

/// A commit larger than this is sent in several messages; clients refuse messages above 4 MiB unless told otherwise.
const ENOUGH_BYTES: usize = 1 << 20;
/// Messages that are sent together are cut into pieces of about this size: two of HTTP/2's usual frames.
const PIECE_BYTES: usize = 32 << 10;
/// What gRPC writes before each message: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// Numbers of the contract's fields. `a_message_is_what_prost_would_write` holds them to it.
mod field {
    /// `EventBatch.events`
    pub const BATCH_EVENTS: u32 = 1;
    /// `WatchJobResponse.events`, `WatchJobsResponse.events`
    pub const EVENTS: u32 = 3;
    /// `WatchJobResponse.resume_token`, `WatchJobsResponse.resume_token`
    pub const RESUME_TOKEN: u32 = 5;
}

/// An item as it goes on the wire: pieces of one message or more, each with its prefix. Of a large commit's messages only
/// the last has the token.
pub fn pieces(item: WatchItem) -> Pieces {
    use pb::watch_jobs_response::Message as Body;
    let token = item.resume_token;
    let one = |message| {
        let resume_token = token.map(|t| t.to_string()).unwrap_or_default();
        let message = pb::WatchJobsResponse { message: Some(message), resume_token };
        let mut buffer = prefixed(message.encoded_len());
        message.encode_raw(&mut buffer);
        Pieces::One(Some(buffer.freeze()))
    };
    match item.body {
        WatchBody::Snapshot(shown) => one(Body::Snapshot(job(&shown))),
        WatchBody::Synced => one(Body::Synced(pb::WatchSynced {})),
        WatchBody::Heartbeat => one(Body::Heartbeat(pb::WatchHeartbeat {})),
        WatchBody::Events(Delivery::Run(run)) => {
            let token = token.map(|token| token.at(run.position()));
            match token {
                Some(token) => Pieces::of(run.encoded(|run| together(run, token)).iter().map(Bytes::clone)),
                None => {
                    let messages = run.commits().iter().flat_map(|commit| batches(commit.events(), None));
                    Pieces::of(messages.collect::<Vec<_>>().into_iter())
                }
            }
        }
        WatchBody::Events(Delivery::Whole(commit)) => match token {
            Some(token) if token.position() == commit.position() => {
                let ready = commit.encoded(|commit: &Commit| batches(commit.events(), Some(token)));
                Pieces::of(ready.iter().map(Bytes::clone))
            }
            Some(_) | None => Pieces::of(batches(commit.events(), token).into_iter()),
        },
        WatchBody::Events(Delivery::Picked(events)) => Pieces::of(batches(&events, token).into_iter()),
    }
}

/// Pieces, mostly one. Apart from a list, because most of a watch's work is to make one.
#[derive(Debug)]
pub enum Pieces {
    /// At most one.
    One(Option<Bytes>),
    /// More, in order.
    Many(std::vec::IntoIter<Bytes>),
}

impl Pieces {
    fn of(mut bytes: impl ExactSizeIterator<Item = Bytes>) -> Self {
        if bytes.len() > 1 {
            return Self::Many(bytes.collect::<Vec<_>>().into_iter());
        }
        Self::One(bytes.next())
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::One(piece) => piece.take(),
            Self::Many(pieces) => pieces.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::One(piece) => (usize::from(piece.is_some()), Some(1)),
            Self::Many(pieces) => pieces.size_hint(),
        }
    }
}

/// All messages of a run, put together into pieces. `token` is the place after it.
fn together(run: &Run, token: ResumeToken) -> Vec<Bytes> {
    let whole = |commit: &Commit| batches(commit.events(), Some(token.at(commit.position())));
    if let [commit] = run.commits() {
        return commit.encoded(whole).to_vec();
    }
    let mut out = Vec::new();
    let mut piece = Vec::new();
    let cut = |piece: &mut Vec<u8>| Bytes::from(std::mem::take(piece).into_boxed_slice());
    for commit in run.commits() {
        for message in whole(commit) {
            if piece.len() + message.len() > PIECE_BYTES && !piece.is_empty() {
                out.push(cut(&mut piece));
            }
            if message.len() > PIECE_BYTES {
                out.push(message);
            } else {
                piece.extend_from_slice(&message);
            }
        }
    }
    if !piece.is_empty() {
        out.push(cut(&mut piece));
    }
    out
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
    let mut buffer = prefixed(key_len(field::EVENTS) + encoded_len_varint(length) + bytes + room);
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

/// Room for a message so long, which is not compressed, after its prefix.
fn prefixed(length: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + length);
    buffer.put_u8(0);
    // gRPC's prefix has 32 bits; a message is a few MiB at most, and one event, the least there is, far below that.
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    buffer
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

    /// The messages in a piece, without their prefixes.
    fn messages(mut piece: Bytes) -> Vec<Bytes> {
        let mut out = Vec::new();
        while !piece.is_empty() {
            let prefix = piece.split_to(PREFIX_BYTES);
            assert_eq!(prefix[0], 0, "compressed");
            let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
            out.push(piece.split_to(length));
        }
        out
    }

    fn decoded(item: WatchItem) -> Vec<pb::WatchJobsResponse> {
        pieces(item).flat_map(messages).map(|m| pb::WatchJobsResponse::decode(m).unwrap()).collect()
    }

    /// What prost makes of the same item, without any of the above.
    fn plain(item: &WatchItem) -> pb::WatchJobsResponse {
        use pb::watch_jobs_response::Message as Body;
        let message = match &item.body {
            WatchBody::Snapshot(shown) => Body::Snapshot(job(shown)),
            WatchBody::Synced => Body::Synced(pb::WatchSynced {}),
            WatchBody::Heartbeat => Body::Heartbeat(pb::WatchHeartbeat {}),
            WatchBody::Events(delivery) => {
                Body::Events(pb::EventBatch { events: delivery.events().map(|e| event(e)).collect() })
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
        fn a_message_is_what_prost_would_write(
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
                let made: Vec<_> = pieces(item.clone()).flat_map(messages).collect();
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
        let (first, second) = (pieces(whole()).next().unwrap(), pieces(whole()).next().unwrap());
        assert_eq!(first.as_ptr(), second.as_ptr(), "encoded twice");
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

    #[test]
    fn what_came_together_is_told_together_each_commit_with_its_token() {
        let commits: Vec<_> = (1..=3)
            .map(|n| Commit::new(vec![Shared::new(full_event(2 * n)), Shared::new(full_event(2 * n + 1))]))
            .collect();
        let apart: Vec<_> = commits
            .iter()
            .flat_map(|commit| {
                decoded(WatchItem {
                    body: WatchBody::Events(Delivery::Whole(Arc::clone(commit))),
                    resume_token: Some(token(commit.position())),
                })
            })
            .collect();
        let run = Run::new(0, commits).unwrap();
        let item = |token| WatchItem {
            body: WatchBody::Events(Delivery::Run(Arc::clone(&run))),
            resume_token: token,
        };
        let at_its_end = item(Some(token(run.position())));
        let sent: Vec<_> =
            [pieces(at_its_end.clone()), pieces(at_its_end.clone())].map(Vec::from_iter).into();
        assert_eq!((sent[0].len(), sent[0][0].as_ptr()), (1, sent[1][0].as_ptr()), "put together twice");
        assert_eq!(decoded(at_its_end), apart);
        let silent = decoded(item(None));
        assert!(silent.len() == 3 && silent.iter().all(|message| message.resume_token.is_empty()));
    }

    #[test]
    fn much_that_came_together_is_told_in_pieces() {
        let event = |sequence, length: usize| {
            Shared::new(Event { message: "x".repeat(length), ..full_event(sequence) })
        };
        let sizes = [12_000, 12_000, 12_000, 2 * PIECE_BYTES, 10, 10];
        let commits = (1..).zip(sizes).map(|(n, length)| Commit::new(vec![event(n, length)])).collect();
        let run = Run::new(0, commits).unwrap();
        let end = token(run.position());
        let item = WatchItem { body: WatchBody::Events(Delivery::Run(run)), resume_token: Some(end) };
        let lengths: Vec<_> = pieces(item.clone()).map(|piece| messages(piece).len()).collect();
        assert_eq!(lengths, [2, 1, 1, 2]);
        let positions: Vec<_> = decoded(item).into_iter().map(|m| m.resume_token).collect();
        assert_eq!(positions, (101..=106).map(|at| token(at).to_string()).collect::<Vec<_>>());
    }
}
