//! §1: which transactions may enter the log, by their shape alone.

use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

use super::Model;
use super::history::covers;

/// One put or deletion, and where it is in its transaction.
struct Write<'a> {
    /// From the outermost list inwards: the place in the list, and the branch of the nested
    /// transaction that is there.
    path: Vec<(usize, Branch)>,
    kind: Kind<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// The operation itself is here.
    Here,
    Then,
    Else,
}

#[derive(Clone, Copy)]
enum Kind<'a> {
    Put(&'a PutRequest),
    Delete(&'a DeleteRangeRequest),
}

impl Model {
    /// Whether a transaction has no list longer than `max_ops` (a nested one: than what the longest
    /// list of its parent leaves), only operations with content and keys, and changes no key in two
    /// ways that etcd's check sees.
    pub fn admits(request: &TxnRequest, max_ops: usize) -> bool {
        is_well_formed(request, max_ops)
            && is_free_of_overlaps(&request.success)
            && is_free_of_overlaps(&request.failure)
    }
}

fn is_well_formed(request: &TxnRequest, max_ops: usize) -> bool {
    let lists = [request.compare.len(), request.success.len(), request.failure.len()];
    let longest = lists.into_iter().max().unwrap_or_default();
    let operations = request.success.iter().chain(&request.failure);
    longest <= max_ops
        && request.compare.iter().all(|compare| !compare.key.is_empty())
        && operations.into_iter().all(|operation| match &operation.request {
            Some(Request::RequestPut(put)) => !put.key.is_empty(),
            Some(Request::RequestRange(range)) => !range.key.is_empty(),
            Some(Request::RequestDeleteRange(delete)) => !delete.key.is_empty(),
            Some(Request::RequestTxn(nested)) => is_well_formed(nested, max_ops - longest),
            None => false,
        })
}

fn is_free_of_overlaps(operations: &[RequestOp]) -> bool {
    let mut writes = Vec::new();
    collect(operations, &[], &mut writes);
    let pairs = writes.iter().enumerate();
    !pairs.flat_map(|(i, a)| writes[..i].iter().map(move |b| (a, b))).any(|(a, b)| meet(a, b))
}

fn collect<'a>(
    operations: &'a [RequestOp],
    outer: &[(usize, Branch)],
    writes: &mut Vec<Write<'a>>,
) {
    for (place, operation) in operations.iter().enumerate() {
        let at = |branch| [outer, &[(place, branch)]].concat();
        match &operation.request {
            Some(Request::RequestPut(put)) => {
                writes.push(Write { path: at(Branch::Here), kind: Kind::Put(put) });
            }
            Some(Request::RequestDeleteRange(delete)) => {
                writes.push(Write { path: at(Branch::Here), kind: Kind::Delete(delete) });
            }
            Some(Request::RequestTxn(nested)) => {
                collect(&nested.success, &at(Branch::Then), writes);
                collect(&nested.failure, &at(Branch::Else), writes);
            }
            Some(Request::RequestRange(_)) | None => {}
        }
    }
}

/// Two puts of one key, or a put and a deletion of its key, may not be in one list or what is nested
/// in it, except in the two branches of one nested transaction, of which only one runs. Two
/// deletions always may.
fn meet(a: &Write<'_>, b: &Write<'_>) -> bool {
    let shared = a.path.iter().zip(&b.path).take_while(|(a, b)| a == b).count();
    let (a_at, b_at) = (a.path[shared], b.path[shared]);
    if a_at.0 == b_at.0 {
        return false;
    }
    match (a.kind, b.kind) {
        (Kind::Put(a), Kind::Put(b)) => a.key == b.key,
        (Kind::Put(put), Kind::Delete(delete)) => is_deleted(put, a_at, delete, b_at),
        (Kind::Delete(delete), Kind::Put(put)) => is_deleted(put, b_at, delete, a_at),
        (Kind::Delete(_), Kind::Delete(_)) => false,
    }
}

/// Two holes in etcd's check are kept: it does not know deletions with an open end, and of two nested
/// transactions in one list it holds the puts of the later against the deletions of the earlier, not
/// the other way around.
fn is_deleted(
    put: &PutRequest,
    put_at: (usize, Branch),
    delete: &DeleteRangeRequest,
    delete_at: (usize, Branch),
) -> bool {
    let both_nested = put_at.1 != Branch::Here && delete_at.1 != Branch::Here;
    let is_seen = !both_nested || delete_at.0 < put_at.0;
    let is_open = delete.range_end.as_ref() == b"\0";
    is_seen && !is_open && covers(&delete.key, &delete.range_end, &put.key)
}
