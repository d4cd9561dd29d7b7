//! Flips bits in every class of file of a stopped server and checks that none is ever served.

use clap::Parser;
use std::process::ExitCode;
use vetch_jepsen::harness::{BitFlips, ServerArgs, flip_bits, run_in_folder};

/// Fill, stop, flip one bit, start: the server names file and offset, stops and changes nothing, or
/// every answer is right.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Decides content, files and bits; random if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Operations the store is filled with.
    #[arg(long, default_value_t = 2_000)]
    writes: usize,
    /// Flips in each class of file.
    #[arg(long, default_value_t = 8)]
    flips_per_class: usize,
    /// Be content with a server that names only the folder of the damaged file.
    #[arg(long)]
    folder_is_enough: bool,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a command-line tool")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed: {seed}");
    let plan = |folder| BitFlips {
        server: args.server,
        folder,
        seed,
        writes: args.writes,
        flips_per_class: args.flips_per_class,
        folder_is_enough: args.folder_is_enough,
    };
    run_in_folder("bitflip", async |folder| flip_bits(&plan(folder)).await).await
}
