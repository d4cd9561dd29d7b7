//! A state machine with keys in it, below consensus and the log.

use std::path::Path;
use std::sync::Arc;

use vetch_benches::dataset::{Scattered, Values, key};
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{Compare, PutRequest, RequestOp, TxnRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::engine::fjall::FjallEngine;
use vetch_storage::engine::{self, Engine};
use vetch_storage::machine::Options;
use vetch_storage::{Applied, Entry, LogId, StateMachine, Term};

/// Bytes of a value.
pub(crate) const VALUE: usize = 256;

/// fjall in a folder, opened as the server does by default.
pub(crate) fn fjall(dir: &Path) -> Arc<FjallEngine> {
    let engine = FjallEngine::open(&dir.join("engine"), engine::Options::default());
    Arc::new(engine.expect("fjall opens"))
}

pub(crate) fn open<E: Engine>(engine: Arc<E>, checkpoints: Option<&Path>) -> StateMachine<E> {
    let options = Options { checkpoint_dir: checkpoints.map(Path::to_owned), ..Options::default() };
    StateMachine::open(engine, options).expect("the state machine opens")
}

/// Applies one command and makes it visible.
pub(crate) fn execute<E: Engine>(machine: &mut StateMachine<E>, command: Command) -> Applied {
    let applied = apply(machine, command);
    machine.commit().expect("the engine takes the batch");
    applied
}

/// Applies one command into the open batch.
pub(crate) fn apply<E: Engine>(machine: &mut StateMachine<E>, command: Command) -> Applied {
    let id = LogId { term: Term(1), index: machine.applied().index.next() };
    let proposal = Proposal { command: Some(command), ..Proposal::default() };
    machine.apply(id, Entry::Proposal(&proposal)).expect("the engine answers")
}

/// Puts `len` keys in scattered order, 128 per transaction.
pub(crate) fn fill<E: Engine>(machine: &mut StateMachine<E>, len: u64) {
    let (order, values) = (Scattered::new(len), Values::new(VALUE));
    for start in (0..len).step_by(128) {
        let numbers = (start..len.min(start + 128)).map(|position| order.at(position));
        let put = |number| RequestOp { request: Some(Request::RequestPut(put(number, &values))) };
        let success = numbers.map(put).collect();
        execute(machine, Command::Txn(TxnRequest { success, ..TxnRequest::default() }));
    }
}

pub(crate) fn put(number: u64, values: &Values) -> PutRequest {
    PutRequest { key: key(number), value: values.get(number), ..PutRequest::default() }
}

/// Puts if the key exists, as an update does.
pub(crate) fn update(number: u64, values: &Values) -> TxnRequest {
    let exists = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Mod.into(),
        key: key(number),
        target_union: Some(TargetUnion::ModRevision(0)),
        ..Compare::default()
    };
    let put = RequestOp { request: Some(Request::RequestPut(put(number, values))) };
    TxnRequest { compare: vec![exists], success: vec![put], failure: Vec::new() }
}
