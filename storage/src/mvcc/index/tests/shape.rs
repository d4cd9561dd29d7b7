//! Sizes, sharing and pruning at a scale where they show.

use bytes::Bytes;

use super::{Model, all, check, entry};
use crate::mvcc::index::Index;
use crate::mvcc::index::node::{Child, Node};
use crate::mvcc::key_range::KeyRange;
use crate::types::{LeaseId, Revision, Version};

fn key(n: u64) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace-{:03}/pod-{n:016x}", n % 50))
}

/// Nodes, leaf bytes and leaves of a subtree.
fn measure(child: &Child) -> (usize, usize) {
    match &child.node {
        Node::Leaf(leaf) => (leaf.bytes().len(), 1),
        Node::Inner(inner) => inner
            .children
            .iter()
            .map(measure)
            .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1)),
    }
}

#[test]
fn insertion_in_order_fills_the_leaves() {
    let (mut index, mut model) = (Index::new(), Model::new());
    for n in 0..20_000 {
        let key = Bytes::from(format!("{n:08}"));
        index.insert(&key, entry(n));
        model.insert(key, entry(n));
    }
    check(&index, &model);
    let (_, leaves) = measure(index.root.as_ref().unwrap());
    assert!(leaves < 20_000 / 90, "{leaves} leaves");
}

#[test]
fn a_key_takes_few_bytes() {
    let mut index = Index::new();
    // A multiplicative generator visits each residue once, in no order a tree would like.
    let mut n = 1_u64;
    for revision in 2..50_002 {
        n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        index.insert(&key(n), entry(revision));
    }
    let (bytes, leaves) = measure(index.root.as_ref().unwrap());
    assert!(bytes / index.len() <= 36, "{} bytes per key", bytes / index.len());
    assert!(index.len() / leaves >= 56, "{} keys per leaf", index.len() / leaves);
}

#[test]
fn long_keys_do_not_make_long_leaves() {
    let mut index = Index::new();
    for n in 0..400_u32 {
        let mut key = vec![0; 900];
        key[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        key[899] = 1;
        index.insert(&Bytes::from(key), entry(2));
    }
    let (bytes, leaves) = measure(index.root.as_ref().unwrap());
    assert!(bytes / leaves < 9000, "{} bytes per leaf", bytes / leaves);
}

#[test]
fn one_very_long_key_is_a_key_like_others() {
    let (mut index, mut model) = (Index::new(), Model::new());
    for (n, len) in [1_500_000, 3, 1, 1_400_000, 70_000, 2].into_iter().enumerate() {
        let key = Bytes::from(vec![u8::try_from(n).unwrap(); len]);
        index.insert(&key, entry(2));
        model.insert(key, entry(2));
    }
    check(&index, &model);
    for key in model.keys() {
        assert_eq!(index.get(key), Some(entry(2)));
    }
}

#[test]
fn a_change_leaves_clones_alone_and_shares_the_rest() {
    let mut index = Index::new();
    for n in 0..10_000 {
        index.insert(&key(n), entry(2));
    }
    let before = index.clone();
    index.insert(&key(77), entry(9));
    assert_eq!(before.get(&key(77)), Some(entry(2)));
    assert_eq!(index.get(&key(77)), Some(entry(9)));
    let shared = |a: &Child, b: &Child| match (&a.node, &b.node) {
        (Node::Inner(a), Node::Inner(b)) => {
            a.children
                .iter()
                .zip(&b.children)
                .filter(|(a, b)| match (&a.node, &b.node) {
                    (Node::Leaf(a), Node::Leaf(b)) => std::sync::Arc::ptr_eq(&a.0, &b.0),
                    (Node::Inner(a), Node::Inner(b)) => std::sync::Arc::ptr_eq(a, b),
                    _ => false,
                })
                .count()
                + 1
                == a.children.len()
        }
        _ => false,
    };
    assert!(shared(before.root.as_ref().unwrap(), index.root.as_ref().unwrap()));
}

#[test]
fn every_field_can_be_overwritten() {
    let mut index = Index::new();
    let mut model = Model::new();
    for n in 0..200 {
        index.insert(&key(n), entry(2));
        model.insert(key(n), entry(2));
    }
    let mut next = entry(300);
    for step in 0..60_i64 {
        next.modified.main = Revision(300 + step * step * step);
        next.modified.sub = u32::from(step % 3 == 0) * 7;
        next.created = Revision(if step % 7 == 0 { 0 } else { 250 });
        next.version = Version(step * 100);
        next.lease = LeaseId(if step % 4 < 2 { -5 } else { 0 });
        next.value_len = 1 << (step % 31);
        next.tombstone = step % 5 == 0;
        index.insert(&key(120), next);
        model.insert(key(120), next);
        check(&index, &model);
    }
}

#[test]
fn changed_since_sees_only_what_changed() {
    let mut index = Index::new();
    for n in 0..50_000 {
        index.insert(&key(n), entry(2));
    }
    for n in [5, 49_999, 31_000] {
        index.insert(&key(n), entry(3));
    }
    let changed: Vec<Bytes> =
        index.changed_since(&all(), Revision(2)).map(|(key, _)| key).collect();
    let mut expected = vec![key(5), key(49_999), key(31_000)];
    expected.sort();
    assert_eq!(changed, expected);
    assert_eq!(index.changed_since(&all(), Revision(3)).count(), 0);
    assert_eq!(index.max_modified(), Revision(3));
}

#[test]
fn a_cursor_outlives_its_index() {
    let mut index = Index::new();
    for n in 0..1000 {
        index.insert(&key(n), entry(2));
    }
    let start = key(0);
    let mut cursor = index.cursor(&KeyRange::From(start.clone()));
    index.insert(&start, entry(5));
    drop(index);
    assert_eq!(cursor.next_entry(), Some((start.as_ref(), entry(2))));
    let mut left = 0;
    while cursor.next_entry().is_some() {
        left += 1;
    }
    assert!(left > 0 && cursor.next_entry().is_none());
}
