//! `--quota-backend-bytes`: when the store is full, growth is refused and the NOSPACE alarm raised.

use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

/// What a grant costs, in bytes.
pub const LEASE_GRANT_COST: u64 = 64;
/// What a put costs beside its key and value, in bytes.
const PUT_OVERHEAD: u64 = 256;

/// The bound, and how far a store is from it.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    limit: Option<u64>,
}

impl Quota {
    /// The default, 2 GiB.
    pub const DEFAULT_BYTES: u64 = 2 * 1024 * 1024 * 1024;

    /// A quota of `limit` bytes, or none.
    pub const fn new(limit: Option<u64>) -> Self {
        Self { limit }
    }

    /// The bound; `None` when there is none.
    pub const fn limit(self) -> Option<u64> {
        self.limit
    }

    /// Whether a store of `size` bytes may grow by `cost`.
    pub fn allows(self, size: u64, cost: u64) -> bool {
        self.limit.is_none_or(|limit| size.saturating_add(cost) < limit)
    }
}

/// What a put may add to the store.
pub fn put_cost(put: &PutRequest) -> u64 {
    PUT_OVERHEAD + (put.key.len() + put.value.len()) as u64
}

/// What a transaction may add: the dearer of its branches. 0 means it puts nothing.
pub fn txn_cost(txn: &TxnRequest) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[RequestOp]) -> u64 {
    ops.iter()
        .map(|op| match &op.request {
            Some(Request::RequestPut(put)) => put_cost(put),
            Some(Request::RequestTxn(txn)) => txn_cost(txn),
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearer_branch_counts_nested_ones_included() {
        let put = |len: usize| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: "k".into(),
                value: vec![0; len].into(),
                ..Default::default()
            })),
        };
        let nested = TxnRequest { success: vec![put(100)], failure: vec![], compare: vec![] };
        let nested = RequestOp { request: Some(Request::RequestTxn(nested)) };
        let txn =
            TxnRequest { compare: vec![], success: vec![put(10), nested], failure: vec![put(50)] };
        assert_eq!(txn_cost(&txn), (256 + 1 + 10) + (256 + 1 + 100));
    }

    #[test]
    fn the_limit_itself_is_out_of_reach() {
        let quota = Quota::new(Some(1000));
        assert!(quota.allows(900, 99));
        assert!(!quota.allows(900, 100));
        assert!(Quota::new(None).allows(u64::MAX, 1));
    }
}
