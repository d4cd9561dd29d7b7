//! Kills a server at random moments under load and checks that it kept its word.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vetch_jepsen::harness::{Evidence, KillRounds, judge, kill_rounds};

/// kill -9 at random moments, restart on the same data, and check every answer and every event.
#[derive(Debug, Parser)]
struct Args {
    /// The server: any program with etcd's flags.
    #[arg(long, required_unless_present = "recheck")]
    server_bin: Option<PathBuf>,
    /// How many kills.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Decides operations and moments; random if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Longest time between "serves" and the kill.
    #[arg(long, default_value_t = 600)]
    max_uptime_ms: u64,
    /// Grant no leases, to narrow a finding down.
    #[arg(long)]
    without_leases: bool,
    /// Check the evidence of an earlier run again instead of running.
    #[arg(long, value_name = "FOLDER")]
    recheck: Option<PathBuf>,
    /// Keep data, log and evidence of a run without findings as well.
    #[arg(long)]
    keep: bool,
    /// A flag for the server; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(args).await {
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
    if let Some(folder) = args.recheck {
        let findings = judge(&Evidence::read(&folder)?);
        for finding in &findings {
            println!("- {finding}");
        }
        println!("findings: {}", findings.len());
        return Ok(findings.is_empty());
    }
    let binary = args.server_bin.expect("clap requires it");
    let seed = args.seed.unwrap_or_else(rand::random);
    let folder = tempfile::Builder::new().prefix("kill9-").tempdir()?;
    println!("seed: {seed}");
    let mut plan = KillRounds::new(&binary, folder.path(), args.rounds, seed);
    plan.uptime.1 = Duration::from_millis(args.max_uptime_ms).max(plan.uptime.0);
    plan.leases = !args.without_leases;
    plan.extra_args = args.server_arg;
    let began = Instant::now();
    let report = kill_rounds(&plan, |_, _| {}).await?;
    print!("{report}");
    println!("took: {:.1?}", began.elapsed());
    let passed = report.findings.is_empty();
    if args.keep || !passed {
        println!("data, log and evidence: {}", folder.keep().display());
    }
    if passed {
        return Ok(true);
    }
    println!(
        "again: kill9 --server-bin {} --rounds {} --seed {seed}",
        binary.display(),
        args.rounds
    );
    Ok(false)
}
