//! One subscription: snapshot, then events, then heartbeats, each with a token that resumes exactly after it.
//!
//! A `Subscriber` knows where it stands. At rest, and while it keeps up, it is polled as it lies (`following`): that is
//! what thousands do at every event, so nothing is allocated there and nothing waited for but the bell. What takes longer
//! (`snapshot`, `behind`, `single`) it does in a future of its own, which it goes into and comes out of; its stream
//! speaks for it meanwhile (`away`).

mod alarm;
mod away;
mod behind;
mod following;
mod opening;
mod single;
mod snapshot;
mod subscription;

pub(super) use self::opening::{Sources, open};
pub(super) use self::subscription::Subscription;
