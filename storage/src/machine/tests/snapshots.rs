//! A replica's state as chunks: everything is in it, whatever goes on beside it.

use std::ops::Bound;
use std::sync::Arc;

use vetch_proto::etcdserverpb::{AlarmRequest, LeaseCheckpoint, LeaseCheckpointRequest, Member};
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{ClusterVersionSet, MemberPublish};

use super::rig::*;
use crate::command::Entry;
use crate::engine::fjall::FjallEngine;
use crate::engine::mem::{Fault, MemEngine};
use crate::engine::sled::SledEngine;
use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::machine::{CompactionProgress, Options, StateMachine};
use crate::snapshot::{ChunkError, Export, Import, ImportError, Imported};
use crate::types::{LogId, LogIndex, NodeId, Revision, Term};

/// A state with something of every kind, and much that a compaction has yet to delete.
fn rich() -> Rig {
    let mut rig = Rig::new();
    let member = |id| Member { id, name: format!("m{id}"), ..Member::default() };
    let voters = |member, removed| Entry::Membership { encoded: bytes("voters"), member, removed };
    rig.entry(voters(Some(member(1)), None));
    rig.entry(voters(Some(member(2)), None));
    rig.entry(voters(None, Some(NodeId(2))));
    rig.propose(Command::MemberPublish(MemberPublish { member: Some(member(1)) }));
    let version = "3.7.0".to_owned();
    rig.propose(Command::ClusterVersionSet(ClusterVersionSet { version }));
    rig.grant(7, 60).unwrap();
    rig.grant(-7, 600).unwrap();
    let checkpoints = vec![LeaseCheckpoint { id: -7, remaining_ttl: 30 }];
    rig.propose(Command::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints }));
    rig.propose(Command::Alarm(AlarmRequest { action: 1, member_id: 1, alarm: 1 }));
    rig.propose(Command::Alarm(AlarmRequest { action: 2, member_id: 1, alarm: 1 }));
    rig.put("first", "1");
    rig.compact(2).unwrap();
    rig.reclaim(100);
    for round in 0..8 {
        for key in 0..7 {
            rig.put(&format!("k{key}"), &format!("{round}"));
        }
        rig.put_with(leased(&format!("leased{round}"), 7)).unwrap();
        rig.delete(&format!("k{round}"), "");
    }
    rig.put(&"long".repeat(20_000), "a key that is cut and hashed");
    rig.txn(then(vec![put_op("n", "1"), delete_op("k1", "k3"), put_op("m", "1")])).unwrap();
    let revision = rig.revision();
    rig.compact(revision - 20).unwrap();
    rig.propose(Command::Alarm(AlarmRequest { action: 1, member_id: 1, alarm: 2 }));
    rig.propose(Command::Alarm(AlarmRequest { action: 2, member_id: 1, alarm: 2 }));
    rig.propose(Command::Alarm(AlarmRequest { action: 1, member_id: 1, alarm: 1 }));
    rig
}

fn dump<E: Engine>(engine: &E) -> Vec<(Family, bytes::Bytes, bytes::Bytes)> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    Family::ALL
        .into_iter()
        .flat_map(|family| {
            let scan = engine.scan(family, all.clone(), Order::Ascending);
            scan.map(move |item| item.map(|(key, value)| (family, key, value)).unwrap())
        })
        .collect()
}

/// A run of a few pairs.
const RUN_BYTES: usize = 50;

/// Sends `rig`'s state into `engine`, doing `beside` after each chunk.
fn send<E: Engine>(
    rig: &mut Rig,
    engine: E,
    budget: usize,
    mut beside: impl FnMut(&mut Rig),
) -> (Arc<E>, Imported) {
    let engine = Arc::new(engine);
    let mut export = Export::new(rig.view());
    let mut import = Import::new(Arc::clone(&engine), RUN_BYTES).unwrap();
    let mut imported = None;
    while let Some(chunk) = export.next_chunk(budget).unwrap() {
        assert_eq!(imported, None, "nothing comes behind the end");
        imported = import.take(chunk).unwrap();
        beside(rig);
    }
    let imported = imported.expect("the last chunk ends it");
    assert_eq!(imported.applied, export.applied());
    (engine, imported)
}

/// The receiver's engine holds, byte for byte, what the sender's does once its deletions are done;
/// except that how far deletion is counts per member.
#[test]
fn it_is_what_the_sender_has_when_nothing_is_left_to_delete() {
    for budget in [1, 100, 5_000, 1 << 20] {
        let mut rig = rich();
        let (engine, imported) = send(&mut rig, MemEngine::new(), budget, |_| {});
        assert_eq!(imported.digest, rig.machine.digest());
        assert_eq!(imported.revision.0, rig.revision());
        let machine = StateMachine::open(Arc::clone(&engine), Options::default()).unwrap();
        let size = machine.view().sizes().live;
        rig.reclaim(3);
        assert_eq!(size, rig.view().sizes().live);
        let hashes_apart = |engine: &MemEngine| {
            let mut all = dump(engine);
            all.retain(|(family, key, _)| (*family, &key[..]) != (Family::State, &[6]));
            all
        };
        assert_eq!(hashes_apart(&engine), hashes_apart(&rig.engine), "in pieces of {budget}");
    }
}

#[test]
fn writes_and_compaction_beside_it_leave_no_trace() {
    let roomy = || {
        let mut rig = rich();
        rig.propose(Command::Alarm(AlarmRequest { action: 2, member_id: 1, alarm: 1 }));
        rig
    };
    let mut quiet = roomy();
    let expected = dump(send(&mut quiet, MemEngine::new(), 1, |_| {}).0.as_ref());
    let mut rig = roomy();
    let mut compactor = rig.machine.compactor();
    let mut n = 0;
    let (engine, _) = send(&mut rig, MemEngine::new(), 1, |rig| {
        n += 1;
        rig.delete(&format!("k{}", n % 7), "");
        rig.put("n", &n.to_string());
        if n % 5 == 0 {
            rig.compact(rig.revision()).unwrap();
        }
        let progress = compactor.step(2).unwrap();
        assert!(
            !matches!(progress, CompactionProgress::Finished(Revision(r)) if r == rig.revision())
        );
    });
    assert!(n > 50, "{n} chunks");
    // The hashes of compactions that ended meanwhile come along: they are history too.
    let without_hashes = |mut all: Vec<(Family, bytes::Bytes, bytes::Bytes)>| {
        all.retain(|(family, key, _)| (*family, &key[..]) != (Family::State, &[6]));
        all
    };
    assert_eq!(without_hashes(dump(engine.as_ref())), without_hashes(expected));
}

fn goes_on_as_the_sender_does<E: Engine>(engine: E) {
    let mut rig = rich();
    let (engine, imported) = send(&mut rig, engine, 300, |_| {});
    let mut machine = StateMachine::open(engine, Options::default()).unwrap();
    assert_eq!(machine.applied(), imported.applied);
    assert_eq!(machine.membership(), rig.machine.membership());
    let commands = [
        Command::Put(put("k1", "again")),
        Command::DeleteRange(delete("k", "l")),
        Command::Put(leased("late", 7)),
        Command::LeaseRevoke(vetch_proto::etcdserverpb::LeaseRevokeRequest { id: 7 }),
        Command::Compaction(vetch_proto::etcdserverpb::CompactionRequest {
            revision: rig.revision(),
            physical: false,
        }),
        Command::MemberPublish(MemberPublish {
            member: Some(Member { id: 2, ..Member::default() }),
        }),
    ];
    for command in commands {
        let sender = rig.propose(command.clone());
        let proposal =
            vetch_proto::vetchpb::Proposal { command: Some(command), ..Default::default() };
        let id = LogId { term: Term(TERM), index: machine.applied().index.next() };
        let receiver = machine.apply(id, Entry::Proposal(&proposal)).unwrap();
        machine.commit().unwrap();
        assert_eq!(format!("{receiver:?}"), format!("{sender:?}"));
    }
    rig.reclaim(100);
    while machine.compactor().step(100).unwrap() == CompactionProgress::More {}
    assert_eq!(machine.digest(), rig.machine.digest());
    let (sender, receiver) = (rig.view(), machine.view());
    let hash = |hash: crate::view::HashKv| (hash.hash, hash.compact_revision);
    assert_eq!(
        hash(receiver.hash_kv(Revision(0)).unwrap()),
        hash(sender.hash_kv(Revision(0)).unwrap())
    );
    assert_eq!(receiver.sizes().live, sender.sizes().live);
}

#[test]
fn a_receiver_on_any_engine_goes_on_as_the_sender_does() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::engine::Options::default();
    goes_on_as_the_sender_does(MemEngine::new());
    goes_on_as_the_sender_does(
        FjallEngine::open(&directory.path().join("fjall"), options).unwrap(),
    );
    goes_on_as_the_sender_does(SledEngine::open(&directory.path().join("sled"), options).unwrap());
}

#[test]
fn a_chunk_that_is_damaged_or_out_of_order_is_refused_and_may_come_again() {
    let rig = rich();
    let mut export = Export::new(rig.view());
    let mut import = Import::new(Arc::new(MemEngine::new()), RUN_BYTES).unwrap();
    let chunks: Vec<_> = std::iter::from_fn(|| export.next_chunk(1_000).unwrap()).collect();
    assert!(chunks.len() > 3, "{}", chunks.len());
    let refusal = |result: Result<Option<Imported>, ImportError>| match result.unwrap_err() {
        ImportError::Chunk(refusal) => refusal,
        other => panic!("{other}"),
    };
    let [first, second, ..] = &chunks[..] else { unreachable!() };
    for bit in (0..first.len() * 8).step_by(13) {
        let mut bytes = first.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refusal(import.take(bytes.into())), ChunkError::Damaged { expected: 0 });
    }
    for len in 0..first.len() {
        assert_eq!(refusal(import.take(first.slice(..len))), ChunkError::Damaged { expected: 0 });
    }
    let early = ChunkError::OutOfOrder { expected: 0, found: 1 };
    assert_eq!(refusal(import.take(second.clone())), early);
    assert_eq!(import.next(), 0);
    let mut imported = None;
    for chunk in chunks {
        imported = import.take(chunk).unwrap();
    }
    assert_eq!(imported.unwrap().digest, rig.machine.digest());
}

#[test]
fn only_an_empty_engine_receives() {
    let rig = rich();
    let refused = Import::new(Arc::clone(&rig.engine), RUN_BYTES).unwrap_err();
    assert!(matches!(refused, ImportError::NotEmpty));
    let half = Arc::new(MemEngine::new());
    let mut export = Export::new(rig.view());
    let mut import = Import::new(Arc::clone(&half), RUN_BYTES).unwrap();
    import.take(export.next_chunk(100).unwrap().unwrap()).unwrap();
    assert_eq!(half.applied(), LogIndex(0), "half a snapshot is no state");
    assert!(matches!(Import::new(half, RUN_BYTES).unwrap_err(), ImportError::NotEmpty));
}

#[test]
fn a_record_that_the_engine_loses_or_alters_is_noticed() {
    let rig = rich();
    let spoil = |change: &dyn Fn(&MemEngine) -> Change| {
        let engine = Arc::new(MemEngine::new());
        let mut export = Export::new(rig.view());
        let mut import = Import::new(Arc::clone(&engine), RUN_BYTES).unwrap();
        let mut result = Ok(None);
        while let Some(chunk) = export.next_chunk(3_000).unwrap() {
            result = import.take(chunk);
            if import.next() == 2 {
                let changes = vec![change(&engine)];
                engine.apply(Batch { changes, applied: None }).unwrap();
            }
        }
        assert!(matches!(result.unwrap_err(), ImportError::Incomplete { .. }));
    };
    let first_change = |engine: &MemEngine| {
        let all = (Bound::Unbounded, Bound::Unbounded);
        engine.scan(Family::Revisions, all, Order::Ascending).next().unwrap().unwrap().0
    };
    spoil(&|engine| Change::Delete { family: Family::Revisions, key: first_change(engine) });
    spoil(&|engine| {
        let (key, value) = (first_change(engine), bytes("another"));
        Change::Put { family: Family::Revisions, key, value }
    });
}

#[test]
fn an_engine_that_fails_ends_the_import_and_holds_no_state() {
    let rig = rich();
    let engine = Arc::new(MemEngine::new());
    let mut export = Export::new(rig.view());
    let mut import = Import::new(Arc::clone(&engine), RUN_BYTES).unwrap();
    import.take(export.next_chunk(3_000).unwrap().unwrap()).unwrap();
    engine.fail_persist(1, Fault::Io);
    let failed = loop {
        match import.take(export.next_chunk(3_000).unwrap().unwrap()) {
            Ok(done) => assert_eq!(done, None),
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, ImportError::Fatal(_)), "{failed}");
    assert_eq!(engine.crash().applied(), LogIndex(0));
}

/// Whoever held a handle on the machine before sees the new state through it; views of the old one stay
/// what they were.
#[test]
fn a_state_takes_the_place_of_another_under_all_handles() {
    let mut sender = rich();
    let (engine, imported) = send(&mut sender, MemEngine::new(), 1_000, |_| {});
    let mut machine = StateMachine::open(Arc::new(MemEngine::new()), Options::default()).unwrap();
    let first = LogId { term: Term(1), index: LogIndex(1) };
    machine.apply(first, Entry::Blank).unwrap();
    machine.commit().unwrap();
    let (views, mut compactor) = (machine.views(), machine.compactor());
    let (mut checkpointer, before) = (machine.checkpointer(), machine.view());

    let received = StateMachine::open(engine, Options::default()).unwrap();
    let replaced = machine.replace(received);
    assert_eq!(views.latest().digest(), imported.digest);
    assert_eq!(machine.view().applied(), imported.applied);
    assert_eq!(checkpointer.checkpoint().unwrap().applied, imported.applied.index);
    let compacted = views.latest().compact_revision().unwrap();
    assert_eq!(compactor.step(10).unwrap(), CompactionProgress::Finished(compacted));
    assert_eq!(before.applied(), first);
    assert!(!replaced.is_unused());
    drop(before);
    assert!(replaced.is_unused(), "no handle holds on to the old state");

    let next = LogId { term: Term(9), index: imported.applied.index.next() };
    machine.apply(next, Entry::Blank).unwrap();
    machine.commit().unwrap();
    assert_eq!(views.latest().applied(), next);
}
