//! The disk fills up. First clients fill it: writes that grow the store are refused before it is full,
//! everything else goes on, and once there is space again writes resume by themselves. Then it is full
//! to the last byte, which no refusal can prevent: what was acknowledged stays, the server says what
//! is wrong, and after a restart it goes on.
//!
//! `disk`: what is filled. `writer`: who fills it.

mod disk;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::connection::Connection;
use super::error::HarnessError;
use super::server::{Server, ServerSpec};
use super::tool::{Report, ServerArgs};
use crate::history::Outcome;
use disk::{Disk, MIB, remove};
use writer::{VALUE_BYTES, Writer};

const PATIENCE: Duration = Duration::from_secs(10);

/// One filling of a small disk.
#[derive(Clone, Debug)]
pub struct DiskFull {
    /// The server.
    pub server: ServerArgs,
    /// An empty folder; the disk is mounted in it.
    pub folder: PathBuf,
    /// Size of the disk.
    pub disk_mib: u64,
    /// What is left free once the server runs.
    pub room_mib: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFullReport {
    /// No disk could be mounted; why.
    Skipped(String),
    /// The disk was filled.
    Filled {
        /// Writes acknowledged before, while and after it was full.
        acknowledged: usize,
        /// What writers were told when clients had filled it.
        refusals: Vec<String>,
        /// What they were told when it was full to the last byte.
        errors: Vec<String>,
        /// The server stopped then.
        stopped: bool,
        /// Everything that must not be; empty is a pass.
        findings: Vec<String>,
    },
}

impl Report for DiskFullReport {
    /// Nothing is wrong either if nothing could be tried.
    fn passed(&self) -> bool {
        match self {
            Self::Skipped(_) => true,
            Self::Filled { findings, .. } => findings.is_empty(),
        }
    }
}

impl fmt::Display for DiskFullReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => writeln!(out, "skipped: {why}"),
            Self::Filled { acknowledged, refusals, errors, stopped, findings } => {
                writeln!(out, "acknowledged writes: {acknowledged}")?;
                writeln!(out, "when clients had filled it, writers were told: {refusals:?}")?;
                writeln!(out, "when it was full to the last byte: {errors:?}; stopped: {stopped}")?;
                writeln!(out, "findings: {}", findings.len())?;
                findings.iter().try_for_each(|finding| writeln!(out, "- {finding}"))
            }
        }
    }
}

/// Fills the disk under a server, frees it, and checks that nothing acknowledged is lost.
pub async fn fill_disk(plan: &DiskFull) -> Result<DiskFullReport, HarnessError> {
    let disk = match Disk::mount(&plan.folder.join("disk"), plan.disk_mib)? {
        Ok(disk) => disk,
        Err(why) => return Ok(DiskFullReport::Skipped(why)),
    };
    let mut spec = ServerSpec::new(&plan.server.binary, &plan.folder)?;
    spec.data_dir = disk.path.join("data");
    spec.extra_args.clone_from(&plan.server.extra_args);
    let mut server = spec.start()?;
    let mut connection = server.until_ready().await?;

    let mut writer = Writer::new();
    let mut findings = Vec::new();
    writer.write(&mut connection, 20).await;
    let ballast = disk.fill_but(plan.room_mib * MIB)?;
    // Far more than fits, in case the server compresses or reuses what it has.
    let attempts = usize::try_from(plan.room_mib * MIB).expect("small") / VALUE_BYTES * 20;
    writer.write(&mut connection, attempts).await;
    let refusals = std::mem::take(&mut writer.errors);
    if refusals.is_empty() {
        findings.push(format!("no write failed in {attempts}; the disk was never full"));
    }
    let nearly_full = while_refusing(&spec, &mut connection, &mut writer).await;
    findings.extend(nearly_full.err().map(|error| format!("while growth is refused: {error}")));
    remove(ballast)?;
    let resumed = resume(&mut connection, &mut writer).await;
    findings.extend(resumed.err().map(|error| format!("with space again: {error}")));

    let ballast = disk.fill_but(0)?;
    writer.delete(&mut connection, attempts).await;
    let stopped = until_stopped(&mut server, &mut connection, &writer, &mut findings).await?;
    remove(ballast)?;
    let recovered = recover(&spec, server, &mut writer).await;
    findings.extend(recovered.err().map(|error| format!("after space was freed: {error}")));
    findings.append(&mut writer.lost);
    Ok(DiskFullReport::Filled {
        acknowledged: writer.acknowledged.len(),
        refusals,
        errors: writer.errors,
        stopped,
        findings,
    })
}

/// The disk is full to the last byte: the server must stop, and say why.
async fn until_stopped(
    server: &mut Server,
    connection: &mut Connection,
    writer: &Writer,
    findings: &mut Vec<String>,
) -> Result<bool, HarnessError> {
    let stopped = settled(server, connection, writer).await?.0;
    let log = server.log_text();
    if !log.lines().any(|line| speaks_of_space(line) && line.contains("restart")) {
        findings.push("the log does not say that the disk is full and what to do".to_owned());
    }
    if !stopped {
        findings.push("it did not stop when the disk was full to the last byte".to_owned());
    }
    Ok(stopped)
}

/// Growth is refused: reads, deletions and compaction must go on, and `/health` must say why.
async fn while_refusing(
    spec: &ServerSpec,
    connection: &mut Connection,
    writer: &mut Writer,
) -> Result<(), HarnessError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let put = writer.put(connection, "refused").await;
        let health = spec.http_get("/health").await?;
        let is_refused = matches!(&put, Outcome::Fail(why) if why.contains("space exceeded"));
        if is_refused && health.contains("NOSPACE") {
            break;
        }
        if tokio::time::Instant::now() > deadline {
            return Err(refused(&format!("/health answers {health}, a put {put:?}")));
        }
    }
    writer.verify(connection).await;
    let deleted = writer.delete(connection, 10).await;
    if deleted != 10 {
        return Err(refused(&format!("{deleted} of 10 deletions: {:?}", writer.errors)));
    }
    let last = writer.last_revision();
    connection.compact(last).await.map_err(HarnessError::refused("compact"))
}

/// There is space: without a restart and without disarming anything, writes must succeed again.
async fn resume(connection: &mut Connection, writer: &mut Writer) -> Result<(), HarnessError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let outcome = writer.put(connection, "resumed").await;
        if matches!(outcome, Outcome::Ok(_)) {
            break;
        }
        if tokio::time::Instant::now() > deadline {
            return Err(refused(&format!("writes do not resume: {outcome:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writer.verify(connection).await;
    Ok(())
}

fn refused(what: &str) -> HarnessError {
    HarnessError::refused(what)(tonic::Status::failed_precondition("not as it should be"))
}

/// Waits until the server has stopped or answers reads: (stopped, answers).
async fn settled(
    server: &mut Server,
    connection: &mut Connection,
    writer: &Writer,
) -> Result<(bool, bool), HarnessError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if server.exited()?.is_some() {
            return Ok((true, false));
        }
        if writer.read(connection, "00000").await.is_ok() {
            return Ok((false, true));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((false, false))
}

/// With space again: restart, disarm, read everything back, write on.
async fn recover(
    spec: &ServerSpec,
    server: Server,
    writer: &mut Writer,
) -> Result<(), HarnessError> {
    server.kill().await?;
    let mut server = spec.start()?;
    let mut connection = server.until_ready().await?;
    connection.disarm().await.map_err(HarnessError::refused("disarm alarms"))?;
    writer.verify(&mut connection).await;
    let before = writer.acknowledged.len();
    writer.write(&mut connection, 20).await;
    if writer.acknowledged.len() < before + 20 {
        let last = writer.errors.last().cloned().unwrap_or_default();
        return Err(HarnessError::refused("write again")(tonic::Status::unknown(last)));
    }
    writer.verify(&mut connection).await;
    server.terminate().await.map(drop)
}

fn speaks_of_space(text: &str) -> bool {
    let text = text.to_lowercase();
    ["no space left", "space exceeded", "nospace", "disk is full", "out of disk"]
        .iter()
        .any(|words| text.contains(words))
}
