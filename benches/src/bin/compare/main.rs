//! Real etcd and Vetch under the same load, side by side. See `benches/README.md`.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod cluster;
mod connection;
mod disk;
mod fill;
mod load;
mod metric;
mod ports;
mod procfs;
mod report;
mod rows;
mod server;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::args::{Args, Group, Side};
use crate::bench::Bench;
use crate::disk::SyncTimes;
use crate::ports::Ports;
use crate::report::{Report, Row, table};
use crate::rows::{big, get, join, keepalive, kill, leases, put, three, txn, watch};
use crate::server::Program;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    // Dropping the run on a signal kills the servers and removes their data.
    local.block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = run(args) => done,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

/// The JSON file.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    etcd: Option<String>,
    vetch: Option<String>,
    cores: usize,
    load_average_before: f64,
    fdatasync_p50_us: f64,
    fdatasync_longest_ms: f64,
    quick: bool,
    rounds: u32,
    seconds: f64,
    failures: &'a [String],
    rows: &'a [Row],
}

/// What servers and load have to share, before either runs.
struct Machine {
    cores: usize,
    load_average: f64,
    syncs: SyncTimes,
}

impl Machine {
    fn look(dir: &Path) -> Result<Self> {
        let syncs = disk::sync_times(dir)?;
        let cores = std::thread::available_parallelism()?.get();
        Ok(Self { cores, load_average: procfs::load_average()?, syncs })
    }
}

/// What came of a run.
struct Outcome {
    rows: Vec<Row>,
    failures: Vec<String>,
    syncs_after: SyncTimes,
    seconds: f64,
}

async fn run(args: Args) -> Result<ExitCode> {
    let start = Instant::now();
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from("target/compare"));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let dir = dir.canonicalize()?;
    disk::require_disk(&dir)?;
    let ports = Ports::new();
    let programs = args.sides().map(|side| program(&args, side, &dir, &ports));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    let report = Report::new(args.quick);
    let mut bench = Bench { args, programs, report };
    let machine = Machine::look(&dir)?;
    announce(&bench, &machine)?;
    let failures = measure(&mut bench).await;
    let syncs_after = disk::sync_times(&dir)?;
    let (rows, seconds) = (bench.report.rows(), start.elapsed().as_secs_f64());
    let outcome = Outcome { rows, failures, syncs_after, seconds };
    print(&outcome)?;
    if let Some(file) = &bench.args.json {
        let summary = summary(&bench, &machine, &outcome)?;
        fs::write(file, serde_json::to_vec_pretty(&summary)?)
            .with_context(|| file.display().to_string())?;
    }
    let missed = bench.args.check && outcome.rows.iter().any(Row::missed);
    let failed = missed || !outcome.failures.is_empty();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what is measured, and where.
fn announce(bench: &Bench, machine: &Machine) -> Result<()> {
    let mut out = std::io::stdout();
    for program in &bench.programs {
        writeln!(out, "{}: {}", program.side.name(), program.version()?)?;
    }
    let Machine { cores, load_average, syncs } = machine;
    writeln!(
        out,
        "{cores} cores, shared by server and load; load average before the run {load_average}; \
         fdatasync p50 {:.0} µs, longest {:.1} ms",
        syncs.p50, syncs.longest
    )?;
    if bench.args.quick {
        writeln!(out, "quick: 100 k keys for 1 M, short rounds; musts on 1 M keys not judged")?;
    }
    Ok(())
}

fn print(outcome: &Outcome) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\n{}\nfdatasync after the run: p50 {:.0} µs, longest {:.1} ms; ran {:.0} s",
        table(&outcome.rows),
        outcome.syncs_after.p50,
        outcome.syncs_after.longest,
        outcome.seconds
    )?;
    for failure in &outcome.failures {
        writeln!(out, "FAILED {failure}")?;
    }
    Ok(())
}

fn summary<'a>(bench: &Bench, machine: &Machine, outcome: &'a Outcome) -> Result<Summary<'a>> {
    let version = |side| bench.programs.iter().find(|p| p.side == side).map(Program::version);
    Ok(Summary {
        etcd: version(Side::Etcd).transpose()?,
        vetch: version(Side::Vetch).transpose()?,
        cores: machine.cores,
        load_average_before: machine.load_average,
        fdatasync_p50_us: machine.syncs.p50,
        fdatasync_longest_ms: machine.syncs.longest.max(outcome.syncs_after.longest),
        quick: bench.args.quick,
        rounds: bench.args.rounds(),
        seconds: outcome.seconds,
        failures: &outcome.failures,
        rows: &outcome.rows,
    })
}

/// Runs all groups asked for; one that fails does not keep the others from running.
async fn measure(bench: &mut Bench) -> Vec<String> {
    let mut failures = Vec::new();
    macro_rules! group {
        ($name:literal, $wanted:expr, $run:expr) => {
            if $wanted {
                let start = Instant::now();
                let result = $run.await;
                if let Err(error) = &result {
                    failures.push(format!("{}: {error:?}", $name));
                }
                let outcome = if result.is_ok() { "done" } else { "FAILED" };
                let seconds = start.elapsed().as_secs();
                let _unseen = writeln!(std::io::stderr(), "{}: {outcome}, {seconds} s", $name);
            }
        };
    }
    group!("put-1", bench.args.wants(Group::Put1), put::one_client(bench));
    group!("put-256", bench.args.wants(Group::Put256), put::many_clients(bench));
    group!("txn-64", bench.args.wants(Group::Txn), txn::many_clients(bench));
    group!("get-64", bench.args.wants(Group::Get), get::many_clients(bench));
    group!("keepalive", bench.args.wants(Group::Keepalive), keepalive::many_clients(bench));
    group!("watch", bench.args.wants(Group::Watch), watch::one_key(bench));
    group!("leases", bench.args.wants(Group::Leases), leases::due_at_once(bench));
    group!("range, memory, restart, gaps", big::wanted(bench), big::all(bench));
    group!("3-put-1", bench.args.wants(Group::ThreePut1), three::put_by_one(bench));
    group!("3-put-64", bench.args.wants(Group::ThreePut64), three::put_by_many(bench));
    group!("3-get-64", bench.args.wants(Group::ThreeGet), three::get_by_many(bench));
    group!("3-kill", bench.args.wants(Group::ThreeKill), kill::leader(bench));
    group!("3-stop", bench.args.wants(Group::ThreeStop), kill::stop_leader(bench));
    group!("3-join", bench.args.wants(Group::ThreeJoin), join::new_member(bench));
    failures
}

fn program(args: &Args, side: Side, dir: &Path, ports: &Ports) -> Result<Program> {
    let (given, flags) = match side {
        Side::Etcd => (args.etcd_bin.clone(), args.etcd_arg.clone()),
        Side::Vetch => (args.vetch_bin.clone(), args.vetch_arg.clone()),
    };
    let (binary, remedy) = match (given, side) {
        (Some(binary), _) => (binary, "as asked for"),
        (None, Side::Etcd) => {
            let folder = std::env::var_os("INTEROP_BIN");
            let folder = folder.map_or_else(|| PathBuf::from("interop/.bin"), PathBuf::from);
            (folder.join("etcd"), "build it with interop/build-tools")
        }
        (None, Side::Vetch) => {
            let own = std::env::current_exe()?;
            (own.with_file_name("vetch"), "build it with `cargo build --release`")
        }
    };
    ensure!(binary.is_file(), "{} is missing: {remedy}", binary.display());
    let (dir, ports) = (dir.to_owned(), ports.clone());
    Ok(Program { side, binary, flags, dir, ports })
}
