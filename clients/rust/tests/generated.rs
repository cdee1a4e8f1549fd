//! The generated code in `src/pb` is what the definitions in `proto/` give.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, path::PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tempfile::TempDir;

#[test]
fn generated_code_is_current() {
    let fresh = generated();
    for name in FILES {
        let now = fs::read_to_string(fresh.path().join(name)).unwrap();
        let same = fs::read_to_string(package().join("src/pb").join(name)).is_ok_and(|checked_in| checked_in == now);
        assert!(same, "src/pb/{name} is not what the definitions give; run clients/rust/generate");
    }
}

#[test]
#[ignore = "writes the checked in code; what clients/rust/generate runs"]
fn generate() {
    let fresh = generated();
    for name in FILES {
        fs::copy(fresh.path().join(name), package().join("src/pb").join(name)).unwrap();
    }
}

/// The code that the definitions give now, in a directory of its own.
fn generated() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let own = ["bearerd/v1/admin.proto", "bearerd/v1/token_broker.proto"];
    let own = protox::compile(own, [package().join("../../proto")]).unwrap();
    let health = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    for descriptors in [own, health] {
        tonic_prost_build::configure()
            .build_server(false)
            .skip_debug(["bearerd.v1.Token", "bearerd.v1.SignProofResponse"])
            .out_dir(directory.path())
            .compile_fds(descriptors)
            .unwrap();
    }
    directory
}

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

const FILES: &[&str] = &["bearerd.v1.rs", "grpc.health.v1.rs"];
