//! Compiles the protobuf definition with `protox`, as bearerd's own build does.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    tonic_prost_build::configure().build_client(false).compile_fds(protox::compile(["echo.proto"], ["proto"])?)?;
    Ok(())
}
