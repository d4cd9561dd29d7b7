//! Each check by itself for each engine, and random operations against a sorted map.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    EVERYTHING, FjallStore, MemStore, SledStore, Store, batch, checks, collect, delete, put,
};
use crate::engine::{Change, Engine, Family, Order};
use crate::types::LogIndex;

#[derive(Clone, Debug)]
enum Operation {
    Apply(Vec<Change>),
    Persist,
    Reopen,
    Crash,
    Scan(Family, Bound<Bytes>, Bound<Bytes>, bool),
}

type State = BTreeMap<(Family, Bytes), Bytes>;

fn families() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn keys() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop::sample::select(vec![0_u8, 1, 97, 255]), 1..5)
        .prop_map(Bytes::from)
}

fn bounds() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        keys().prop_map(Bound::Included),
        keys().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let change = prop_oneof![
        3 => (families(), keys(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(family, key, value)| put(family, key, value)),
        1 => (families(), keys()).prop_map(|(family, key)| delete(family, key)),
    ];
    let operation = prop_oneof![
        12 => proptest::collection::vec(change, 0..8).prop_map(Operation::Apply),
        2 => Just(Operation::Persist),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
        6 => (families(), bounds(), bounds(), any::<bool>())
            .prop_map(|(family, start, end, up)| Operation::Scan(family, start, end, up)),
    ];
    proptest::collection::vec(operation, 1..50)
}

fn change_state(state: &mut State, change: Change) {
    match change {
        Change::Put { family, key, value } => state.insert((family, key), value),
        Change::Delete { family, key } => state.remove(&(family, key)),
    };
}

fn expected(state: &State, family: Family, bounds: &super::Bounds) -> Vec<(Bytes, Bytes)> {
    let inside = |key: &Bytes| std::ops::RangeBounds::contains(bounds, key);
    let pairs = state.iter().filter(|((of, key), _)| *of == family && inside(key));
    pairs.map(|((_, key), value)| (key.clone(), value.clone())).collect()
}

fn check_all<E: Engine>(engine: &E, state: &State) {
    for family in Family::ALL {
        let pairs = collect(engine, family, EVERYTHING, Order::Ascending);
        assert_eq!(pairs, expected(state, family, &EVERYTHING), "{family:?}");
    }
    for ((family, key), value) in state {
        assert_eq!(engine.get(*family, key).unwrap().as_ref(), Some(value));
    }
}

fn applied_by(engine: &impl Engine) -> usize {
    usize::try_from(engine.applied().get()).unwrap()
}

/// After a crash the state is that after some batch, no older than the last persisted one.
fn run<S: Store>(store: &mut S, operations: Vec<Operation>) {
    let mut engine = store.open();
    // The state after each batch; the position is the index.
    let mut history = vec![State::new()];
    let mut persisted = 0;
    for operation in operations {
        match operation {
            Operation::Apply(changes) => {
                let mut state = history.last().unwrap().clone();
                changes.iter().cloned().for_each(|change| change_state(&mut state, change));
                engine.apply(batch(history.len() as u64, changes)).unwrap();
                history.push(state);
            }
            Operation::Persist => {
                persisted = history.len() - 1;
                assert_eq!(engine.persist().unwrap(), LogIndex(persisted as u64));
            }
            Operation::Reopen => {
                engine = store.reopen(engine);
                assert_eq!(applied_by(&engine), history.len() - 1);
            }
            Operation::Crash => {
                engine = store.crash(engine);
                let applied = applied_by(&engine);
                assert!(applied >= persisted && applied < history.len());
                history.truncate(applied + 1);
                check_all(&engine, &history[applied]);
            }
            Operation::Scan(family, start, end, up) => {
                let bounds = (start, end);
                let mut pairs = expected(history.last().unwrap(), family, &bounds);
                let order = if up { Order::Ascending } else { Order::Descending };
                if !up {
                    pairs.reverse();
                }
                assert_eq!(collect(&engine, family, bounds, order), pairs);
            }
        }
    }
    check_all(&engine, history.last().unwrap());
}

fn with_dir<S>(new: impl Fn(&std::path::Path) -> S, test: impl Fn(&mut S)) {
    let dir = tempfile::tempdir().unwrap();
    test(&mut new(dir.path()));
}

#[test]
fn mem_conforms() {
    super::all(MemStore::default);
}

#[test]
fn fjall_conforms() {
    for (name, check) in checks::<FjallStore>() {
        println!("{name}");
        with_dir(FjallStore::new, check);
    }
}

#[test]
fn sled_conforms() {
    for (name, check) in checks::<SledStore>() {
        println!("{name}");
        with_dir(SledStore::new, check);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mem_equals_a_sorted_map(operations in operations()) {
        run(&mut MemStore, operations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, ..ProptestConfig::with_cases(10) })]

    #[test]
    fn fjall_equals_a_sorted_map(operations in operations()) {
        with_dir(FjallStore::new, |store| run(store, operations.clone()));
    }

    #[test]
    fn sled_equals_a_sorted_map(operations in operations()) {
        with_dir(SledStore::new, |store| run(store, operations.clone()));
    }
}
