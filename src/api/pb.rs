//! The generated types of the contract, `drydock.v1`.

#![expect(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

tonic::include_proto!("drydock.v1");

/// The servers' side: its watches and `GetJob` answer with ready bytes, see `codec`.
mod server {
    tonic::include_proto!("server/drydock.v1");
}

pub use server::*;

/// The generated types of `google.longrunning`.
pub mod longrunning {
    tonic::include_proto!("google.longrunning");

    mod server {
        tonic::include_proto!("server/google.longrunning");
    }

    pub use server::*;
}

/// The contract as a serialised `FileDescriptorSet`, with comments: for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/drydock_descriptor.bin"));

/// Leaves the password out.
impl std::fmt::Debug for ReinstallInstancesRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReinstallInstancesRequest")
            .field("targets", &self.targets)
            .field("image_id", &self.image_id)
            .field("accepted_risks", &self.accepted_risks)
            .field("request_id", &self.request_id)
            .field("validate_only", &self.validate_only)
            .field("on_busy", &self.on_busy)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Leaves the password out.
impl std::fmt::Debug for RetryJobRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetryJobRequest")
            .field("name", &self.name)
            .field("request_id", &self.request_id)
            .field("validate_only", &self.validate_only)
            .field("on_busy", &self.on_busy)
            .field("accepted_risks", &self.accepted_risks)
            .field("start_time", &self.start_time)
            .finish_non_exhaustive()
    }
}
