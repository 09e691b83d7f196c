//! Answers as they are, for clients that would also take them gzipped.
//!
//! The bytes of a watch are made once for everybody. Packed, they would be made for each subscriber anew, and many client
//! libraries say that they take gzip without anybody having asked for it. So a watch is packed only where
//! `grpc.compress_watches` says so.

use super::Call;

/// What a client can unpack.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// What is not packed.
const WATCHES: [&str; 2] = ["/drydock.v1.JobService/WatchJob", "/drydock.v1.JobService/WatchJobs"];

/// Has a watch answered as it is.
pub fn unless_watch(mut call: Call) -> Call {
    if WATCHES.contains(&call.uri().path()) {
        call.headers_mut().remove(ACCEPT_ENCODING);
    }
    call
}
