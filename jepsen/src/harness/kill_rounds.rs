//! kill -9 at random moments, restart, and in the end judge everything.
//!
//! `runner`: one run under way.

mod runner;

use super::error::HarnessError;
use super::findings::Finding;
use super::kill_report::KillReport;
use runner::Runner;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A run of kills.
#[derive(Clone, Debug)]
pub struct KillRounds {
    /// The server program.
    pub binary: PathBuf,
    /// An empty folder for data, log and evidence.
    pub folder: PathBuf,
    /// Kills.
    pub rounds: u32,
    /// Decides operations and moments; the server's own timing stays its own.
    pub seed: u64,
    /// Clients that write and read.
    pub clients: u32,
    /// Clients that watch.
    pub watchers: u32,
    /// Keys they share.
    pub keys: u32,
    /// Shortest and longest time between "serves" and the kill.
    pub uptime: (Duration, Duration),
    /// Every so many rounds a round is long enough for leases to expire; 0 for never.
    pub long_round_every: u32,
    /// Every so many rounds history is compacted; 0 for never.
    pub compact_every: u32,
    /// Longest pause of a client between two operations.
    pub pause: Duration,
    /// Whether clients grant leases; leaving them out narrows a finding down.
    pub leases: bool,
    /// Flags besides those every member needs.
    pub extra_args: Vec<String>,
}

impl KillRounds {
    /// The shape used in continuous integration.
    pub fn new(binary: &Path, folder: &Path, rounds: u32, seed: u64) -> Self {
        Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            rounds,
            seed,
            clients: 8,
            watchers: 7,
            keys: 5,
            uptime: (Duration::from_millis(50), Duration::from_millis(600)),
            long_round_every: 30,
            compact_every: 10,
            pause: Duration::from_millis(16),
            leases: true,
            extra_args: Vec::new(),
        }
    }
}

/// Carries out a run and judges it; the evidence is in the folder afterwards.
///
/// `between` is called while the server is down after each kill, with the round and the data
/// directory: the place for further faults.
pub async fn kill_rounds(
    plan: &KillRounds,
    mut between: impl FnMut(u32, &Path),
) -> Result<KillReport, HarnessError> {
    let mut runner = Runner::new(plan)?;
    for round in 0..plan.rounds {
        if let Err(error) = runner.round(round).await {
            runner.findings.push(Finding::Server(format!("round {round}: {error}")));
            break;
        }
        between(round, &runner.spec.data_dir);
    }
    if runner.findings.is_empty()
        && let Err(error) = runner.finish().await
    {
        runner.findings.push(Finding::Server(format!("after the last round: {error}")));
    }
    runner.report()
}
