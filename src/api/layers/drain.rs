//! At shutdown the streams of health and reflection end too.
//!
//! Watches end by the engine's word, with a token. Health watches have nobody to end them, and an open stream keeps
//! its connection, and with it the whole shutdown, until the deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, Call};
use crate::domain::error::Error;

/// Ends streams of services other than `keep` once the token is cancelled.
#[derive(Clone, Debug)]
pub struct DrainLayer {
    /// Paths that begin so end by themselves.
    pub keep: &'static str,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Drain<S> {
        Drain { inner, layer: self.clone() }
    }
}

/// A service whose foreign streams end at shutdown.
#[derive(Clone, Debug)]
pub struct Drain<S> {
    inner: S,
    layer: DrainLayer,
}

impl<S> Service<Call> for Drain<S>
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

    fn call(&mut self, call: Call) -> Self::Future {
        let foreign = !call.uri().path().starts_with(self.layer.keep);
        let stop = self.layer.stop.clone();
        let answer = self.inner.call(call);
        Box::pin(async move {
            let answer = answer.await?;
            if !foreign {
                return Ok(answer);
            }
            Ok(answer.map(|inner| {
                Body::new(Ending { inner, stop: Box::pin(stop.cancelled_owned()), over: false })
            }))
        })
    }
}

/// A body that ends with `UNAVAILABLE` once the server stops.
struct Ending {
    inner: Body,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        // What is ready is sent first.
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if this.stop.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.over = true;
        let status = Status::from(Error::ShuttingDown);
        let trailers = status.into_http::<Body>().into_parts().0.headers;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    // An answer that is only a head must be seen to have no body: an empty frame after it would be an answer without a
    // status, and gRPC's C core tells its caller so instead of the error.
    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn an_error_without_a_body_stays_one() {
        let refuse = tower::service_fn(|_: Call| async {
            Ok::<_, Infallible>(Status::not_found("no such service").into_http::<Body>())
        });
        let service = DrainLayer { keep: "/drydock.v1.", stop: CancellationToken::new() }.layer(refuse);
        let call = http::Request::builder().uri("/grpc.health.v1.Health/Check").body(Body::empty()).unwrap();
        let answer = service.oneshot(call).await.unwrap();
        assert!(answer.body().is_end_stream());
    }

    #[tokio::test]
    async fn a_foreign_stream_ends_and_our_own_is_left_alone() {
        let stop = CancellationToken::new();
        let endless = tower::service_fn(|_: Call| async {
            let first = Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")));
            let stream = futures_util::StreamExt::chain(
                futures_util::stream::iter([first]),
                futures_util::stream::pending(),
            );
            Ok::<_, Infallible>(Answer::new(Body::new(StreamBody::new(stream))))
        });
        let service = DrainLayer { keep: "/drydock.v1.", stop: stop.clone() }.layer(endless);
        let open = |path: &'static str| {
            let call = http::Request::builder().uri(path).body(Body::empty()).unwrap();
            service.clone().oneshot(call)
        };
        let mut health = open("/grpc.health.v1.Health/Watch").await.unwrap().into_body();
        let mut ours = open("/drydock.v1.JobService/WatchJobs").await.unwrap().into_body();
        assert!(health.frame().await.unwrap().unwrap().is_data());
        assert!(ours.frame().await.unwrap().unwrap().is_data());
        stop.cancel();
        let end = health.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(Status::from_header_map(&end).unwrap().code(), Code::Unavailable);
        assert!(health.frame().await.is_none());
        assert!(futures_util::FutureExt::now_or_never(ours.frame()).is_none());
    }
}
