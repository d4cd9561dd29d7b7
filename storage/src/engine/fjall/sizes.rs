//! Sizes without fjall's journal lock, which a sync may hold for long.

use std::fs;
use std::path::Path;

use ::fjall::{Database, Keyspace};

use super::layout::journal_number;
use crate::engine::Sizes;

/// Growth that makes a cached answer stale.
const STALE_AFTER_BYTES: u64 = 256 << 10;

/// The last answer and what it was computed at.
#[derive(Debug, Default)]
pub(super) struct Cached {
    written: u64,
    compactions: usize,
    sizes: Option<Sizes>,
}

impl Cached {
    /// The sizes now, recomputed when enough was written or a compaction ended since.
    pub(super) fn get(
        &mut self,
        path: &Path,
        db: &Database,
        keyspaces: &[Keyspace],
        written: u64,
    ) -> Sizes {
        let compactions = db.compactions_completed();
        if let Some(sizes) = self.sizes
            && compactions == self.compactions
            && written - self.written < STALE_AFTER_BYTES
        {
            return sizes;
        }
        let tables: u64 = keyspaces.iter().map(Keyspace::disk_space).sum();
        let sizes =
            Sizes { live: tables + db.write_buffer_size(), on_disk: tables + journal_bytes(path) };
        *self = Self { written, compactions, sizes: Some(sizes) };
        sizes
    }
}

/// What the journals really occupy: they are longer than what is in them.
fn journal_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter(|entry| journal_number(&entry.path()).is_some())
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}
