//! Inner nodes, and what is known of a subtree without entering it.

use std::sync::Arc;

use super::leaf::Leaf;
use crate::types::Revision;

/// The most children of an inner node.
pub(super) const MAX_CHILDREN: usize = 32;

/// What a subtree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Keys, tombstones included.
    pub(super) entries: usize,
    /// Keys that are not tombstones.
    pub(super) live: usize,
    /// The largest `modified.main`.
    pub(super) max_modified: Revision,
}

impl Summary {
    pub(super) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.live += other.live;
        self.max_modified = self.max_modified.max(other.max_modified);
    }
}

/// A subtree with its summary.
#[derive(Clone)]
pub(super) struct Child {
    pub(super) node: Node,
    pub(super) summary: Summary,
}

#[derive(Clone)]
pub(super) enum Node {
    Leaf(Leaf),
    Inner(Arc<Inner>),
}

/// Children in key order. Child `i` holds the keys from separator `i - 1` on, below separator `i`.
///
/// **Invariant:** never empty; one separator fewer than children; all leaves of a tree are at one depth.
#[derive(Clone)]
pub(super) struct Inner {
    /// Shared by all copies of the node until a child is split or merged.
    pub(super) separators: Arc<Separators>,
    pub(super) children: Vec<Child>,
}

impl Inner {
    /// Which child a key belongs to.
    pub(super) fn slot_for(&self, key: &[u8]) -> usize {
        self.separators.at_or_below(key)
    }

    pub(super) fn child_for(&self, key: &[u8]) -> &Child {
        &self.children[self.slot_for(key)]
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        self.children.iter().for_each(|child| sum.add(&child.summary));
        sum
    }

    pub(super) fn into_child(self) -> Child {
        debug_assert_eq!(self.separators.len() + 1, self.children.len());
        Child { summary: self.summary(), node: Node::Inner(Arc::new(self)) }
    }
}

/// Sorted byte strings in one allocation.
#[derive(Clone, Default)]
pub(super) struct Separators {
    bytes: Box<[u8]>,
    ends: Box<[u32]>,
}

impl Separators {
    pub(super) fn new<'a>(separators: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(MAX_CHILDREN);
        for separator in separators {
            bytes.extend_from_slice(separator);
            // A separator is no longer than a key, and a node has few: far below 4 GiB.
            ends.push(u32::try_from(bytes.len()).expect("separators below 4 GiB"));
        }
        Self { bytes: bytes.into(), ends: ends.into() }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|at| self.get(at))
    }

    /// How many separators are not above `key`.
    fn at_or_below(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// With one more, at `at`.
    pub(super) fn with(&self, at: usize, separator: &[u8]) -> Self {
        let all = self.iter();
        Self::new(all.clone().take(at).chain([separator]).chain(all.skip(at)))
    }

    /// Without the one at `at`.
    pub(super) fn without(&self, at: usize) -> Self {
        Self::new(self.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, s)| s))
    }

    /// Some of them.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self::new(range.map(|at| self.get(at)))
    }
}

/// The shortest byte string above `below` and not above `above`.
pub(super) fn separator<'a>(below: &[u8], above: &'a [u8]) -> &'a [u8] {
    debug_assert!(below < above, "separated keys are in order");
    &above[..=super::draft::common_len(below, above)]
}
