//! What must be in an engine's directory before fjall may touch it: fjall creates or removes files
//! where it finds some missing, and would so turn a damaged directory into an empty one.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::engine::Family;
use crate::error::{Fatal, is_no_space};

const VERSION_FILE: &str = "version";
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

/// Refuses a directory that is not complete. Creates and removes nothing.
pub(super) fn check(path: &Path) -> Result<(), Fatal> {
    let version = path.join(VERSION_FILE);
    let io = |error: io::Error| Fatal::io(path, "looking at the engine's directory", &error);
    if !version.try_exists().map_err(io)? {
        return Err(missing(&version));
    }
    if newest_journal(path).map_err(io)?.is_none() {
        return Err(missing(&path.join("*.jnl")));
    }
    let keyspaces = path.join(KEYSPACES_DIR);
    let mut count = 0;
    for entry in fs::read_dir(&keyspaces).map_err(|error| unreadable(&keyspaces, &error))? {
        let manifest = entry.map_err(io)?.path().join(MANIFEST_FILE);
        if !manifest.try_exists().map_err(io)? {
            return Err(missing(&manifest));
        }
        count += 1;
    }
    if count != KEYSPACE_DIRS {
        return Err(Fatal::Corrupt {
            location: keyspaces.display().to_string(),
            expected: format!("{KEYSPACE_DIRS} directories"),
            found: count.to_string(),
        });
    }
    Ok(())
}

fn missing(what: &Path) -> Fatal {
    Fatal::Corrupt {
        location: what.display().to_string(),
        expected: "part of a database".to_owned(),
        found: "nothing".to_owned(),
    }
}

fn unreadable(directory: &Path, error: &io::Error) -> Fatal {
    if error.kind() == io::ErrorKind::NotFound {
        return missing(directory);
    }
    Fatal::io(directory, "listing", error)
}

/// The journal that is written to.
pub(super) fn newest_journal(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if let Some(number) = journal_number(&file)
            && newest.as_ref().is_none_or(|(best, _)| number > *best)
        {
            newest = Some((number, file));
        }
    }
    Ok(newest.map(|(_, file)| file))
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
