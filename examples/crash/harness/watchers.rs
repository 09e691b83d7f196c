//! Watchers: each follows a stream over every cut, by its last resume token, and writes down what it was told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock::api::pb;
use pb::job_service_client::JobServiceClient;
use pb::watch_jobs_response::Message;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::canaries::Canaries;
use super::clients::{Clients, Refusals};
use super::dice::Dice;
use super::record::{Seen, Wanted, Watched};
use crate::watch_checks::{self, Commits, End, Recorder, wire};

/// Longer than any heartbeat: a stream that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(2);

/// The same for the record, with what a busy machine may add.
const QUIET: Duration = Duration::from_secs(5);

/// One watcher. Clones are the same one.
#[derive(Clone)]
pub struct Watcher {
    wanted: Wanted,
    canaries: Canaries,
    state: Arc<Mutex<State>>,
}

struct State {
    recorder: Recorder,
    token: String,
    connections: u64,
    events: Vec<(String, Seen)>,
}

impl Watcher {
    /// A watcher that has not begun.
    pub fn new(wanted: Wanted, canaries: &Canaries) -> Self {
        let recorder = Recorder::new(wanted == Wanted::LatestState, QUIET);
        let state = State { recorder, token: String::new(), connections: 0, events: Vec::new() };
        Self { wanted, canaries: canaries.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it can resume: from here on nothing may be missed.
    pub fn has_begun(&self) -> bool {
        self.with(|state| !state.token.is_empty())
    }

    /// What it was told so far.
    pub fn told(&self) -> Watched {
        self.with(|state| Watched {
            wanted: self.wanted.clone(),
            resumed: state.connections.saturating_sub(1),
            events: state.events.clone(),
        })
    }

    /// What the checkers of the seven properties find, once everything was told.
    pub fn breaches(&self, events: &[pb::JobEvent], commits: &Commits) -> Vec<String> {
        let matches = |_: &str, target: &str, _: pb::JobState| self.wanted.matches(target);
        let truth = wire::truth(events, &matches, true, commits);
        let found = self.with(|state| watch_checks::judge(state.recorder.recording(), &truth));
        found.iter().map(|breach| format!("{:?}: {breach}", self.wanted)).collect()
    }

    /// Watches until told to stop, each time on another replica than the last.
    pub async fn run(self, clients: Clients, mut dice: Dice, stop: CancellationToken) {
        let mut last = None;
        while !stop.is_cancelled() {
            let Ok((replica, channel)) = clients.other(&mut dice, last) else { return };
            last = Some(replica);
            // Some connections are cut by the watcher itself.
            let patience = if dice.chance(50) { dice.within(1, 30) } else { u64::MAX };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.follow(channel, patience, clients.refusals()) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One connection, until it ends or has brought so many messages.
    async fn follow(&self, channel: Channel, messages: u64, refusals: &Refusals) {
        let token = self.with(|state| state.token.clone());
        let mode = match self.wanted {
            Wanted::Everything | Wanted::Provider(_) => pb::WatchMode::EveryEvent,
            Wanted::LatestState => pb::WatchMode::LatestState,
        };
        let filter = match &self.wanted {
            Wanted::Provider(id) => {
                Some(pb::JobFilter { providers: vec![format!("providers/{id}")], ..Default::default() })
            }
            Wanted::Everything | Wanted::LatestState => None,
        };
        let request = pb::WatchJobsRequest {
            filter,
            skip_snapshot: !token.is_empty(),
            resume_token: token,
            mode: mode.into(),
            ..Default::default()
        };
        let mut client = JobServiceClient::new(channel);
        let opened = tokio::time::timeout(SILENCE, client.watch_jobs(request)).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream.into_inner(),
            Ok(Err(status)) => {
                refusals.note(&status);
                return self.canaries.look_at("an error of a watch", &status);
            }
            Err(_) => return,
        };
        self.with(|state| {
            state.connections += 1;
            let token = Some(state.token.as_str()).filter(|token| !token.is_empty());
            state.recorder.open(token, token.is_none());
        });
        for _ in 0..messages {
            match tokio::time::timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => self.take(message),
                Ok(Err(status)) => {
                    self.with(|state| state.recorder.close(wire::end(&status)));
                    refusals.note(&status);
                    return self.canaries.look_at("an error of a watch", &status);
                }
                Ok(Ok(None)) => return self.with(|state| state.recorder.close(End::Ok)),
                Err(_) => return,
            }
        }
    }

    fn take(&self, message: pb::WatchJobsResponse) {
        self.canaries.look_at("a watch", &message);
        let matches = |_: &str, target: &str, _: pb::JobState| self.wanted.matches(target);
        self.with(|state| {
            if let Some(body) = wire::body(&message, &matches) {
                state.recorder.note(body, wire::token(&message));
            }
            if !message.resume_token.is_empty() {
                state.token = message.resume_token;
            }
            match message.message {
                Some(Message::Events(batch)) => {
                    state.events.extend(batch.events.iter().map(|event| (event.job.clone(), event.into())));
                }
                // Watches begin before the first job, so a snapshot would be an event that is wrong.
                Some(Message::Snapshot(job)) => {
                    let seen = Seen {
                        sequence: job.sequence,
                        state: job.status.as_ref().map_or(pb::JobState::Unspecified, pb::JobStatus::state),
                        message: "a snapshot".to_owned(),
                        ..Seen::default()
                    };
                    state.events.push((job.name, seen));
                }
                Some(Message::Synced(_) | Message::Heartbeat(_)) | None => {}
            }
        });
    }
}
