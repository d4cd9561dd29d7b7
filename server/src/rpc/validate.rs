//! Checks of a request by itself, before anything is read or proposed, in etcd's order.

use vetch_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use vetch_storage::mvcc::{TxnFault, check_txn};

use super::status::Refusal;

/// A range: key present, sort known.
pub fn range(request: &RangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Refusal::InvalidSortOption);
    }
    Ok(())
}

/// A streamed range: besides, no order but the one etcd streams in, and no revision filter. A target
/// without an order is let through, as in etcd, though it sorts.
pub fn range_stream(request: &RangeRequest) -> Result<(), Refusal> {
    range(request)?;
    let by_key = request.sort_target() == SortTarget::Key;
    let is_custom = match request.sort_order() {
        SortOrder::None => false,
        SortOrder::Ascend => !by_key,
        SortOrder::Descend => true,
    };
    if is_custom {
        return Err(Refusal::StreamSortOrder);
    }
    if has_revision_filter(request) {
        return Err(Refusal::StreamRevisionFilter);
    }
    Ok(())
}

/// Whether the answer is the range itself from its first key on: nothing sorted, nothing left out.
pub fn is_in_key_order(request: &RangeRequest) -> bool {
    request.sort_target() == SortTarget::Key
        && request.sort_order() != SortOrder::Descend
        && !has_revision_filter(request)
}

fn has_revision_filter(request: &RangeRequest) -> bool {
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    bounds.iter().any(|bound| *bound != 0)
}

/// A put: key present, nothing given that is to be ignored.
pub fn put(request: &PutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// A deletion: key present.
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// A transaction: every list within `max_ops`, every operation valid by itself, no key written twice
/// in one branch. Nested transactions share their parent's allowance: they get what its longest list
/// leaves.
pub fn txn(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    lists(request, max_ops)?;
    check_txn(request, max_ops).map_err(|fault| match fault {
        TxnFault::TooManyOps => Refusal::TooManyOps,
        TxnFault::EmptyKey => Refusal::EmptyKey,
        TxnFault::EmptyOp => Refusal::EmptyOperation,
        TxnFault::DuplicateKey => Refusal::DuplicateKey,
    })
}

fn lists(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    if longest > max_ops {
        return Err(Refusal::TooManyOps);
    }
    let left = max_ops - longest;
    request.compare.iter().try_for_each(compare)?;
    request.success.iter().try_for_each(|op| operation(op, left))?;
    request.failure.iter().try_for_each(|op| operation(op, left))
}

fn compare(compare: &Compare) -> Result<(), Refusal> {
    if compare.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

fn operation(op: &RequestOp, nested_ops: usize) -> Result<(), Refusal> {
    match &op.request {
        Some(Request::RequestRange(request)) => range(request),
        Some(Request::RequestPut(request)) => put(request),
        Some(Request::RequestDeleteRange(request)) => delete_range(request),
        Some(Request::RequestTxn(request)) => lists(request, nested_ops),
        None => Err(Refusal::EmptyOperation),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put_op(key: &'static str) -> RequestOp {
        let put = PutRequest { key: Bytes::from(key), ..Default::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }

    fn delete_op(key: &'static str, range_end: &'static str) -> RequestOp {
        let delete = DeleteRangeRequest {
            key: Bytes::from(key),
            range_end: Bytes::from(range_end),
            prev_kv: false,
        };
        RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
    }

    fn txn_op(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        let txn = TxnRequest { compare: Vec::new(), success, failure };
        RequestOp { request: Some(Request::RequestTxn(txn)) }
    }

    fn check(success: Vec<RequestOp>) -> Result<(), Refusal> {
        txn(&TxnRequest { compare: Vec::new(), success, failure: Vec::new() }, 128)
    }

    fn is_duplicate(result: &Result<(), Refusal>) -> bool {
        matches!(result, Err(Refusal::DuplicateKey))
    }

    #[test]
    fn a_branch_writes_a_key_once() {
        assert!(is_duplicate(&check(vec![put_op("a"), put_op("a")])));
        assert!(is_duplicate(&check(vec![put_op("b"), delete_op("a", "c")])));
        assert!(is_duplicate(&check(vec![delete_op("a", ""), put_op("a")])));
        assert!(is_duplicate(&check(vec![put_op("a"), txn_op(vec![put_op("a")], vec![])])));
        assert!(is_duplicate(&check(vec![txn_op(vec![put_op("a")], vec![]), delete_op("a", "b")])));
        let nested_twice =
            vec![txn_op(vec![put_op("a")], vec![]), txn_op(vec![], vec![put_op("a")])];
        assert!(is_duplicate(&check(nested_twice)));
    }

    #[test]
    fn arms_of_a_nested_transaction_and_overlapping_deletions_are_no_duplicates() {
        assert!(check(vec![txn_op(vec![put_op("a")], vec![put_op("a")])]).is_ok());
        assert!(check(vec![delete_op("a", "c"), delete_op("b", "d")]).is_ok());
        assert!(check(vec![put_op("a"), put_op("b")]).is_ok());
    }

    #[test]
    fn an_open_ended_deletion_is_not_seen() {
        assert!(check(vec![put_op("x"), delete_op("a", "\0")]).is_ok());
    }

    #[test]
    fn nested_transactions_get_what_their_parent_leaves() {
        let inner = |n: usize| {
            let op = RequestOp {
                request: Some(Request::RequestRange(RangeRequest {
                    key: Bytes::from_static(b"k"),
                    ..Default::default()
                })),
            };
            txn_op(vec![op; n], vec![])
        };
        assert!(check(vec![inner(127)]).is_ok());
        assert!(matches!(check(vec![inner(128)]), Err(Refusal::TooManyOps)));
    }

    #[test]
    fn an_operation_without_a_request_reads_as_a_missing_key() {
        let refusal = check(vec![RequestOp { request: None }]).unwrap_err();
        assert_eq!(refusal.code_and_text().1, "etcdserver: key not found");
    }
}
