//! Writes down what a client of a watch sees.

use std::time::Duration;

use tokio::time::Instant;

use super::{Body, Connection, End, Message, Recording};

/// Records one subscription.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    begun: Instant,
}

impl Recorder {
    /// A recording of a subscription whose streams are never silent for longer than `quiet`.
    pub fn new(latest_only: bool, quiet: Duration) -> Self {
        Self { recording: Recording { latest_only, quiet, connections: Vec::new() }, begun: Instant::now() }
    }

    /// A call was answered.
    pub fn open(&mut self, token: Option<&str>, snapshot: bool) {
        let now = self.begun.elapsed();
        self.recording.connections.push(Connection {
            token: token.map(str::to_owned),
            snapshot,
            opened: now,
            messages: Vec::new(),
            closed: now,
            end: End::Cut,
        });
    }

    /// A message came.
    pub fn note(&mut self, body: Body, token: Option<String>) {
        let at = self.begun.elapsed();
        let open = self.recording.connections.last_mut().expect("an open connection");
        open.messages.push(Message { at, body, token });
        open.closed = at;
    }

    /// The connection ended.
    pub fn close(&mut self, end: End) {
        let at = self.begun.elapsed();
        let open = self.recording.connections.last_mut().expect("an open connection");
        (open.closed, open.end) = (at, end);
    }

    /// The newest token that was given.
    pub fn last_token(&self) -> Option<String> {
        let newest_first = self.recording.connections.iter().rev();
        newest_first.flat_map(|c| c.messages.iter().rev()).find_map(|m| m.token.clone())
    }

    /// Every token that was given.
    pub fn tokens(&self) -> Vec<String> {
        let messages = self.recording.connections.iter().flat_map(|c| &c.messages);
        messages.filter_map(|m| m.token.clone()).collect()
    }

    /// What is recorded so far.
    pub const fn recording(&self) -> &Recording {
        &self.recording
    }
}
