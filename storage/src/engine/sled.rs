//! The second engine on disk: sled 0.34, chosen with `--storage-engine=sled`.
//!
//! All families share one tree, told apart by the first byte of the key, because a batch of one tree
//! is atomic in sled without reading what it overwrites, which its transactions over several do.
//! A scan is not isolated: it may show a change that was applied after it was made.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ::sled::{Db, Error, Tree};
use bytes::Bytes;
use parking_lot::Mutex;

use super::durable_mark::{DurableMark, JournalEnd};
use super::poison::Poison;
use super::{
    Batch, Bounds, Budget, Change, Engine, Family, Options, Order, Scan, Sizes, covers_nothing,
};
use crate::error::Fatal;
use crate::types::LogIndex;

/// Outside the families' bytes.
const APPLIED_KEY: &[u8] = b"\xffapplied";
const DATA_FILE: &str = "db";
const BLOB_DIR: &str = "blobs";
const CONFIG_FILE: &str = "conf";
/// Growth that makes a cached size stale.
const STALE_AFTER_BYTES: u64 = 256 << 10;

/// The engine. Share it behind an `Arc`.
#[derive(Debug)]
pub struct SledEngine {
    path: PathBuf,
    tree: Tree,
    applied: AtomicU64,
    written: AtomicU64,
    /// The last answer, and the bytes written when it was computed.
    sizes: Mutex<Option<(u64, Sizes)>>,
    durable: Mutex<Durable>,
    poison: Poison,
    db: Db,
}

/// What is known to be on disk.
#[derive(Debug)]
struct Durable {
    mark: DurableMark,
    /// Blob files are written once, so each is synced once.
    blobs: BTreeSet<OsString>,
}

impl SledEngine {
    /// Opens the engine in a directory, creating it if there is none.
    pub fn open(path: &Path, options: Options) -> Result<Self, Fatal> {
        let durable = Durable { mark: DurableMark::open(path)?, blobs: BTreeSet::new() };
        check_files(path)?;
        let fatal = |error| to_fatal(path, "opening the engine", error);
        let db = ::sled::Config::new()
            .path(path)
            .cache_capacity(options.memory_budget / 2)
            // Only `persist` promises anything, and it flushes.
            .flush_every_ms(None)
            .open()
            .map_err(fatal)?;
        let tree = db.open_tree("state").map_err(fatal)?;
        let stored = tree.get(APPLIED_KEY).map_err(fatal)?;
        let applied = decode_applied(path, stored.as_deref())?;
        durable.mark.check(applied)?;
        Ok(Self {
            path: path.to_owned(),
            tree,
            applied: AtomicU64::new(applied.get()),
            written: AtomicU64::new(0),
            sizes: Mutex::default(),
            durable: Mutex::new(durable),
            poison: Poison::default(),
            db,
        })
    }

    fn stop(&self, doing: &str, error: Error) -> Fatal {
        self.poison.set(to_fatal(&self.path, doing, error))
    }

    /// sled's flush rests on `sync_file_range`, which is no barrier for the disk's own cache nor
    /// for the file's metadata; so sync what it has written.
    fn sync_files(&self, synced: &mut BTreeSet<OsString>) -> io::Result<()> {
        let mut new_blobs = false;
        let blobs = self.path.join(BLOB_DIR);
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&blobs)? {
            let entry = entry?;
            if !synced.contains(&entry.file_name()) {
                match File::open(entry.path()) {
                    Ok(file) => file.sync_all()?,
                    // sled removes blobs nobody refers to any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                new_blobs = true;
            }
            present.insert(entry.file_name());
        }
        *synced = present;
        if new_blobs {
            File::open(&blobs)?.sync_all()?;
        }
        File::open(self.path.join(DATA_FILE))?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }
}

impl Engine for SledEngine {
    fn apply(&self, batch: Batch) -> Result<(), Fatal> {
        self.poison.check()?;
        let mut sled_batch = ::sled::Batch::default();
        let mut bytes = 0;
        for change in batch.changes {
            match change {
                Change::Put { family, key, value } => {
                    bytes += key.len() + value.len();
                    sled_batch.insert(family_key(family, &key), &*value);
                }
                Change::Delete { family, key } => {
                    bytes += key.len();
                    sled_batch.remove(family_key(family, &key));
                }
            }
        }
        if let Some(applied) = batch.applied {
            assert!(applied >= self.applied(), "the applied position never goes back");
            sled_batch.insert(APPLIED_KEY, &applied.get().to_be_bytes());
        }
        self.tree.apply_batch(sled_batch).map_err(|error| self.stop("writing a batch", error))?;
        if let Some(applied) = batch.applied {
            self.applied.store(applied.get(), Ordering::Release);
        }
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        match self.tree.get(family_key(family, key)) {
            Ok(value) => Ok(value.map(|value| Bytes::copy_from_slice(&value))),
            Err(error) => Err(self.stop("reading a key", error)),
        }
    }

    fn scan(&self, family: Family, bounds: Bounds, order: Order) -> Scan<'_> {
        if covers_nothing(&bounds) {
            return Box::new(std::iter::empty());
        }
        let mut range = self.tree.range(family_bounds(family, bounds));
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let pair = match order {
                Order::Ascending => range.next()?,
                Order::Descending => range.next_back()?,
            };
            Some(match pair {
                Ok((key, value)) => {
                    Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)))
                }
                Err(error) => {
                    failed = true;
                    Err(self.stop("scanning", error))
                }
            })
        }))
    }

    fn persist(&self) -> Result<LogIndex, Fatal> {
        let mut durable = self.durable.lock();
        self.poison.check()?;
        let applied = self.applied();
        self.db.flush().map_err(|error| self.stop("flushing", error))?;
        self.sync_files(&mut durable.blobs)
            .map_err(|error| self.stop("syncing the files", Error::Io(error)))?;
        let no_journal = JournalEnd::default();
        durable.mark.advance(applied, no_journal).map_err(|fatal| self.poison.set(fatal))?;
        Ok(applied)
    }

    fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// sled does not tell live bytes from dead ones; both figures are those of its files.
    fn sizes(&self) -> Sizes {
        let mut cached = self.sizes.lock();
        let written = self.written.load(Ordering::Relaxed);
        match *cached {
            Some((at, sizes)) if written - at < STALE_AFTER_BYTES => sizes,
            Some(_) | None => {
                let bytes = self.db.size_on_disk().unwrap_or_default();
                let sizes = Sizes { live: bytes, on_disk: bytes };
                *cached = Some((written, sizes));
                sizes
            }
        }
    }

    /// sled reclaims space while it writes; there is nothing to ask of it.
    fn maintain(&self, _budget: Budget) -> Result<bool, Fatal> {
        self.poison.check().map(|()| false)
    }
}

/// The applied position of a stored record; a new database has none.
fn decode_applied(path: &Path, stored: Option<&[u8]>) -> Result<LogIndex, Fatal> {
    let Some(bytes) = stored else { return Ok(LogIndex(0)) };
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(LogIndex(u64::from_be_bytes(bytes))),
        Err(_) => Err(Fatal::Corrupt {
            location: format!("{}, applied position", path.display()),
            expected: "8 bytes".to_owned(),
            found: format!("{} bytes", bytes.len()),
        }),
    }
}

/// A directory that was used before and has lost its data file would be filled anew.
fn check_files(path: &Path) -> Result<(), Fatal> {
    let exists = |name: &str| {
        let file = path.join(name);
        file.try_exists().map_err(|error| Fatal::io(&file, "looking for a file", &error))
    };
    if exists(CONFIG_FILE)? && !exists(DATA_FILE)? {
        return Err(Fatal::Corrupt {
            location: path.join(DATA_FILE).display().to_string(),
            expected: "the engine's data".to_owned(),
            found: "no file".to_owned(),
        });
    }
    Ok(())
}

fn family_byte(family: Family) -> u8 {
    match family {
        Family::Versions => 0,
        Family::Revisions => 1,
        Family::State => 2,
    }
}

fn family_key(family: Family, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(family_byte(family));
    bytes.extend_from_slice(key);
    bytes
}

fn family_bounds(family: Family, (start, end): Bounds) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match start {
        Bound::Unbounded => Bound::Included(vec![family_byte(family)]),
        bound @ (Bound::Included(_) | Bound::Excluded(_)) => {
            bound.map(|key| family_key(family, &key))
        }
    };
    let end = match end {
        Bound::Unbounded => Bound::Excluded(vec![family_byte(family) + 1]),
        bound @ (Bound::Included(_) | Bound::Excluded(_)) => {
            bound.map(|key| family_key(family, &key))
        }
    };
    (start, end)
}

fn to_fatal(path: &Path, doing: &str, error: Error) -> Fatal {
    let corrupt = |found: String| Fatal::Corrupt {
        location: format!("{} ({doing})", path.display()),
        expected: "a readable database".to_owned(),
        found,
    };
    match error {
        Error::Io(error) => Fatal::io(path, doing, &error),
        Error::Corruption { at, .. } => corrupt(format!("damage at {at:?}")),
        error
        @ (Error::CollectionNotFound(_) | Error::Unsupported(_) | Error::ReportableBug(_)) => {
            corrupt(error.to_string())
        }
    }
}
