//! A machine on the memory engine, with short words for requests.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseOp, TxnRequest, TxnResponse, response_op,
};
use vetch_proto::mvccpb::KeyValue;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;

use crate::command::{Applied, Entry, Response};
use crate::engine::mem::MemEngine;
use crate::engine::{Engine, Family, Order};
use crate::error::{ApplyError, ReadError};
use crate::machine::{CompactionProgress, Options, StateMachine};
use crate::schema::change::{self, ChangeRecord};
use crate::schema::version::VersionRecord;
use crate::types::{LogId, LogIndex, Revision, RevisionKey, Term};
use crate::view::ReadView;

pub(super) const TERM: u64 = 3;

pub(super) struct Rig {
    pub(super) engine: Arc<MemEngine>,
    pub(super) machine: StateMachine<MemEngine>,
    /// Whether every entry is committed at once.
    pub(super) autocommit: bool,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::on(MemEngine::new())
    }

    pub(super) fn on(engine: MemEngine) -> Self {
        let engine = Arc::new(engine);
        let machine = StateMachine::open(Arc::clone(&engine), Options::default()).unwrap();
        Self { engine, machine, autocommit: true }
    }

    /// The next process on what a kill of this one leaves.
    pub(super) fn reopen(&self) -> Self {
        Self::on(self.engine.crash_live())
    }

    pub(super) fn entry(&mut self, entry: Entry<'_>) -> Applied {
        let index = self.machine.applied().index.next();
        let applied = self.machine.apply(LogId { term: Term(TERM), index }, entry).unwrap();
        assert_eq!(self.machine.applied().index, index);
        if self.autocommit {
            self.machine.commit().unwrap();
        }
        applied
    }

    pub(super) fn propose(&mut self, command: Command) -> Applied {
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        self.entry(Entry::Proposal(&proposal))
    }

    pub(super) fn put_with(&mut self, request: PutRequest) -> Result<PutResponse, ApplyError> {
        self.propose(Command::Put(request)).response.map(|response| match response {
            Response::Put(response) => response,
            other => panic!("{other:?}"),
        })
    }

    /// Puts and gives the revision.
    pub(super) fn put(&mut self, key: &str, value: &str) -> i64 {
        let response = self.put_with(put(key, value)).unwrap();
        response.header.unwrap().revision
    }

    pub(super) fn delete_with(&mut self, request: DeleteRangeRequest) -> DeleteRangeResponse {
        match self.propose(Command::DeleteRange(request)).response.unwrap() {
            Response::DeleteRange(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn delete(&mut self, key: &str, end: &str) -> i64 {
        self.delete_with(delete(key, end)).deleted
    }

    pub(super) fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, ApplyError> {
        self.propose(Command::Txn(request)).response.map(|response| match response {
            Response::Txn(response) => response,
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn compact(&mut self, revision: i64) -> Result<(), ApplyError> {
        let request = CompactionRequest { revision, physical: false };
        self.propose(Command::Compaction(request)).response.map(|response| {
            assert_eq!(response, Response::Compaction);
        })
    }

    pub(super) fn grant(&mut self, id: i64, ttl: i64) -> Result<Response, ApplyError> {
        self.propose(Command::LeaseGrant(LeaseGrantRequest { id, ttl })).response
    }

    pub(super) fn revoke(&mut self, id: i64) -> Applied {
        self.propose(Command::LeaseRevoke(LeaseRevokeRequest { id }))
    }

    pub(super) fn view(&self) -> ReadView<MemEngine> {
        self.machine.view()
    }

    pub(super) fn revision(&self) -> i64 {
        self.view().revision().0
    }

    pub(super) fn get(&self, key: &str) -> Option<KeyValue> {
        range(&self.view(), &get(key)).unwrap().kvs.pop()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        keys(&range(&self.view(), &all()).unwrap())
    }

    /// Deletes all compacted versions, in steps of `limit`.
    pub(super) fn reclaim(&mut self, limit: usize) -> Revision {
        let mut compactor = self.machine.compactor();
        loop {
            match compactor.step(limit).unwrap() {
                CompactionProgress::Finished(revision) => return revision,
                CompactionProgress::More => {}
                CompactionProgress::Pinned => panic!("nothing should be pinned"),
            }
        }
    }

    /// The revisions of all stored versions, as the engine has them.
    pub(super) fn stored(&self) -> Vec<(i64, u32)> {
        let bounds = change::bounds(RevisionKey::default(), Revision(i64::MAX));
        let changes: Vec<(i64, u32)> = self
            .engine
            .scan(Family::Revisions, bounds, Order::Ascending)
            .map(|item| {
                let (key, value) = item.unwrap();
                let at = ChangeRecord::decode(&key, &value).unwrap().entry.modified;
                (at.main.0, at.sub)
            })
            .collect();
        let mut versions: Vec<(i64, u32)> = self
            .engine
            .scan(Family::Versions, (Bound::Unbounded, Bound::Unbounded), Order::Ascending)
            .map(|item| {
                let (key, value) = item.unwrap();
                let at = VersionRecord::decode(&key, &value).unwrap().0.modified;
                (at.main.0, at.sub)
            })
            .collect();
        versions.sort_unstable();
        assert_eq!(changes, versions, "both families hold the same changes");
        changes
    }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

pub(super) fn leased(key: &str, lease: i64) -> PutRequest {
    PutRequest { lease, ..put(key, "v") }
}

pub(super) fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: false }
}

pub(super) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), ..RangeRequest::default() }
}

pub(super) fn between(key: &str, end: &str) -> RangeRequest {
    RangeRequest { range_end: bytes(end), ..get(key) }
}

pub(super) fn all() -> RangeRequest {
    between("\0", "\0")
}

/// Reads a whole answer in both ways, which must agree.
pub(super) fn range(
    view: &ReadView<MemEngine>,
    request: &RangeRequest,
) -> Result<RangeResponse, ReadError> {
    let mut decoded = view.range(request)?;
    let answer = RangeResponse {
        header: None,
        count: decoded.count().try_into().unwrap(),
        more: decoded.more(),
        kvs: decoded.next_records(usize::MAX)?,
    };
    for budget in [1, 60, 1 << 20] {
        let mut streamed = view.range(request)?;
        let total = streamed.encoded_len();
        let mut encoded = Vec::new();
        loop {
            let chunk = streamed.next_chunk(budget)?;
            encoded.extend_from_slice(&chunk);
            assert_eq!(streamed.encoded_len(), total - encoded.len() as u64);
            if chunk.is_empty() {
                break;
            }
        }
        assert_eq!(streamed.remaining(), 0);
        let back: RangeResponse = prost::Message::decode(encoded.as_slice()).unwrap();
        assert_eq!(back.kvs, answer.kvs);
        assert_eq!(encoded, prost::Message::encode_to_vec(&back), "canonical");
    }
    Ok(answer)
}

pub(super) fn keys(response: &RangeResponse) -> Vec<String> {
    response.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
}

pub(super) fn refusal<T: std::fmt::Debug>(result: Result<T, ReadError>) -> ApplyError {
    match result.unwrap_err() {
        ReadError::Refused(refusal) => refusal,
        ReadError::Fatal(fatal) => panic!("{fatal}"),
    }
}

pub(super) fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(super) fn put_op(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

pub(super) fn get_op(key: &str) -> RequestOp {
    op(Request::RequestRange(get(key)))
}

pub(super) fn delete_op(key: &str, end: &str) -> RequestOp {
    op(Request::RequestDeleteRange(delete(key, end)))
}

pub(super) fn txn_op(txn: TxnRequest) -> RequestOp {
    op(Request::RequestTxn(txn))
}

pub(super) fn then(ops: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success: ops, ..TxnRequest::default() }
}

pub(super) fn when(compare: Compare) -> TxnRequest {
    TxnRequest { compare: vec![compare], ..TxnRequest::default() }
}

pub(super) fn compare(
    key: &str,
    target: CompareTarget,
    result: CompareResult,
    union: Option<TargetUnion>,
) -> Compare {
    Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        range_end: Bytes::new(),
        target_union: union,
    }
}

pub(super) fn value_is(key: &str, value: &str) -> Compare {
    let union = Some(TargetUnion::Value(bytes(value)));
    compare(key, CompareTarget::Value, CompareResult::Equal, union)
}

pub(super) fn range_of(response: &ResponseOp) -> &RangeResponse {
    match &response.response {
        Some(response_op::Response::ResponseRange(range)) => range,
        other => panic!("{other:?}"),
    }
}

pub(super) fn txn_of(response: &ResponseOp) -> &TxnResponse {
    match &response.response {
        Some(response_op::Response::ResponseTxn(txn)) => txn,
        other => panic!("{other:?}"),
    }
}

/// The revision in an inner header.
pub(super) fn header_of(response: &ResponseOp) -> i64 {
    let header = match response.response.as_ref().unwrap() {
        response_op::Response::ResponseRange(response) => response.header,
        response_op::Response::ResponsePut(response) => response.header,
        response_op::Response::ResponseDeleteRange(response) => response.header,
        response_op::Response::ResponseTxn(response) => response.header,
    };
    header.unwrap().revision
}

pub(super) fn index(index: u64) -> LogIndex {
    LogIndex(index)
}
