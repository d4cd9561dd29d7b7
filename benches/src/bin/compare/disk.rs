//! The disk under the data folders: real, and how fast.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

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

/// Median of 200 × (append 512 bytes, fdatasync), in microseconds.
pub(crate) fn fdatasync_p50(dir: &Path) -> Result<f64> {
    let folder = tempfile::tempdir_in(dir)?;
    let mut file = File::create(folder.path().join("probe"))?;
    let mut times = histogram()?;
    for _ in 0..200 {
        file.write_all(&[7; 512])?;
        let start = Instant::now();
        file.sync_data()?;
        times.saturating_record(nanoseconds(start.elapsed()));
    }
    Ok(microseconds(&times, 0.5))
}
