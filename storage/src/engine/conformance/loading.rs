//! Many pairs at once, without a position.

use bytes::Bytes;

use super::{EVERYTHING, Store, apply, batch, collect, delete, get, noise, put};
use crate::engine::{Engine, Family, Order};
use crate::types::LogIndex;

/// `count` pairs in ascending order, from `first` on.
fn ascending(first: u32, count: u32) -> Vec<(Bytes, Bytes)> {
    let pair = |n: u32| (Bytes::from(n.to_be_bytes().to_vec()), noise(100 + n as usize % 900));
    (first..first + count).map(pair).collect()
}

pub(super) fn loaded_pairs_are_found<S: Store>(store: &mut S) {
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

pub(super) fn batches_follow_what_was_loaded<S: Store>(store: &mut S) {
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
