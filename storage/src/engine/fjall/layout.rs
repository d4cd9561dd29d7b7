//! What must be in an engine's directory before fjall may touch it: fjall creates or removes files
//! where it finds some missing, and would so turn a damaged directory into an empty one.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::archive::damaged;
use crate::engine::Family;
use crate::error::{Fatal, is_no_space};

const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"FJL\x03";
const LOCK_FILE: &str = "lock";
const KEYSPACES_DIR: &str = "keyspaces";
const MANIFEST_FILE: &str = "current";
/// One per family and fjall's own list of them.
const KEYSPACE_DIRS: usize = Family::ALL.len() + 1;

/// Makes a new database where there is none, so that a crash leaves either nothing or all of it:
/// `create` is given a directory beside `path`, which then takes `path`'s place.
pub(super) fn create_once(
    path: &Path,
    create: impl FnOnce(&Path) -> Result<(), Fatal>,
) -> Result<(), Fatal> {
    let io = |error: io::Error| Fatal::io(path, "creating the engine's directory", &error);
    if path.try_exists().map_err(io)? && fs::read_dir(path).map_err(io)?.next().is_some() {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io(io::ErrorKind::InvalidInput.into()));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut staging_name = name.to_owned();
    staging_name.push(".creating");
    let staging = parent.join(staging_name);
    // What an earlier attempt left: it never took its place, so nothing was stored in it.
    if staging.try_exists().map_err(io)? {
        fs::remove_dir_all(&staging).map_err(io)?;
    }
    fs::create_dir_all(&staging).map_err(io)?;
    create(&staging)?;
    fs::rename(&staging, path).map_err(io)?;
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(io)
}

/// Keeps other engines out until it is dropped: a journal that is written to looks torn.
pub(super) fn lock(path: &Path) -> Result<fs::File, Fatal> {
    let file = path.join(LOCK_FILE);
    let io = |error: &io::Error| Fatal::io(&file, "locking the engine's directory", error);
    let lock = fs::File::options().create(true).truncate(false).write(true).open(&file);
    let lock = lock.map_err(|error| io(&error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(locked(path)),
        Err(fs::TryLockError::Error(error)) => Err(io(&error)),
    }
}

/// That another engine is at work here.
pub(super) fn locked(path: &Path) -> Fatal {
    Fatal::Io {
        path: path.to_owned(),
        message: "opening the engine: another process holds the lock".to_owned(),
        no_space: false,
    }
}

/// Refuses a directory that is not complete. Creates and removes nothing.
pub(super) fn check(path: &Path) -> Result<(), Fatal> {
    let version = path.join(VERSION_FILE);
    match fs::read(&version) {
        Ok(bytes) if bytes == VERSION => {}
        Ok(bytes) => {
            let (expected, found) = (format!("{VERSION:?}"), format!("{bytes:?}"));
            return Err(damaged(&version, 0, &expected, &found));
        }
        Err(error) => return Err(unreadable(&version, &error)),
    }
    let io = |error: io::Error| Fatal::io(path, "looking at the engine's directory", &error);
    if journals(path).map_err(io)?.is_empty() {
        return Err(missing(&path.join("*.jnl")));
    }
    for keyspace in keyspaces(path)? {
        let manifest = keyspace.join(MANIFEST_FILE);
        if !manifest.try_exists().map_err(io)? {
            return Err(missing(&manifest));
        }
    }
    Ok(())
}

/// The directories of the keyspaces, of which there must be as many as were made.
pub(super) fn keyspaces(path: &Path) -> Result<Vec<PathBuf>, Fatal> {
    let directory = path.join(KEYSPACES_DIR);
    let listed = fs::read_dir(&directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut keyspaces = listed.map_err(|error| unreadable(&directory, &error))?;
    keyspaces.sort();
    if keyspaces.len() != KEYSPACE_DIRS {
        return Err(Fatal::Corrupt {
            location: directory.display().to_string(),
            expected: format!("{KEYSPACE_DIRS} directories"),
            found: keyspaces.len().to_string(),
        });
    }
    Ok(keyspaces)
}

/// fjall's own keyspace, which does not go through the journal.
pub(super) fn own_keyspace(path: &Path) -> PathBuf {
    path.join(KEYSPACES_DIR).join("0")
}

pub(super) fn missing(what: &Path) -> Fatal {
    Fatal::Corrupt {
        location: what.display().to_string(),
        expected: "part of a database".to_owned(),
        found: "nothing".to_owned(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fatal {
    if error.kind() == io::ErrorKind::NotFound {
        return missing(path);
    }
    Fatal::io(path, "reading", error)
}

/// The journals with their numbers; the last is the one that is written to.
pub(super) fn journals(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if let Some(number) = journal_number(&file) {
            journals.push((number, file));
        }
    }
    journals.sort();
    Ok(journals)
}

/// Where the journal of a number is.
pub(super) fn journal(path: &Path, number: u64) -> PathBuf {
    path.join(format!("{number}.jnl"))
}

/// A journal's number, if the file is one.
pub(super) fn journal_number(file: &Path) -> Option<u64> {
    if file.extension() != Some(OsStr::new("jnl")) {
        return None;
    }
    file.file_stem()?.to_str()?.parse().ok()
}

/// Whether a small file cannot be written for lack of space.
pub(super) fn disk_is_full(path: &Path) -> bool {
    let probe = path.join("space.probe");
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(&vec![1; 1 << 20])?;
        file.sync_data()
    });
    // That the probe cannot be removed changes nothing about the answer.
    let _removed = fs::remove_file(&probe);
    matches!(written, Err(error) if is_no_space(&error))
}
