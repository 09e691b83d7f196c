//! Compiles the contract in `proto/` without protoc: protox reads it, tonic-prost-build writes the Rust code, and the
//! descriptor set (with its comments) goes into the binary for reflection.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs, io};

#[expect(clippy::disallowed_methods, reason = "this is how cargo speaks to a build script")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<PathBuf> = fs::read_dir("proto/drydock/v1")?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "proto"));
    files.sort();
    // Not imported by the contract; in the descriptor set so that clients can show the details of errors.
    files.push("proto/google/rpc/error_details.proto".into());

    files.push("proto/google/longrunning/operations.proto".into());

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("drydock_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    let contract = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .build_server(false)
        // Maps in key order: equal requests then have equal bytes, whose digest is the idempotency check.
        .btree_map(".drydock.v1")
        // Their `Debug` is written by hand and leaves the password out.
        .skip_debug([".drydock.v1.ReinstallInstancesRequest", ".drydock.v1.RetryJobRequest"])
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(contract.clone())?;

    // The servers apart: their watches and `GetJob` answer with ready bytes, where clients read messages.
    let servers = out.join("server");
    fs::create_dir_all(&servers)?;
    tonic_prost_build::configure()
        .out_dir(servers)
        .build_client(false)
        .codec_path("crate::api::codec::Codec")
        .extern_path(".drydock.v1.GetJobResponse", "crate::api::codec::Frame")
        .extern_path(".drydock.v1.WatchJobResponse", "crate::api::codec::Frame")
        .extern_path(".drydock.v1.WatchJobsResponse", "crate::api::codec::Frame")
        .extern_path(".drydock.v1", "crate::api::pb")
        .extern_path(".google.longrunning", "crate::api::pb::longrunning")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(contract)?;
    Ok(())
}
