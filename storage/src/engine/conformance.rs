//! What every engine must do, as functions that panic where one does not.
//!
//! A [`Store`] is a place where an engine's state survives the engine: a directory, or the images of
//! the one in memory. [`all`] runs everything, each check on a new store.

use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{Batch, Bounds, Change, Engine, Family, MAX_KEY_BYTES, Order};
use crate::types::LogIndex;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod random;
mod stores;

#[cfg(feature = "sled")]
pub use stores::SledStore;
#[cfg(test)]
pub(super) use stores::copy_dir;
pub use stores::{FjallStore, MemStore};

/// Where an engine's state lives on when the engine stops.
pub trait Store {
    /// The engine.
    type Engine: Engine;
    /// Opens what is there; an empty state the first time.
    fn open(&mut self) -> Self::Engine;
    /// Stops an engine as a clean exit would, and opens what it left.
    fn reopen(&mut self, engine: Self::Engine) -> Self::Engine;
    /// What is found after the machine lost its power: at least all that was persisted.
    fn crash(&mut self, engine: Self::Engine) -> Self::Engine;
}

/// Runs every check of this module.
pub fn all<S: Store>(new: impl Fn() -> S) {
    for (_, check) in checks() {
        check(&mut new());
    }
}

/// A check by name.
pub type Check<S> = (&'static str, fn(&mut S));

/// The checks, for callers that report each by itself.
pub fn checks<S: Store>() -> Vec<Check<S>> {
    vec![
        ("a_new_store_is_empty", a_new_store_is_empty),
        ("changes_of_a_batch_come_in_order", changes_of_a_batch_come_in_order),
        ("families_are_apart", families_are_apart),
        ("scans_respect_bounds_and_order", scans_respect_bounds_and_order),
        ("long_keys_and_values_are_kept", long_keys_and_values_are_kept),
        ("the_applied_position_is_kept", the_applied_position_is_kept),
        ("background_batches_leave_the_position", background_batches_leave_the_position),
        ("what_was_persisted_survives_a_crash", what_was_persisted_survives_a_crash),
        ("a_crash_leaves_whole_batches", a_crash_leaves_whole_batches),
        ("loaded_pairs_are_found", loaded_pairs_are_found),
        ("batches_follow_what_was_loaded", batches_follow_what_was_loaded),
        ("readers_run_beside_a_writer", readers_run_beside_a_writer),
        ("sizes_follow_what_is_stored", sizes_follow_what_is_stored),
    ]
}

/// Every key.
pub const EVERYTHING: Bounds = (Bound::Unbounded, Bound::Unbounded);

/// A put of short strings.
pub fn put(family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Change {
    Change::Put { family, key: key.into(), value: value.into() }
}

/// A deletion.
pub fn delete(family: Family, key: impl Into<Bytes>) -> Change {
    Change::Delete { family, key: key.into() }
}

/// A batch that moves the applied position.
pub fn batch(applied: u64, changes: Vec<Change>) -> Batch {
    Batch { changes, applied: Some(LogIndex(applied)) }
}

/// All pairs of a scan.
pub fn collect<E: Engine>(
    engine: &E,
    family: Family,
    bounds: Bounds,
    order: Order,
) -> Vec<(Bytes, Bytes)> {
    engine.scan(family, bounds, order).collect::<Result<_, _>>().expect("the scan succeeds")
}

fn get<E: Engine>(engine: &E, family: Family, key: &[u8]) -> Option<Bytes> {
    engine.get(family, key).expect("the read succeeds")
}

fn apply<E: Engine>(engine: &E, batch: Batch) {
    engine.apply(batch).expect("the batch is applied");
}

/// Bytes that no engine can compress.
fn noise(len: usize) -> Bytes {
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    bytes.take(len).collect()
}

/// `count` pairs in ascending order, from `first` on.
fn ascending(first: u32, count: u32) -> Vec<(Bytes, Bytes)> {
    let pair = |n: u32| (Bytes::from(n.to_be_bytes().to_vec()), noise(100 + n as usize % 900));
    (first..first + count).map(pair).collect()
}

fn loaded_pairs_are_found<S: Store>(store: &mut S) {
    let engine = store.open();
    let expected = ascending(1, 3_000);
    for run in expected.chunks(700) {
        engine.load(Family::Versions, run.to_vec()).expect("the run is loaded");
    }
    engine.load(Family::Revisions, ascending(1, 10)).expect("the run is loaded");
    engine.load(Family::Revisions, vec![]).expect("nothing is a run");
    let check = |engine: &S::Engine| {
        assert_eq!(collect(engine, Family::Versions, EVERYTHING, Order::Ascending), expected);
        assert_eq!(get(engine, Family::Versions, &expected[9].0), Some(expected[9].1.clone()));
        let backwards = collect(engine, Family::Revisions, EVERYTHING, Order::Descending);
        assert!(backwards.into_iter().rev().eq(ascending(1, 10)));
        assert_eq!(engine.applied(), LogIndex(0), "what is loaded is no state yet");
    };
    check(&engine);
    engine.persist().expect("the pairs are made durable");
    let engine = store.crash(engine);
    check(&engine);
    check(&store.reopen(engine));
}

fn batches_follow_what_was_loaded<S: Store>(store: &mut S) {
    let engine = store.open();
    let key = |n: u32| Bytes::from(n.to_be_bytes().to_vec());
    engine.load(Family::Versions, ascending(1, 500)).expect("the run is loaded");
    apply(&engine, batch(7, vec![put(Family::State, "fact", "one")]));
    engine.persist().expect("the state is made durable");
    let engine = store.crash(engine);
    let changes = vec![put(Family::Versions, key(3), "new"), delete(Family::Versions, key(4))];
    apply(&engine, batch(8, changes));
    let check = |engine: &S::Engine| {
        assert_eq!(engine.applied(), LogIndex(8));
        assert_eq!(get(engine, Family::Versions, &key(3)), Some("new".into()));
        assert_eq!(get(engine, Family::Versions, &key(4)), None);
        assert_eq!(collect(engine, Family::Versions, EVERYTHING, Order::Ascending).len(), 499);
    };
    check(&engine);
    let engine = store.reopen(engine);
    check(&engine);
    engine.persist().expect("the batch is made durable");
    check(&store.crash(engine));
}

fn a_new_store_is_empty<S: Store>(store: &mut S) {
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

fn changes_of_a_batch_come_in_order<S: Store>(store: &mut S) {
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

fn families_are_apart<S: Store>(store: &mut S) {
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

fn scans_respect_bounds_and_order<S: Store>(store: &mut S) {
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

fn long_keys_and_values_are_kept<S: Store>(store: &mut S) {
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

fn the_applied_position_is_kept<S: Store>(store: &mut S) {
    let engine = store.open();
    apply(&engine, batch(3, vec![]));
    assert_eq!(engine.applied(), LogIndex(3));
    apply(&engine, Batch { changes: vec![put(Family::State, "k", "v")], applied: None });
    assert_eq!(engine.applied(), LogIndex(3), "a batch without a position leaves it alone");
    assert_eq!(engine.persist().expect("persists"), LogIndex(3));
    apply(&engine, batch(1 << 40, vec![]));
    let engine = store.reopen(engine);
    assert_eq!(engine.applied(), LogIndex(1 << 40));
    assert_eq!(
        collect(&engine, Family::State, EVERYTHING, Order::Ascending),
        [(Bytes::from("k"), Bytes::from("v"))],
        "the position itself is not among the keys"
    );
    assert_eq!(engine.persist().expect("persists"), LogIndex(1 << 40));
    assert_eq!(store.crash(engine).applied(), LogIndex(1 << 40));
}

fn background_batches_leave_the_position<S: Store>(store: &mut S) {
    const ROUNDS: u64 = 2_000;
    let engine = store.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                let changes = vec![put(Family::State, "beside", noise(2_000))];
                apply(&engine, Batch { changes, applied: None });
            }
        });
        for n in 1..=ROUNDS {
            apply(&engine, batch(n, vec![put(Family::Revisions, n.to_be_bytes().to_vec(), "x")]));
            if engine.applied() != LogIndex(n) {
                done.store(true, Relaxed);
            }
            assert_eq!(engine.applied(), LogIndex(n), "as this caller left it");
        }
        done.store(true, Relaxed);
    });
    let engine = store.reopen(engine);
    assert_eq!(engine.applied(), LogIndex(ROUNDS));
}

fn what_was_persisted_survives_a_crash<S: Store>(store: &mut S) {
    let mut engine = store.open();
    let mut persisted = 0;
    for index in 1..=60_u64 {
        let value = Bytes::from(vec![index.to_be_bytes()[7]; 3000]);
        apply(&engine, batch(index, vec![put(Family::Versions, format!("key-{index:03}"), value)]));
        if index % 7 == 0 {
            assert_eq!(engine.persist().expect("persists"), LogIndex(index));
            persisted = index;
        }
        if index % 20 == 0 {
            engine = store.crash(engine);
            let applied = engine.applied().get();
            assert!((persisted..=index).contains(&applied), "{applied} of {persisted}..={index}");
            let pairs = collect(&engine, Family::Versions, EVERYTHING, Order::Ascending);
            assert_eq!(pairs.len() as u64, applied, "as many keys as the position says");
            for again in applied + 1..=index {
                let value = Bytes::from(vec![again.to_be_bytes()[7]; 3000]);
                let put = put(Family::Versions, format!("key-{again:03}"), value);
                apply(&engine, batch(again, vec![put]));
            }
        }
    }
}

fn a_crash_leaves_whole_batches<S: Store>(store: &mut S) {
    let mut engine = store.open();
    for round in 1..=5_u64 {
        for index in round * 10..round * 10 + 10 {
            let changes = Family::ALL.iter().flat_map(|family| {
                (0..4).map(move |n| put(*family, format!("k{n}"), index.to_string()))
            });
            apply(&engine, batch(index, changes.collect()));
            if index % 10 == 4 {
                engine.persist().expect("persists");
            }
        }
        engine = store.crash(engine);
        let applied = engine.applied().to_string();
        for family in Family::ALL {
            let pairs = collect(&engine, family, EVERYTHING, Order::Ascending);
            assert_eq!(pairs.len(), 4);
            assert!(pairs.iter().all(|(_, value)| *value == applied), "{pairs:?}, {applied}");
        }
    }
}

fn readers_run_beside_a_writer<S: Store>(store: &mut S) {
    const KEYS: u64 = 40;
    const ROUNDS: u64 = 150;
    let engine = store.open();
    let key = |n: u64| format!("key-{n:02}");
    let fill = |round: u64| (0..KEYS).map(move |n| put(Family::State, key(n), round.to_string()));
    apply(&engine, batch(1, fill(1).collect()));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 2..=ROUNDS {
                apply(&engine, batch(round, fill(round).collect()));
                if round % 50 == 0 {
                    engine.persist().expect("persists");
                }
            }
        });
        let mut newest = 1;
        while newest < ROUNDS {
            let before = engine.applied().get();
            let pairs = collect(&engine, Family::State, EVERYTHING, Order::Ascending);
            assert_eq!(pairs.len() as u64, KEYS, "no key is missing at any moment");
            for (_, value) in pairs {
                let round = std::str::from_utf8(&value).expect("digits");
                let round: u64 = round.parse().expect("a number");
                assert!(round >= before, "a scan is as new as when it was made");
            }
            newest = before;
        }
        writer.join().expect("the writer succeeds");
    });
}

fn sizes_follow_what_is_stored<S: Store>(store: &mut S) {
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
