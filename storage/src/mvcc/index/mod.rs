//! The newest record of every key, in memory: a B+tree over user keys whose nodes are shared between
//! versions of the tree (copy-on-write), so that a reader holds an immutable root for the price of a
//! reference count.
//!
//! **Invariants:** entries are in ascending key order; an entry's `modified` never decreases; a
//! tombstone stays until compaction removes it; `live` of a subtree is the number of its entries that
//! are not tombstones; `max_modified` of a subtree is the largest `modified.main` in it, and never
//! too small.

use bytes::Bytes;

use super::key_range::KeyRange;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

/// What is known of a key without touching the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The revision of the key's creation (of its present life).
    pub created: Revision,
    /// The newest change.
    pub modified: RevisionKey,
    /// Puts since creation; 0 on a tombstone.
    pub version: Version,
    /// The lease the key is attached to, or [`LeaseId::NONE`].
    pub lease: LeaseId,
    /// Length of the value in bytes; lets an answer's length be known before its values are read.
    pub value_len: u32,
    /// The newest change is a deletion.
    pub tombstone: bool,
}

/// The tree. `clone` is O(1) and shares everything; a clone never changes under its holder.
#[derive(Clone, Debug, Default)]
pub struct Index {
    // representation: to be written
    entries: imbl::OrdMap<Bytes, IndexEntry>,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of a key, tombstones included.
    pub fn get(&self, key: &[u8]) -> Option<IndexEntry> {
        self.entries.get(key).copied()
    }

    /// Sets the entry of a key.
    pub fn insert(&mut self, key: &Bytes, entry: IndexEntry) {
        self.entries.insert(key.clone(), entry);
    }

    /// Forgets a key: only compaction does, and only of a tombstone.
    pub fn remove(&mut self, key: &[u8]) {
        self.entries.remove(key);
    }

    /// How many live keys a range has. O(log n).
    pub fn count(&self, range: &KeyRange) -> u64 {
        self.range(range).filter(|(_, entry)| !entry.tombstone).count() as u64
    }

    /// All entries of a range in key order, tombstones included.
    pub fn range<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (Bytes, IndexEntry)> + 'a {
        let range = range.clone();
        self.entries
            .range(range.start().clone()..)
            .take_while({
                let range = range.clone();
                move |(key, _)| range.contains(key)
            })
            .map(|(key, entry)| (key.clone(), *entry))
    }

    /// The entries of a range whose newest change is above `since`, tombstones included, in key
    /// order. Skips whole subtrees that have not changed.
    pub fn changed_since<'a>(
        &'a self,
        range: &KeyRange,
        since: Revision,
    ) -> impl Iterator<Item = (Bytes, IndexEntry)> + 'a {
        self.range(range).filter(move |(_, entry)| entry.modified.main > since)
    }

    /// Entries, tombstones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key was ever stored, or all were compacted away.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
