//! Compiles `proto/*.proto` without an installed protoc.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 11] = [
    "auth",
    "health",
    "lease",
    "membership",
    "mvcc",
    "peer",
    "raft_internal",
    "rpc",
    "v3election",
    "v3lock",
    "vetch",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files: Vec<String> = FILES.iter().map(|name| format!("proto/{name}.proto")).collect();
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .compile_fds(descriptors)?;
    Ok(())
}
