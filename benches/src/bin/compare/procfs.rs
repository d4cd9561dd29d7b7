//! What the kernel knows of a process and of a folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// CPU time of all threads of the processes since they started, user and system (`/proc/PID/stat`,
/// `utime + stime`; one clock tick, usually 10 ms, is the resolution).
pub(crate) fn cpu(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

fn cpu_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path}: {stat}"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * 1_000_000_000 / per_second))
}

/// The fields follow the program's name in parentheses, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory now, in bytes (`VmRSS` of `/proc/PID/status`: mapped files count as far as they
/// are resident).
pub(crate) fn rss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    rss_bytes(&status).with_context(|| format!("{path}: no VmRSS"))
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Runnable and disk-waiting threads of the whole machine, mean of the last minute.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let minute = text.split(' ').next().and_then(|minute| minute.parse().ok());
    minute.with_context(|| format!("/proc/loadavg: {text}"))
}

/// Blocks taken by all files below `dir`, in bytes.
pub(crate) fn disk(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue }; // removed meanwhile
        total += metadata.blocks() * 512;
        if metadata.is_dir() {
            total += disk(&entry.path())?;
        }
    }
    Ok(total)
}

/// Watches the memory of a process from a thread of its own.
#[derive(Debug)]
pub(crate) struct RssSampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl RssSampler {
    const PERIOD: Duration = Duration::from_millis(10);

    pub(crate) fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut highest = 0;
            while !stopped.load(Ordering::Relaxed) {
                highest = highest.max(rss(pid).unwrap_or(0));
                std::thread::sleep(Self::PERIOD);
            }
            highest
        });
        Self { stop, thread }
    }

    /// The highest figure seen.
    pub(crate) fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let highest =
            self.thread.join().map_err(|_panic| anyhow::anyhow!("the RSS sampler panicked"))?;
        anyhow::ensure!(highest > 0, "the process was gone before its memory was read");
        Ok(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_strange_program_name() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
    }

    #[test]
    fn own_process_has_cpu_time_and_memory() {
        let pid = std::process::id();
        cpu(&[pid]).unwrap();
        assert!(rss(pid).unwrap() > 100_000);
    }

    #[test]
    fn disk_counts_blocks_in_subfolders() {
        let dir = tempfile::tempdir().unwrap();
        let before = disk(dir.path()).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), vec![1; 100_000]).unwrap();
        fs::File::open(dir.path().join("a/b")).unwrap().sync_all().unwrap();
        assert!(disk(dir.path()).unwrap() >= before + 100_000);
    }
}
