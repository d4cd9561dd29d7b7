//! A helper thread for what the writer must not wait for: zeros ahead, and the next file before it is needed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::UNFINISHED;
use crate::disk::zero_fill::ZeroFill;
use crate::disk::{DiskError, Operation};

/// A preallocated file without a name yet.
#[derive(Debug)]
pub(super) struct Blank {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) zeros: Arc<ZeroFill>,
    pub(super) len: u64,
}

impl Blank {
    /// Reserves `len` bytes, which read as zeros from now on, filled or not.
    pub(super) fn create(path: PathBuf, len: u64) -> Result<Self, DiskError> {
        let create = || -> io::Result<(File, File)> {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
            reserve(&file, len)?;
            let filler = OpenOptions::new().write(true).open(&path)?;
            Ok((file, filler))
        };
        match create() {
            Ok((file, filler)) => {
                let zeros = Arc::new(ZeroFill::new(filler, 0, len));
                Ok(Self { path, file, zeros, len })
            }
            Err(error) => {
                drop(std::fs::remove_file(&path));
                Err(DiskError::io(Operation::Create, &path, &error))
            }
        }
    }
}

fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        // A file system without reservation: the size alone, zeros follow.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

enum Task {
    /// Fill this file, then have a blank of `next_len` ready.
    Ahead { zeros: Arc<ZeroFill>, next_len: u64 },
}

/// The thread and what it has ready.
#[derive(Debug)]
pub(super) struct Helper {
    ready: Arc<Mutex<Option<Blank>>>,
    tasks: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(super) fn start(dir: &Path) -> Result<Self, DiskError> {
        let ready = Arc::new(Mutex::new(None));
        let (tasks, queue) = std::sync::mpsc::sync_channel(16);
        let worker = Worker { dir: dir.to_owned(), ready: Arc::clone(&ready), made: 0 };
        let thread = std::thread::Builder::new()
            .name("log-prepare".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|error| DiskError::io(Operation::Create, dir, &error))?;
        Ok(Self { ready, tasks: Some(tasks), thread: Some(thread) })
    }

    /// The blank file, if one of this size is ready.
    pub(super) fn take(&self, len: u64) -> Option<Blank> {
        let mut ready = self.ready.lock();
        if ready.as_ref().is_some_and(|blank| blank.len == len) { ready.take() } else { None }
    }

    /// From now on, keep ahead of the writer in `zeros`' file and have another of `next_len` ready.
    pub(super) fn ahead(&self, zeros: Arc<ZeroFill>, next_len: u64) {
        let Some(tasks) = &self.tasks else { return };
        match tasks.try_send(Task::Ahead { zeros, next_len }) {
            Ok(()) => {}
            // Far behind: the writer claims for itself, which is correct and only slower.
            Err(TrySendError::Full(_)) => tracing::warn!("zero-filling of log segments is behind"),
            Err(TrySendError::Disconnected(_)) => tracing::warn!("no more zero-filling"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's helper thread panicked");
        }
        if let Some(blank) = self.ready.lock().take() {
            drop(std::fs::remove_file(&blank.path));
        }
    }
}

struct Worker {
    dir: PathBuf,
    ready: Arc<Mutex<Option<Blank>>>,
    made: u64,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Task>) {
        let mut current: Option<(Arc<ZeroFill>, u64)> = None;
        loop {
            // Between two steps look whether there is a newer file to care for, or an end.
            let task = match &current {
                Some(_) => queue.recv_timeout(std::time::Duration::ZERO),
                None => queue.recv().map_err(RecvTimeoutError::from),
            };
            match task {
                Ok(Task::Ahead { zeros, next_len }) => current = Some((zeros, next_len)),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((zeros, next_len)) = &current
                        && !self.step(zeros, *next_len)
                    {
                        current = None;
                    }
                }
            }
        }
    }

    /// One piece of work; false when there is none left.
    fn step(&mut self, zeros: &ZeroFill, next_len: u64) -> bool {
        if fill(zeros) {
            return true;
        }
        let ready = self.ready.lock().as_ref().map(|blank| (blank.len, Arc::clone(&blank.zeros)));
        match ready {
            Some((len, blank)) if len == next_len => fill(&blank),
            Some(_) | None => self.prepare(next_len),
        }
    }

    fn prepare(&mut self, len: u64) -> bool {
        self.made += 1;
        let path = self.dir.join(format!("next-{}{UNFINISHED}", self.made));
        match Blank::create(path, len) {
            Ok(blank) => {
                if let Some(old) = self.ready.lock().replace(blank) {
                    drop(std::fs::remove_file(&old.path));
                }
                true
            }
            Err(error) => {
                // Not fatal yet: the writer makes its own file when it needs one, and fails then.
                tracing::warn!(%error, "cannot prepare the next log segment");
                false
            }
        }
    }
}

fn fill(zeros: &ZeroFill) -> bool {
    zeros.step().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot zero-fill a log segment ahead of the writer");
        false
    })
}
