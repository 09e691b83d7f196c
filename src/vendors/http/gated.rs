//! A body that is given out at the last moment, and only under a valid permit.
//!
//! Between the decision to send a start and the first byte on the wire lie the request budget, a connect, a TLS
//! handshake, and perhaps a process that was stopped for a minute. The body is asked for when all of that is over. If
//! the permit has ended by then it is refused, the request stays incomplete, and no vendor acts on half a request.
//!
//! The gate also knows whether the body ever left: a request that was given up before that provably did nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::kit::permit::Permit;

const OPEN: u8 = 0;
const GIVEN: u8 = 1;
const CLOSED: u8 = 2;

/// Whether a body has left. Shared by the body and by whoever sent it.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<AtomicU8>);

impl Gate {
    /// Closes the gate. `true`: nothing went through, and nothing will.
    pub fn close(&self) -> bool {
        self.pass(CLOSED)
    }

    fn pass(&self, to: u8) -> bool {
        match self.0.compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == to,
        }
    }
}

/// The body was asked for too late.
#[derive(Debug, thiserror::Error)]
#[error("the lease ended before the request was sent")]
pub(super) struct TooLate;

/// A body behind a gate: one piece, given once.
#[derive(Debug)]
pub(super) struct Gated {
    /// `None` once it was given.
    bytes: Option<Bytes>,
    permit: Permit,
    gate: Gate,
}

impl Gated {
    pub fn new(bytes: Bytes, permit: Permit, gate: Gate) -> Self {
        Self { bytes: Some(bytes), permit, gate }
    }
}

impl http_body::Body for Gated {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        let go = self.permit.holds() && self.gate.pass(GIVEN);
        Poll::Ready(Some(if go { Ok(Frame::data(bytes)) } else { Err(TooLate) }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn give(mut body: Gated) -> Option<Result<Bytes, TooLate>> {
        use http_body_util::BodyExt;
        body.frame().await.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    fn body(gate: &Gate) -> Gated {
        Gated::new(Bytes::from_static(b"start"), Permit::unlimited(), gate.clone())
    }

    #[tokio::test]
    async fn what_left_cannot_be_called_back_and_what_was_called_back_cannot_leave() {
        let gate = Gate::default();
        assert_eq!(give(body(&gate)).await.unwrap().unwrap(), "start");
        assert!(!gate.close(), "it has left");
        let gate = Gate::default();
        assert!(gate.close() && gate.close(), "nothing has left");
        assert!(give(body(&gate)).await.unwrap().is_err());
    }
}
