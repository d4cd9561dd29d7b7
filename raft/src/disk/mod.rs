//! The only way the log touches storage: submit an operation, hear later that it is durable.
//!
//! Two implementations: [`FsDisk`] on files, and `SimDisk`, whose sectors can be
//! lost, torn, flipped or refused. The contract leaves room for a third one on asynchronous I/O: nothing above assumes a
//! thread, only order and completion.

mod error;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real files take real time, and this map is never walked"
)]
mod fs;
pub mod sim;
mod zero_fill;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use error::{DiskError, Operation};
pub use fs::FsDisk;

/// The unit a device writes whole or not at all. What the log may assume of a power cut: each sector
/// of an unsynced write is either as before or as written, in no order.
pub const SECTOR: usize = 512;

/// A file in the disk's one directory. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// A name without a path separator.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        debug_assert!(!name.contains('/'), "{name:?} leaves the disk's directory");
        Self(name)
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A change of the disk. Applied in the order of submission.
///
/// `Create`, `Rename` and `Remove` are barriers: what was submitted before is durable before they
/// begin, and they are durable themselves, the directory included, before anything later begins.
#[derive(Clone, Debug)]
pub enum Op {
    /// Overwrites bytes inside a created file.
    Write {
        /// The file.
        file: FileName,
        /// Where the bytes go; `offset + bytes.len()` is within the file.
        offset: u64,
        /// What goes there.
        bytes: Vec<u8>,
    },
    /// Makes a file of `len` bytes: `head`, then zeros. Under its name the file is always complete.
    Create {
        /// The file; must not exist.
        file: FileName,
        /// Its size from now on.
        len: u64,
        /// Its first bytes.
        head: Vec<u8>,
    },
    /// Gives a file another name, replacing what has it.
    Rename {
        /// The old name.
        from: FileName,
        /// The new name.
        to: FileName,
    },
    /// Makes durable what an earlier process may have left unflushed: the file's bytes and its name.
    Sync {
        /// The file.
        file: FileName,
    },
    /// Deletes a file.
    Remove {
        /// The file.
        file: FileName,
    },
}

/// Called once, when an operation and all submitted before it are durable, or when the disk has failed. May run on
/// the disk's own thread: it must be short and must not wait.
pub type Completion = Box<dyn FnOnce(Result<(), DiskError>) + Send>;

/// A file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name.
    pub name: FileName,
    /// Its size in bytes.
    pub len: u64,
}

/// One directory of preallocated files.
///
/// **Invariant:** the first failure is final. Everything in flight and everything submitted later
/// completes with that same error; nothing is tried again, because after a failed flush the kernel may have
/// dropped the dirty pages and report success the next time.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Queues `op`. Everything queued goes out together: one write per contiguous run and one durable flush,
    /// with no wait for company and no bound below the queue.
    fn submit(&self, op: Op, done: Option<Completion>);

    /// What is there, sorted by name. Leftovers of interrupted creations are not.
    fn list(&self) -> Result<Vec<FileInfo>, DiskError>;

    /// `len` bytes at `offset`, or fewer at the end of the file. Sees only writes that have completed
    /// their durable flush, perhaps more. Blocks.
    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Vec<u8>, DiskError>;

    /// The file's full name, for messages.
    fn path(&self, file: &FileName) -> PathBuf;
}

/// Hears what the disk did; the owner turns it into metrics. Called on the disk's thread: must be short.
pub trait DiskObserver: fmt::Debug + Send + Sync + 'static {
    /// One durable flush of file data took this long.
    fn synced(&self, took: Duration);
    /// This many bytes were written in this time, zero-filling aside.
    fn wrote(&self, bytes: u64, took: Duration);
    /// The disk has failed for good. Called once.
    fn failed(&self, error: &DiskError);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl DiskObserver for Unobserved {
    fn synced(&self, _: Duration) {}
    fn wrote(&self, _: u64, _: Duration) {}
    fn failed(&self, _: &DiskError) {}
}

/// Waits until `op` and everything before it is durable. For start-up; needs no particular runtime.
pub async fn complete(disk: &dyn Disk, op: Op) -> Result<(), DiskError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let done: Completion = Box::new(move |result| drop(sender.send(result)));
    disk.submit(op, Some(done));
    receiver.await.unwrap_or(Err(DiskError::Closed))
}
