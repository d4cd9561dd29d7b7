//! A thread for what the writer must not wait for: zeros ahead, the next file before it is needed, and
//! the blocks of removed ones.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use vetch_storage::file_space;

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
    /// Give back what this file occupies; its name says that it is nobody's any more.
    Release { path: PathBuf },
}

/// The thread and what it has ready.
#[derive(Debug)]
pub(super) struct Preparer {
    ready: Arc<Mutex<Option<Blank>>>,
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn start(dir: &Path) -> Result<Self, DiskError> {
        let ready = Arc::new(Mutex::new(None));
        let (tasks, queue) = std::sync::mpsc::channel();
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
        self.ask(Task::Ahead { zeros, next_len });
    }

    /// Gives back the blocks of the file at `path`, which nobody opens any more, and removes it.
    pub(super) fn release(&self, path: PathBuf) {
        self.ask(Task::Release { path });
    }

    fn ask(&self, task: Task) {
        // One task per segment begun or removed, so the queue stays short.
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(task));
        if !matches!(sent, Some(Ok(()))) {
            // Correct all the same: the writer makes its own files, and the next start removes what is left.
            tracing::warn!("the thread that prepares log segments is gone");
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that prepares log segments panicked");
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
        let mut removed = VecDeque::new();
        loop {
            // Between two steps look whether there is a newer file to care for, or an end.
            let idle = current.is_none() && removed.is_empty();
            let task = if idle {
                queue.recv().map_err(|_closed| TryRecvError::Disconnected)
            } else {
                queue.try_recv()
            };
            match task {
                Ok(Task::Ahead { zeros, next_len }) => current = Some((zeros, next_len)),
                Ok(Task::Release { path }) => removed.push_back(path),
                Err(TryRecvError::Disconnected) => {
                    return removed.iter().for_each(|path| release(path));
                }
                Err(TryRecvError::Empty) => {
                    if let Some((zeros, next_len)) = &current {
                        if !self.step(zeros, *next_len) {
                            current = None;
                        }
                    } else if let Some(path) = removed.pop_front() {
                        release(&path);
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

fn release(path: &Path) {
    let released = OpenOptions::new().write(true).open(path);
    let released = released.and_then(|file| file_space::release(&file));
    if let Err(error) = released.and_then(|()| std::fs::remove_file(path)) {
        tracing::warn!(path = %path.display(), %error, "a removed log segment stays until the next start");
    }
}

fn fill(zeros: &ZeroFill) -> bool {
    zeros.step().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot zero-fill a log segment ahead of the writer");
        false
    })
}
