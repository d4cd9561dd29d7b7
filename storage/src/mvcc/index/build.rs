//! A tree from entries that are already sorted: each node is packed once.

use std::sync::Arc;

use super::draft::{Draft, MAX_BYTES, MAX_KEYS};
use super::node::{Child, Inner, MAX_CHILDREN, Node, Separators, separator};
use super::{Index, IndexEntry};

/// Room is left in every node, or the first insertion after a restart would split each leaf it meets.
const FILL_KEYS: usize = MAX_KEYS / 6 * 5;
const FILL_BYTES: usize = MAX_BYTES / 6 * 5;
const FILL_CHILDREN: usize = MAX_CHILDREN / 4 * 3;

/// Takes entries in ascending key order.
#[derive(Default)]
pub struct Builder {
    draft: Draft,
    leaves: Vec<Child>,
    /// Between the leaves.
    separators: Vec<Vec<u8>>,
    /// The last key of the last leaf.
    last_key: Vec<u8>,
}

impl Builder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. `false`, and nothing is added, if the key is not above all before.
    #[must_use]
    pub fn push(&mut self, key: &[u8], entry: IndexEntry) -> bool {
        let last = self.draft.last_key().or_else(|| {
            let has_leaves = !self.leaves.is_empty();
            has_leaves.then_some(self.last_key.as_slice())
        });
        if last.is_some_and(|last| last >= key) {
            return false;
        }
        let full = self.draft.len() >= FILL_KEYS
            || (self.draft.len() > 0 && self.draft.key_bytes() + key.len() > FILL_BYTES);
        if full {
            self.finish_leaf();
        }
        self.draft.push(key, entry);
        true
    }

    fn finish_leaf(&mut self) {
        if self.draft.len() == 0 {
            return;
        }
        let (leaf, summary) = self.draft.pack(0..self.draft.len());
        if !self.leaves.is_empty() {
            self.separators.push(separator(&self.last_key, self.draft.key(0)).to_vec());
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(self.draft.last_key().unwrap_or_default());
        self.leaves.push(Child { node: Node::Leaf(leaf), summary });
        self.draft.clear();
    }

    /// The tree.
    pub fn finish(mut self) -> Index {
        self.finish_leaf();
        let (mut level, mut separators) = (self.leaves, self.separators);
        while level.len() > 1 {
            (level, separators) = level_above(level, &separators);
        }
        Index { root: level.pop() }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}

/// Groups nodes under parents of nearly equal size; gives back what separates the parents.
fn level_above(level: Vec<Child>, separators: &[Vec<u8>]) -> (Vec<Child>, Vec<Vec<u8>>) {
    let parents = level.len().div_ceil(FILL_CHILDREN);
    let count = level.len();
    let mut nodes = level.into_iter();
    let mut above = Vec::with_capacity(parents);
    let mut above_separators = Vec::with_capacity(parents);
    let mut start = 0;
    for parent in 1..=parents {
        let end = count * parent / parents;
        let children: Vec<Child> = nodes.by_ref().take(end - start).collect();
        let between = separators[start..end - 1].iter().map(Vec::as_slice);
        let separators_of = Arc::new(Separators::new(between));
        above.push(Inner { separators: separators_of, children }.into_child());
        if end < count {
            above_separators.push(separators[end - 1].clone());
        }
        start = end;
    }
    (above, above_separators)
}
