//! What surrounds every call, from the outside in: observation, the end at shutdown, the deadline, whether the answer is
//! packed, and the reasons of what the gRPC library refuses.

pub mod deadline;
pub mod drain;
pub mod explained;
pub mod observe;
pub mod plain;

/// A call as the layers see it.
pub type Call = http::Request<tonic::body::Body>;
/// An answer as the layers see it.
pub type Answer = http::Response<tonic::body::Body>;
