//! Every call has a deadline: the caller's `grpc-timeout`, or the server's longest, whichever is shorter.
//!
//! It bounds the time to the head of the answer, so it ends unary calls and the opening of a watch. An open watch lives
//! until its own age or the caller's own deadline, which the service finds as a [`CallDeadline`] beside its request.
//! What a call began is not cut off by it, see `Gate::finish`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service};

use super::{Answer, Call};
use crate::api::status;

/// How much earlier than the caller the server gives up, so that its answer can still arrive.
const EARLY: Duration = Duration::from_millis(5);

/// The deadline that the caller itself set, among the extensions of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallDeadline {
    /// When it passes.
    pub at: Instant,
    /// How long the call may take in all.
    pub limit: Duration,
}

/// When a call is cut off unless its answer has begun, among the extensions of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerBy(pub Instant);

/// Bounds calls.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    /// The longest that any call may take.
    pub max: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, max: self.max }
    }
}

/// A service with a deadline for each call.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    max: Duration,
}

impl<S> Service<Call> for Deadline<S>
where
    S: Service<Call, Response = Answer>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let asked = call.headers().get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(parse);
        if let Some(limit) = asked {
            // One that lies beyond what a clock can count is none.
            let at = Instant::now().checked_add(limit.saturating_sub(EARLY));
            if let Some(at) = at {
                call.extensions_mut().insert(CallDeadline { at, limit });
            }
        }
        let (limit, wait) = match asked {
            Some(asked) if asked < self.max => (asked, asked.saturating_sub(EARLY)),
            Some(_) | None => (self.max, self.max),
        };
        if let Some(at) = Instant::now().checked_add(wait) {
            call.extensions_mut().insert(AnswerBy(at));
        }
        let inner = self.inner.call(call);
        Box::pin(async move {
            match tokio::time::timeout(wait, inner).await {
                Ok(answer) => answer,
                Err(_) => Ok(status::deadline(limit).into_http()),
            }
        })
    }
}

/// Reads a `grpc-timeout`: up to eight digits and a unit. Anything else counts as absent.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::{Code, Status};
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn timeouts_follow_the_grpc_text() {
        assert_eq!(parse("3H"), Some(Duration::from_secs(10_800)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("42S"), Some(Duration::from_secs(42)));
        assert_eq!(parse("13m"), Some(Duration::from_millis(13)));
        assert_eq!(parse("2u"), Some(Duration::from_micros(2)));
        assert_eq!(parse("82n"), Some(Duration::from_nanos(82)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "-1S", "+1S", "1", "1s", "1.5S", "123456789S", "1ü"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    /// How long a call that never answers is waited for, and what it is told.
    async fn ended(timeout: Option<&str>) -> (Duration, Status) {
        let never = tower::service_fn(|_: Call| std::future::pending::<Result<Answer, Infallible>>());
        let service = DeadlineLayer { max: Duration::from_secs(120) }.layer(never);
        let mut call = Call::new(tonic::body::Body::empty());
        if let Some(timeout) = timeout {
            call.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        let start = tokio::time::Instant::now();
        let answer = service.oneshot(call).await.unwrap();
        (start.elapsed(), Status::from_header_map(answer.headers()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_shorter_of_both_ends_the_call() {
        let (took, status) = ended(Some("2S")).await;
        assert!((1_990..=2_000).contains(&took.as_millis()), "{took:?}");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        for timeout in [None, Some("1H"), Some("nonsense")] {
            let (took, status) = ended(timeout).await;
            assert!((120_000..=120_005).contains(&took.as_millis()), "{took:?}");
            assert_eq!(status.code(), Code::DeadlineExceeded);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_passes() {
        let quick = tower::service_fn(|_: Call| async { Ok::<_, Infallible>(Answer::default()) });
        let service = DeadlineLayer { max: Duration::from_secs(1) }.layer(quick);
        let answer = service.oneshot(Call::default()).await.unwrap();
        assert!(Status::from_header_map(answer.headers()).is_none());
    }
}
