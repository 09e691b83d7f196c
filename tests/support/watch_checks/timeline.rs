//! What a client holds after each connection: all that came up to the token that it resumed with, and what came then.

use super::{Connection, Message, Recording, Seen};

/// One line of history.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    /// In order.
    pub messages: Vec<&'a Message>,
    /// How many of them came before the newest connection.
    pub resumed_at: usize,
    /// Whether it begins with a whole snapshot.
    pub snapshot: bool,
    /// Whether its first token was given elsewhere, so that its beginning is not known.
    pub foreign: bool,
    /// The connection at its end.
    pub connection: &'a Connection,
}

impl<'a> Timeline<'a> {
    /// Its events, in order.
    pub fn events(&self) -> impl Iterator<Item = &'a Seen> {
        self.messages.iter().flat_map(|m| m.events())
    }

    /// The jobs of its snapshot.
    pub fn shown(&self) -> impl Iterator<Item = &'a Seen> {
        self.messages.iter().filter_map(|m| match &m.body {
            super::Body::Snapshot(seen) => Some(seen),
            super::Body::Synced | super::Body::Events(_) | super::Body::Heartbeat => None,
        })
    }

    /// How many messages belong to the snapshot, its `Synced` included.
    pub fn snapshot_messages(&self) -> usize {
        if !self.snapshot {
            return 0;
        }
        let synced = self.messages.iter().position(|m| matches!(m.body, super::Body::Synced));
        synced.map_or(self.messages.len(), |at| at + 1)
    }
}

impl Message {
    /// Its events.
    pub fn events(&self) -> &[Seen] {
        match &self.body {
            super::Body::Events(events) => events,
            super::Body::Snapshot(_) | super::Body::Synced | super::Body::Heartbeat => &[],
        }
    }
}

/// The history after each connection.
pub fn timelines(recording: &Recording) -> Vec<Timeline<'_>> {
    let mut out: Vec<Timeline<'_>> = Vec::new();
    for connection in &recording.connections {
        let before = connection.token.as_deref().and_then(|token| up_to(&out, token));
        let (mut messages, snapshot, foreign) = before.unwrap_or_else(|| {
            (Vec::new(), connection.token.is_none() && connection.snapshot, connection.token.is_some())
        });
        let resumed_at = messages.len();
        messages.extend(&connection.messages);
        out.push(Timeline { messages, resumed_at, snapshot, foreign, connection });
    }
    out
}

/// The newest history that gave this token, up to it.
pub fn up_to<'a>(timelines: &[Timeline<'a>], token: &str) -> Option<(Vec<&'a Message>, bool, bool)> {
    timelines.iter().rev().find_map(|known| {
        let at = known.messages.iter().rposition(|m| m.token.as_deref() == Some(token))?;
        Some((known.messages[..=at].to_vec(), known.snapshot, known.foreign))
    })
}
