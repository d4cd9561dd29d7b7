//! Flips bits in every class of file of a stopped server and checks that none is ever served.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use vetch_jepsen::harness::{BitFlips, flip_bits};

/// Fill, stop, flip one bit, start: the server names the file and stops, or every answer is right.
#[derive(Debug, Parser)]
struct Args {
    /// The server: any program with etcd's flags.
    #[arg(long)]
    server_bin: PathBuf,
    /// Decides content, files and bits; random if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Operations the store is filled with.
    #[arg(long, default_value_t = 2_000)]
    writes: usize,
    /// Flips in each class of file.
    #[arg(long, default_value_t = 8)]
    flips_per_class: usize,
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
    let seed = args.seed.unwrap_or_else(rand::random);
    let folder = tempfile::Builder::new().prefix("bitflip-").tempdir()?;
    println!("seed: {seed}");
    let plan = BitFlips {
        binary: args.server_bin,
        folder: folder.path().to_owned(),
        seed,
        writes: args.writes,
        flips_per_class: args.flips_per_class,
        extra_args: args.server_arg,
    };
    let report = flip_bits(&plan).await?;
    print!("{report}");
    let passed = report.passed();
    if !passed {
        println!("log and undamaged data: {}", folder.keep().display());
    }
    Ok(passed)
}
