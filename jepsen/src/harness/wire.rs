//! The protocol's messages from and to the history's types.

use crate::history::{
    Answer, Blob, Compare, Delete, Event, EventKind, Expected, KeyValue, LeaseId, Put, Range,
    Relation, Revision, Step, Txn,
};
use crate::watch::{Filter, WatchSpec};
use vetch_proto::etcdserverpb::{self as pb, compare, request_op, response_op};
use vetch_proto::mvccpb;

pub(crate) fn put_request(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.to_bytes(),
        value: put.value.to_bytes(),
        lease: put.lease.0,
        prev_kv: put.prev_kv,
        ..pb::PutRequest::default()
    }
}

pub(crate) fn range_request(range: &Range) -> pb::RangeRequest {
    pb::RangeRequest {
        key: range.range.key.to_bytes(),
        range_end: range.range.end.to_bytes(),
        revision: range.revision.map_or(0, |revision| revision.0),
        serializable: range.serializable,
        ..pb::RangeRequest::default()
    }
}

pub(crate) fn delete_request(delete: &Delete) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: delete.range.key.to_bytes(),
        range_end: delete.range.end.to_bytes(),
        prev_kv: delete.prev_kv,
    }
}

pub(crate) fn txn_request(txn: &Txn) -> pb::TxnRequest {
    let steps = |steps: &[Step]| steps.iter().map(request_op).collect();
    pb::TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: steps(&txn.success),
        failure: steps(&txn.failure),
    }
}

fn request_op(step: &Step) -> pb::RequestOp {
    use request_op::Request;
    let request = match step {
        Step::Put(put) => Request::RequestPut(put_request(put)),
        Step::Range(range) => Request::RequestRange(range_request(range)),
        Step::Delete(delete) => Request::RequestDeleteRange(delete_request(delete)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(wanted: &Compare) -> pb::Compare {
    use compare::{CompareResult, CompareTarget, TargetUnion};
    let (target, union) = match &wanted.expected {
        Expected::ModRevision(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at.0)),
        Expected::CreateRevision(at) => (CompareTarget::Create, TargetUnion::CreateRevision(at.0)),
        Expected::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        Expected::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.to_bytes())),
    };
    let result = match wanted.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Less => CompareResult::Less,
        Relation::Greater => CompareResult::Greater,
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: wanted.key.to_bytes(),
        target_union: Some(union),
        ..pb::Compare::default()
    }
}

pub(crate) fn revision(header: Option<&pb::ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision))
}

pub(crate) fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: Blob::from(kv.key),
        value: Blob::from(kv.value),
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    }
}

pub(crate) fn put_answer(response: pb::PutResponse) -> Answer {
    Answer::Put { prev: response.prev_kv.map(key_value) }
}

pub(crate) fn range_answer(response: pb::RangeResponse) -> Answer {
    let kvs = response.kvs.into_iter().map(key_value).collect();
    Answer::Range { kvs, count: response.count }
}

pub(crate) fn delete_answer(response: pb::DeleteRangeResponse) -> Answer {
    let prev = response.prev_kvs.into_iter().map(key_value).collect();
    Answer::Delete { deleted: response.deleted, prev }
}

/// An answer of no known kind is left out, which the checkers see as one too few.
pub(crate) fn txn_answer(response: pb::TxnResponse) -> Answer {
    use response_op::Response;
    let answer = |op: pb::ResponseOp| match op.response? {
        Response::ResponsePut(response) => Some(put_answer(response)),
        Response::ResponseRange(response) => Some(range_answer(response)),
        Response::ResponseDeleteRange(response) => Some(delete_answer(response)),
        Response::ResponseTxn(response) => Some(txn_answer(response)),
    };
    let answers = response.responses.into_iter().filter_map(answer).collect();
    Answer::Txn { succeeded: response.succeeded, answers }
}

pub(crate) fn event(event: mvccpb::Event) -> Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    Event {
        kind,
        kv: event.kv.map(key_value).unwrap_or_default(),
        prev: event.prev_kv.map(key_value),
    }
}

pub(crate) fn watch_request(spec: &WatchSpec) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let filter = |filter: &Filter| match filter {
        Filter::NoPut => FilterType::Noput.into(),
        Filter::NoDelete => FilterType::Nodelete.into(),
    };
    let create = pb::WatchCreateRequest {
        key: spec.range.key.to_bytes(),
        range_end: spec.range.end.to_bytes(),
        start_revision: spec.start.map_or(0, |start| start.0),
        progress_notify: spec.progress_notify,
        filters: spec.filters.iter().map(filter).collect(),
        prev_kv: spec.prev_kv,
        watch_id: 0,
        fragment: spec.fragment,
    };
    let request = pb::watch_request::RequestUnion::CreateRequest(create);
    pb::WatchRequest { request_union: Some(request) }
}

pub(crate) fn progress_request() -> pb::WatchRequest {
    let progress = pb::WatchProgressRequest {};
    let request = pb::watch_request::RequestUnion::ProgressRequest(progress);
    pb::WatchRequest { request_union: Some(request) }
}
