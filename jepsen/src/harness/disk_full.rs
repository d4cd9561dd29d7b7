//! The disk fills up. First clients fill it: writes that grow the store are refused before it is full,
//! everything else goes on, and once there is space again writes resume by themselves. Then it is full
//! to the last byte, which no refusal can prevent: what was acknowledged stays, the server says what
//! is wrong, and after a restart it goes on.

use super::connection::Connection;
use super::error::HarnessError;
use super::server::{Server, ServerSpec};
use super::tool::{Report, ServerArgs};
use crate::history::{Answer, Blob, Delete, KeyRange, LeaseId, Op, Outcome, Put, Range, Revision};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Failed writes in a row after which the disk counts as full.
const FAILURES: usize = 5;
const VALUE_BYTES: usize = 64 << 10;
const MIB: u64 = 1 << 20;

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
    let stopped = settled(&mut server, &mut connection, &writer).await?.0;
    let log = server.log_text();
    if !log.lines().any(|line| speaks_of_space(line) && line.contains("restart")) {
        findings.push("the log does not say that the disk is full and what to do".to_owned());
    }
    if !stopped {
        findings.push("it did not stop when the disk was full to the last byte".to_owned());
    }
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

fn remove(ballast: PathBuf) -> Result<(), HarnessError> {
    std::fs::remove_file(ballast).map_err(HarnessError::io("remove the ballast"))
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

/// Writes keys once each and remembers which were acknowledged.
struct Writer {
    next: usize,
    acknowledged: BTreeMap<String, Revision>,
    /// Of the last deletion.
    deleted: Revision,
    errors: Vec<String>,
    lost: Vec<String>,
}

impl Writer {
    fn new() -> Self {
        let (errors, lost) = (Vec::new(), Vec::new());
        let acknowledged = BTreeMap::new();
        Self { next: 0, acknowledged, deleted: Revision::EMPTY_STORE, errors, lost }
    }

    /// Writes up to `count` keys, fewer if the disk turns out to be full.
    async fn write(&mut self, connection: &mut Connection, count: usize) {
        let mut failures = 0;
        for _ in 0..count {
            let key = format!("{:05}", self.next);
            self.next += 1;
            match self.put(connection, &key).await {
                Outcome::Ok(_) => failures = 0,
                Outcome::Fail(why) | Outcome::Unknown(why) => {
                    failures += 1;
                    self.note(why);
                }
            }
            if failures == FAILURES {
                return;
            }
        }
    }

    async fn put(&mut self, connection: &mut Connection, key: &str) -> Outcome {
        let put = Put { value: value(key), key: key.into(), lease: LeaseId::NONE, prev_kv: false };
        let outcome = connection.call(&Op::Put(put), PATIENCE).await;
        if let Outcome::Ok(response) = &outcome {
            self.acknowledged.insert(key.to_owned(), response.revision);
        }
        outcome
    }

    /// Deletes up to `count` of the newest keys until one fails; how many.
    async fn delete(&mut self, connection: &mut Connection, count: usize) -> usize {
        let mut keys: Vec<String> = self.acknowledged.keys().cloned().collect();
        // The first one is read again and again.
        keys.drain(..1);
        for (deleted, key) in keys.into_iter().rev().take(count).enumerate() {
            let range = KeyRange::single(key.as_str());
            match connection.call(&Op::Delete(Delete { range, prev_kv: false }), PATIENCE).await {
                Outcome::Ok(response) => {
                    self.acknowledged.remove(&key);
                    self.deleted = response.revision;
                }
                Outcome::Fail(why) | Outcome::Unknown(why) => {
                    // It may be deleted or not.
                    self.acknowledged.remove(&key);
                    self.note(why);
                    return deleted;
                }
            }
        }
        count
    }

    fn last_revision(&self) -> Revision {
        self.acknowledged.values().copied().fold(self.deleted, Ord::max)
    }

    fn note(&mut self, why: String) {
        if !self.errors.contains(&why) {
            self.errors.push(why);
        }
    }

    async fn read(&self, connection: &mut Connection, key: &str) -> Result<Answer, String> {
        let range = KeyRange::single(key);
        let range = Range { range, revision: None, serializable: false };
        match connection.call(&Op::Range(range), PATIENCE).await {
            Outcome::Ok(response) => Ok(response.answer),
            Outcome::Fail(why) | Outcome::Unknown(why) => Err(why),
        }
    }

    async fn verify(&mut self, connection: &mut Connection) {
        for (key, revision) in &self.acknowledged {
            let found = self.read(connection, key).await;
            let intact = matches!(&found, Ok(Answer::Range { kvs, .. }) if kvs.len() == 1
                && kvs[0].value == value(key) && kvs[0].mod_revision == *revision);
            if !intact {
                let text: String = format!("{found:?}").chars().take(200).collect();
                self.lost.push(format!("{key}, acknowledged at {revision}, is now {text}"));
            }
        }
    }
}

/// Does not compress: a linear congruential sequence started from the key.
fn value(key: &str) -> Blob {
    let mut state = key.bytes().fold(1_u64, |state, byte| state * 31 + u64::from(byte));
    let bytes = (0..VALUE_BYTES).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    Blob::from(bytes.collect::<bytes::Bytes>())
}

/// A small disk in memory, unmounted when dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// The inner error says why this machine cannot mount one.
    fn mount(path: &Path, mib: u64) -> Result<Result<Self, String>, HarnessError> {
        std::fs::create_dir(path).map_err(HarnessError::io("make a mount point"))?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "vetch-disk-full"])
            .arg(path)
            .output();
        Ok(match mount {
            Ok(output) if output.status.success() => Ok(Self { path: path.to_owned() }),
            Ok(output) => Err(format!(
                "a tmpfs cannot be mounted here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("mount cannot be run: {error}")),
        })
    }

    /// Writes a file that leaves only `room` bytes.
    fn fill_but(&self, room: u64) -> Result<PathBuf, HarnessError> {
        let path = self.path.join("ballast");
        let failed = || HarnessError::io("write the ballast");
        let mut file = std::fs::File::create(&path).map_err(failed())?;
        let chunk = vec![0xa5; usize::try_from(MIB).expect("small")];
        // Asked again each time: the server takes space meanwhile.
        while self.free()? > room + MIB {
            file.write_all(&chunk).map_err(failed())?;
        }
        if room == 0 {
            // To the last byte.
            while file.write_all(&chunk[..4096]).is_ok() {}
        }
        Ok(path)
    }

    fn free(&self) -> Result<u64, HarnessError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|error| HarnessError::io("ask for free space")(error.into()))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a killed server may not have let go of its files yet.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        debug_assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} stays",
            self.path.display()
        );
    }
}
