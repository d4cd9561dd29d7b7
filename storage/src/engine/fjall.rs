//! The default engine on disk: fjall, an LSM tree per family under one journal.
//!
//! A batch is one fjall batch over all families, so the journal's checksum makes it atomic; it
//! reaches the operating system before `apply` returns and the disk when `persist` says so. The
//! applied position travels in the same batch under a reserved key. `persist` also notes the durable
//! position in a file of its own, because fjall cuts a journal at the first batch it cannot read: with
//! the note, a flipped byte there is a refusal to start and not a quiet step back in time.
//!
//! fjall says of damage only that there is some. Its files are checked by their format before it may
//! touch them, and searched when it fails: `journal`, `damage`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::fjall::{Database, Error, Keyspace, PersistMode, Readable as _};
use bytes::Bytes;
use parking_lot::Mutex;

pub use super::Options;
use super::durable_mark::DurableMark;
use super::poison::Poison;
use super::{Batch, Bounds, Budget, Change, Engine, Family, Order, Scan, Sizes, covers_nothing};
use crate::error::Fatal;
use crate::types::LogIndex;

mod applied;
mod archive;
mod damage;
mod database;
mod failure;
mod journal;
mod layout;
mod load;
mod manifest;
mod sizes;

use applied::{APPLIED_KEY, Applied};
use database::{Keyspaces, name, open_database};
use failure::to_fatal;

/// So much may wait in the kernel for a sync of the journal: some 10 ms of a disk's time.
const SYNC_AHEAD_BYTES: u64 = 2 << 20;

/// Full buffers of a family that wait for their flush. With one more, fjall puts the writing thread to
/// sleep, 100 ms at a time.
const CONGESTED_BUFFERS: usize = 3;
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);

/// The engine. Share it behind an `Arc`.
pub struct FjallEngine {
    path: PathBuf,
    keyspaces: Keyspaces,
    applied: AtomicU64,
    /// Held from reading the applied position to the commit of a batch that repeats it: a background
    /// batch would set back what another moved meanwhile, and a restart would apply entries twice.
    applying: Mutex<()>,
    /// Bytes ever given to `apply` by this process: tells when cached sizes are stale.
    written: AtomicU64,
    /// What `written` was when the journal was last synced without its lock.
    synced_ahead: AtomicU64,
    sizes: Mutex<sizes::Cached>,
    durable: Mutex<Durable>,
    poison: Poison,
    // Last, so that it outlives the keyspaces: its drop joins the worker threads.
    db: Database,
}

/// What is known to be on disk.
#[derive(Debug)]
struct Durable {
    mark: DurableMark,
    /// How far the journals were read.
    reached: journal::Reached,
}

impl std::fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallEngine")
            .field("path", &self.path)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl FjallEngine {
    /// Opens the engine in a directory, creating it if there is none.
    ///
    /// A directory that lost files or bytes which were durable is refused with [`Fatal::Corrupt`],
    /// and nothing in it is removed.
    pub fn open(path: &Path, options: Options) -> Result<Self, Fatal> {
        layout::create_once(path, |staging| open_database(staging, options).map(drop))?;
        layout::check(path)?;
        let flushed = damage::check_directories(path)?;
        let mark = DurableMark::open(path)?;
        let unused = layout::lock(path)?;
        let reached = journal::prepare(path, mark.journal(), flushed)?;
        drop(unused);
        let fatal = |error| to_fatal(path, "opening the engine", error);
        let (db, keyspaces) = open_database(path, options)?;
        let stored = keyspaces[Family::State.slot()].get(APPLIED_KEY).map_err(fatal)?;
        let applied = applied::position(path, stored.as_deref())?;
        mark.check(applied)?;
        Ok(Self {
            path: path.to_owned(),
            keyspaces,
            applied: AtomicU64::new(applied.get()),
            applying: Mutex::default(),
            written: AtomicU64::new(0),
            synced_ahead: AtomicU64::new(0),
            sizes: Mutex::default(),
            durable: Mutex::new(Durable { mark, reached }),
            poison: Poison::default(),
            db,
        })
    }

    fn keyspace(&self, family: Family) -> &Keyspace {
        &self.keyspaces[family.slot()]
    }

    /// Turns an error into a reason to stop, and refuses writes from now on.
    fn stop(&self, doing: &str, error: Error) -> Fatal {
        self.poison.set(to_fatal(&self.path, doing, error))
    }

    /// Lets background work wait until the engine keeps up, on its own thread: put to sleep by fjall, it
    /// would hold up whoever applies the log.
    fn wait_in_background(&self) {
        while self.is_congested() {
            std::thread::sleep(CONGESTION_PAUSE);
        }
    }

    /// Lets go of full journals, which a restart would have to read again: a family that is rarely
    /// written keeps every journal alive in which it has an unflushed change. A family whose last
    /// buffer still waits for its flush is left alone: fjall stops writes when four are waiting.
    fn release_journals(&self) -> Result<(), Fatal> {
        let waiting = |keyspace: &Keyspace| keyspace.sealed_memtable_count() > 0;
        if self.db.journal_count() < 2 || self.keyspaces.iter().any(waiting) {
            return Ok(());
        }
        for keyspace in &self.keyspaces {
            keyspace.rotate_memtable().map_err(|error| self.stop("flushing a family", error))?;
        }
        Ok(())
    }

    /// Moves what the kernel still holds of the journal to the disk without fjall's journal lock,
    /// so that a sync under the lock, which stops `apply`, finds next to nothing to do. fjall syncs
    /// so before each flush, and `persist` does.
    fn sync_journal_ahead(&self, number: u64) -> Result<(), Fatal> {
        let journal = layout::journal(&self.path, number);
        match std::fs::File::open(&journal).and_then(|file| file.sync_data()) {
            // Full meanwhile, and everything in it is in synced tables.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|error| {
                self.poison.set(Fatal::io(&journal, "syncing the journal", &error))
            }),
        }
    }

    /// See [`SYNC_AHEAD_BYTES`].
    fn sync_ahead_if_due(&self) -> Result<(), Fatal> {
        let written = self.written.load(Ordering::Relaxed);
        if written - self.synced_ahead.load(Ordering::Relaxed) < SYNC_AHEAD_BYTES {
            return Ok(());
        }
        let journals = layout::journals(&self.path).map_err(|error| {
            self.poison.set(Fatal::io(&self.path, "listing the journals", &error))
        })?;
        if let Some((newest, _)) = journals.last() {
            self.sync_journal_ahead(*newest)?;
        }
        self.synced_ahead.store(written, Ordering::Relaxed);
        Ok(())
    }
}

impl Engine for FjallEngine {
    fn apply(&self, batch: Batch) -> Result<(), Fatal> {
        self.poison.check()?;
        if batch.changes.is_empty() && batch.applied.is_none() {
            return Ok(());
        }
        let mut fjall_batch = self.db.batch();
        let mut bytes = 0;
        for change in batch.changes {
            match change {
                Change::Put { family, key, value } => {
                    bytes += key.len() + value.len();
                    fjall_batch.insert(self.keyspace(family), key, value);
                }
                Change::Delete { family, key } => {
                    bytes += key.len();
                    fjall_batch.remove(self.keyspace(family), key);
                }
            }
        }
        if batch.applied.is_none() {
            self.wait_in_background();
        }
        let _turn = self.applying.lock();
        let position = batch.applied.unwrap_or(self.applied());
        assert!(position >= self.applied(), "the applied position never goes back");
        let record = Applied { position, floor: self.db.seqno() };
        fjall_batch.insert(self.keyspace(Family::State), APPLIED_KEY, record.encode());
        fjall_batch.commit().map_err(|error| self.stop("writing a batch", error))?;
        self.applied.store(position.get(), Ordering::Release);
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn load(&self, family: Family, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.poison.check()?;
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        load::into_tables(self.keyspace(family), pairs)
            .map_err(|error| self.stop(&format!("loading {}", name(family)), error))?;
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        match self.keyspace(family).get(key) {
            Ok(value) => Ok(value.map(Bytes::from)),
            Err(error) => Err(self.stop(&format!("reading a key of {}", name(family)), error)),
        }
    }

    fn scan(&self, family: Family, bounds: Bounds, order: Order) -> Scan<'_> {
        if covers_nothing(&bounds) {
            return Box::new(std::iter::empty());
        }
        let mut range = self.db.snapshot().range(self.keyspace(family), bounds);
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            loop {
                if failed {
                    return None;
                }
                let guard = match order {
                    Order::Ascending => range.next()?,
                    Order::Descending => range.next_back()?,
                };
                match guard.into_inner() {
                    Ok((key, _)) if family == Family::State && *key == *APPLIED_KEY => {}
                    Ok((key, value)) => return Some(Ok((key.into(), value.into()))),
                    Err(error) => {
                        failed = true;
                        let doing = format!("scanning {}", name(family));
                        return Some(Err(self.stop(&doing, error)));
                    }
                }
            }
        }))
    }

    fn persist(&self) -> Result<LogIndex, Fatal> {
        let mut durable = self.durable.lock();
        self.poison.check()?;
        let applied = self.applied();
        // What is applied is written, so this is at or after its end; the sync covers it, as does
        // the one of a journal that is full meanwhile.
        let reached =
            journal::follow(&self.path, durable.reached).map_err(|fatal| self.poison.set(fatal))?;
        self.sync_journal_ahead(reached.end.number)?;
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.stop("syncing the journal", error))?;
        let noted = durable.mark.advance(applied, reached.end);
        noted.map_err(|fatal| self.poison.set(fatal))?;
        durable.reached = reached;
        Ok(applied)
    }

    fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    fn sizes(&self) -> Sizes {
        self.sizes.lock().get(
            &self.path,
            &self.db,
            &self.keyspaces,
            self.written.load(Ordering::Relaxed),
        )
    }

    fn maintain(&self, budget: Budget) -> Result<bool, Fatal> {
        let _ = budget;
        self.poison.check()?;
        self.sync_ahead_if_due()?;
        self.release_journals()?;
        Ok(false)
    }

    fn is_congested(&self) -> bool {
        let is_full = |keyspace: &Keyspace| keyspace.sealed_memtable_count() >= CONGESTED_BUFFERS;
        self.keyspaces.iter().any(is_full) && self.poison.check().is_ok()
    }
}

#[cfg(test)]
mod tests;
