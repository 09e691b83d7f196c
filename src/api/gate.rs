//! What every service stands on: the engine, and the promise that what a call began is not cut off.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Request;
use tracing::Instrument;

use super::convert::start::Draft;
use crate::domain::error::{Error, FieldViolation};
use crate::domain::operation::Operation;
use crate::domain::target::Target;
use crate::engine::Engine;
use crate::engine::calls::{Checked, StartRequest, Started};
use crate::kit::tasks::Tasks;
use crate::kit::trace::TraceParent;

/// The engine with the tasks that finish what calls began. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The engine.
    pub engine: Arc<Engine>,
    tasks: Tasks,
}

/// What became of one entry of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was accepted.
    Started(Box<Started>),
    /// It was only looked at.
    Planned(Box<(Operation, Checked)>),
}

impl Gate {
    /// A gate to `engine`.
    pub const fn new(engine: Arc<Engine>, tasks: Tasks) -> Self {
        Self { engine, tasks }
    }

    /// Runs `call` to its end, also when the caller's deadline passes or its connection breaks meanwhile: between
    /// the commit of a job and the word to its driver nothing may be cut off.
    ///
    /// # Errors
    /// Those of `call`; `Internal` when it panicked.
    pub async fn finish<T, F>(&self, name: &'static str, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let span = tracing::Span::current();
        self.tasks.spawn(
            name,
            async move {
                // Nobody listens any more: the call was for the caller, its effect is for the store.
                let _ = send.send(call.await);
            }
            .instrument(span),
        );
        receive.await.unwrap_or_else(|_| Err(Error::Internal(format!("{name} did not finish"))))
    }

    /// Starts or plans the entries of a request; one answer for each, in order.
    ///
    /// # Errors
    /// `InvalidRequest` with the faults that were found by reading and those that the vendors' rules find; what
    /// else concerns the whole request.
    pub async fn start(
        &self,
        draft: Draft,
        trace_parent: Option<TraceParent>,
        path: fn(FieldViolation) -> FieldViolation,
    ) -> Result<Vec<(Target, Result<Outcome, Error>)>, Error> {
        let Draft { entries, request, validate_only, on_busy, labels, mut faults } = draft;
        if !faults.is_empty() {
            faults.extend(self.engine.faults(&entries).into_iter().map(path));
            return Err(faults.into_error());
        }
        let targets: Vec<_> = entries.iter().map(|e| e.target.clone()).collect();
        let outcomes: Vec<Result<Outcome, Error>> = if validate_only {
            let operations: Vec<_> = entries.iter().map(|e| e.operation.clone()).collect();
            let checked = self.engine.check(entries).await.map_err(|e| renamed(e, path))?;
            let planned = |(operation, checked): (_, Result<_, _>)| {
                checked.map(|checked| Outcome::Planned(Box::new((operation, checked))))
            };
            operations.into_iter().zip(checked).map(planned).collect()
        } else {
            let request = StartRequest { request, entries, on_busy, labels, trace_parent };
            let engine = Arc::clone(&self.engine);
            let started = self.finish("start", async move { engine.start(request).await }).await;
            let started = started.map_err(|e| renamed(e, path))?;
            started.into_iter().map(|s| s.map(|s| Outcome::Started(Box::new(s)))).collect()
        };
        if outcomes.len() != targets.len() {
            return Err(Error::Internal("an entry was left out".to_owned()));
        }
        Ok(targets.into_iter().zip(outcomes).collect())
    }

    /// As [`Gate::start`], for a request with one entry.
    ///
    /// # Errors
    /// Those of the request and those of the entry.
    pub async fn start_one(&self, draft: Draft, trace: Option<TraceParent>) -> Result<Outcome, Error> {
        let mut outcomes = self.start(draft, trace, |fault| fault).await?;
        match outcomes.pop() {
            Some((_, outcome)) => outcome,
            None => Err(Error::Internal("the entry was left out".to_owned())),
        }
    }
}

fn renamed(error: Error, path: fn(FieldViolation) -> FieldViolation) -> Error {
    let Error::InvalidRequest(found) = error else { return error };
    let mut faults = super::convert::Faults::new();
    faults.extend(found.into_iter().map(path));
    faults.into_error()
}

/// The trace that a call belongs to: that of its own span where spans are recorded, else the caller's.
pub fn trace_parent<T>(request: &Request<T>) -> Option<TraceParent> {
    TraceParent::of(&tracing::Span::current()).or_else(|| request.extensions().get::<TraceParent>().cloned())
}
