//! The KV service's writes, and transactions. Range and RangeStream are in
//! [`range_body`](super::range_body) and [`range_stream`](super::range_stream).

use std::time::Instant;

use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, TxnRequest, TxnResponse,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::Platform;
use vetch_storage::alarm::AlarmKind;
use vetch_storage::{Response, Revision};

use super::api::{Api, encoded_len};
use super::quota::{put_cost, txn_cost};
use super::status::Refusal;
use super::{maintenance, slow, validate};
use crate::metrics::KeyOperations;

/// KV.Put.
pub async fn put<P: Platform>(api: &Api<P>, request: PutRequest) -> Result<PutResponse, Refusal> {
    validate::put(&request)?;
    admit_growth(api, put_cost(&request)).await?;
    let len = encoded_len(&request);
    match api.propose(Command::Put(request), len).await? {
        (Response::Put(mut answer), revision) => {
            answer.header = Some(api.header(revision));
            Ok(answer)
        }
        (other, _) => unreachable!("a put was answered with {other:?}"),
    }
}

/// KV.DeleteRange.
pub async fn delete_range<P: Platform>(
    api: &Api<P>,
    request: DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Refusal> {
    validate::delete_range(&request)?;
    let len = encoded_len(&request);
    match api.propose(Command::DeleteRange(request), len).await? {
        (Response::DeleteRange(mut answer), revision) => {
            answer.header = Some(api.header(revision));
            Ok(answer)
        }
        (other, _) => unreachable!("a deletion was answered with {other:?}"),
    }
}

/// KV.Txn. One that only reads is answered from a view and never enters the log.
pub async fn txn<P: Platform>(api: &Api<P>, request: TxnRequest) -> Result<TxnResponse, Refusal> {
    validate::txn(&request, api.limits.max_txn_ops)?;
    if is_read_only(&request) {
        let began = Instant::now();
        let answer = read_only_txn(api, &request).await;
        api.measure_read_txn(began, answer.is_ok(), || slow::txn(&request));
        return answer;
    }
    let cost = txn_cost(&request);
    if cost > 0 {
        admit_growth(api, cost).await?;
    }
    let len = encoded_len(&request);
    match api.propose(Command::Txn(request), len).await? {
        (Response::Txn(mut answer), revision) => {
            answer.header = Some(api.header(revision));
            Ok(answer)
        }
        (other, _) => unreachable!("a transaction was answered with {other:?}"),
    }
}

/// KV.Compact. The boundary holds when this returns; with `physical`, the versions are gone as well.
pub async fn compact<P: Platform>(
    api: &Api<P>,
    request: CompactionRequest,
) -> Result<CompactionResponse, Refusal> {
    let len = encoded_len(&request);
    let (physical, boundary) = (request.physical, Revision(request.revision));
    let (_, revision) = api.propose(Command::Compaction(request), len).await?;
    if physical {
        api.compaction.finished(boundary).await;
    }
    Ok(CompactionResponse { header: Some(api.header(revision)) })
}

/// Refuses growth that this member's disk would not take, and growth beyond the quota; then it raises
/// the alarm that makes every member refuse it. A full disk is one member's, and its refusal ends by
/// itself.
pub(super) async fn admit_growth<P: Platform>(api: &Api<P>, cost: u64) -> Result<(), Refusal> {
    let view = api.replica.view();
    if view.alarms().is_active(AlarmKind::NoSpace) {
        return Err(Refusal::NoSpace);
    }
    if api.quota.allows(view.sizes().live, cost) {
        return if api.space.admits(cost) { Ok(()) } else { Err(Refusal::NoSpace) };
    }
    tracing::warn!(
        size = view.sizes().live,
        quota = api.quota.limit(),
        "database is at its quota; raising NOSPACE: compact and delete, then disarm the alarm"
    );
    maintenance::alarm(api, AlarmKind::NoSpace.activation(api.identity.member_id)).await?;
    Err(Refusal::NoSpace)
}

/// Only plain ranges in both branches. A nested transaction makes it a write, as in etcd.
fn is_read_only(txn: &TxnRequest) -> bool {
    all_ranges(txn, |_| true)
}

/// No range of it asks for linearizability; an empty transaction does not either.
fn is_serializable(txn: &TxnRequest) -> bool {
    all_ranges(txn, |serializable| serializable)
}

fn all_ranges(txn: &TxnRequest, accept: impl Fn(bool) -> bool) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => accept(range.serializable),
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_) | Request::RequestTxn(_))
        | None => false,
    })
}

async fn read_only_txn<P: Platform>(
    api: &Api<P>,
    request: &TxnRequest,
) -> Result<TxnResponse, Refusal> {
    let view = api.read_view(is_serializable(request)).await?;
    let mut answer = view.read_txn(request).map_err(|error| api.read_failed(error))?;
    answer.header = Some(api.header(view.revision()));
    api.metrics.mvcc.count(KeyOperations::of_txn(&answer));
    Ok(answer)
}
