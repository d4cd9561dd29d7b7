//! Random changes and questions, answered by a `BTreeMap` too.

use super::{Model, all, build, check, entries, keys, ranges};
use crate::mvcc::index::{Index, IndexEntry};
use crate::mvcc::key_range::KeyRange;
use crate::types::Revision;
use bytes::Bytes;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Change {
    Insert(Bytes, IndexEntry),
    Remove(prop::sample::Index),
    Clone,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        20 => (keys(), entries()).prop_map(|(key, entry)| Change::Insert(key, entry)),
        6 => any::<prop::sample::Index>().prop_map(Change::Remove),
        1 => Just(Change::Clone),
    ];
    proptest::collection::vec(change, 0..700)
}

/// `modified` never decreases: the model's entries obey what the index relies on.
fn admissible(model: &Model, key: &Bytes, mut entry: IndexEntry) -> IndexEntry {
    if let Some(old) = model.get(key) {
        entry.modified.main = entry.modified.main.max(old.modified.main);
    }
    entry
}

fn run(index: &mut Index, model: &mut Model, changes: Vec<Change>) -> Vec<(Index, Model)> {
    let mut clones = Vec::new();
    for change in changes {
        match change {
            Change::Insert(key, entry) => {
                let entry = admissible(model, &key, entry);
                index.insert(&key, entry);
                model.insert(key, entry);
            }
            Change::Remove(at) if !model.is_empty() => {
                let key = model.keys().nth(at.index(model.len())).unwrap().clone();
                index.remove(&key);
                model.remove(&key);
            }
            Change::Remove(_) => index.remove(b"absent"),
            Change::Clone => clones.push((index.clone(), model.clone())),
        }
    }
    clones
}

fn expected(model: &Model, range: &KeyRange) -> Vec<(Bytes, IndexEntry)> {
    let inside = model.iter().filter(|(key, _)| range.contains(key));
    inside.map(|(key, entry)| (key.clone(), *entry)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn equals_a_sorted_map(first in changes(), second in changes(), ranges in proptest::collection::vec(ranges(), 20)) {
        let (mut index, mut model) = (Index::new(), Model::new());
        let mut clones = run(&mut index, &mut model, first);
        // A bulk-built tree is changed like any other.
        check(&build(&model), &model);
        index = build(&model);
        clones.extend(run(&mut index, &mut model, second));
        check(&index, &model);
        for (clone, model) in &clones {
            check(clone, model);
        }
        for range in ranges {
            let inside = expected(&model, &range);
            let live: Vec<_> = inside.iter().filter(|(_, entry)| !entry.tombstone).collect();
            prop_assert_eq!(index.range(&range).collect::<Vec<_>>(), inside.clone());
            prop_assert_eq!(index.count(&range), live.len() as u64);
            for n in [0, 1, live.len() / 2, live.len().saturating_sub(1), live.len()] {
                prop_assert_eq!(index.nth_live(&range, n as u64), live.get(n).copied().cloned());
            }
            for since in [0, 100, 1 << 30] {
                let changed: Vec<_> = inside.iter()
                    .filter(|(_, entry)| entry.modified.main > Revision(since)).cloned().collect();
                prop_assert_eq!(index.changed_since(&range, Revision(since)).collect::<Vec<_>>(), changed);
            }
        }
        for key in model.keys() {
            prop_assert_eq!(index.get(key), model.get(key).copied());
        }
        prop_assert_eq!(index.get(b"absent"), None);
    }

    #[test]
    fn removing_everything_leaves_nothing(keys in proptest::collection::btree_map(keys(), entries(), 1..600), order in any::<u64>()) {
        let (mut index, mut model) = (Index::new(), Model::new());
        for (key, entry) in keys {
            index.insert(&key, entry);
            model.insert(key, entry);
        }
        let mut left: Vec<Bytes> = model.keys().cloned().collect();
        let mut state = order | 1;
        while !left.is_empty() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = left.swap_remove((state >> 33) as usize % left.len());
            index.remove(&key);
            model.remove(&key);
            if left.len().is_multiple_of(37) {
                check(&index, &model);
            }
        }
        prop_assert!(index.is_empty());
        prop_assert_eq!(index.range(&all()).count(), 0);
    }
}
