//! The writer thread: takes the whole queue, writes it, flushes once, completes all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::files::{self, OpenFile};
use super::prepare::{Blank, Preparer};
use super::{Request, Shared, UNFINISHED};
use crate::disk::{Completion, DiskError, FileName, Op, Operation};

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    preparer: Preparer,
    /// Written since their last flush.
    dirty: BTreeSet<FileName>,
    run: Run,
}

/// Writes that touch end to end, gathered into one.
#[derive(Debug, Default)]
struct Run {
    file: Option<FileName>,
    offset: u64,
    bytes: Vec<u8>,
}

/// A gathering buffer beyond this is given back after use.
const KEPT_BUFFER: usize = 4 << 20;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, DiskError> {
        let preparer = Preparer::start(&shared.dir)?;
        Ok(Self { shared, preparer, dirty: BTreeSet::new(), run: Run::default() })
    }

    pub(super) fn run(mut self) {
        let mut taken = Vec::new();
        let mut waiting: Vec<Completion> = Vec::new();
        while self.take(&mut taken) {
            let result = self.process(taken.drain(..), &mut waiting);
            match result {
                Ok(()) => waiting.drain(..).for_each(|done| done(Ok(()))),
                Err(error) => return self.fail(&error, waiting),
            }
        }
    }

    /// Waits for work; false when the disk closes and nothing is left.
    fn take(&self, taken: &mut Vec<Request>) -> bool {
        let mut queue = self.shared.queue.lock();
        while queue.requests.is_empty() {
            if queue.closing {
                return false;
            }
            self.shared.wake.wait(&mut queue);
        }
        std::mem::swap(&mut queue.requests, taken);
        true
    }

    /// All completions of the batch land in `waiting`, also when it fails half way.
    fn process(
        &mut self,
        requests: impl Iterator<Item = Request>,
        waiting: &mut Vec<Completion>,
    ) -> Result<(), DiskError> {
        let mut result = Ok(());
        for Request { op, done } in requests {
            waiting.extend(done);
            if result.is_ok() {
                result = self.apply(op);
            }
        }
        result?;
        self.finish()
    }

    fn apply(&mut self, op: Op) -> Result<(), DiskError> {
        match op {
            Op::Write { file, offset, bytes } => self.gather(file, offset, bytes),
            Op::Sync { file } => {
                self.dirty.insert(file);
                self.finish().and_then(|()| files::sync_dir(&self.shared.dir))
            }
            Op::Create { file, len, head } => {
                self.finish().and_then(|()| self.create(&file, len, &head))
            }
            Op::Rename { from, to } => self.finish().and_then(|()| self.rename(&from, &to)),
            Op::Remove { file } => self.finish().and_then(|()| self.remove(&file)),
        }
    }

    fn gather(&mut self, file: FileName, offset: u64, bytes: Vec<u8>) -> Result<(), DiskError> {
        let run = &mut self.run;
        if run.file.as_ref() == Some(&file) && run.offset + run.bytes.len() as u64 == offset {
            run.bytes.extend_from_slice(&bytes);
            return Ok(());
        }
        self.write_run()?;
        self.run = Run { file: Some(file), offset, bytes };
        Ok(())
    }

    fn write_run(&mut self) -> Result<(), DiskError> {
        let Some(file) = self.run.file.take() else { return Ok(()) };
        let open = files::open(&self.shared, &file)?;
        let Run { offset, bytes, .. } = &mut self.run;
        if let Some(zeros) = &open.zeros {
            zeros.claim(*offset + bytes.len() as u64);
        }
        let start = Instant::now();
        open.file
            .write_all_at(bytes, *offset)
            .map_err(|error| self.shared.failure(Operation::Write, &file, &error))?;
        self.shared.observer.wrote(bytes.len() as u64, start.elapsed());
        bytes.clear();
        bytes.shrink_to(KEPT_BUFFER);
        self.dirty.insert(file);
        Ok(())
    }

    /// Everything gathered is written and durable.
    fn finish(&mut self) -> Result<(), DiskError> {
        self.write_run()?;
        while let Some(file) = self.dirty.pop_first() {
            let open = files::open(&self.shared, &file)?;
            let start = Instant::now();
            open.file
                .sync_data()
                .map_err(|error| self.shared.failure(Operation::Sync, &file, &error))?;
            self.shared.observer.synced(start.elapsed());
        }
        Ok(())
    }

    /// The file gets its name only when it is complete, so a crash leaves either all of it or a leftover.
    fn create(&mut self, file: &FileName, len: u64, head: &[u8]) -> Result<(), DiskError> {
        let blank = match self.preparer.take(len) {
            Some(blank) => blank,
            None => Blank::create(self.shared.dir.join(format!("{file}{UNFINISHED}")), len)?,
        };
        let failed = |operation, error: &_| DiskError::io(operation, &blank.path, error);
        blank.zeros.claim(head.len() as u64);
        blank.file.write_all_at(head, 0).map_err(|error| failed(Operation::Write, &error))?;
        // The size and the reserved blocks are metadata: this once, all of it is flushed.
        blank.file.sync_all().map_err(|error| failed(Operation::Sync, &error))?;
        let path = self.shared.path(file);
        fs::rename(&blank.path, &path)
            .map_err(|error| DiskError::io(Operation::Rename, &path, &error))?;
        files::sync_dir(&self.shared.dir)?;
        self.preparer.ahead(Arc::clone(&blank.zeros), len);
        let open = OpenFile { file: blank.file, zeros: Some(blank.zeros) };
        self.shared.files.write().0.insert(file.clone(), Arc::new(open));
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let (old, new): (PathBuf, PathBuf) = (self.shared.path(from), self.shared.path(to));
        fs::rename(&old, &new).map_err(|error| DiskError::io(Operation::Rename, &old, &error))?;
        files::sync_dir(&self.shared.dir)?;
        let mut files = self.shared.files.write();
        files.0.remove(to);
        if let Some(open) = files.0.remove(from) {
            files.0.insert(to.clone(), open);
        }
        Ok(())
    }

    /// Only the name goes here: to free the blocks of a whole segment takes the device tens of milliseconds.
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        let path = self.shared.path(file);
        let removed = self.shared.dir.join(format!("{file}.removed{UNFINISHED}"));
        fs::rename(&path, &removed)
            .map_err(|error| DiskError::io(Operation::Remove, &path, &error))?;
        files::sync_dir(&self.shared.dir)?;
        self.shared.files.write().0.remove(file);
        self.preparer.release(removed);
        Ok(())
    }

    /// Nothing is tried again: refuses all that waits and all that will come.
    fn fail(self, error: &DiskError, waiting: Vec<Completion>) {
        tracing::error!(%error, "the log's disk has failed");
        let left = {
            let mut queue = self.shared.queue.lock();
            queue.failed = Some(error.clone());
            std::mem::take(&mut queue.requests)
        };
        self.shared.observer.failed(error);
        let left = left.into_iter().filter_map(|request| request.done);
        waiting.into_iter().chain(left).for_each(|done| done(Err(error.clone())));
    }
}

impl Shared {
    fn failure(&self, operation: Operation, file: &FileName, error: &std::io::Error) -> DiskError {
        DiskError::io(operation, &self.path(file), error)
    }
}
