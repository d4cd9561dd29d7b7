//! Batches are whole, and move the applied position, whatever happens beside them or after them.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{EVERYTHING, Store, apply, batch, collect, noise, put};
use crate::engine::{Batch, Engine, Family, Order};
use crate::types::LogIndex;

pub(super) fn the_applied_position_is_kept<S: Store>(store: &mut S) {
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

pub(super) fn background_batches_leave_the_position<S: Store>(store: &mut S) {
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

pub(super) fn what_was_persisted_survives_a_crash<S: Store>(store: &mut S) {
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

pub(super) fn a_crash_leaves_whole_batches<S: Store>(store: &mut S) {
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

pub(super) fn readers_run_beside_a_writer<S: Store>(store: &mut S) {
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
