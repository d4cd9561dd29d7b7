//! Fills a small disk under a server and checks that nothing acknowledged is lost.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use vetch_jepsen::harness::{DiskFull, fill_disk};

/// Write until the disk is full, free it, restart: everything acknowledged is there, and it goes
/// on. Needs the right to mount a tmpfs; says so and passes without.
#[derive(Debug, Parser)]
struct Args {
    /// The server: any program with etcd's flags.
    #[arg(long)]
    server_bin: PathBuf,
    /// Size of the disk.
    #[arg(long, default_value_t = 256)]
    disk_mib: u64,
    /// What is left free once the server runs.
    #[arg(long, default_value_t = 16)]
    room_mib: u64,
    /// A flag for the server; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("FAILED");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command-line tool")]
async fn run(args: Args) -> Result<bool, Box<dyn std::error::Error>> {
    let folder = tempfile::Builder::new().prefix("disk-full-").tempdir()?;
    let plan = DiskFull {
        binary: args.server_bin,
        folder: folder.path().to_owned(),
        disk_mib: args.disk_mib,
        room_mib: args.room_mib,
        extra_args: args.server_arg,
    };
    let report = fill_disk(&plan).await?;
    print!("{report}");
    let passed = report.passed();
    if !passed {
        println!("log: {}", folder.keep().join("server.log").display());
    }
    Ok(passed)
}
