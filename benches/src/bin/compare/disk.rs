//! The disk under the data folders: real, and how fast.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::load::{histogram, microseconds, nanoseconds};

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// Refuses a folder whose fsync does nothing.
pub(crate) fn require_disk(dir: &Path) -> Result<()> {
    let kind = rustix::fs::statfs(dir).with_context(|| dir.display().to_string())?.f_type;
    ensure!(
        kind != TMPFS,
        "{} is in memory (tmpfs), where fsync is free: choose a folder on a disk with --dir",
        dir.display()
    );
    Ok(())
}

/// What the disk does by itself, before any server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncTimes {
    /// Median of an append of 512 bytes and its fdatasync, in microseconds.
    pub(crate) p50: f64,
    /// The longest of them, in milliseconds: no server can keep its pauses below it.
    pub(crate) longest: f64,
}

/// How long the disk is looked at, and how often: as often as the steady puts of the gap rows.
const PROBED: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(2);

/// Appends and syncs to a file of its own, with nothing else going on.
pub(crate) fn sync_times(dir: &Path) -> Result<SyncTimes> {
    let folder = tempfile::tempdir_in(dir)?;
    let mut file = File::create(folder.path().join("probe"))?;
    let mut times = histogram()?;
    let began = Instant::now();
    while began.elapsed() < PROBED {
        let start = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        times.saturating_record(nanoseconds(start.elapsed()));
        std::thread::sleep(PACE.saturating_sub(start.elapsed()));
    }
    Ok(SyncTimes { p50: microseconds(&times, 0.5), longest: microseconds(&times, 1.0) / 1e3 })
}
