//! Counting by the summaries of subtrees: one path down per bound, whatever lies between.

use bytes::Bytes;

use super::node::Node;
use super::{Index, IndexEntry};
use crate::mvcc::key_range::KeyRange;

pub(super) fn count(index: &Index, range: &KeyRange) -> usize {
    match range {
        KeyRange::Single(key) => usize::from(index.get(key).is_some_and(|entry| !entry.tombstone)),
        KeyRange::HalfOpen { start, end } if start >= end => 0,
        KeyRange::HalfOpen { start, end } => live_below(index, end) - live_below(index, start),
        KeyRange::From(start) => index.live_len() - live_below(index, start),
    }
}

/// How many live keys are below `key`.
fn live_below(index: &Index, key: &[u8]) -> usize {
    let Some(root) = &index.root else { return 0 };
    let mut node = &root.node;
    let mut live = 0;
    loop {
        match node {
            Node::Inner(inner) => {
                let slot = inner.slot_for(key);
                live +=
                    inner.children[..slot].iter().map(|child| child.summary.live).sum::<usize>();
                node = &inner.children[slot].node;
            }
            Node::Leaf(leaf) => {
                let (bytes, shape) = (leaf.bytes(), leaf.shape());
                return live + shape.live_before(bytes, shape.lower_bound(bytes, key));
            }
        }
    }
}

pub(super) fn nth_live(index: &Index, range: &KeyRange, n: usize) -> Option<(Bytes, IndexEntry)> {
    let below = match range {
        KeyRange::HalfOpen { start, end } if start >= end => return None,
        KeyRange::Single(start) | KeyRange::HalfOpen { start, .. } | KeyRange::From(start) => {
            live_below(index, start)
        }
    };
    let (key, entry) = select(index, below.checked_add(n)?)?;
    range.contains(&key).then_some((key, entry))
}

/// The live key that has `rank` live keys below it.
fn select(index: &Index, mut rank: usize) -> Option<(Bytes, IndexEntry)> {
    let root = index.root.as_ref().filter(|root| rank < root.summary.live)?;
    let mut node = &root.node;
    loop {
        match node {
            Node::Inner(inner) => {
                let child = inner.children.iter().find(|child| {
                    let here = rank < child.summary.live;
                    rank -= if here { 0 } else { child.summary.live };
                    here
                })?;
                node = &child.node;
            }
            Node::Leaf(leaf) => {
                let (bytes, shape) = (leaf.bytes(), leaf.shape());
                let mut live = (0..shape.count).filter(|&row| !shape.is_tombstone(bytes, row));
                let row = live.nth(rank)?;
                let key = [shape.prefix(bytes), shape.suffix(bytes, row)].concat();
                return Some((Bytes::from(key), shape.entry(bytes, row)));
            }
        }
    }
}
