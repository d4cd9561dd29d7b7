//! Fills a small disk under a server and checks that nothing acknowledged is lost.

use clap::Parser;
use std::process::ExitCode;
use vetch_jepsen::harness::{DiskFull, ServerArgs, fill_disk, run_in_folder};

/// Write until the disk is full, free it, restart: everything acknowledged is there, and it goes
/// on. Needs the right to mount a tmpfs; says so and passes without.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Size of the disk.
    #[arg(long, default_value_t = 512)]
    disk_mib: u64,
    /// What is left free once the server runs.
    #[arg(long, default_value_t = 64)]
    room_mib: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let plan = |folder| DiskFull {
        server: args.server,
        folder,
        disk_mib: args.disk_mib,
        room_mib: args.room_mib,
    };
    run_in_folder("disk-full", async |folder| fill_disk(&plan(folder)).await).await
}
