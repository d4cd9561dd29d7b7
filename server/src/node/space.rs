//! Measures the disks under the data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vetch_raft::{AsyncRuntime, Platform};

use crate::rpc::Api;
use crate::rpc::space::{Change, Space};

/// Between two measurements. What is admitted meanwhile is bounded by the last one.
const EVERY: Duration = Duration::from_millis(200);

/// A file system's bytes.
#[derive(Clone, Copy, Debug)]
struct Disk {
    free: u64,
    total: u64,
}

/// Runs until it is dropped.
pub(super) async fn run<P: Platform>(platform: P, api: Arc<Api<P>>, data_dir: PathBuf) {
    loop {
        let dir = data_dir.clone();
        if let Some(disk) = platform.blocking(move || fullest(&dir)).await {
            report(api.space.measured(disk.free, disk.total), disk, &data_dir);
        }
        P::Runtime::sleep(EVERY).await;
    }
}

/// The log may lie on a disk of its own.
fn fullest(data_dir: &Path) -> Option<Disk> {
    let above = |disk: &Disk| disk.free.saturating_sub(Space::reserve(disk.total));
    let disks = [data_dir.to_owned(), data_dir.join("member/wal")];
    disks.iter().filter_map(|dir| measure(dir)).min_by_key(above)
}

/// `None` where it cannot be told; then growth is not bounded by it.
fn measure(dir: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    let block = stat.f_frsize;
    Some(Disk { free: stat.f_bavail.checked_mul(block)?, total: stat.f_blocks.checked_mul(block)? })
}

fn report(change: Change, disk: Disk, data_dir: &Path) {
    let (path, free) = (data_dir.display(), disk.free);
    let reserve = Space::reserve(disk.total);
    match change {
        Change::Same => {}
        Change::Low => tracing::error!(
            %path, free, reserve,
            "the disk is nearly full: writes that grow the store are refused with NOSPACE; reads, \
             deletions and compaction go on. Free space on it, and writes resume by themselves"
        ),
        Change::Enough => {
            tracing::info!(%path, free, reserve, "the disk has space again; all writes are taken");
        }
    }
}
