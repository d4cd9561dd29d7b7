//! The tree against a `BTreeMap`, node invariants after every change, and the checkpoint file.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::node::{Child, Node, Summary};
use super::{Builder, Index, IndexEntry};
use crate::mvcc::key_range::KeyRange;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

mod checkpoint;
mod model;
mod shape;

pub(super) type Model = BTreeMap<Bytes, IndexEntry>;

pub(super) fn entry(main: i64) -> IndexEntry {
    IndexEntry {
        created: Revision(main),
        modified: RevisionKey { main: Revision(main), sub: 0 },
        version: Version(1),
        lease: LeaseId::NONE,
        value_len: 256,
        tombstone: false,
    }
}

pub(super) fn all() -> KeyRange {
    KeyRange::From(Bytes::new())
}

pub(super) fn build(model: &Model) -> Index {
    let mut builder = Builder::new();
    for (key, entry) in model {
        assert!(builder.push(key, *entry));
    }
    builder.finish()
}

/// Everything the module promises about a tree, against what it must contain.
pub(super) fn check(index: &Index, model: &Model) {
    let entries: Vec<_> = index.range(&all()).collect();
    let expected: Vec<_> = model.iter().map(|(key, entry)| (key.clone(), *entry)).collect();
    assert_eq!(entries, expected);
    assert_eq!(index.len(), model.len());
    assert_eq!(index.live_len(), model.values().filter(|entry| !entry.tombstone).count());
    assert_eq!(index.is_empty(), model.is_empty());
    if let Some(root) = &index.root {
        check_node(root, None, None);
    }
}

/// Summaries are exact sums, keys stay between their separators, leaves are at one depth. Gives the
/// depth.
fn check_node(child: &Child, from: Option<&[u8]>, to: Option<&[u8]>) -> usize {
    match &child.node {
        Node::Leaf(leaf) => {
            let (bytes, shape) = (leaf.bytes(), leaf.shape());
            let mut summary = Summary::default();
            for row in 0..shape.count {
                let key = [shape.prefix(bytes), shape.suffix(bytes, row)].concat();
                assert!(from.is_none_or(|from| from <= key.as_slice()));
                assert!(to.is_none_or(|to| key.as_slice() < to));
                let entry = shape.entry(bytes, row);
                summary.add(&Summary {
                    entries: 1,
                    live: usize::from(!entry.tombstone),
                    max_modified: entry.modified.main,
                });
            }
            assert!(shape.count > 0, "no leaf is empty");
            assert_eq!(summary, child.summary);
            1
        }
        Node::Inner(inner) => {
            assert_eq!(inner.separators.len() + 1, inner.children.len());
            assert!(inner.children.len() <= super::node::MAX_CHILDREN);
            let depths: Vec<usize> = (0..inner.children.len())
                .map(|slot| {
                    let from = if slot == 0 { from } else { Some(inner.separators.get(slot - 1)) };
                    let last = slot + 1 == inner.children.len();
                    let to = if last { to } else { Some(inner.separators.get(slot)) };
                    check_node(&inner.children[slot], from, to)
                })
                .collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]), "leaves at one depth");
            assert_eq!(inner.summary(), child.summary);
            depths[0] + 1
        }
    }
}

/// Keys that share prefixes of all lengths, some of them long, some prefixes of others.
pub(super) fn keys() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (0..4_u8, 0..600_u32).prop_map(|(kind, n)| {
            Bytes::from(format!("/registry/{}/namespace/{n:05}", ["a", "pods", "leases", ""][kind as usize]))
        }),
        2 => proptest::collection::vec(0..3_u8, 0..6).prop_map(Bytes::from),
        1 => (1..2000_usize, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len])),
    ]
}

pub(super) fn entries() -> impl Strategy<Value = IndexEntry> {
    let revision = prop_oneof![0..300_i64, 0..1_i64 << 40, Just(i64::MAX - 1)];
    let lease = prop_oneof![6 => Just(0_i64), 1 => any::<i64>()];
    let sub = prop_oneof![3 => Just(0_u32), 1 => any::<u32>()];
    (revision, 0..50_i64, sub, any::<u16>(), lease, any::<u32>(), proptest::bool::weighted(0.15))
        .prop_map(|(modified, age, sub, version, lease, value_len, tombstone)| IndexEntry {
            created: Revision(if tombstone { 0 } else { (modified - age).max(0) }),
            modified: RevisionKey { main: Revision(modified), sub },
            version: Version(if tombstone { 0 } else { i64::from(version) }),
            lease: LeaseId(if tombstone { 0 } else { lease }),
            value_len: if tombstone { 0 } else { value_len },
            tombstone,
        })
}

pub(super) fn ranges() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        keys().prop_map(KeyRange::Single),
        keys().prop_map(KeyRange::From),
        (keys(), keys()).prop_map(|(start, end)| KeyRange::HalfOpen { start, end }),
    ]
}
