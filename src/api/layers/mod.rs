//! What surrounds every call, from the outside in: observation, the reasons of what the gRPC library refuses, the end at
//! shutdown, the deadline, and whether the answer is packed.

pub mod deadline;
pub mod drain;
pub mod explained;
pub mod observe;
pub mod plain;

/// A call as the layers see it.
pub type Call = http::Request<tonic::body::Body>;
/// An answer as the layers see it.
pub type Answer = http::Response<tonic::body::Body>;
