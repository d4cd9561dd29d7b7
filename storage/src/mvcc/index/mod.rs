//! The newest record of every key, in memory: a B+tree over user keys whose nodes are shared between
//! versions of the tree (copy-on-write), so that a reader holds an immutable root for the price of a
//! reference count.
//!
//! **Invariants:** entries are in ascending key order; an entry's `modified` never decreases; a
//! tombstone stays until compaction removes it; `live` of a subtree is the number of its entries that
//! are not tombstones; `max_modified` of a subtree is the largest `modified.main` in it, and never
//! too small.
//!
//! - `leaf`: some 64 keys packed into one immutable run of bytes.
//! - `draft`: a leaf under construction.
//! - `node`: inner nodes, their separators and the summaries of subtrees.
//! - `edit`: insertion and removal along one path.
//! - `cursor`: reading in key order.
//! - `rank`: counting without reading.
//! - `build`: a tree from entries that are already sorted.
//! - [`checkpoint`]: the entries in a file.

use bytes::Bytes;

use super::key_range::KeyRange;
use crate::types::{LeaseId, Revision, RevisionKey, Version};
use node::{Child, Node};

mod build;
pub mod checkpoint;
mod cursor;
mod draft;
mod edit;
mod leaf;
mod node;
mod rank;
#[cfg(test)]
mod tests;

pub use build::Builder;
pub use cursor::{Cursor, Entries};

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
///
/// Several changes between two clones copy the nodes of their paths only once. Dropping a clone frees
/// what only it still held: little after a few changes, every node when it is the last that is left
/// (some 10 ms per million keys). Who may hold the last one hands it to a thread that may wait; an
/// `Index` is `Send`.
#[derive(Clone, Default)]
pub struct Index {
    /// `None` when empty: there are no empty nodes.
    root: Option<Child>,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of a key, tombstones included. O(log n).
    pub fn get(&self, key: &[u8]) -> Option<IndexEntry> {
        let mut node = &self.root.as_ref()?.node;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.child_for(key).node,
                Node::Leaf(leaf) => return leaf.get(key),
            }
        }
    }

    /// Sets the entry of a key. O(log n).
    pub fn insert(&mut self, key: &Bytes, entry: IndexEntry) {
        edit::insert(&mut self.root, key, &entry);
    }

    /// Forgets a key: only compaction does, and only of a tombstone. O(log n).
    pub fn remove(&mut self, key: &[u8]) {
        // Looked up first, so that removing nothing copies nothing.
        if self.get(key).is_some() {
            edit::remove(&mut self.root, key);
        }
    }

    /// How many live keys a range has. O(log n).
    pub fn count(&self, range: &KeyRange) -> u64 {
        rank::count(self, range) as u64
    }

    /// The `n`-th live key of a range, counted from 0, in key order. O(log n).
    pub fn nth_live(&self, range: &KeyRange, n: u64) -> Option<(Bytes, IndexEntry)> {
        rank::nth_live(self, range, usize::try_from(n).ok()?)
    }

    /// All entries of a range in key order, tombstones included.
    pub fn range(&self, range: &KeyRange) -> Entries {
        Entries::new(self.cursor(range))
    }

    /// The entries of a range whose newest change is above `since`, tombstones included, in key
    /// order. Skips whole subtrees that have not changed.
    pub fn changed_since(&self, range: &KeyRange, since: Revision) -> Entries {
        Entries::new(self.cursor_since(range, since))
    }

    /// Like [`range`](Self::range), lending the keys instead of allocating each.
    pub fn cursor(&self, range: &KeyRange) -> Cursor {
        Cursor::new(self.root.as_ref(), range, None)
    }

    /// Like [`changed_since`](Self::changed_since), lending the keys instead of allocating each.
    pub fn cursor_since(&self, range: &KeyRange, since: Revision) -> Cursor {
        Cursor::new(self.root.as_ref(), range, Some(since))
    }

    /// Entries, tombstones included.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.summary.entries)
    }

    /// Entries that are not tombstones.
    pub fn live_len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.summary.live)
    }

    /// The largest main revision any entry was modified at, or 0 in an empty index.
    pub fn max_modified(&self) -> Revision {
        self.root.as_ref().map_or(Revision(0), |root| root.summary.max_modified)
    }

    /// Whether no key was ever stored, or all were compacted away.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("entries", &self.len())
            .field("live", &self.live_len())
            .finish_non_exhaustive()
    }
}
