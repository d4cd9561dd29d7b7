//! What is written is what is read, in its family, in order, and from there on.

use std::ops::Bound;

use bytes::Bytes;

use super::{EVERYTHING, Store, apply, batch, collect, delete, get, noise, put};
use crate::engine::{Engine, Family, MAX_KEY_BYTES, Order};
use crate::types::LogIndex;

pub(super) fn a_new_store_is_empty<S: Store>(store: &mut S) {
    let engine = store.open();
    assert_eq!(engine.applied(), LogIndex(0));
    for family in Family::ALL {
        assert_eq!(collect(&engine, family, EVERYTHING, Order::Ascending), []);
        assert_eq!(get(&engine, family, b"a"), None);
    }
    assert_eq!(engine.persist().expect("nothing to persist is fine"), LogIndex(0));
    let engine = store.crash(engine);
    assert_eq!(engine.applied(), LogIndex(0));
}

pub(super) fn changes_of_a_batch_come_in_order<S: Store>(store: &mut S) {
    let engine = store.open();
    let family = Family::Versions;
    apply(
        &engine,
        batch(
            1,
            vec![
                put(family, "twice", "1"),
                put(family, "twice", "2"),
                put(family, "gone", "1"),
                delete(family, "gone"),
                delete(family, "back"),
                put(family, "back", "1"),
                delete(family, "never there"),
                put(family, "empty", ""),
            ],
        ),
    );
    let check = |engine: &S::Engine| {
        assert_eq!(get(engine, family, b"twice").as_deref(), Some(b"2".as_slice()));
        assert_eq!(get(engine, family, b"gone"), None);
        assert_eq!(get(engine, family, b"back").as_deref(), Some(b"1".as_slice()));
        assert_eq!(get(engine, family, b"empty").as_deref(), Some(b"".as_slice()));
        let keys: Vec<_> = collect(engine, family, EVERYTHING, Order::Ascending);
        let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, [b"back".as_slice(), b"empty", b"twice"]);
    };
    check(&engine);
    let engine = store.reopen(engine);
    check(&engine);
    apply(&engine, batch(2, vec![delete(family, "back"), put(family, "twice", "3")]));
    apply(&engine, batch(3, vec![put(family, "back", "1"), put(family, "twice", "2")]));
    check(&engine);
    engine.persist().expect("persists");
    check(&store.crash(engine));
}

pub(super) fn families_are_apart<S: Store>(store: &mut S) {
    let mut engine = store.open();
    let changes = Family::ALL.map(|family| put(family, "key", format!("{family:?}")));
    apply(&engine, batch(1, changes.to_vec()));
    for _ in 0..2 {
        for family in Family::ALL {
            let pair = (Bytes::from("key"), Bytes::from(format!("{family:?}")));
            for order in [Order::Ascending, Order::Descending] {
                let pairs = collect(&engine, family, EVERYTHING, order);
                assert_eq!(pairs, std::slice::from_ref(&pair));
            }
        }
        engine = store.reopen(engine);
    }
}

pub(super) fn scans_respect_bounds_and_order<S: Store>(store: &mut S) {
    let engine = store.open();
    let keys: Vec<Bytes> = [&b"\0"[..], b"\0\xff", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"]
        .iter()
        .map(|key| Bytes::from_static(key))
        .collect();
    for (index, key) in keys.iter().enumerate() {
        apply(&engine, batch(index as u64 + 1, vec![put(Family::State, key.clone(), "v")]));
    }
    let marks = keys.iter().cloned().chain([Bytes::from("aa"), Bytes::from("\u{1}")]);
    let bounds: Vec<Bound<Bytes>> = marks
        .flat_map(|key| [Bound::Included(key.clone()), Bound::Excluded(key)])
        .chain([Bound::Unbounded])
        .collect();
    for start in &bounds {
        for end in &bounds {
            let above = |key: &Bytes| match start {
                Bound::Included(start) => key >= start,
                Bound::Excluded(start) => key > start,
                Bound::Unbounded => true,
            };
            let below = |key: &Bytes| match end {
                Bound::Included(end) => key <= end,
                Bound::Excluded(end) => key < end,
                Bound::Unbounded => true,
            };
            let inside = keys.iter().filter(|key| above(key) && below(key)).cloned();
            let mut expected: Vec<_> = inside.map(|key| (key, Bytes::from("v"))).collect();
            let bounds = (start.clone(), end.clone());
            let found = collect(&engine, Family::State, bounds.clone(), Order::Ascending);
            assert_eq!(found, expected, "{bounds:?}");
            expected.reverse();
            let found = collect(&engine, Family::State, bounds.clone(), Order::Descending);
            assert_eq!(found, expected, "{bounds:?}, descending");
        }
    }
}

pub(super) fn long_keys_and_values_are_kept<S: Store>(store: &mut S) {
    let mut engine = store.open();
    let key = Bytes::from(vec![7; MAX_KEY_BYTES]);
    let mut longer_by_one = key.to_vec();
    longer_by_one[MAX_KEY_BYTES - 1] = 8;
    let value = noise(1_572_864);
    let changes = vec![
        put(Family::Versions, key.clone(), value.clone()),
        put(Family::Versions, longer_by_one.clone(), ""),
        put(Family::Revisions, "r", Bytes::from(vec![0; 1_572_864])),
    ];
    apply(&engine, batch(1, changes));
    for round in 0..3 {
        assert_eq!(get(&engine, Family::Versions, &key), Some(value.clone()));
        assert_eq!(get(&engine, Family::Versions, &longer_by_one), Some(Bytes::new()));
        let pairs = collect(&engine, Family::Versions, EVERYTHING, Order::Ascending);
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0], (key.clone(), value.clone()));
        assert_eq!(get(&engine, Family::Revisions, b"r").map(|value| value.len()), Some(1_572_864));
        engine = if round == 0 {
            store.reopen(engine)
        } else {
            engine.persist().expect("persists");
            store.crash(engine)
        };
    }
}

pub(super) fn sizes_follow_what_is_stored<S: Store>(store: &mut S) {
    let engine = store.open();
    let before = engine.sizes();
    for index in 1..=10 {
        let put = put(Family::Versions, format!("{index}"), noise(400_000));
        apply(&engine, batch(index, vec![put]));
    }
    engine.persist().expect("persists");
    let after = engine.sizes();
    assert!(after.live >= before.live + 4_000_000, "{before:?} {after:?}");
    assert!(after.on_disk >= before.on_disk + 4_000_000, "{before:?} {after:?}");
}
