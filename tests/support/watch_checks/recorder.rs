//! Writes down what a client of a watch sees.

use std::time::Duration;

use tokio::time::Instant;

use super::{Body, Connection, End, Message, Recording};

/// Records one subscription.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    begun: Instant,
    asked: Duration,
}

impl Recorder {
    /// A recording of a subscription whose streams are never silent for longer than `quiet`.
    pub fn new(latest_only: bool, quiet: Duration) -> Self {
        let recording = Recording { latest_only, quiet, connections: Vec::new() };
        Self { recording, begun: Instant::now(), asked: Duration::ZERO }
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
            asked: now,
            end: End::Cut,
        });
    }

    /// The client waits for a message from now on. One that does not say so has always waited.
    pub fn ask(&mut self) {
        self.asked = self.begun.elapsed();
    }

    /// A message came.
    pub fn note(&mut self, body: Body, token: Option<String>) {
        let at = self.begun.elapsed();
        let open = self.recording.connections.last_mut().expect("an open connection");
        open.messages.push(Message { at, asked: self.asked, body, token });
        open.closed = at;
    }

    /// The connection ended.
    pub fn close(&mut self, end: End) {
        let at = self.begun.elapsed();
        let open = self.recording.connections.last_mut().expect("an open connection");
        (open.closed, open.asked, open.end) = (at, self.asked, end);
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
