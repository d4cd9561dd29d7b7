//! A file that takes its place only when it is complete and on disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::file_space;

/// What is written goes beside the target; [`commit`](Self::commit) puts it in the target's place.
/// After a crash the target is the old file or the new one. An abandoned one is overwritten by the
/// next.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
}

impl AtomicFile {
    /// Starts a replacement of `target`.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let temporary = temporary(target).ok_or(io::ErrorKind::InvalidInput)?;
        let file = BufWriter::with_capacity(64 << 10, File::create(&temporary)?);
        Ok(Self { target: target.to_owned(), temporary, file })
    }

    /// Removes what an unfinished replacement of `target` left, if it can.
    pub(crate) fn abandon(target: &Path) {
        // It harms nobody if it stays: the next attempt begins with it.
        let _removed = temporary(target).map(fs::remove_file);
    }

    /// Syncs the file, puts it in place and syncs that.
    pub(crate) fn commit(self) -> io::Result<()> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let replaced = File::options().write(true).open(&self.target);
        fs::rename(&self.temporary, &self.target)?;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        // Nobody can open it any more. Should this fail, the blocks go when `replaced` is closed.
        drop(replaced.map(|old| file_space::release(&old)));
        Ok(())
    }
}

fn temporary(target: &Path) -> Option<PathBuf> {
    let mut name = target.file_name()?.to_owned();
    name.push(".new");
    Some(target.with_file_name(name))
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
