//! The comparison can fail: with one thing wrong, in what the model says of an answer, of the state,
//! or of what is equal everywhere, a run ends in an error.

use bytes::Bytes;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseCheckpoint,
    LeaseCheckpointRequest, LeaseGrantRequest, Member, PutRequest, RequestOp, TxnRequest,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{MemberPublish, Proposal};
use vetch_storage::engine::conformance::MemStore;
use vetch_storage::testing::generate::{LogEntry, Logged};
use vetch_storage::{
    Applied, ApplyError, EventKind, LeaseChange, LeaseId, LogId, LogIndex, Response, Term,
};

use crate::compare::{Background, Checked, history, live_bytes};
use crate::run::{Ledger, run};
use crate::script::{Schedule, Script};

fn put(key: &'static str, value: &'static str, lease: i64) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() }
}

fn delete(key: &'static str) -> Command {
    Command::DeleteRange(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() })
}

fn puts(keys: [&'static str; 2]) -> Command {
    let op = |key| RequestOp { request: Some(Request::RequestPut(put(key, "", 0))) };
    Command::Txn(TxnRequest { success: keys.map(op).to_vec(), ..TxnRequest::default() })
}

fn compact(revision: i64) -> Command {
    Command::Compaction(CompactionRequest { revision, physical: false })
}

fn grant(ttl: i64) -> Command {
    Command::LeaseGrant(LeaseGrantRequest { id: 1, ttl })
}

fn checkpoint(remaining_ttl: i64) -> Command {
    let checkpoints = vec![LeaseCheckpoint { id: 1, remaining_ttl }];
    Command::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints })
}

fn alarm(alarm: AlarmType) -> Command {
    let action = AlarmAction::Activate.into();
    Command::Alarm(AlarmRequest { action, member_id: 1, alarm: alarm.into() })
}

fn publish(name: &str) -> Command {
    let member = Member { id: 1, name: name.to_owned(), ..Member::default() };
    Command::MemberPublish(MemberPublish { member: Some(member) })
}

fn commands() -> Vec<Command> {
    vec![
        grant(60),
        Command::Put(put("a", "1", 1)),
        Command::Put(put("b", "1", 0)),
        Command::Put(put("a", "2", 1)),
        delete("b"),
        puts(["c", "d"]),
        compact(3),
        checkpoint(5),
        publish("one"),
        alarm(AlarmType::Nospace),
        Command::Put(put("e", "", 0)),
    ]
}

fn script(commands: Vec<Command>) -> Script {
    let logged = |(index, command): (u64, Command)| {
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        let id = LogId { term: Term(1), index: LogIndex(index) };
        Logged { id, entry: LogEntry::Proposal(proposal) }
    };
    Script::new((1..).zip(commands).map(logged).collect())
}

fn outcome(script: &Script, ledger: &mut Ledger) -> Checked {
    let schedule = Schedule { steps: Vec::new(), checkpoints: false, pace: 2 };
    run(&mut MemStore, script, &schedule, ledger)
}

#[test]
fn a_run_in_which_all_is_right_ends_well() {
    outcome(&script(commands()), &mut Ledger::default()).unwrap();
}

/// Every way to spoil what an entry did that it offers.
fn spoiled(applied: &Applied) -> Vec<Applied> {
    let spoil = |spoil: &dyn Fn(&mut Applied)| {
        let mut spoiled = applied.clone();
        spoil(&mut spoiled);
        spoiled
    };
    let mut all = vec![
        spoil(&|applied| applied.revision.0 += 1),
        spoil(&|applied| applied.lease_changes.push(LeaseChange::Revoked { id: LeaseId(9) })),
        spoil(&|applied| {
            applied.response = match &applied.response {
                Ok(_) => Err(ApplyError::KeyNotFound),
                Err(_) => Ok(Response::None),
            };
        }),
    ];
    if let Ok(Response::Put(_)) = &applied.response {
        all.push(spoil(&|applied| {
            let Ok(Response::Put(response)) = &mut applied.response else { unreachable!() };
            response.prev_kv = Some(vetch_proto::mvccpb::KeyValue::default());
        }));
    }
    for event in 0..applied.events.iter().map(|batch| batch.events.len()).sum() {
        let edit = |edit: &dyn Fn(&mut vetch_storage::EventBatch)| {
            spoil(&|applied| edit(std::sync::Arc::make_mut(&mut applied.events[0])))
        };
        all.push(edit(&|batch| drop(batch.events.remove(event))));
        all.push(edit(&|batch| batch.events[event].kv.value = Bytes::from_static(b"other")));
        all.push(edit(&|batch| batch.events[event].kv.mod_revision += 1));
        all.push(edit(&|batch| {
            let event = &mut batch.events[event];
            event.kind = match event.kind {
                EventKind::Put => EventKind::Delete,
                EventKind::Delete => EventKind::Put,
            };
        }));
    }
    all
}

#[test]
fn one_wrong_answer_or_event_fails_the_run() {
    let right = script(commands());
    let mut planted = 0;
    for (entry, applied) in right.expected.iter().enumerate() {
        for spoiled in spoiled(applied) {
            let mut wrong = right.clone();
            wrong.expected[entry] = spoiled.clone();
            let found = outcome(&wrong, &mut Ledger::default());
            assert!(found.is_err(), "entry {entry} passed as {spoiled:?}");
            planted += 1;
        }
    }
    assert!(planted > 50, "{planted}");
}

/// The answers are right; only reads of the state can tell.
#[test]
fn one_wrong_fact_in_the_state_fails_the_run() {
    let wrong_steps = [
        ("a lease's time", 0, grant(61)),
        ("a value that is current no more", 1, Command::Put(put("a", "x", 1))),
        ("a lease that is current no more", 1, Command::Put(put("a", "1", 0))),
        ("a value", 3, Command::Put(put("a", "x", 1))),
        ("an attachment", 3, Command::Put(put("a", "2", 0))),
        ("the key that was deleted", 4, delete("a")),
        ("a deletion that was not", 4, delete("x")),
        ("the order of changes", 5, puts(["d", "c"])),
        ("the compacted revision, too low", 6, compact(2)),
        ("the compacted revision, too high", 6, compact(4)),
        ("a remaining time", 7, checkpoint(6)),
        ("a member", 8, publish("two")),
        ("the kind of an alarm", 9, alarm(AlarmType::Corrupt)),
    ];
    let right = script(commands());
    for (what, entry, wrong_step) in wrong_steps {
        let mut wrong = commands();
        wrong[entry] = wrong_step;
        let wrong = Script { models: script(wrong).models, ..right.clone() };
        assert!(outcome(&wrong, &mut Ledger::default()).is_err(), "{what} passed");
    }
}

#[test]
fn a_digest_that_differs_between_runs_fails_the_later_one() {
    let script = script(commands());
    let mut ledger = Ledger::default();
    outcome(&script, &mut ledger).unwrap();
    outcome(&script, &mut ledger).unwrap();
    for entries in 1..=script.log.len() {
        let mut other = ledger.clone();
        *other.digests.get_mut(&entries).unwrap() ^= 1;
        assert!(outcome(&script, &mut other).is_err(), "after {entries} entries");
    }
}

/// What compaction has yet to do is accepted only while it has.
#[test]
fn garbage_and_missing_hashes_are_refused_once_compaction_is_done() {
    use vetch_storage::StateMachine;
    use vetch_storage::engine::mem::MemEngine;
    use vetch_storage::machine::Options;

    let mut both_ways = puts(["x", "y"]);
    if let Command::Txn(txn) = &mut both_ways {
        let delete = DeleteRangeRequest {
            key: "x".into(),
            range_end: Bytes::from_static(b"\0"),
            prev_kv: false,
        };
        txn.success.push(RequestOp { request: Some(Request::RequestDeleteRange(delete)) });
    }
    let script = script(vec![Command::Put(put("a", "", 0)), both_ways, compact(3)]);
    let engine = std::sync::Arc::new(MemEngine::new());
    let mut machine = StateMachine::open(engine, Options::default()).unwrap();
    for logged in &script.log {
        machine.apply(logged.id, logged.entry.as_entry()).unwrap();
    }
    machine.commit().unwrap();
    let model = &script.models[3];
    let mut under_way = Background { hashed: 0, deleted: false };
    let mut done = Background { hashed: 1, deleted: true };
    history(&machine.view(), model, &mut under_way).unwrap();
    assert!(history(&machine.view(), model, &mut done).is_err());
    assert!(live_bytes(&machine.view(), model).is_err());
    let mut compactor = machine.compactor();
    while compactor.step(1).unwrap() == vetch_storage::machine::CompactionProgress::More {}
    history(&machine.view(), model, &mut done).unwrap();
    history(&machine.view(), model, &mut Background::default()).unwrap();
    live_bytes(&machine.view(), model).unwrap();
}
