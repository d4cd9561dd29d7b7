//! Files: one writer thread, one write per contiguous run and one `fdatasync` per queue.

mod batch;
mod files;
mod prepare;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};

use super::{Completion, Disk, DiskError, DiskObserver, FileInfo, FileName, Op, Operation};
use batch::Writer;
use files::OpenFiles;

/// Suffix of a file that is not complete yet, or not wanted any more; such leftovers are removed on open.
const UNFINISHED: &str = ".tmp";

/// A directory of preallocated files on the operating system.
///
/// The writer is a thread of its own because a stalled flush must stall nobody but those who wait for it. One hop to
/// it and one wake back is all that a submission pays.
#[derive(Debug)]
pub struct FsDisk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    queue: Mutex<Queue>,
    wake: Condvar,
    files: RwLock<OpenFiles>,
    observer: Arc<dyn DiskObserver>,
}

#[derive(Debug, Default)]
struct Queue {
    requests: Vec<Request>,
    closing: bool,
    /// Set once; everything later is refused with it.
    failed: Option<DiskError>,
}

struct Request {
    op: Op,
    done: Option<Completion>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("op", &self.op).finish_non_exhaustive()
    }
}

impl FsDisk {
    /// Opens `dir`, creating it if needed, and starts its threads. The caller holds the lock on the data
    /// directory: two disks on one directory would destroy it.
    pub fn open(dir: &Path, observer: Arc<dyn DiskObserver>) -> Result<Self, DiskError> {
        files::create_dir(dir)?;
        files::remove_unfinished(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            queue: Mutex::default(),
            wake: Condvar::new(),
            files: RwLock::default(),
            observer,
        });
        let writer = Writer::new(Arc::clone(&shared))?;
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| DiskError::io(Operation::Create, dir, &error))?;
        Ok(Self { shared, writer: Some(writer) })
    }
}

impl Disk for FsDisk {
    fn submit(&self, op: Op, done: Option<Completion>) {
        let refusal = {
            let mut queue = self.shared.queue.lock();
            match (&queue.failed, queue.closing) {
                (Some(error), _) => error.clone(),
                (None, true) => DiskError::Closed,
                (None, false) => {
                    queue.requests.push(Request { op, done });
                    if queue.requests.len() == 1 {
                        self.shared.wake.notify_one();
                    }
                    return;
                }
            }
        };
        if let Some(done) = done {
            done(Err(refusal));
        }
    }

    fn list(&self) -> Result<Vec<FileInfo>, DiskError> {
        files::list(&self.shared.dir)
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        files::read(&self.shared, file, offset, len)
    }

    fn path(&self, file: &FileName) -> PathBuf {
        self.shared.path(file)
    }
}

impl Shared {
    fn path(&self, file: &FileName) -> PathBuf {
        self.dir.join(file.as_str())
    }
}

/// Finishes what is queued, then stops.
impl Drop for FsDisk {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // The last owner may be a completion on the writer thread itself.
            if writer.thread().id() != std::thread::current().id() && writer.join().is_err() {
                tracing::error!("the log writer panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
