//! Reading entries in key order.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::IndexEntry;
use super::leaf::{Leaf, Shape};
use super::node::{Child, Inner, Node};
use crate::mvcc::key_range::KeyRange;
use crate::types::Revision;

/// Entries in ascending key order, one at a time, lending the key.
///
/// Holds the nodes on its path, so it outlives the index it came from and sees none of its later
/// changes. Moving within a leaf allocates nothing.
pub struct Cursor {
    /// The way down: each inner node with the slot to look at next.
    path: SmallVec<[(Arc<Inner>, usize); 6]>,
    /// `None` at the end.
    leaf: Option<Leaf>,
    shape: Shape,
    /// The next row, and the first one outside the range or the leaf.
    row: usize,
    rows_end: usize,
    end: Bound<Bytes>,
    /// Only entries modified above this.
    since: Option<Revision>,
    key: Vec<u8>,
}

impl Cursor {
    pub(super) fn new(root: Option<&Child>, range: &KeyRange, since: Option<Revision>) -> Self {
        let end = match range {
            KeyRange::Single(only) => Bound::Included(only.clone()),
            KeyRange::HalfOpen { end, .. } => Bound::Excluded(end.clone()),
            KeyRange::From(_) => Bound::Unbounded,
        };
        let mut cursor = Self {
            path: SmallVec::new(),
            leaf: None,
            shape: Shape::default(),
            row: 0,
            rows_end: 0,
            end,
            since,
            key: Vec::new(),
        };
        if let Some(root) = root {
            cursor.descend(root.clone(), Some(range.start()));
        }
        cursor
    }

    /// The next entry with its key; `None` at the end, and from then on.
    pub fn next_entry(&mut self) -> Option<(&[u8], IndexEntry)> {
        loop {
            let leaf = self.leaf.as_ref()?;
            while self.row < self.rows_end {
                let (bytes, row) = (leaf.bytes(), self.row);
                self.row += 1;
                if self.is_unchanged(self.shape.modified_main(bytes, row)) {
                    continue;
                }
                let entry = self.shape.entry(bytes, row);
                self.key.truncate(self.shape.prefix_len);
                self.key.extend_from_slice(self.shape.suffix(bytes, row));
                return Some((&self.key, entry));
            }
            if self.rows_end < self.shape.count {
                self.leaf = None;
                self.path.clear();
                return None;
            }
            self.next_leaf();
        }
    }

    fn is_unchanged(&self, modified: Revision) -> bool {
        self.since.is_some_and(|since| modified <= since)
    }

    /// Moves to the next leaf that has something to show.
    fn next_leaf(&mut self) {
        self.leaf = None;
        while let Some((inner, slot)) = self.path.last_mut() {
            let Some(child) = inner.children.get(*slot) else {
                self.path.pop();
                continue;
            };
            *slot += 1;
            let child = child.clone();
            if !self.is_unchanged(child.summary.max_modified) {
                self.descend(child, None);
                return;
            }
        }
    }

    /// Goes down to the leaf where `start` is or would be, or to the first.
    fn descend(&mut self, mut child: Child, start: Option<&Bytes>) {
        loop {
            match child.node {
                Node::Inner(inner) => {
                    let slot = start.map_or(0, |start| inner.slot_for(start));
                    child = inner.children[slot].clone();
                    self.path.push((inner, slot + 1));
                    if self.is_unchanged(child.summary.max_modified) {
                        return self.next_leaf();
                    }
                }
                Node::Leaf(leaf) => return self.enter(leaf, start),
            }
        }
    }

    fn enter(&mut self, leaf: Leaf, start: Option<&Bytes>) {
        let (bytes, shape) = (leaf.bytes(), leaf.shape());
        self.row = start.map_or(0, |start| shape.lower_bound(bytes, start));
        self.rows_end = match &self.end {
            Bound::Unbounded => shape.count,
            Bound::Excluded(end) => shape.lower_bound(bytes, end),
            Bound::Included(end) => match shape.search(bytes, end) {
                Ok(row) => row + 1,
                Err(row) => row,
            },
        };
        self.key.clear();
        self.key.extend_from_slice(shape.prefix(bytes));
        self.shape = shape;
        self.leaf = Some(leaf);
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("end", &self.end).finish_non_exhaustive()
    }
}

/// Entries in ascending key order, each with a key of its own.
#[derive(Debug)]
pub struct Entries {
    cursor: Cursor,
}

impl Entries {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor }
    }
}

impl Iterator for Entries {
    type Item = (Bytes, IndexEntry);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, entry) = self.cursor.next_entry()?;
        Some((Bytes::copy_from_slice(key), entry))
    }
}
