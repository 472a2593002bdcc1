//! Messages, servers and clients of the services, with `bytes` fields that are shared and not copied.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let protos = peers.join("../../proto");
    let files = [peers.join("repeat.proto"), protos.join("echo/v1/echo.proto"), protos.join("crypto/v1/crypto.proto")];
    let files = protox::compile(files, [&peers, &protos])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
