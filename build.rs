//! Compiles the protobuf definitions with `protox`, so that no `protoc` has to be installed.

use std::{error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = ["bearerd/v1/admin.proto", "bearerd/v1/token_broker.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    #[expect(clippy::disallowed_methods, reason = "how cargo tells a build script where to write")]
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Served by reflection, and by `include_bytes!` in src/pb.rs.
    fs::write(out.join("bearerd.bin"), descriptors.encode_to_vec())?;
    // The messages are those of the clients' crate; what is made here is the server's half of the services.
    let services = tonic_prost_build::configure().build_client(false);
    services.extern_path(".bearerd.v1", "::bearerd_client::pb::v1").compile_fds(descriptors)?;
    Ok(())
}
