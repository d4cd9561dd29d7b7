//! Folders as a whole: copied, and compared.

use super::error::HarnessError;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Length and hash of every file, by its path below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<PathBuf, (u64, u64)>);

impl Tree {
    /// Reads all of it.
    pub(super) fn of(folder: &Path) -> Result<Self, HarnessError> {
        let mut files = BTreeMap::new();
        for file in files_below(folder)? {
            let read = HarnessError::io(format!("read {}", file.display()));
            let bytes = std::fs::read(folder.join(&file)).map_err(read)?;
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            files.insert(file, (bytes.len() as u64, hasher.finish()));
        }
        Ok(Self(files))
    }

    /// Files below `part` that are not, or not as, in `self` any more; new ones do no harm.
    pub(super) fn lost_in(&self, later: &Self, part: &Path) -> Vec<PathBuf> {
        let files = self.0.iter().filter(|(file, _)| file.starts_with(part));
        let lost = files.filter(|(file, content)| later.0.get(*file) != Some(*content));
        lost.map(|(file, _)| file.clone()).collect()
    }
}

/// All files below a folder, relative to it, sorted.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, HarnessError> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        let listed = || HarnessError::io(format!("list {}", next.display()));
        for entry in std::fs::read_dir(&next).map_err(listed())? {
            let entry = entry.map_err(listed())?;
            if entry.file_type().map_err(listed())?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path().strip_prefix(folder).expect("is below").to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Replaces `to` by a copy of `from`.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), HarnessError> {
    let failed = || HarnessError::io(format!("copy {} to {}", from.display(), to.display()));
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(failed())?;
    }
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).map_err(failed())?;
        let permissions = std::fs::metadata(&from).map_err(failed())?.permissions();
        std::fs::set_permissions(&to, permissions).map_err(failed())?;
        for entry in std::fs::read_dir(&from).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let target = to.join(entry.file_name());
            if entry.file_type().map_err(failed())?.is_dir() {
                folders.push((entry.path(), target));
            } else {
                std::fs::copy(entry.path(), &target).map_err(failed())?;
            }
        }
    }
    Ok(())
}
