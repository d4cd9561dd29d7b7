//! Runs seeded worlds of simulated members under faults, and says what must not be.

use std::cell::Cell;
use std::num::NonZero;
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use openraft_rt_sim::SimInstant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use vetch_jepsen::sim::campaign::{run_all, run_seed};

/// Clusters of the shipped code on simulated networks, disks and clocks, one world per seed.
#[derive(Debug, Parser)]
struct Args {
    /// How many worlds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first world's seed.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Run the world of this seed only.
    #[arg(long, conflicts_with_all = ["seeds", "first_seed"])]
    seed: Option<u64>,
    /// With --seed: print the event log.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: what of the members' own log to print to standard error, e.g.
    /// `vetch_raft=debug,openraft=info`.
    #[arg(long, requires = "seed", value_name = "FILTER")]
    log: Option<String>,
    /// Worlds at a time; all cores if not given.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Print nothing but the hash over all that was noticed, to be compared between runs.
    #[arg(long)]
    hash: bool,
}

/// Stamps log lines with the world's time.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let now = SimInstant::try_now().map(SimInstant::elapsed_since_start).unwrap_or_default();
        write!(out, "[{:>4}.{:06}]", now.as_secs(), now.subsec_micros())
    }
}

/// Worlds between two lines that say how far a run is, where no bar does.
const LINE_EVERY: u64 = 100;

thread_local! {
    /// The world that runs on this thread, for the message of a panic.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

#[expect(clippy::print_stderr, reason = "a command-line tool")]
fn main() -> ExitCode {
    let args = Args::parse();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(seed) = SEED.get() {
            eprintln!("the world of seed {seed} panics; again: {}", command(seed));
        }
        usual(info);
    }));
    let passed = match args.seed {
        Some(seed) => one(seed, &args),
        None => many(&args),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command(seed: u64) -> String {
    format!("cargo run --release -p vetch-jepsen --bin sim -- --seed {seed} --trace")
}

#[expect(clippy::print_stdout, reason = "a command-line tool")]
fn one(seed: u64, args: &Args) -> bool {
    SEED.set(Some(seed));
    if let Some(filter) = &args.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(VirtualTime)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
    let report = run_seed(seed);
    if args.hash {
        println!("{:016x}", report.hash);
        return report.violations.is_empty();
    }
    if args.trace {
        for line in &report.events {
            println!("{line}");
        }
    }
    for violation in &report.violations {
        println!("VIOLATION: {violation}");
    }
    println!(
        "seed {seed}: {} violations, {} operations, {:.1} s of virtual time, hash {:016x}",
        report.violations.len(),
        report.operations,
        report.took.as_secs_f64(),
        report.hash
    );
    report.violations.is_empty()
}

#[expect(clippy::print_stdout, reason = "a command-line tool")]
fn many(args: &Args) -> bool {
    let bar = if args.hash { ProgressBar::hidden() } else { ProgressBar::new(args.seeds) };
    let style = "{bar:40} {pos}/{len} worlds, {per_sec}, {eta} left, {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    let seeds = args.first_seed..args.first_seed + args.seeds;
    let summary = run_all(
        seeds,
        args.threads,
        |seed| SEED.set(Some(seed)),
        |report| {
            if let Some(violation) = report.violations.first() {
                // Not the bar's own print, which is silent where there is no terminal: a run that is
                // interrupted has said by then what it found.
                bar.suspend(|| println!("seed {}: {violation}", report.seed));
            }
            bar.inc(1);
            let done = bar.position();
            if !args.hash && bar.is_hidden() && done.is_multiple_of(LINE_EVERY) {
                let seconds = bar.elapsed().as_secs();
                println!("{done} of {} worlds after {seconds} s", args.seeds);
            }
        },
    );
    bar.finish_and_clear();
    if args.hash {
        println!("{:016x}", summary.hash);
        return summary.passed();
    }
    for report in &summary.failed {
        println!("seed {}:", report.seed);
        for violation in &report.violations {
            println!("  {violation}");
        }
        println!("  again: {}", report.replay());
    }
    print!("{summary}");
    summary.passed()
}
