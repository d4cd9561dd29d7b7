//! Restarts, crashes, damage; reliability cases A2, F8, J12.

use std::ops::Bound;
use std::sync::Arc;

use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;

use super::rig::*;
use crate::command::Entry;
use crate::engine::mem::{Fault, MemEngine};
use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::error::Fatal;
use crate::machine::{Options, StateMachine};
use crate::schema::state::StateKey;
use crate::types::{LogId, LogIndex, Revision, Term};

/// A log of many kinds of entries.
fn log() -> Vec<Command> {
    use vetch_proto::etcdserverpb::{CompactionRequest, LeaseGrantRequest};
    let mut log = vec![
        Command::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 }),
        Command::Put(leased("leased", 5)),
    ];
    for i in 0..40 {
        log.push(Command::Put(put(&format!("k{}", i % 9), &format!("{i}"))));
        if i % 4 == 3 {
            log.push(Command::DeleteRange(delete(&format!("k{}", i % 9), "")));
        }
        // A key that lives for a while and is never written again.
        if i % 7 == 2 {
            log.push(Command::Put(put(&format!("brief{i}"), "")));
        }
        if i % 7 == 4 {
            log.push(Command::DeleteRange(delete(&format!("brief{}", i - 2), "")));
        }
        if i % 10 == 9 {
            log.push(Command::Compaction(CompactionRequest { revision: i, physical: false }));
            let nested = txn_op(then(vec![put_op("n", ""), get_op("k1")]));
            log.push(Command::Txn(then(vec![nested, delete_op("k2", "k4")])));
        }
    }
    log
}

fn apply(machine: &mut StateMachine<MemEngine>, log: &[Command], from: usize) {
    for (i, command) in log.iter().enumerate().skip(from) {
        let id = LogId { term: Term(1), index: LogIndex(i as u64 + 1) };
        let proposal = Proposal { command: Some(command.clone()), ..Proposal::default() };
        machine.apply(id, Entry::Proposal(&proposal)).unwrap();
    }
}

/// Everything the engine holds; of two equal machines it is equal.
fn dump(engine: &MemEngine) -> Vec<(Family, bytes::Bytes, bytes::Bytes)> {
    let mut all = Vec::new();
    for family in Family::ALL {
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        for item in engine.scan(family, bounds, Order::Ascending) {
            let (key, value) = item.unwrap();
            all.push((family, key, value));
        }
    }
    all
}

fn open(engine: MemEngine) -> (Arc<MemEngine>, StateMachine<MemEngine>) {
    let engine = Arc::new(engine);
    let machine = StateMachine::open(Arc::clone(&engine), Options::default()).unwrap();
    (engine, machine)
}

#[test]
fn how_the_log_is_cut_into_batches_leaves_no_trace() {
    let log = log();
    let mut results = Vec::new();
    for batch in [1, 2, 7, 1000] {
        let (engine, mut machine) = open(MemEngine::new());
        for end in (batch..log.len() + batch).step_by(batch) {
            let from = usize::try_from(machine.applied().index.0).unwrap();
            apply(&mut machine, &log[..end.min(log.len())], from);
            machine.commit().unwrap();
        }
        results.push((machine.digest(), machine.view().digest(), dump(&engine)));
    }
    for pair in results.windows(2) {
        assert_eq!(pair[0], pair[1]);
    }
}

#[test]
fn a_power_loss_after_any_persist_replays_to_the_same_state() {
    let log = log();
    let (engine, mut machine) = open(MemEngine::new());
    apply(&mut machine, &log, 0);
    machine.commit().unwrap();
    let expected = (machine.digest(), dump(&engine));
    for persisted in (0..log.len()).step_by(3) {
        let (engine, mut machine) = open(MemEngine::new());
        apply(&mut machine, &log[..persisted], 0);
        machine.commit().unwrap();
        let durable = machine.checkpointer().checkpoint().unwrap();
        assert_eq!(durable.applied, LogIndex(persisted as u64));
        apply(&mut machine, &log, persisted);
        machine.commit().unwrap();
        let (engine, mut machine) = open(engine.crash());
        assert_eq!(machine.applied().index, durable.applied);
        apply(&mut machine, &log, persisted);
        machine.commit().unwrap();
        assert_eq!((machine.digest(), dump(&engine)), expected, "persisted {persisted}");
    }
}

#[test]
fn a_reopened_machine_is_the_one_that_was_closed() {
    let log = log();
    for end in 0..log.len() {
        let (engine, mut machine) = open(MemEngine::new());
        apply(&mut machine, &log[..end], 0);
        machine.commit().unwrap();
        let before = machine.view();
        let (_, reopened) = open(engine.crash_live());
        let after = reopened.view();
        assert_eq!(after.applied(), before.applied());
        assert_eq!(after.digest(), before.digest());
        assert_eq!(after.revision(), before.revision());
        assert_eq!(after.compact_revision(), before.compact_revision());
        assert_eq!(after.sizes().live, before.sizes().live);
        assert_eq!(range(&after, &all()).unwrap(), range(&before, &all()).unwrap());
        let entries = |view: &crate::view::ReadView<MemEngine>| -> Vec<_> {
            let all = crate::mvcc::key_range::KeyRange::From(bytes(""));
            view.index().range(&all).collect()
        };
        assert_eq!(entries(&after), entries(&before));
        let leases = |view: &crate::view::ReadView<MemEngine>| -> Vec<_> {
            view.leases().iter().cloned().collect()
        };
        assert_eq!(leases(&after), leases(&before));
    }
}

#[test]
fn membership_is_kept_with_the_entry_that_set_it() {
    let mut rig = Rig::new();
    assert!(rig.machine.membership().is_none());
    rig.put("a", "");
    rig.entry(Entry::Membership { encoded: bytes("one"), member: None, removed: None });
    let expected = Some((LogId { term: Term(TERM), index: index(2) }, bytes("one")));
    assert_eq!(rig.machine.membership(), expected);
    assert_eq!(rig.reopen().machine.membership(), expected);
}

#[test]
#[should_panic(expected = "entries are applied without gaps")]
fn a_gap_in_the_log_is_never_applied() {
    let (_, mut machine) = open(MemEngine::new());
    let id = LogId { term: Term(1), index: LogIndex(2) };
    drop(machine.apply(id, Entry::Blank));
}

#[test]
fn a_failed_write_stops_the_machine_for_good() {
    let (engine, mut machine) = open(MemEngine::new());
    apply(&mut machine, &log()[..3], 0);
    engine.fail_apply(1, Fault::NoSpace);
    assert!(matches!(machine.commit(), Err(Fatal::Io { no_space: true, .. })));
    assert!(machine.commit().is_err());
    let id = LogId { term: Term(1), index: LogIndex(4) };
    assert!(machine.apply(id, Entry::Blank).is_err());
    assert_eq!(machine.view().revision(), Revision::EMPTY_STORE, "nothing became visible");
}

#[test]
fn an_engine_that_disagrees_about_the_applied_index_is_refused() {
    let mut rig = Rig::new();
    rig.put("a", "");
    let ahead = Batch { changes: Vec::new(), applied: Some(LogIndex(9)) };
    rig.engine.apply(ahead).unwrap();
    let engine = Arc::new(rig.engine.crash_live());
    let error = StateMachine::open(engine, Options::default()).unwrap_err().to_string();
    assert!(error.contains("applied index 9"), "{error}");
}

/// Flips each bit of every stored record in turn: opening or reading must say so, never answer.
#[test]
fn no_flipped_bit_is_ever_served() {
    let mut rig = Rig::new();
    rig.grant(5, 60).unwrap();
    rig.put_with(leased("a", 5)).unwrap();
    rig.put("b", "value");
    rig.put("b", "value2");
    rig.delete("a", "");
    rig.put("c", "");
    let good = dump(&rig.engine);
    for (family, key, value) in good {
        for bit in 0..value.len() * 8 {
            let mut bad = value.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let change = Change::Put { family, key: key.clone(), value: bad.into() };
            let damaged = rig.reopen_damaged(change);
            let found = StateMachine::open(Arc::new(damaged), Options::default())
                .and_then(|machine| read_everything(&machine.view()));
            assert!(matches!(found, Err(Fatal::Corrupt { .. })), "{family:?} bit {bit}");
        }
    }
}

fn read_everything(view: &crate::view::ReadView<MemEngine>) -> Result<(), Fatal> {
    let mut list = view.range(&all()).unwrap();
    list.next_chunk(usize::MAX)?;
    view.versions().try_for_each(|version| version.map(drop))
}

impl Rig {
    fn reopen_damaged(&self, change: Change) -> MemEngine {
        // A fresh process image of the same bytes, with one change no machine made.
        let fresh = MemEngine::new();
        let mut changes: Vec<Change> = dump(&self.engine)
            .into_iter()
            .map(|(family, key, value)| Change::Put { family, key, value })
            .collect();
        changes.push(change);
        fresh.apply(Batch { changes, applied: Some(self.machine.applied().index) }).unwrap();
        fresh
    }
}

#[test]
fn a_lost_version_is_corruption_and_names_its_key() {
    let mut rig = Rig::new();
    rig.put("foo", "1");
    rig.put("foz", "1");
    for (family, key, _) in dump(&rig.engine) {
        if family == Family::Versions && key.starts_with(b"foo") {
            let changes = vec![Change::Delete { family, key }];
            rig.engine.apply(Batch { changes, applied: None }).unwrap();
        }
    }
    let mut answer = rig.view().range(&all()).unwrap();
    let error = answer.next_chunk(1000).unwrap_err().to_string();
    assert!(error.contains("foo") && error.contains("2.0"), "{error}");
}

#[test]
fn lost_history_is_noticed_at_open() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.put("a", "2");
    let lost = dump(&rig.engine).into_iter().rfind(|(family, ..)| *family == Family::Revisions);
    let (family, key, _) = lost.unwrap();
    let damaged = {
        let changes = vec![Change::Delete { family, key }];
        rig.engine.apply(Batch { changes, applied: None }).unwrap();
        rig.engine.crash_live()
    };
    assert!(StateMachine::open(Arc::new(damaged), Options::default()).is_err());
}

#[test]
fn the_progress_record_is_small_and_written_once_per_batch() {
    let (engine, mut machine) = open(MemEngine::new());
    apply(&mut machine, &log(), 0);
    machine.commit().unwrap();
    let value = engine.get(Family::State, &StateKey::Progress.encode()).unwrap().unwrap();
    assert!(value.len() < 50, "{}", value.len());
    let before = engine.applied();
    machine.commit().unwrap();
    assert_eq!(engine.applied(), before, "nothing new, nothing written");
}

/// Index checkpoints at every place of the log, with and without deletions of compacted versions
/// behind and before them: the opened index is always the one a full rebuild gives.
#[test]
fn an_index_checkpoint_of_any_age_gives_the_same_index_as_a_rebuild() {
    let log = log();
    let entries = |machine: &StateMachine<MemEngine>| -> Vec<_> {
        let all = crate::mvcc::key_range::KeyRange::From(bytes(""));
        machine.view().index().range(&all).collect()
    };
    let directory = tempfile::tempdir().unwrap();
    for at in (1..log.len()).step_by(4) {
        for (steps_before, steps_after) in [(0, 0), (0, 1), (0, 99), (5, 0), (5, 7), (99, 99)] {
            let checkpoints = directory.path().join(format!("{at}"));
            std::fs::create_dir_all(&checkpoints).unwrap();
            let options = Options { checkpoint_dir: Some(checkpoints), ..Options::default() };
            let engine = Arc::new(MemEngine::new());
            let mut machine = StateMachine::open(Arc::clone(&engine), options.clone()).unwrap();
            let reclaim = |machine: &StateMachine<MemEngine>, steps| {
                for _ in 0..steps {
                    machine.compactor().step(3).unwrap();
                }
            };
            apply(&mut machine, &log[..at], 0);
            machine.commit().unwrap();
            reclaim(&machine, steps_before);
            machine.checkpointer().checkpoint().unwrap();
            apply(&mut machine, &log, at);
            machine.commit().unwrap();
            reclaim(&machine, steps_after);
            let engine = Arc::new(engine.crash_live());
            let with = StateMachine::open(Arc::clone(&engine), options).unwrap();
            let without = StateMachine::open(engine, Options::default()).unwrap();
            assert_eq!(entries(&with), entries(&without), "{at} {steps_before} {steps_after}");
        }
    }
}

#[test]
fn a_damaged_or_foreign_index_checkpoint_costs_only_time() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { checkpoint_dir: Some(directory.path().to_owned()), ..Options::default() };
    let engine = Arc::new(MemEngine::new());
    let mut machine = StateMachine::open(Arc::clone(&engine), options.clone()).unwrap();
    apply(&mut machine, &log()[..20], 0);
    machine.commit().unwrap();
    machine.checkpointer().checkpoint().unwrap();
    let file = directory.path().join("index");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&file, bad).unwrap();
    let reopened = StateMachine::open(Arc::new(engine.crash_live()), options.clone()).unwrap();
    assert_eq!(reopened.view().index().len(), machine.view().index().len());
    // A file that is ahead of the engine: the engine is from before it.
    std::fs::write(&file, good).unwrap();
    let empty = StateMachine::open(Arc::new(MemEngine::new()), options).unwrap();
    assert!(empty.view().index().is_empty());
}

#[test]
fn a_new_index_checkpoint_is_due_by_changes_however_few_the_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { checkpoint_dir: Some(directory.path().to_owned()), ..Options::default() };
    let file = || std::fs::read(directory.path().join("index")).unwrap();
    let engine = Arc::new(MemEngine::new());
    let machine = StateMachine::open(Arc::clone(&engine), options.clone()).unwrap();
    let mut rig = Rig { engine: Arc::clone(&engine), machine, autocommit: true };
    let mut checkpointer = rig.machine.checkpointer();
    rig.put("a", "1");
    checkpointer.checkpoint().unwrap();
    let first = file();
    rig.put("b", "1");
    checkpointer.checkpoint().unwrap();
    assert_eq!(file(), first, "one change is a short tail");

    rig.txn(then((0..2_000).map(|n| put_op(&format!("k{n}"), "1")).collect())).unwrap();
    checkpointer.checkpoint().unwrap();
    let second = file();
    assert_ne!(second, first, "one revision, 2,000 changes");

    // What a restart finds counts too: a file that fits is not written again, a long tail is.
    let reopened = StateMachine::open(Arc::clone(&engine), options.clone()).unwrap();
    reopened.checkpointer().checkpoint().unwrap();
    assert_eq!(file(), second);
    std::fs::write(directory.path().join("index"), &first).unwrap();
    let reopened = StateMachine::open(engine, options).unwrap();
    reopened.checkpointer().checkpoint().unwrap();
    assert_eq!(file(), second);
}

/// Who waits for the directory finds the engine closed, however long somebody reads.
#[test]
fn what_outlives_the_engine_is_let_go_of_with_the_last_view() {
    let (engine, held) = (Arc::new(MemEngine::new()), Arc::new(()));
    let (of_engine, of_held) = (Arc::downgrade(&engine), Arc::downgrade(&held));
    let options = Options { outlives: Some(held), ..Options::default() };
    let machine = StateMachine::open(engine, options).unwrap();
    let (views, view) = (machine.views(), machine.view());
    for holder in [Box::new(machine) as Box<dyn std::any::Any>, Box::new(views), Box::new(view)] {
        assert_eq!((of_engine.strong_count(), of_held.strong_count()), (1, 1));
        drop(holder);
    }
    assert_eq!((of_engine.strong_count(), of_held.strong_count()), (0, 0));
}
