//! Opening, listing and reading the directory's files.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Shared, UNFINISHED};
use crate::disk::zero_fill::ZeroFill;
use crate::disk::{DiskError, FileInfo, FileName, Operation};

/// Files that were read or written, kept open until removed or renamed.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(pub(super) HashMap<FileName, Arc<OpenFile>>);

/// One open file, and how far it is filled with zeros.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    /// `None` when the file was there on open: it is taken as filled.
    pub(super) zeros: Option<Arc<ZeroFill>>,
}

pub(super) fn create_dir(dir: &Path) -> Result<(), DiskError> {
    let failed = |error: &io::Error| DiskError::io(Operation::Create, dir, error);
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| DiskError::io(Operation::SyncDirectory, dir, &error))
}

/// Removes what an interrupted creation left: such a file never had its name, so nothing refers to it.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), DiskError> {
    for entry in read_dir(dir)? {
        let path = entry.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(&path)
                .map_err(|error| DiskError::io(Operation::Remove, &path, &error))?;
        }
    }
    Ok(())
}

pub(super) fn list(dir: &Path) -> Result<Vec<FileInfo>, DiskError> {
    let mut files = Vec::new();
    for entry in read_dir(dir)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Not looked at: the preparing thread makes and removes them meanwhile.
        if name.ends_with(UNFINISHED) {
            continue;
        }
        let failed = |error: &io::Error| DiskError::io(Operation::List, &entry.path(), error);
        let metadata = entry.metadata().map_err(|error| failed(&error))?;
        if metadata.is_file() {
            files.push(FileInfo { name: FileName::new(name), len: metadata.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read_dir(dir: &Path) -> Result<Vec<fs::DirEntry>, DiskError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect);
    entries.map_err(|error| DiskError::io(Operation::List, dir, &error))
}

pub(super) fn open(shared: &Shared, file: &FileName) -> Result<Arc<OpenFile>, DiskError> {
    if let Some(open) = shared.files.read().0.get(file) {
        return Ok(Arc::clone(open));
    }
    let path = shared.path(file);
    let opened = OpenOptions::new().read(true).write(true).open(&path);
    let opened = opened.map_err(|error| DiskError::io(Operation::Create, &path, &error))?;
    let open = Arc::new(OpenFile { file: opened, zeros: None });
    // Two openers may race; one of the two files wins and both are the same file.
    let mut files = shared.files.write();
    Ok(Arc::clone(files.0.entry(file.clone()).or_insert(open)))
}

pub(super) fn read(
    shared: &Shared,
    file: &FileName,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, DiskError> {
    let open = open(shared, file)?;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match open.file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::io(Operation::Read, &shared.path(file), &error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
